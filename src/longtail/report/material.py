"""Everything that page, pictures and model card are made of, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from longtail.metrics import Outcome
from longtail.report.published import Published
from longtail.report.ranking import Confusion, confusion_of
from longtail.report.table import applicable


def multiply_adds(representation: Mapping[str, Any], choice: Mapping[str, Any]) -> int:
    """Multiply-adds of one answer: with the mirror image, if that is averaged in.

    Args:
        representation: content of `representation.json`. choice: of `tau_norm.json`.
    """
    views = 2 if choice["test_time_flip"] else 1
    return views * int(representation["multiply_adds"])


@dataclass(frozen=True)
class Material:
    """What one run left behind; the files are described in `longtail.artifacts`.

    Attributes:
        report: content of `report.json`.
        predictions: content of `predictions.parquet`.
        examples: content of `examples.parquet`.
        verdict: content of `verdict.json`.
        validation: content of `validation.json`.
        profile: content of `profile.json`.
        representation: content of `representation.json`, with its history.
        classifier: content of `classifier.json`, with its history; empty if nothing is trained.
        choice: content of `tau_norm.json`; `curve` is its grid.
        provenance: `git_commit`, `git_dirty`, `split_md5` (each may be null) and `params`.
        costs: one record a step, in the order of the flow.
        published: rows to print beside ours.
        words: content of the section `report`: title, intended use and the like.
    """

    report: dict[str, Any]
    predictions: pd.DataFrame
    examples: pd.DataFrame
    verdict: dict[str, Any]
    validation: dict[str, Any]
    profile: dict[str, Any]
    representation: dict[str, Any]
    stage1_history: list[dict[str, Any]]
    classifier: dict[str, Any]
    stage2_history: list[dict[str, Any]]
    choice: dict[str, Any]
    curve: list[dict[str, Any]]
    provenance: dict[str, Any]
    costs: list[dict[str, Any]]
    published: list[Published]
    words: dict[str, Any]

    @property
    def classes(self) -> list[dict[str, Any]]:
        """By label: name, group, training and test images."""
        classes: list[dict[str, Any]] = self.report["classes"]
        return classes

    @property
    def chosen(self) -> str:
        """The variant that val chose."""
        return str(self.report["chosen"])

    @property
    def multiply_adds(self) -> int:
        """Of one answer, see `multiply_adds`."""
        return multiply_adds(self.representation, self.choice)

    @property
    def tau_metric(self) -> str:
        """The score on the curve that chose tau."""
        return f"val_{self.choice['select_by']}"

    @cached_property
    def outcomes(self) -> dict[str, Outcome]:
        """Variant -> what it said about the test images."""
        return {name: outcome_in(self.predictions, name) for name, _ in applicable(self.report)}

    @property
    def outcome(self) -> Outcome:
        """What the chosen variant said."""
        return self.outcomes[self.chosen]

    @cached_property
    def confusion(self) -> Confusion:
        """What the chosen variant takes for what."""
        return confusion_of(self.outcome, num_classes=len(self.classes))


def outcome_in(predictions: pd.DataFrame, variant: str) -> Outcome:
    """Return what a variant said, from the columns of `predictions.parquet`."""
    return Outcome(
        labels=predictions["label"].to_numpy(dtype=np.int64),
        predictions=predictions[f"{variant}_prediction"].to_numpy(dtype=np.int64),
        confidences=predictions[f"{variant}_confidence"].to_numpy(dtype=np.float64),
        ranks=predictions[f"{variant}_rank"].to_numpy(dtype=np.int64),
    )
