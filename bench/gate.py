"""The gate by simulation: what it decides, how often its intervals hold, and how fast it is.

`python -m bench.gate` prints the tables of docs/gate.md.
"""

import time

import numpy as np
from scipy import stats

from bench.paired_draws import GROUPS, MOVED, OTHERS, TESTS, Test, draws
from longtail.gating.checks import Check, Interval, outcome
from longtail.gating.checks import Outcome as Decision
from longtail.gating.comparison import gain, group_losses, worst_class
from longtail.gating.floors import calibration
from longtail.gating.paired import Paired, Sample, stratified
from longtail.gating.predictions import Predictions, by_class, sorted_predictions
from longtail.gating.score import lower_end, upper_end
from longtail.metrics import balanced_accuracy_interval, calibration_bins

MARGIN, CONFIDENCE = 0.04, 0.95  # of every group; of every interval
CHANGES = (-0.05, -0.02, -0.01, 0.01, 0.02, 0.05)
REPEATS, REPEATS_OF_A_CHANGE, REPEATS_OF_CLASSES = 2000, 500, 200
REPEATS_OF_CALIBRATION = 500
OUTCOMES: tuple[Decision, ...] = ("promote", "hold", "reject")


def run() -> dict[str, float]:
    """Return rates of outcomes and of coverage, and seconds for 8,142 classes."""
    found: dict[str, float] = {}
    for test in TESTS:
        for name, rates in outcomes_by_change(test).items():
            found |= {f"{test.name}_{name}_{key}": value for key, value in rates.items()}
    for test in (*TESTS, *OTHERS):
        found |= {f"{test.name}_{key}": value for key, value in coverage(test).items()}
    for images in (20, 50, 100):
        found[f"exact_coverage_of_{images}_images"] = exact_coverage(images)
    found["calibration_error_coverage"] = calibration_coverage()
    found |= worst_class_rates()
    found["seconds_for_8142_classes"] = seconds(TESTS[2])
    return found


def outcomes_by_change(test: Test) -> dict[str, dict[str, float]]:
    """Rates of promote, hold and reject when *few* changed, nothing did, or the classes moved.

    `few_seen` is how often the interval of *few* excludes that it did not change.
    """
    nothing = {
        "nothing_changed": _rates(test, repeats=REPEATS),
        "classes_moved": _rates(test, moved=MOVED, repeats=REPEATS),
    }
    return nothing | {
        f"few_{100 * change:+.0f}": _rates(test, few=change, repeats=REPEATS_OF_A_CHANGE)
        for change in CHANGES
    }


def coverage(test: Test) -> dict[str, float]:
    """How often the intervals of the gain and of the change of *few* hold the truth."""
    few = test.groups == "few"
    hits = {"gain": 0, "few": 0, "balanced_accuracy": 0}
    for truth, paired in draws(test, moved=MOVED, repeats=REPEATS, seed=1):
        change = truth.gains - truth.losses
        size = test.images[few]
        hits["gain"] += _holds(stratified(paired, weighting="classes"), change.mean())
        hits["few"] += _holds(
            stratified(paired.only(few), weighting="images"), size @ change[few] / size.sum()
        )
        correct = paired.both + paired.gains
        low, high = balanced_accuracy_interval(paired.images, correct, confidence=CONFIDENCE)
        hits["balanced_accuracy"] += low <= (truth.both + truth.gains).mean() <= high
    return {f"{name}_coverage": float(count / REPEATS) for name, count in hits.items()}


def exact_coverage(images: int) -> float:
    """Mean over a grid of rates, each exact: the sum of the chances of all tables that cover."""
    tables = np.array([(g, k) for g in range(images + 1) for k in range(images + 1 - g)])
    sample = Sample(np.full(len(tables), float(images)), *tables.T.astype(float))
    tail = (1 - CONFIDENCE) / 2
    low, high = lower_end(sample, tail=tail), upper_end(sample, tail=tail)
    cells = np.column_stack([tables, images - tables.sum(axis=1)])
    rates = np.arange(0.025, 0.5, 0.05)
    covered = [
        stats.multinomial.pmf(cells, images, [g, k, 1 - g - k]) @ ((low <= g - k) & (g - k <= high))
        for g in rates
        for k in rates
    ]
    return float(np.mean(covered))


def calibration_coverage() -> float:
    """How often the interval of the calibration error holds it; the model is overconfident."""
    rng = np.random.default_rng(2)

    def drawn(size: int) -> tuple[float, Interval]:
        confidence = rng.beta(4, 2, size=size)
        right = rng.random(size) <= confidence**1.2
        return calibration(calibration_bins(confidence, right, bins=15), confidence=CONFIDENCE)

    truth, _ = drawn(10_000_000)
    intervals = [interval for _, interval in map(drawn, [10_000] * REPEATS_OF_CALIBRATION)]
    return sum(low <= truth <= high for low, high in intervals) / REPEATS_OF_CALIBRATION


def worst_class_rates() -> dict[str, float]:
    """Rates of what the check of single classes says, when classes moved and when one collapsed."""
    found = {}
    for test, margin in ((TESTS[0], 0.35), (TESTS[1], 0.5)):
        for event, fall in (("classes_moved", 0.0), ("one_class_fell_by_60", 0.6)):
            drawn = draws(test, moved=MOVED, fall=fall, repeats=REPEATS_OF_CLASSES)
            passed = [_worst(test, paired, margin).passed for _, paired in drawn]
            for name, value in (("passed", True), ("held", None), ("failed", False)):
                key = f"{test.name}_{event}_worst_class_{name}"
                found[key] = passed.count(value) / len(passed)
    return found


def seconds(test: Test) -> float:
    """Time of all checks on predictions, the worst class of any size included."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(test.images)), test.images)
    ids = [f"{number:064x}" for number in rng.permutation(len(labels))]

    def model() -> Predictions:
        predicted = np.where(rng.random(len(labels)) < 0.5, labels, 0)
        return sorted_predictions(
            ids, labels=labels, predicted=predicted, confidences=rng.random(len(labels))
        )

    started = time.perf_counter()
    paired = by_class(model(), model(), num_classes=len(test.images))
    _checks(test, paired)
    _worst(test, paired, 0.9, min_images=1)
    return time.perf_counter() - started


def _rates(test: Test, *, repeats: int, few: float = 0.0, moved: float = 0.0) -> dict[str, float]:
    drawn = draws(test, few=few, moved=moved, repeats=repeats)
    found = [_checks(test, paired) for _, paired in drawn]
    decided = [outcome(checks) for checks in found]
    seen = [not low <= 0 <= high for low, high in map(_interval_of_few, found)]
    return {
        **{name: decided.count(name) / repeats for name in OUTCOMES},
        "few_seen": sum(seen) / repeats,
    }


def _interval_of_few(checks: list[Check]) -> Interval:
    return next(c.interval for c in checks if c.interval and c.name.startswith("few"))


def _checks(test: Test, paired: Paired) -> list[Check]:
    groups, margins = test.groups.tolist(), dict.fromkeys(GROUPS, MARGIN)
    return [
        gain(paired, min_gain=0.0, confidence=CONFIDENCE),
        *group_losses(paired, groups=groups, max_group_loss=margins, confidence=CONFIDENCE),
    ]


def _worst(test: Test, paired: Paired, margin: float, *, min_images: int = 30) -> Check:
    return worst_class(
        paired, names=test.names, max_loss=margin, min_images=min_images, confidence=CONFIDENCE
    )


def _holds(sample: Sample, truth: float) -> bool:
    tail = (1 - CONFIDENCE) / 2
    return bool(lower_end(sample, tail=tail) <= truth <= upper_end(sample, tail=tail))


def main() -> None:
    """Print the tables of docs/gate.md and the other numbers."""
    found = run()
    tests = [test.name for test in TESTS]
    rows = ["nothing_changed", "classes_moved", *(f"few_{100 * c:+.0f}" for c in CHANGES)]
    _print_table(["promote / hold / reject, %", *tests])
    for row in rows:
        rates = [[found.pop(f"{name}_{row}_{o}") for o in OUTCOMES] for name in tests]
        _print_row(row, [" / ".join(f"{100 * rate:.1f}" for rate in cell) for cell in rates])
    _print_table(["few seen to have changed, %", *tests])
    for row in rows:
        seen = [found.pop(f"{name}_{row}_few_seen") for name in tests]
        _print_row(row, [f"{100 * rate:.1f}" for rate in seen])
    columns = ["gain", "few", "balanced_accuracy"]
    _print_table(["intervals that hold the truth, %", *columns])
    for test in (*TESTS, *OTHERS):
        shares = [found.pop(f"{test.name}_{column}_coverage") for column in columns]
        _print_row(test.name, [f"{100 * share:.1f}" for share in shares])
    print()
    for key, value in found.items():
        print(f"{key:<60} {value:.4g}")


def _print_table(columns: list[str]) -> None:
    print()
    _print_row(columns[0], columns[1:])
    print("|" + "---|" * len(columns))


def _print_row(title: str, cells: list[str]) -> None:
    print("| " + " | ".join([title, *cells]) + " |")


if __name__ == "__main__":
    main()
