"""The MLflow model registry: which version is the champion, and how a candidate becomes one.

Every version carries, as tags, the candidate that it is (`predictions_digest`, `chosen`), what the
gate said of it last (`verdict`) and which champion it was judged against (`incumbent_version`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from longtail.errors import LongtailError
from longtail.io.connection import Tracker
from longtail.io.tracking import logged_model

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous-champion", "challenger"
INCUMBENT, NONE = "incumbent_version", "none"


@dataclass(frozen=True)
class Candidate:
    """What makes a candidate this very one: its test predictions, and the variant val chose."""

    digest: str
    chosen: str

    def tags(self) -> dict[str, str]:
        """Return the tags that its version and its runs are found by."""
        return {"predictions_digest": self.digest, "chosen": self.chosen}


def champion(tracker: Tracker, name: str) -> ModelVersion | None:
    """Return the version with the alias `champion`; None without one, or without the model."""
    try:
        aliases = tracker.client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return _version(tracker, name, aliases[CHAMPION]) if CHAMPION in aliases else None


def incumbent(tracker: Tracker, name: str, *, candidate: Candidate) -> ModelVersion | None:
    """Return the champion that `candidate` has to beat, or None.

    If the candidate is the champion already, this is the version that it replaced (None too if that
    one is gone): promoting a candidate must not change what it was judged against.
    """
    current = champion(tracker, name)
    if current is None or not candidate.tags().items() <= current.tags.items():
        return current
    replaced = current.tags[INCUMBENT]
    return None if replaced == NONE else _version(tracker, name, replaced)


def identity(version: ModelVersion) -> dict[str, str | None]:
    """Return name, version, digest and chosen; the last two are None if it is not one of ours."""
    return {
        "name": version.name,
        "version": str(version.version),
        "digest": version.tags.get("predictions_digest"),
        "chosen": version.tags.get("chosen"),
    }


def find(tracker: Tracker, name: str, *, candidate: Candidate) -> ModelVersion | None:
    """Return the version that holds `candidate`, or None."""
    clauses = [f"name = '{name}'", *(f"tags.{k} = '{v}'" for k, v in candidate.tags().items())]
    found = tracker.client.search_model_versions(" and ".join(clauses))
    return min(found, key=lambda version: int(version.version), default=None)


def create_version(
    tracker: Tracker, name: str, *, run_id: str, tags: Mapping[str, str]
) -> ModelVersion:
    """Register the model that a run logged; the version has its tags from its first moment."""
    try:
        tracker.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    model = logged_model(tracker, run_id)
    return tracker.client.create_model_version(
        name, f"models:/{model}", run_id=run_id, tags=dict(tags), model_id=model
    )


def retag(tracker: Tracker, version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Set those tags of a version that have another value now."""
    for key, value in tags.items():
        if version.tags.get(key) != value:
            tracker.client.set_model_version_tag(version.name, str(version.version), key, value)


def require_incumbent(tracker: Tracker, name: str, *, judged: str, itself: str | None) -> None:
    """Refuse to go on if the champion is not the version that the gate judged against.

    Args:
        judged: version that the gate compared with, or `none`.
        itself: the candidate's own version if it has one; being champion already is no conflict.

    Raises:
        LongtailError: somebody has set the alias since.
    """
    current = champion(tracker, name)
    now = NONE if current is None else str(current.version)
    if now not in (judged, itself):
        raise LongtailError(
            f"the champion of {name} is {_titled(now)} now, but the gate judged against "
            f"{_titled(judged)}; run the steps champion and gate again (`dvc repro`)"
        )


def place(
    tracker: Tracker, version: ModelVersion, *, outcome: Literal["promote", "hold"], judged: str
) -> list[str]:
    """Set the aliases that an outcome earns, and return them.

    What is not rejected is the `challenger`. What is promoted takes the place of `judged`, the
    champion that the gate compared with, which becomes `previous-champion`.
    """
    name, number = version.name, str(version.version)
    tracker.client.set_registered_model_alias(name, CHALLENGER, number)
    if outcome == "hold":
        return [CHALLENGER]
    # The registry has no compare-and-set: the champion is read again right before it is replaced.
    require_incumbent(tracker, name, judged=judged, itself=number)
    current = champion(tracker, name)
    if current is not None and str(current.version) != number:
        tracker.client.set_registered_model_alias(name, PREVIOUS, str(current.version))
    tracker.client.set_registered_model_alias(name, CHAMPION, number)
    return [CHALLENGER, CHAMPION]


def _version(tracker: Tracker, name: str, number: str) -> ModelVersion | None:
    try:
        return tracker.client.get_model_version(name, number)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _titled(number: str) -> str:
    return "no version" if number == NONE else f"version {number}"
