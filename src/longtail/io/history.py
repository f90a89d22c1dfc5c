"""The history of a model's champions in MLflow: an entry per promotion or rollback, written once.

MLflow has no compare-and-set: of two processes that set an alias, the later wins and neither is
told. What it does have is that a run's parameter keeps its first value (a unique key of its
database), and that an experiment's name is given once. So the history is a run whose parameters are
`0001`, `0002` ...: whoever writes number n first has made the n-th change, a second writer is
refused. An experiment named after the model says, from its creation on, which run that is.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

from mlflow.exceptions import MlflowException

from longtail.errors import LongtailError
from longtail.io.connection import Tracker
from longtail.io.tracking import MAX_PARAMETER_LENGTH, artifact_location, experiment

NONE = "none"
MAX_REASON = 1000  # characters
_RUN_TAG, _DONE = "history_run", "{number:04d}.done"


@dataclass(frozen=True)
class Entry:
    """One change of the champion.

    Attributes:
        version: the champion from then on. replaced: the one before, or `none`.
        previous: what `previous-champion` is from then on, or `none`.
        when: UTC, ISO 8601. why: the reason in words.
        verdict: what the gate had said of `version`, or `unknown`. override: despite of it.
        claim: distinguishes two writers of the same words.
        done: the aliases have been set.
    """

    action: Literal["promote", "rollback"]
    version: str
    replaced: str
    previous: str
    who: str
    when: str
    why: str
    verdict: str
    override: bool
    claim: str = ""
    number: int = 0
    done: bool = False


@dataclass(frozen=True)
class History:
    """The run that holds the history of one registered model."""

    tracker: Tracker
    run_id: str

    def entries(self) -> list[Entry]:
        """Return all entries, oldest first."""
        params: Mapping[str, str] = self.tracker.client.get_run(self.run_id).data.params
        numbers = sorted(int(key) for key in params if key.isdigit())
        return [
            replace(
                Entry(**json.loads(params[f"{number:04d}"])),
                number=number,
                done=_DONE.format(number=number) in params,
            )
            for number in numbers
        ]

    def claim(self, entry: Entry, *, number: int) -> Entry | None:
        """Write `entry` as that number; None if somebody else has written this number before.

        Raises:
            LongtailError: MLflow would cut the entry, and then nobody could read the history.
        """
        claimed = replace(entry, claim=uuid.uuid4().hex, number=number)
        content = {k: v for k, v in asdict(claimed).items() if k not in ("number", "done")}
        text = json.dumps(content, sort_keys=True, ensure_ascii=False)
        if len(text) > MAX_PARAMETER_LENGTH:
            raise LongtailError(
                f"the entry of the history would have {len(text)} characters, of which MLflow "
                f"keeps {MAX_PARAMETER_LENGTH}; shorten --why or --by"
            )
        try:
            self._write(f"{number:04d}", text)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            return None
        return claimed

    def close(self, entry: Entry) -> None:
        """Note that the aliases have been set; saying so again changes nothing."""
        self._write(_DONE.format(number=entry.number), "yes")

    def _write(self, key: str, value: str) -> None:
        run = self.tracker.client.get_run(self.run_id)
        if run.info.lifecycle_stage != "active":
            raise LongtailError(
                f"the run {self.run_id}, which holds the history of promotions, was deleted; "
                f"restore it first: mlflow runs restore --run-id {self.run_id}"
            )
        self.tracker.client.log_param(self.run_id, key, value)


def find(tracker: Tracker, name: str) -> History | None:
    """Return the history of the registered model `name`; None if nothing was ever promoted."""
    found = tracker.client.get_experiment_by_name(_title(name))
    return None if found is None else History(tracker, found.tags[_RUN_TAG])


def find_or_create(tracker: Tracker, name: str, *, experiment_name: str) -> History:
    """Return the history of `name`; a new one is a run in the given experiment.

    Of several processes that start it at once, one does, and the others use it.
    """
    found = find(tracker, name)
    if found is not None:
        return found
    client = tracker.client
    run = client.create_run(
        experiment(tracker, experiment_name),
        run_name=_title(name),
        tags={"history_of": name, "mlflow.note.content": _note(name)},
    )
    client.set_terminated(run.info.run_id)
    try:
        client.create_experiment(
            _title(name),
            artifact_location=artifact_location(tracker),
            tags={_RUN_TAG: run.info.run_id, "mlflow.note.content": _note(name)},
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        client.delete_run(run.info.run_id)
    created = find(tracker, name)
    if created is None:
        raise LongtailError(f"the experiment `{_title(name)}` is gone again; run this once more")
    return created


def require_short(reason: str) -> None:
    """Raise LongtailError if a reason is too long to be kept whole."""
    if len(reason) > MAX_REASON:
        raise LongtailError(
            f"the reason has {len(reason)} characters, at most {MAX_REASON} are kept; shorten it"
        )


def _title(name: str) -> str:
    return f"promotions of {name}"


def _note(name: str) -> str:
    return (
        f"The champions of the registered model {name}. Written by longtail, never by hand; "
        "`longtail models history` prints it."
    )
