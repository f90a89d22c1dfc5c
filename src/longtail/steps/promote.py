"""Change the champion by hand: check the verdict and the artifact, record who and why."""

from dataclasses import dataclass

from longtail.config.promotion import RegisterConfig
from longtail.errors import LongtailError
from longtail.io import history, promotion, registry, smoke
from longtail.io.connection import connect
from longtail.io.history import Entry
from longtail.io.promotion import Act
from longtail.io.registry import titled


@dataclass(frozen=True)
class Change:
    """A new champion, and the check of its artifact (None: it has nothing to be checked by)."""

    entry: Entry
    smoke: smoke.Smoke | None


def promote(
    config: RegisterConfig, which: str, *, who: str, why: str | None, override: str | None
) -> Change | None:
    """Make a version the champion, if the gate lets it or `override` says why it should be so.

    Args:
        which: number or alias of the version.
        why: the reason; needed where the gate held the version.
        override: the reason to promote against the gate.

    Returns:
        None if it is the champion already.

    Raises:
        LongtailError: the gate forbids it, the artifact does not do what was evaluated, or somebody
            else has changed the champion meanwhile.
    """
    name = config.model_name
    for option, reason in (("--why", why), ("--override", override)):
        _require_words(option, reason)
    given = "; ".join(reason for reason in (override, why) if reason)
    history.require_short(given)
    with connect(config.tracking_uri) as tracker:
        version = registry.require(tracker, name, which)
        log = history.find_or_create(tracker, name, experiment_name=config.experiment)
        entries = promotion.settle(tracker, name, log)
        current = registry.champion_number(tracker, name)
        if current == str(version.version):
            return None
        reason = given if override else _permitted(version, current, entries, why=why)
        checked = smoke.check(tracker, version, tolerance=config.smoke_tolerance)
        act = Act(who, reason, override=override is not None)
        entry = promotion.promote(tracker, version, expected=current, act=act, history=log)
    return None if entry is None else Change(entry, checked)


def rollback(config: RegisterConfig, *, who: str, why: str) -> Change:
    """Make `previous-champion` the champion again.

    Raises:
        LongtailError: there is none, its artifact does not do what was evaluated, or somebody else
            has changed the champion meanwhile.
    """
    name = config.model_name
    _require_words("--why", why)
    with connect(config.tracking_uri) as tracker:
        log = history.find_or_create(tracker, name, experiment_name=config.experiment)
        promotion.settle(tracker, name, log)
        current = registry.champion_number(tracker, name)
        previous = promotion.require_previous(tracker, name)
        # A model of other makers was champion without a check, and may be again.
        ours = smoke.HELD in previous.tags
        checked = smoke.check(tracker, previous, tolerance=config.smoke_tolerance) if ours else None
        act = Act(who, why)
        entry = promotion.rollback(tracker, name, expected=current, act=act, history=log)
    return Change(entry, checked)


def _require_words(option: str, reason: str | None) -> None:
    """Refuse a reason that says nothing, or too much to be kept; None is that none was given."""
    if reason is None:
        return
    if not reason.strip():
        raise LongtailError(f'{option} is empty: give a reason, {option} "reason"; it is recorded')
    history.require_short(reason)


def _permitted(
    version: registry.Version, current: str, entries: list[Entry], *, why: str | None
) -> str:
    """Return the reason to promote; LongtailError if the gate's verdict is none."""
    title = f"{version.name} version {version.version}"
    insist = 'promote it all the same with --override "reason", which is recorded'
    verdict = version.tags.get("verdict")
    if verdict is None:
        raise LongtailError(f"{title} was never judged by the gate; register it, or {insist}")
    if verdict == "reject":
        raise LongtailError(
            f"the gate rejected {title} (`longtail models show {version.version}` says why); "
            f"{insist}"
        )
    judged = version.tags.get(registry.INCUMBENT)
    if judged != current:
        raise LongtailError(
            f"the gate compared {title} with {titled(judged or 'none')}, but the champion is "
            f"{titled(current)} now; run the steps champion and gate again (`dvc repro`), or "
            f"{insist}"
        )
    taken_down = promotion.rolled_back(str(version.version), entries)
    if taken_down is not None:
        raise LongtailError(
            f"{title} was rolled back by {taken_down.who} at {taken_down.when}: {taken_down.why}; "
            f"{insist}"
        )
    if verdict == "hold" and not why:
        raise LongtailError(
            f"the gate holds {title}: it could not decide (`longtail models show "
            f'{version.version}` says why). If you do, say why: --why "reason"'
        )
    return why or f"the gate's verdict: {verdict}"
