"""What `longtail models` prints for people."""

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from longtail.io.registry import titled
from longtail.report.table import COLOURS, MARKS

if TYPE_CHECKING:
    from longtail.differences import Difference
    from longtail.io.history import Entry
    from longtail.steps.compare import Comparison

SURE = {"better": "[green]better[/]", "worse": "[red]worse[/]", "": ""}


def versions(name: str, found: list[dict[str, Any]]) -> None:
    """Print one row per version."""
    console = _console()
    if not found:
        console.print(f"{name} has no versions yet; `dvc repro` ends with the first")
        return
    groups = list(dict.fromkeys(group for one in found for group in one["accuracy"]))
    groups = [group for group in groups if group != "all"]
    table = Table(
        box=SIMPLE,
        padding=(0, 0),
        title=f"{name}, accuracy on test in percent",
    )
    for column in ("no.", "aliases", "verdict", "balanced", *groups, "made"):
        # Words one below the other, so that many groups fit into a narrow terminal.
        heading = escape(column.replace(" ", "\n"))
        table.add_column(heading, justify="right" if column in groups else "left", no_wrap=True)
    for one in found:
        accuracy = one["accuracy"]
        table.add_row(
            one["version"],
            "\n".join(one["aliases"]),
            _verdict(one["verdict"]),
            _percent(accuracy.get("all", {}).get("balanced_accuracy")),
            *(_percent(accuracy.get(group, {}).get("accuracy")) for group in groups),
            one["made"][:10],
        )
    console.print(table)


def version(name: str, found: dict[str, Any]) -> None:
    """Print one version."""
    console = _console()
    aliases = f" ({', '.join(found['aliases'])})" if found["aliases"] else ""
    console.print(f"[bold]{escape(name)} version {found['version']}[/]{aliases}")
    against = found["judged_against"]
    judged = f", judged against {titled(against)}" if against else ""
    console.print(f"\n[bold]Gate[/]: {_verdict(found['verdict'])}{judged}")
    for check in found["checks"]:
        reason = f"  {MARKS[check['passed']]}: {escape(check['reason'])}"
        console.print(reason, soft_wrap=True)
    table = Table("accuracy on test, %", "accuracy", "balanced", box=SIMPLE)
    for group, metrics in found["accuracy"].items():
        numbers = (_percent(metrics.get(key)) for key in ("accuracy", "balanced_accuracy"))
        table.add_row(escape(group), *numbers)
    console.print(table)
    facts = {
        "variant": found["chosen"],
        "made": found["made"],
        "commit": _commit(found),
        "split": found["split_md5"],
        "split is in": found["split_remote"],
        "image": found["image"],
        "GPU image": found["gpu_image"],
        "pipeline run": found["pipeline_run"],
        "MLflow run": found["run_id"],
        "artifacts": found["artifacts"],
        "smoke test": found["smoke_test"],
        "load": f"mlflow.pyfunc.load_model('models:/{name}/{found['version']}')",
        "make again": f"longtail reproduce {found['version']}",
    }
    for key, value in facts.items():
        line = f"[bold]{key:<13}[/] {escape(str(value or 'unknown'))}"
        console.print(line, soft_wrap=True)
    _entries(console, found["changes"])


def comparison(name: str, found: "Comparison", *, classes: int) -> None:
    """Print the differences: overall, by group, and of the best and worst classes."""
    console = _console()
    console.print(
        f"[bold]{escape(name)}: version {found.second} against version {found.first}[/] on the "
        f"same {found.images} test images; percent, intervals at {100 * found.confidence:g} %"
    )
    columns = ("images", f"v{found.first}", f"v{found.second}", "difference", "interval", "")
    _differences(console, "all", columns, found.overall)
    _differences(console, "by group", columns, found.groups)
    shown = found.classes
    if len(shown) > 2 * classes:
        shown = shown[:classes] + shown[len(shown) - classes :]
    title = f"by class: {len(shown)} of {len(found.classes)}, from most gained to most lost"
    _differences(console, title, columns, shown)
    counted = {word: sum(row.sure == word for row in found.classes) for word in ("better", "worse")}
    console.print(
        f"{counted['better']} classes are surely better, {counted['worse']} surely worse (Holm's "
        "procedure over all rows of a table); the intervals are each by itself"
    )


def history(name: str, entries: "list[Entry]", remark: str | None) -> None:
    """Print every change of the champion, oldest first."""
    console = _console()
    if not entries:
        console.print(f"{name} has never had a champion by longtail")
    _entries(console, entries)
    if remark:
        console.print(f"[yellow]Note:[/] {escape(remark)}")


def _entries(console: Console, entries: "list[Entry]") -> None:
    for entry in entries:
        verdict = _verdict(entry.verdict) + (" [red]overridden[/]" if entry.override else "")
        console.print(
            f"[bold]{entry.number:>4}[/]  {entry.when}  {entry.action} to version {entry.version} "
            f"from {titled(entry.replaced)}; gate: {verdict}"
            f"{'' if entry.done else '  [yellow]aliases not set yet[/]'}\n"
            f"      {escape(entry.who)}: {escape(entry.why)}",
            soft_wrap=True,
        )


def _differences(
    console: Console, title: str, columns: tuple[str, ...], rows: "list[Difference]"
) -> None:
    if not rows:
        return
    table = Table("", title=title, title_justify="left", box=SIMPLE)
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        low, high = row.interval
        table.add_row(
            escape(row.name),
            str(row.images),
            _percent(row.before),
            _percent(row.after),
            f"{100 * row.difference:+.1f}",
            f"\\[{100 * low:+.1f}, {100 * high:+.1f}]",
            SURE[row.sure],
        )
    console.print(table)


def _console() -> Console:
    return Console(highlight=False)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _verdict(verdict: str | None) -> str:
    colour = COLOURS.get(verdict or "")
    return f"[{colour}]{verdict}[/]" if colour else escape(verdict or "not judged")


def _commit(found: dict[str, Any]) -> str:
    commit = (found["git_commit"] or "unknown")[:10]
    return f"{commit} and changes" if found["git_dirty"] == "True" else commit
