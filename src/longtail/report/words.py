"""Numbers and verdicts in words, the same on the page and in the model card."""

from typing import Any

HEADLINES = {
    "promote": "Promote",
    "hold": "Hold: not shown to be good enough",
    "reject": "Reject",
}
MARKS = {True: "passed", False: "failed", None: "undecided"}
METHODS = {"crt": "cRT", "lws": "LWS", "ncm": "NCM", "bwlm": "BWLM"}
NAMED = ("loss: ", "sampler: ")  # departures that have their own words in the sentence
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def verdict_summary(verdict: dict[str, Any]) -> str:
    """Say in one sentence what the outcome follows from."""
    checks = verdict["checks"]
    if not checks:
        return "Nothing was checked, so nothing is shown."
    failed = [check["name"] for check in checks if check["passed"] is False]
    open_ones = [check["name"] for check in checks if check["passed"] is None]
    if failed:
        return f"{_of(failed, checks)} failed: {', '.join(failed)}."
    if open_ones:
        return f"None failed, but {_of(open_ones, checks)} could not be decided: " + (
            f"{', '.join(open_ones)}."
        )
    return "The one check passed." if len(checks) == 1 else f"All {len(checks)} checks passed."


def group_sentence(report: dict[str, Any]) -> str | None:
    """Say how the chosen variant moved the group with the fewest images, against stage 1."""
    variants, chosen = report["variants"], report["chosen"]
    name = report["group_names"][-1]
    if chosen == "stage1" or "not_applicable" in variants["stage1"]:
        return None
    now, before = (variants[key]["groups"][name]["accuracy"] for key in (chosen, "stage1"))
    if now is None or before is None:
        return None
    return (
        f"Accuracy on the group {name}: {100 * now:.1f} %, "
        f"{100 * (now - before):+.1f} points against stage 1."
    )


def training(representation: dict[str, Any], classifier: dict[str, Any]) -> str:
    """Say how both stages came about, or what an ensemble joins."""
    if representation["best_epoch"] is None:
        stage1 = (
            f"Stage 1 joins {', '.join(representation['members'])} and averages their "
            f"{representation['average']}"
        )
    else:
        ways = [
            representation["loss"].replace("_", " "),
            f"{representation['sampler'].replace('_', '-')} sampling",
            *(key for key in representation["departures"] if not key.startswith(NAMED)),
        ]
        stage1 = (
            f"Stage 1 trained {representation['backbone']} with {', '.join(ways[:-1])} and "
            f"{ways[-1]} for {representation['epochs']} epochs and kept epoch "
            f"{representation['best_epoch'] + 1}"
        )
    method = classifier["method"]
    named = METHODS.get(method, method.replace("_", " "))
    return f"{stage1}; stage 2 is {named} on its frozen features."


def size(count: float | None) -> str:
    """Write bytes with a binary unit, or a dash if unknown."""
    if count is None:
        return "–"  # noqa: RUF001
    step = 0
    while count >= 1024 and step < len(UNITS) - 1:
        count, step = count / 1024, step + 1
    return f"{count:.0f} {UNITS[step]}" if step == 0 else f"{count:.1f} {UNITS[step]}"


def duration(seconds: float) -> str:
    """Write seconds as `4.2 s`, `12.5 min` or `3.1 h`."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def count(number: float) -> str:
    """Write a large number as `470 k`, `68.9 M` or `4.1 G`, a small one as it is."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= limit:
            scale = 1e3 if unit == "k" else limit
            return f"{number / scale:.3g} {unit}"
    return f"{number:,.0f}"


def _of(some: list[str], checks: list[Any]) -> str:
    return f"{len(some)} of {len(checks)} checks"
