"""gate: compare the evaluated candidate with fixed bounds and with the champion."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from longtail.artifacts import Champion, Evaluation, Gate
from longtail.config.promotion import GateConfig
from longtail.errors import LongtailError
from longtail.files import file_digest, read_json, whole_directory, write_json
from longtail.gating.checks import Check, outcome, require_groups, undecided
from longtail.gating.comparison import gain, group_gains, group_losses, worst_class
from longtail.gating.floors import floors
from longtail.gating.predictions import Predictions, by_class, by_super_class, other_test_split
from longtail.io.prediction_file import read_predictions

_DECIDE = (
    "a person has to decide, after `register`: `longtail models promote challenger --why REASON`; "
    "later candidates are compared with that one"
)


def gate(config: GateConfig, *, evaluation: Path, champion: Path, out: Path) -> None:
    """Write `verdict.json`: promote, hold or reject, each check with interval, bound and reason.

    Every number is computed from the predictions of both models, none is taken from a report.

    Raises:
        LongtailError: a bound names a group that the split lacks, or asks for super-classes where
            there are none.
    """
    measured = Evaluation(evaluation)
    report = read_json(measured.report)
    identity = read_json(Champion(champion).identity)["champion"]
    if config.max_super_class_loss is not None:
        _super_classes(report)
    for key in ("min_group_accuracy", "min_group_gain", "max_group_loss"):
        require_groups(getattr(config, key), report["group_names"], where=f"gate.{key}")
    candidate = read_predictions(measured.predictions, report["chosen"])
    checks = [
        *_thresholds(config, comparing=identity is not None),
        *floors(
            candidate,
            groups=_by_label(report, "group"),
            min_balanced_accuracy=config.min_balanced_accuracy,
            min_group_accuracy=config.min_group_accuracy,
            max_calibration_error=config.max_calibration_error,
            bins=report["calibration_bins"],
            confidence=config.confidence,
        ),
        *_against(config, identity, report=report, candidate=candidate, predictions=champion),
    ]
    verdict = {
        "outcome": outcome(checks),
        "confidence": config.confidence,
        "candidate": {"digest": file_digest(measured.predictions), "chosen": report["chosen"]},
        "champion": identity,
        "checks": [asdict(check) for check in checks],
    }
    with whole_directory(out) as partial:
        write_json(Gate(partial).verdict, verdict)


def _thresholds(config: GateConfig, *, comparing: bool) -> list[Check]:
    """Nothing if a bound is set on the model; the gain over a champion alone is not one.

    Without a champion to compare with, what may be lost against one bounds nothing.
    """
    floors = (
        config.min_balanced_accuracy,
        config.max_calibration_error,
        *config.min_group_accuracy.values(),
    )
    losses = (
        config.max_class_loss,
        config.max_super_class_loss,
        *config.max_group_loss.values(),
    )
    if any(bound is not None for bound in (*floors, *(losses if comparing else ()))):
        return []
    reason = (
        "no thresholds, no blessing: set gate.min_balanced_accuracy, gate.min_group_accuracy"
        + (
            ", gate.max_calibration_error, gate.max_group_loss or gate.max_class_loss"
            if comparing
            else " or gate.max_calibration_error; a loss has no meaning without a champion"
        )
    )
    return [undecided("thresholds", reason)]


def _against(
    config: GateConfig,
    identity: dict[str, Any] | None,
    *,
    report: dict[str, Any],
    candidate: Predictions,
    predictions: Path,
) -> list[Check]:
    if identity is None:
        return [_without_champion(config)]
    title = f"the champion, version {identity['version']}"
    if identity["digest"] is None:
        reason = f"{title}, has no stored predictions to compare with; was it registered elsewhere?"
        return [undecided("champion", f"{reason} Then {_DECIDE}")]
    champion = read_predictions(Champion(predictions).predictions, identity["chosen"])
    difference = other_test_split(candidate, champion)
    if difference:
        reason = f"{title}, {difference}: a comparison is refused"
        return [undecided("champion", f"{reason}; {_DECIDE}")]
    return _comparison(config, candidate, champion, report=report)


def _comparison(
    config: GateConfig, candidate: Predictions, champion: Predictions, *, report: dict[str, Any]
) -> list[Check]:
    groups = _by_label(report, "group")
    level = config.confidence
    paired = by_class(candidate, champion, num_classes=len(groups))
    checks = [
        gain(paired, min_gain=config.min_gain, confidence=level),
        *group_gains(paired, groups=groups, min_group_gain=config.min_group_gain, confidence=level),
        *group_losses(
            paired, groups=groups, max_group_loss=config.max_group_loss, confidence=level
        ),
    ]
    if config.max_class_loss is not None:
        checks.append(
            worst_class(
                paired,
                names=_by_label(report, "name"),
                max_loss=config.max_class_loss,
                min_images=config.min_class_images,
                confidence=level,
            )
        )
    if config.max_super_class_loss is not None:
        above = _super_classes(report)
        checks.append(
            worst_class(
                by_super_class(candidate, champion, super_of=np.array(above["of"])),
                names=above["names"],
                max_loss=config.max_super_class_loss,
                min_images=config.min_class_images,
                confidence=level,
                noun="super-class",
            )
        )
    return checks


def _super_classes(report: dict[str, Any]) -> dict[str, Any]:
    above: dict[str, Any] | None = report["super_classes"]
    if above is None:
        raise LongtailError(
            "gate.max_super_class_loss is set, but the classes of this split have no "
            "super-classes; set it to null"
        )
    return above


def _without_champion(config: GateConfig) -> Check:
    promote = config.without_champion == "promote"
    reason = "there is no champion to compare with, and gate.without_champion is " + (
        "promote" if promote else "hold: set it to promote for the first one"
    )
    return Check("champion", True if promote else None, None, None, None, reason)


def _by_label(report: dict[str, Any], key: str) -> list[str]:
    return [entry[key] for entry in report["classes"]]
