"""Search the weight decay, then tau, on a part of the training images alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import torch
from optuna.trial import TrialState
from torch import Tensor

from longtail.artifacts import Images, Representation, Search, Split
from longtail.config.search import SearchConfig
from longtail.config.training import RepresentConfig
from longtail.data import ImageStore
from longtail.errors import LongtailError
from longtail.files import content_digest, file_digest, read_json, whole_directory, write_json
from longtail.heads import load_heads
from longtail.holding_out import held_out
from longtail.metrics import balanced_accuracy
from longtail.models import load_backbone, normalize
from longtail.randomness import generator_at, mixed_seed
from longtail.report.search import plot_learning, plot_search
from longtail.report.style import png
from longtail.steps.represent import represent
from longtail.tau_norm import tau_curve, tau_grid

TAUS = tau_grid(max_tau=2.0, steps=21)
CHUNK = 512
ERROR = "error"  # the attribute of a trial that failed


@dataclass(frozen=True)
class Inputs:
    """What every trial reads; `parts` has the two parts of the training images as a split."""

    config: SearchConfig
    represent: RepresentConfig
    images: Path
    parts: Split
    seal: Path


def search(
    config: SearchConfig,
    represent_config: RepresentConfig,
    *,
    images: Path,
    train: Path,
    profile: Path,
    validation: Path,
    out: Path,
) -> None:
    """Try weight decays by TPE and write `Search`: the best one, its tau, and every trial.

    The training images are divided class by class; one part trains, the other judges. Neither val
    nor test is read. The study is kept in `.<out>.study` beside `out`: an interrupted search goes
    on with the trial, and within it the epoch, where it was; more `trials` later add to it.

    A trial that fails is recorded with its error and does not end the search.

    Raises:
        LongtailError: the split did not pass validation, or every trial failed.

    Source: the report on weight decay and tau-normalisation, section 2.2; Bergstra et al.,
    Algorithms for Hyper-Parameter Optimization (NeurIPS 2011): TPE.
    """
    split_digest = file_digest(profile)
    if read_json(validation)["split"] != split_digest:
        raise LongtailError(f"{validation} is the seal of another split; run validate again")
    fixed = represent_config.model_dump(exclude={"weight_decay"})
    key = content_digest([config.model_dump(exclude={"trials"}), fixed, split_digest])
    root = out.with_name(f".{out.name}.study") / key[:16]
    inputs = _divide(config, represent_config, images, train, profile, root)
    study = _study(config, represent_config, root)
    _finish_interrupted(study)
    while len(_counted(study)) < config.trials:
        # A seed a trial, so that an interrupted search goes on as an undisturbed one would.
        study.sampler = optuna.samplers.TPESampler(
            seed=mixed_seed(config.seed, len(_counted(study))) % 2**32,
            n_startup_trials=config.startup_trials,
        )
        study.optimize(lambda trial: _try(trial, inputs, root), n_trials=1, catch=(LongtailError,))
    _write(out, study, inputs, root)


def _divide(
    config: SearchConfig,
    represent_config: RepresentConfig,
    images: Path,
    train: Path,
    profile: Path,
    root: Path,
) -> Inputs:
    """Write the two parts of the training images, and the profile of this smaller split."""
    parts = Split(root / "split")
    table = pq.read_table(train)
    labels = torch.from_numpy(table["label"].to_numpy().astype("int64"))
    judges = held_out(labels, share=config.held_out, generator=generator_at(config.seed))
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
    seal = root / "passed.json"
    write_json(seal, {"split": file_digest(parts.profile)})
    epochs = config.epochs or represent_config.epochs
    shorter = represent_config.model_copy(update={"epochs": epochs})
    return Inputs(config, shorter, images, parts, seal)


def _study(config: SearchConfig, represent_config: RepresentConfig, root: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    epochs = config.epochs or represent_config.epochs
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if config.prune:
        pruner = optuna.pruners.MedianPruner(
            n_startup_trials=config.startup_trials, n_warmup_steps=epochs // 5
        )
    return optuna.create_study(
        study_name="weight_decay",
        storage=f"sqlite:///{root / 'study.db'}",
        direction="maximize",
        pruner=pruner,
        load_if_exists=True,
    )


def _finish_interrupted(study: optuna.Study) -> None:
    """Queue the parameters of a trial that was killed once more; its training resumes."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)


def _counted(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that came to an end of their own: all but interrupted ones."""
    ended = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    return [trial for trial in ended if trial.state != TrialState.FAIL or ERROR in trial.user_attrs]


def _try(trial: optuna.Trial, inputs: Inputs, root: Path) -> float:
    """Train with one weight decay; return the score of its best epoch on the held-out images."""
    low, high = inputs.config.weight_decay
    weight_decay = trial.suggest_float("weight_decay", low, high, log=True)
    out, score = _trial_directory(root, weight_decay), f"val_{inputs.config.select_by}"

    def report(history: list[dict[str, float]]) -> None:
        known = trial.storage.get_trial(trial._trial_id).intermediate_values
        for entry in history:
            if entry["epoch"] not in known:
                trial.report(entry[score], int(entry["epoch"]))
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        if not out.exists():
            represent(
                inputs.represent.model_copy(update={"weight_decay": weight_decay}),
                images=inputs.images,
                train=inputs.parts.train,
                val=inputs.parts.val,
                profile=inputs.parts.profile,
                validation=inputs.seal,
                out=out,
                after_epoch=report,
            )
    except LongtailError as error:
        trial.set_user_attr(ERROR, str(error))
        raise
    return float(read_json(Representation(out).description)["val"][score])


def _trial_directory(root: Path, weight_decay: float) -> Path:
    return root / f"trial-{weight_decay:.6e}"


def _write(out: Path, study: optuna.Study, inputs: Inputs, root: Path) -> None:
    trials = [_row(trial) for trial in _counted(study)]
    finished = [trial for trial in trials if trial["state"] == "COMPLETE"]
    if not finished:
        raise LongtailError(
            f"none of {len(trials)} trials came to its end; the first says: {trials[0]['error']}"
        )
    best = max(finished, key=lambda trial: float(trial["score"]))
    tau, with_tau = _best_tau(inputs, _trial_directory(root, best["weight_decay"]))
    result = {
        "weight_decay": best["weight_decay"],
        "score": best["score"],
        "tau": tau,
        "score_with_tau": with_tau,
        "select_by": inputs.config.select_by,
        "trials": trials,
    }
    with whole_directory(out) as directory:
        artifact = Search(directory)
        write_json(artifact.result, result)
        artifact.scores_plot.write_bytes(png(plot_search(result)))
        artifact.learning_plot.write_bytes(png(plot_learning(result)))


def _row(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "weight_decay": trial.params["weight_decay"],
        "state": trial.state.name,
        "score": trial.value if trial.state == TrialState.COMPLETE else None,
        "by_epoch": [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)],
        "error": trial.user_attrs.get(ERROR),
    }


def _best_tau(inputs: Inputs, representation: Path) -> tuple[float | None, float | None]:
    """Tau of the best trial's head, by the same held-out images; None for a cosine head."""
    head = load_heads(Representation(representation).head)["stage1"]
    if head.kind != "linear":
        return None, None
    features, labels = _features(inputs, representation)

    def score(predictions: Tensor) -> float:
        if inputs.config.select_by == "accuracy":
            return (predictions == labels).double().mean().item()
        classes = len(head.weight)
        return balanced_accuracy(predictions.numpy(), labels.numpy(), num_classes=classes)

    points = tau_curve(head.prepare(features), head.weight, taus=TAUS)
    best = max(points, key=lambda point: score(point.predictions))
    return best.tau, score(best.predictions)


@torch.no_grad()
def _features(inputs: Inputs, representation: Path) -> tuple[Tensor, Tensor]:
    backbone, description = load_backbone(Representation(representation))
    store = ImageStore(Images(inputs.images), inputs.parts.val, size=description["image_size"])
    mean, std = description["mean"], description["std"]
    parts = [backbone(normalize(x, mean=mean, std=std)).float() for x in store.batches(CHUNK)]
    return torch.cat(parts), store.labels
