"""Search weight decay, then tau, on a part of the training images alone."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import torch

from longtail.artifacts import Representation, Search, Split
from longtail.config.represent import RepresentConfig
from longtail.config.search import SearchConfig
from longtail.config.section import parse
from longtail.duplicates import same_image
from longtail.errors import LongtailError
from longtail.files import content_digest, file_digest, read_json, whole_directory, write_json
from longtail.holding_out import held_out
from longtail.randomness import generator_at
from longtail.report.search import plot_learning, plot_search, plot_tau
from longtail.report.style import png
from longtail.steps import trials
from longtail.steps.represent import first_weights, represent, validated_split
from longtail.steps.tau_search import search_tau
from longtail.steps.trials import Row

DATABASE = "study.db"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """What every trial reads; `parts` has the two parts of the training images as a split."""

    config: SearchConfig
    represent: RepresentConfig
    images: Path
    parts: Split
    seal: Path
    root: Path  # has the database, the parts and what the trials trained

    def trial(self, number: int) -> Path:
        """Directory of the model that a trial trained."""
        return self.root / f"trial-{number}"


def search(
    config: SearchConfig,
    represent_config: RepresentConfig,
    *,
    images: Path,
    train: Path,
    profile: Path,
    validation: Path,
    out: Path,
    test_time_flip: bool = False,
) -> None:
    """Try weight decays, then taus on the best model, by TPE; write `Search`.

    The training images are divided class by class; one part trains, the other judges. Neither val
    nor test is read. The study is kept in `.<out>.study` beside `out`: an interrupted search goes
    on with the trial, and within it the epoch, where it was, and ends as an undisturbed one would;
    more `trials` later add to it. A trial that fails is recorded with its error and does not end
    the search.

    Raises:
        LongtailError: the split did not pass validation, another process works on this study, or
            every trial failed.

    Source: the report on weight decay and tau-normalisation, sections 2.2 and 2.3; Bergstra et al.,
    Algorithms for Hyper-Parameter Optimization (NeurIPS 2011): TPE.
    """
    trials.refuse_several_processes()
    split_digest = validated_split(profile, validation)
    trained = _with_epochs(represent_config, config.epochs or represent_config.epochs)
    root = out.with_name(f".{out.name}.study") / _key(config, trained, split_digest, train)
    with trials.alone_in(root):
        parts, seal = _divide(config, train, profile, root)
        inputs = Inputs(config, trained, images, parts, seal, root)
        decays = _search_weight_decay(inputs)
        best = trials.best(decays)
        if best is None:
            raise LongtailError(
                f"none of {len(decays)} trials came to its end; the first says: {decays[0].error}"
            )
        taus = _search_tau(inputs, best, test_time_flip=test_time_flip)
        _write(out, config, best, decays, taus)


def _key(config: SearchConfig, trained: RepresentConfig, split_digest: str, train: Path) -> str:
    """Name a study by what its trials share; more of them later add to the same one."""
    shared = [
        config.model_dump(exclude={"trials", "tau_trials"}),
        trained.model_dump(exclude={"weight_decay"}) | {"pretrained": first_weights(trained)},
        split_digest,
        file_digest(train),
    ]
    return content_digest(shared)[:16]


def _with_epochs(config: RepresentConfig, epochs: int) -> RepresentConfig:
    values = config.model_dump() | {"epochs": epochs}
    return parse(RepresentConfig, values, where=f"`represent` with search.epochs: {epochs}")


def _divide(config: SearchConfig, train: Path, profile: Path, root: Path) -> tuple[Split, Path]:
    """Write the two parts of the training images as a smaller split, and its seal."""
    parts, seal = Split(root / "split"), root / "passed.json"
    table = pq.read_table(train)
    labels = torch.from_numpy(table["label"].to_numpy().astype("int64"))
    copies = torch.from_numpy(same_image(table["id"].combine_chunks()).astype("int64"))
    place = generator_at(config.seed)
    judges = held_out(labels, copies=copies, share=config.held_out, generator=place)
    content = read_json(profile)
    for name, mask in (("train", ~judges), ("val", judges)):
        counts = torch.bincount(labels[mask], minlength=len(content["classes"]))
        for entry, count in zip(content["classes"], counts.tolist(), strict=True):
            entry[name] = count
    with whole_directory(parts.root) as directory:
        written = Split(directory)
        pq.write_table(table.filter((~judges).numpy()), written.train)
        pq.write_table(table.filter(judges.numpy()), written.val)
        write_json(written.profile, content)
    write_json(seal, {"split": file_digest(parts.profile)})
    return parts, seal


def _search_weight_decay(inputs: Inputs) -> list[Row]:
    config = inputs.config
    # What a weight decay is worth shows once the learning rate falls: the median of the first
    # epochs ended all but the first trials.
    pruner = optuna.pruners.PercentilePruner(
        75.0, n_startup_trials=config.startup_trials, n_warmup_steps=inputs.represent.epochs // 2
    )
    decays = trials.opened(
        inputs.root / DATABASE, "weight_decay", pruner=pruner if config.prune else None
    )
    trials.run(
        decays,
        lambda trial: _train(trial, inputs),
        trials=config.trials,
        startup_trials=config.startup_trials,
        seed=config.seed,
        after_trial=lambda: _after_trial(inputs, trials.rows(decays, "weight_decay")),
    )
    return trials.rows(decays, "weight_decay")


def _train(trial: optuna.Trial, inputs: Inputs) -> float:
    """Train with one weight decay; return the score of its best epoch on the held-out images."""
    low, high = inputs.config.weight_decay
    weight_decay = trial.suggest_float("weight_decay", low, high, log=True)
    out, score = inputs.trial(trial.number), f"val_{inputs.config.select_by}"
    if not out.exists():
        represent(
            inputs.represent.model_copy(update={"weight_decay": weight_decay}),
            images=inputs.images,
            train=inputs.parts.train,
            val=inputs.parts.val,
            profile=inputs.parts.profile,
            validation=inputs.seal,
            out=out,
            after_epoch=lambda history: trials.report(trial, [entry[score] for entry in history]),
        )
    return float(read_json(Representation(out).description)["val"][score])


def _after_trial(inputs: Inputs, rows: list[Row]) -> None:
    last = rows[-1]
    score = "" if last.score is None else f", {100 * last.score:.2f} % held out"
    log.info(
        f"trial {len(rows)} of {inputs.config.trials}: weight decay {last.value:.3e}: "
        f"{last.state.lower()}{score}"
    )
    _keep_the_best(inputs, rows)


def _keep_the_best(inputs: Inputs, rows: list[Row]) -> None:
    """Remove what the trials trained but for the best so far, which tau is searched on."""
    best = trials.best(rows)
    for directory in (*inputs.root.glob("trial-*"), *inputs.root.glob(".trial-*")):
        if best is None or directory != inputs.trial(best.number):
            shutil.rmtree(directory)


def _search_tau(inputs: Inputs, best: Row, *, test_time_flip: bool) -> list[Row]:
    name = f"tau of trial {best.number}{', flipped' if test_time_flip else ''}"
    return search_tau(
        trials.opened(inputs.root / DATABASE, name),
        images=inputs.images,
        table=inputs.parts.val,
        representation=inputs.trial(best.number),
        select_by=inputs.config.select_by,
        test_time_flip=test_time_flip,
        trials=inputs.config.tau_trials,
        seed=inputs.config.seed,
    )


def _write(
    out: Path, config: SearchConfig, best: Row, decays: Sequence[Row], taus: Sequence[Row]
) -> None:
    # Ties go to the smaller tau.
    tau = trials.best(sorted(taus, key=lambda row: row.value))
    result: dict[str, Any] = {
        "weight_decay": best.value,
        "score": best.score,
        "tau": None if tau is None else tau.value,
        "score_with_tau": None if tau is None else tau.score,
        "select_by": config.select_by,
        "trials": [_named(row, "weight_decay") for row in decays],
        "tau_trials": [_named(row, "tau") for row in taus],
    }
    with whole_directory(out) as directory:
        artifact = Search(directory)
        write_json(artifact.result, result)
        artifact.scores_plot.write_bytes(png(plot_search(result)))
        artifact.learning_plot.write_bytes(png(plot_learning(result)))
        if taus:
            artifact.tau_plot.write_bytes(png(plot_tau(result)))


def _named(row: Row, parameter: str) -> dict[str, Any]:
    return {parameter if key == "value" else key: value for key, value in asdict(row).items()}
