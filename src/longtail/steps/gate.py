"""gate: hold the evaluated candidate against fixed bounds and against the champion."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from longtail import gating
from longtail.artifacts import Champion, Evaluation, Gate
from longtail.config.promotion import GateConfig
from longtail.errors import LongtailError
from longtail.files import file_digest, read_json, whole_directory, write_json


def gate(config: GateConfig, *, evaluation: Path, champion: Path, out: Path) -> None:
    """Write `verdict.json`: promote, hold or reject, each check with value, bound and reason.

    Raises:
        LongtailError: a threshold names a group that the split lacks.
    """
    measured = Evaluation(evaluation)
    report = read_json(measured.report)
    identity = read_json(Champion(champion).identity)["champion"]
    for key in ("min_group_accuracy", "max_group_loss"):
        gating.require_groups(getattr(config, key), report["group_names"], where=f"gate.{key}")
    test = _test_split(measured.predictions)
    checks = [
        *_thresholds(config),
        *gating.floors(
            report["variants"][report["chosen"]]["groups"],
            min_balanced_accuracy=config.min_balanced_accuracy,
            min_group_accuracy=config.min_group_accuracy,
            max_calibration_error=config.max_calibration_error,
        ),
        *_against(config, identity, report=report, test=test, predictions=champion),
    ]
    verdict = {
        "outcome": gating.outcome(checks),
        "candidate": {"digest": file_digest(measured.predictions), "chosen": report["chosen"]},
        "champion": identity,
        "checks": [asdict(check) for check in checks],
    }
    with whole_directory(out) as partial:
        write_json(Gate(partial).verdict, verdict)


def _thresholds(config: GateConfig) -> list[gating.Check]:
    """Nothing if a bound is set on the model; the gain over a champion alone is not one."""
    bounds = (
        config.min_balanced_accuracy,
        config.max_calibration_error,
        *config.min_group_accuracy.values(),
        *config.max_group_loss.values(),
    )
    if any(bound is not None for bound in bounds):
        return []
    reason = (
        "no thresholds, no blessing: set gate.min_balanced_accuracy, gate.min_group_accuracy, "
        "gate.max_calibration_error or gate.max_group_loss"
    )
    return [gating.undecided("thresholds", reason)]


def _against(
    config: GateConfig,
    identity: dict[str, Any] | None,
    *,
    report: dict[str, Any],
    test: pd.DataFrame,
    predictions: Path,
) -> list[gating.Check]:
    if identity is None:
        return [_without_champion(config)]
    title = f"the champion, version {identity['version']}"
    if identity["digest"] is None:
        reason = f"{title}, has no stored predictions to compare with; was it registered elsewhere?"
        return [gating.undecided("champion", reason)]
    champion = _test_split(Champion(predictions).predictions)
    ours, theirs = _digest(test), _digest(champion)
    if ours != theirs:
        reason = (
            f"{title}, was evaluated on another test split ({len(champion)} images, digest "
            f"{theirs[:8]}) than the candidate ({len(test)} images, digest {ours[:8]})"
        )
        return [gating.undecided("champion", reason)]
    return gating.comparison(
        test[_column(report["chosen"], test)].to_numpy(),
        champion[_column(identity["chosen"], champion)].to_numpy(),
        test["label"].to_numpy(),
        groups=[entry["group"] for entry in report["classes"]],
        min_gain=config.min_gain,
        max_group_loss=config.max_group_loss,
    )


def _without_champion(config: GateConfig) -> gating.Check:
    promote = config.without_champion == "promote"
    reason = "there is no champion to compare with, and gate.without_champion is " + (
        "promote" if promote else "hold: set it to promote for the first one"
    )
    return gating.Check("champion", True if promote else None, None, None, reason)


def _test_split(predictions: Path) -> pd.DataFrame:
    """Predictions in an order that depends on images and labels alone, so that two tables align."""
    return pd.read_parquet(predictions).sort_values(["id", "label"], kind="stable")


def _digest(table: pd.DataFrame) -> str:
    return gating.split_digest(table["id"].tolist(), table["label"].to_numpy())


def _column(variant: str, table: pd.DataFrame) -> str:
    name = f"{variant}_prediction"
    if name not in table.columns:
        raise LongtailError(
            f"the predictions lack the column {name}; they hold {', '.join(table.columns)}"
        )
    return name
