"""Two registered versions compared by the predictions stored with them."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from longtail.artifacts import Evaluation
from longtail.config.promotion import RegisterConfig
from longtail.differences import Difference, by_class, by_group, overall
from longtail.errors import LongtailError
from longtail.files import read_json
from longtail.gating.predictions import Predictions, other_test_split
from longtail.gating.predictions import by_class as paired_by_class
from longtail.io import catalogue, registry
from longtail.io.connection import connect
from longtail.io.prediction_file import read_predictions


@dataclass(frozen=True)
class Comparison:
    """The second version against the first; classes by gain, the largest first."""

    first: str
    second: str
    images: int
    confidence: float
    overall: list[Difference]
    groups: list[Difference]
    classes: list[Difference]


def compare(config: RegisterConfig, first: str, second: str, *, confidence: float) -> Comparison:
    """Compare two versions, each by number or alias, with the groups of the second.

    Raises:
        LongtailError: there is no such version, it has no predictions, or they are of another test
            split.
    """
    name = config.model_name
    with connect(config.tracking_uri) as tracker, tempfile.TemporaryDirectory() as scratch:
        versions = [registry.require(tracker, name, which) for which in (first, second)]
        before, after = (
            catalogue.evaluation(tracker, version, into=Path(scratch) / str(version.version))
            for version in versions
        )
        numbers = [str(version.version) for version in versions]
        champion, candidate = _predictions(before), _predictions(after)
        apart = other_test_split(candidate, champion)
        if apart:
            raise LongtailError(
                f"version {numbers[0]} {apart.replace('the candidate', f'version {numbers[1]}')}; "
                "only predictions of the same images can be compared. Choose versions of one split "
                "(`split_md5` in `longtail models show`), or train with the parameters of version "
                f"{numbers[0]} on the split of version {numbers[1]} and compare what that registers"
            )
        classes = read_json(after.report)["classes"]
    paired = paired_by_class(candidate, champion, num_classes=len(classes))
    groups = [entry["group"] for entry in classes]
    names = [entry["name"] for entry in classes]
    return Comparison(
        first=numbers[0],
        second=numbers[1],
        images=len(candidate.labels),
        confidence=confidence,
        overall=overall(paired, confidence=confidence),
        groups=by_group(paired, groups=groups, confidence=confidence),
        classes=by_class(paired, names=names, confidence=confidence),
    )


def _predictions(evaluation: Evaluation) -> Predictions:
    """Read the predictions of the chosen variant."""
    return read_predictions(evaluation.predictions, read_json(evaluation.report)["chosen"])
