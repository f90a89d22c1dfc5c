"""An Optuna study in an SQLite file, trial after trial; a kill does not change its result."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from longtail.errors import LongtailError
from longtail.files import locked
from longtail.randomness import mixed_seed

ERROR = "error"  # the attribute of a trial that failed
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """A trial that has ended: `score` is that of a complete one, `error` that of a failed one."""

    number: int
    value: float  # of the parameter that is searched
    state: str  # COMPLETE, PRUNED or FAIL
    score: float | None
    by_epoch: list[float]
    error: str | None


def refuse_several_processes() -> None:
    """Raise LongtailError under torchrun: each process would have a study of its own."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size > 1:
        raise LongtailError(
            f"the search trains in one process, but torchrun started {size}; run it without"
        )


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Make a directory and keep other processes that ask for it out; a dead one keeps nobody out.

    Raises:
        LongtailError: another process is in it, or nobody can tell.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory) as alone:
        if not alone:
            raise LongtailError(
                f"another search works in {directory}, or its disk has no locks; wait for it, or "
                "give this one another --out"
            )
        yield


def opened(
    file: Path, name: str, *, pruner: optuna.pruners.BasePruner | None = None
) -> optuna.Study:
    """Open a study that maximises, made if need be."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=name,
        storage=f"sqlite:///{file}",
        direction="maximize",
        pruner=pruner or optuna.pruners.NopPruner(),
        load_if_exists=True,
    )


def run(
    study: optuna.Study,
    objective: Callable[[optuna.Trial], float],
    *,
    trials: int,
    startup_trials: int,
    seed: int,
    after_trial: Callable[[], None] = lambda: None,
) -> None:
    """Try until `trials` have ended, one that was cut off first; failures are recorded.

    The sampler's seed depends on the number of the trial alone, so that what a trial draws follows
    from the trials before it, whichever process ran them.
    """
    while len(study.get_trials(deepcopy=False, states=ENDED)) < trials:
        trial = _cut_off(study) or study.ask()
        study.sampler = optuna.samplers.TPESampler(
            seed=mixed_seed(seed, trial.number) % 2**32, n_startup_trials=startup_trials
        )
        try:
            score = objective(trial)
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        except Exception as error:
            log.warning("trial %d failed: %s", trial.number + 1, error)
            trial.set_user_attr(ERROR, _described(error))
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, score)
        after_trial()


def report(trial: optuna.Trial, scores: Sequence[float]) -> None:
    """Record the score of every epoch so far.

    Raises:
        optuna.TrialPruned: the trial is not worth going on with.
    """
    known = trial.storage.get_trial(trial._trial_id).intermediate_values
    for epoch, score in enumerate(scores):
        if epoch not in known:  # a resumed trial comes by its last epoch again
            trial.report(score, epoch)
    if trial.should_prune():
        raise optuna.TrialPruned


def rows(study: optuna.Study, parameter: str) -> list[Row]:
    """Return the trials that have ended, by number."""
    return [_row(trial, parameter) for trial in study.get_trials(deepcopy=False, states=ENDED)]


def best(found: Sequence[Row]) -> Row | None:
    """Return the complete trial with the best score, of equal ones the first; None without one."""
    complete = [row for row in found if row.score is not None]
    return max(complete, key=lambda row: row.score or 0.0, default=None)


def _cut_off(study: optuna.Study) -> optuna.Trial | None:
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return optuna.Trial(study, running[0]._trial_id) if running else None


def _described(error: Exception) -> str:
    return str(error) if isinstance(error, LongtailError) else f"{type(error).__name__}: {error}"


def _row(trial: FrozenTrial, parameter: str) -> Row:
    values = trial.intermediate_values
    return Row(
        number=trial.number,
        value=trial.params[parameter],
        state=trial.state.name,
        score=trial.value if trial.state == TrialState.COMPLETE else None,
        by_epoch=[values[step] for step in sorted(values)],
        error=trial.user_attrs.get(ERROR),
    )
