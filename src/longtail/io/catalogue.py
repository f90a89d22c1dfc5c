"""What the registry holds, as plain values: for tables, pages and scripts."""

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from longtail.artifacts import Evaluation
from longtail.errors import LongtailError
from longtail.files import read_json
from longtail.io import history, origin, promotion, registry
from longtail.io.connection import Tracker
from longtail.io.tracking import ACCURACIES, EVALUATION, GROUPS, fetch


def versions(tracker: Tracker, name: str) -> list[dict[str, Any]]:
    """Return a description of every version, the newest first."""
    aliases = registry.aliases(tracker, name)
    return [_described(one, aliases) for one in registry.versions(tracker, name)]


def describe(tracker: Tracker, name: str, which: str) -> dict[str, Any]:
    """Return all that is known of one version, by number or alias.

    Beside what `versions` gives: `checks` (of the gate's last verdict), `parameters`, `changes`
    (its entries of the history), `smoke_test`, `artifacts` and `experiment_id`.
    """
    version = registry.require(tracker, name, which)
    described = _described(version, registry.aliases(tracker, name))
    run_id = version.tags.get("judged_in_run", version.run_id)
    run = _run(tracker, run_id) if run_id else None
    found = history.find(tracker, name)
    entries = found.entries() if found else []
    number = str(version.version)
    return described | {
        "checks": _checks(tracker, run_id),
        "parameters": dict(run.data.params) if run else {},
        "experiment_id": run.info.experiment_id if run else None,
        "artifacts": run.info.artifact_uri if run else None,
        "smoke_test": version.tags.get("smoke_test"),
        "changes": [one for one in entries if number in (one.version, one.replaced)],
    }


def _run(tracker: Tracker, run_id: str) -> Run | None:
    """Return a run, or None if it has been deleted for good."""
    try:
        return tracker.client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def changes(tracker: Tracker, name: str) -> tuple[list[history.Entry], str | None]:
    """Return the history, and a remark if the champion is not what it says."""
    found = history.find(tracker, name)
    entries = promotion.settle(tracker, name, found) if found else []
    champion = registry.champion_number(tracker, name)
    expected = entries[-1].version if entries else history.NONE
    if champion == expected:
        return entries, None
    return entries, (
        f"the alias champion is at {registry.titled(champion)}, the history ends with "
        f"{registry.titled(expected)}: it was moved by other means than longtail"
    )


def evaluation(tracker: Tracker, version: registry.Version, *, into: Path) -> Evaluation:
    """Fetch the report and the predictions that a version was judged by.

    Raises:
        LongtailError: it has none, or they are not those it was registered with.
    """
    into.mkdir(parents=True, exist_ok=True)
    wanted = Evaluation(into)
    predictions = registry.fetch_predictions(
        tracker, version, name=wanted.predictions.name, into=into
    )
    if predictions is None:
        raise LongtailError(
            f"{version.name} version {version.version} has no stored predictions; was it "
            "registered elsewhere?"
        )
    artifact = f"{EVALUATION}/{wanted.report.name}"
    fetch(tracker, run_id=str(version.run_id), artifact=artifact, into=into)
    return Evaluation(predictions.parent)


def _described(version: registry.Version, aliases: dict[str, str]) -> dict[str, Any]:
    tags, number = version.tags, str(version.version)
    made = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    return {
        "version": number,
        "aliases": sorted(alias for alias, at in aliases.items() if at == number),
        "verdict": tags.get("verdict"),
        "judged_against": tags.get(registry.INCUMBENT),
        "chosen": tags.get("chosen"),
        "accuracy": _accuracies(tags),
        "made": made.isoformat(timespec="seconds"),
        "run_id": version.run_id,
        **{key: tags.get(key) for key in origin.TAGS},
    }


def _accuracies(tags: dict[str, str]) -> dict[str, dict[str, float]]:
    """Group -> metric -> value, `all` first, then from most to least training images."""
    groups = json.loads(tags[GROUPS]) if GROUPS in tags else []
    return {
        group: {
            name: float(tags[f"{group}/{name}"]) for name in ACCURACIES if f"{group}/{name}" in tags
        }
        for group in groups
    }


def _checks(tracker: Tracker, run_id: str | None) -> list[dict[str, Any]]:
    if not run_id:
        return []
    with tempfile.TemporaryDirectory() as scratch:
        try:
            path = fetch(tracker, run_id=run_id, artifact="gate/verdict.json", into=Path(scratch))
        except (MlflowException, OSError):  # a version of other makers
            return []
        checks: list[dict[str, Any]] = read_json(path)["checks"]
    return checks
