"""Changes of the champion: promotions and rollbacks, of which two at once cannot both succeed.

A change is decided by its entry in the history (`longtail.io.history`); the aliases and tags follow
from it. Whoever finds an entry whose aliases were not set yet, because its writer is slow or was
killed, sets them first. An alias that was moved by other means is the truth all the same: the
champion is always read from the registry, never from the history.
"""

import getpass
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from longtail.errors import LongtailError
from longtail.io import registry
from longtail.io.connection import Tracker
from longtail.io.history import NONE, Entry, History, require_short
from longtail.io.registry import CHAMPION, PREVIOUS, titled

ROLLED_BACK = "rolled_back"


@dataclass(frozen=True)
class Act:
    """Who changes the champion, and why."""

    who: str
    why: str
    override: bool = False


def promote(
    tracker: Tracker, version: ModelVersion, *, expected: str, act: Act, history: History
) -> Entry | None:
    """Make `version` the champion in the place of `expected`, which becomes `previous-champion`.

    Args:
        expected: version that was the champion when it was decided to promote, or `none`.

    Returns:
        The entry in the history, or None if `version` is the champion already.

    Raises:
        LongtailError: the champion is another one by now.
    """
    name, number = version.name, str(version.version)
    entries = settle(tracker, name, history)
    current = registry.champion_number(tracker, name)
    if current == number:
        return None
    if current != expected:
        raise LongtailError(_changed(name, expected, current, history))
    entry = _entry("promote", number, current, previous=current, act=act, version=version)
    return _change(tracker, name, entry, history=history, known=entries)


def rollback(tracker: Tracker, name: str, *, expected: str, act: Act, history: History) -> Entry:
    """Make `previous-champion` the champion again, in the place of `expected`.

    What it had replaced in its time becomes `previous-champion`, so that another rollback goes
    further back and does not undo this one.

    Raises:
        LongtailError: there is no previous champion, or the champion is another one by now.
    """
    entries = settle(tracker, name, history)
    current = registry.champion_number(tracker, name)
    if current != expected:
        raise LongtailError(_changed(name, expected, current, history))
    restored = require_previous(tracker, name)
    before = _replaced_by(restored, entries)
    known = before != NONE and registry.version(tracker, name, before) is not None
    entry = _entry(
        "rollback",
        str(restored.version),
        current,
        previous=before if known else NONE,
        act=act,
        version=restored,
    )
    return _change(tracker, name, entry, history=history, known=entries)


def require_previous(tracker: Tracker, name: str) -> ModelVersion:
    """Return the version with the alias `previous-champion`.

    Raises:
        LongtailError: there is none.
    """
    previous = registry.aliased(tracker, name, PREVIOUS)
    if previous is None:
        raise LongtailError(
            f"{name} has no {PREVIOUS}, so there is nothing to roll back to; choose a version "
            "(`longtail models list`) and promote it (`longtail models promote`)"
        )
    return previous


def settle(tracker: Tracker, name: str, history: History) -> list[Entry]:
    """Set the aliases of the last entry if that was not done yet; return all entries."""
    while True:
        entries = history.entries()
        if not entries or entries[-1].done:
            return entries
        last = entries[-1]
        # Moved by other means since: that is no unfinished change any more.
        if registry.champion_number(tracker, name) in (last.replaced, last.version):
            last = _set_newest_aliases(tracker, name, last, history)
        history.close(last)


def rolled_back(version: str, entries: list[Entry]) -> Entry | None:
    """Return the rollback that took `version` down, unless it was promoted again since."""
    for entry in reversed(entries):
        if entry.action == "promote" and entry.version == version:
            return None
        if entry.action == "rollback" and entry.replaced == version:
            return entry
    return None


def whoever() -> str:
    """Return who runs this process: the MLflow user or the system's, and the machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{os.environ.get('MLFLOW_TRACKING_USERNAME', user)}@{socket.gethostname()}"


def _entry(
    action: Literal["promote", "rollback"],
    number: str,
    current: str,
    *,
    previous: str,
    act: Act,
    version: ModelVersion,
) -> Entry:
    require_short(act.why)
    return Entry(
        action=action,
        version=number,
        replaced=current,
        previous=previous,
        who=act.who,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        why=act.why,
        verdict=version.tags.get("verdict", "unknown"),
        override=act.override,
    )


def _change(
    tracker: Tracker, name: str, entry: Entry, *, history: History, known: list[Entry]
) -> Entry:
    number = known[-1].number + 1 if known else 1
    claimed = history.claim(entry, number=number)
    if claimed is None:
        settle(tracker, name, history)
        current = registry.champion_number(tracker, name)
        raise LongtailError(_changed(name, entry.replaced, current, history))
    settle(tracker, name, history)
    _tag(tracker, name, claimed)
    after = registry.champion_number(tracker, name)
    if after != claimed.version:
        raise LongtailError(
            f"version {claimed.version} of {name} was made champion (entry {claimed.number} of the "
            f"history), but {titled(after)} is champion now: somebody has changed it since; see "
            "`longtail models history`"
        )
    return claimed


def _set_newest_aliases(tracker: Tracker, name: str, entry: Entry, history: History) -> Entry:
    """Set the aliases of `entry`, or of what is newer by then; return whose they are."""
    while True:
        _set_aliases(tracker, name, entry)
        newest = history.entries()[-1]
        if newest.number == entry.number:
            return entry
        entry = newest  # its aliases may have been set already, and overwritten here


def _set_aliases(tracker: Tracker, name: str, entry: Entry) -> None:
    if registry.version(tracker, name, entry.version) is None:
        return  # deleted since
    if entry.previous == NONE:
        tracker.client.delete_registered_model_alias(name, PREVIOUS)
    elif registry.version(tracker, name, entry.previous) is not None:
        _point(tracker, name, PREVIOUS, entry.previous)
    _point(tracker, name, CHAMPION, entry.version)


def _point(tracker: Tracker, name: str, alias: str, version: str) -> None:
    try:
        tracker.client.set_registered_model_alias(name, alias, version)
    except MlflowException:  # of two that set a new alias at once, MLflow's database refuses one
        current = registry.aliased(tracker, name, alias)
        if current is None or str(current.version) != version:
            raise


def _tag(tracker: Tracker, name: str, entry: Entry) -> None:
    """Leave on the versions what happened to them last; the history has all of it."""
    promoted = registry.version(tracker, name, entry.version)
    replaced = None if entry.replaced == NONE else registry.version(tracker, name, entry.replaced)
    words = {"at": entry.when, "by": entry.who, "because": entry.why}
    if entry.action == "rollback" and replaced is not None:
        registry.retag(tracker, replaced, {f"{ROLLED_BACK}_{k}": v for k, v in words.items()})
    if promoted is not None:
        words |= {"on_verdict": entry.verdict, "by_override": str(entry.override).lower()}
        registry.retag(tracker, promoted, {f"champion_{k}": v for k, v in words.items()})


def _replaced_by(version: ModelVersion, entries: list[Entry]) -> str:
    """What a version took the place of when it was promoted last."""
    for entry in reversed(entries):
        if entry.action == "promote" and entry.version == str(version.version):
            return entry.replaced
    return version.tags.get(registry.INCUMBENT, NONE)


def _changed(name: str, expected: str, current: str, history: History) -> str:
    entries = history.entries()  # read after `current`, or they may not tell of it yet
    last = entries[-1] if entries else None
    how = "the alias was moved by other means than longtail"
    if last is not None and last.version == current:
        how = f"{last.who} did that at {last.when}: {last.why}"
    return (
        f"the champion of {name} is {titled(current)} now and no longer {titled(expected)} "
        f"({how}); nothing was changed. Judge the candidate against the new champion: run the "
        "steps champion and gate again (`dvc repro`)"
    )
