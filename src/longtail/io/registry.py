"""The MLflow model registry: which version is the champion, and how a candidate becomes one.

Every version carries, as tags, the candidate that it is (`predictions_digest`, `chosen`), what the
gate said of it last (`verdict`) and which champion it was judged against (`incumbent_version`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from longtail.errors import LongtailError, first_few
from longtail.files import file_digest
from longtail.io.connection import Tracker
from longtail.io.history import NONE
from longtail.io.tracking import EVALUATION, fetch, logged_model

Version = ModelVersion  # so that steps, which import no MLflow, can name it
CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous-champion", "challenger"
INCUMBENT = "incumbent_version"


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
    return aliased(tracker, name, CHAMPION)


def champion_number(tracker: Tracker, name: str) -> str:
    """Return the number of the champion, or `none`."""
    current = champion(tracker, name)
    return NONE if current is None else str(current.version)


def aliases(tracker: Tracker, name: str) -> dict[str, str]:
    """Return alias -> version number; empty if the model does not exist."""
    try:
        found = tracker.client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
    return {alias: str(number) for alias, number in found.items()}


def aliased(tracker: Tracker, name: str, alias: str) -> ModelVersion | None:
    """Return the version that an alias points to, or None."""
    number = aliases(tracker, name).get(alias)
    return None if number is None else version(tracker, name, number)


def versions(tracker: Tracker, name: str) -> list[ModelVersion]:
    """Return all versions of a model, the newest first."""
    client, found, token = tracker.client, [], None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        found += list(page)
        token = page.token
        if not token:
            return sorted(found, key=lambda one: int(one.version), reverse=True)


def incumbent(tracker: Tracker, name: str, *, candidate: Candidate) -> ModelVersion | None:
    """Return the champion that `candidate` has to beat, or None.

    If the candidate is the champion already, this is the version that it replaced (None too if that
    one is gone): promoting a candidate must not change what it was judged against.
    """
    current = champion(tracker, name)
    if current is None or not candidate.tags().items() <= current.tags.items():
        return current
    replaced = current.tags[INCUMBENT]
    return None if replaced == NONE else version(tracker, name, replaced)


def identity(version: ModelVersion) -> dict[str, str | None]:
    """Return name, version, digest and chosen.

    The last two are None if it is not one of ours; so is the digest if there is no run to have the
    predictions.
    """
    return {
        "name": version.name,
        "version": str(version.version),
        "digest": version.tags.get("predictions_digest") if version.run_id else None,
        "chosen": version.tags.get("chosen"),
    }


def fetch_predictions(
    tracker: Tracker, version: ModelVersion, *, name: str, into: Path
) -> Path | None:
    """Fetch the predictions that a version was judged by; None if it has none.

    Args:
        name: of the file.

    Raises:
        LongtailError: they are not those that it was registered with.
    """
    stated = identity(version)["digest"]
    if stated is None:
        return None
    artifact = f"{EVALUATION}/{name}"
    fetched = fetch(tracker, run_id=str(version.run_id), artifact=artifact, into=into)
    if file_digest(fetched) != stated:
        raise LongtailError(
            f"the predictions stored with {version.name} version {version.version} have another "
            f"digest than its tag predictions_digest ({stated[:12]}...); they were changed after "
            "it was registered: delete that version, or move the alias champion if it has it"
        )
    return fetched


def find(tracker: Tracker, name: str, *, candidate: Candidate) -> ModelVersion | None:
    """Return the version that holds `candidate`, or None."""
    clauses = [f"name = '{name}'", *(f"tags.{k} = '{v}'" for k, v in candidate.tags().items())]
    found = tracker.client.search_model_versions(" and ".join(clauses))
    return min(found, key=lambda version: int(version.version), default=None)


def create_version(
    tracker: Tracker, name: str, *, run_id: str, tags: Mapping[str, str], description: str
) -> ModelVersion:
    """Register the model that a run logged; the version has its tags from its first moment."""
    try:
        tracker.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    model = logged_model(tracker, run_id)
    return tracker.client.create_model_version(
        name,
        f"models:/{model}",
        run_id=run_id,
        tags=dict(tags),
        description=description,
        model_id=model,
    )


def retag(tracker: Tracker, version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Set those tags of a version that have another value now."""
    for key, value in tags.items():
        if version.tags.get(key) != value:
            tracker.client.set_model_version_tag(version.name, str(version.version), key, value)


def withdraw(tracker: Tracker, version: ModelVersion) -> None:
    """Take the alias `challenger` from a version, if it has it."""
    if aliases(tracker, version.name).get(CHALLENGER) == str(version.version):
        tracker.client.delete_registered_model_alias(version.name, CHALLENGER)


def require(tracker: Tracker, name: str, which: str) -> ModelVersion:
    """Return a version by its number or alias.

    Raises:
        LongtailError: there is none.
    """
    number = aliases(tracker, name).get(which, which)
    found = version(tracker, name, number) if number.isdigit() else None
    if found is None:
        known = [f"{one.version}" for one in versions(tracker, name)]
        there = f"it has {first_few(known)}" if known else "it has no versions yet"
        raise LongtailError(
            f"{name} has no version or alias `{which}`; {there}, and the aliases "
            f"{', '.join(aliases(tracker, name)) or 'none'} (`longtail models list`)"
        )
    return found


def version(tracker: Tracker, name: str, number: str) -> ModelVersion | None:
    """Return a version by its number, or None."""
    try:
        return tracker.client.get_model_version(name, number)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def titled(number: str) -> str:
    """Return `version 3`, or `no version`."""
    return "no version" if number == NONE else f"version {number}"
