"""Stage 2: train a balanced classifier on the cached features."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from longtail.artifacts import Classifier, Features, Representation
from longtail.class_means import ncm
from longtail.config.losses import BALANCED_LOSSES, COUNTING_LOSSES, SIGMOID_LOSSES, LossSection
from longtail.config.stage2 import ClassifyConfig
from longtail.errors import LongtailError
from longtail.features import read_features
from longtail.files import read_json, whole_directory, write_json
from longtail.heads import Head
from longtail.io.head_files import load_heads, save_heads
from longtail.losses.table import loss_on_present
from longtail.posthoc import adjust_logits
from longtail.randomness import generator_at
from longtail.stage2 import Fitted, Labelled, Training, crt, lws, max_norm, val_metrics
from longtail.tau_norm import tau_grid


@dataclass(frozen=True)
class Task:
    """What every method starts from."""

    config: ClassifyConfig
    stage1: Head
    keeps_prior: bool
    train: Labelled
    val: Labelled
    num_classes: int

    def training(self, sampler: str) -> Training:
        """How this task trains, unless another sampler is asked for, with `sampler`."""
        return Training(
            epochs=self.config.epochs,
            batch_size=self.config.batch_size,
            learning_rate=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            sampler=self.config.sampler or sampler,
            generator=generator_at(self.config.seed),
        )


def classify(config: ClassifyConfig, *, features: Path, representation: Path, out: Path) -> None:
    """Write `Classifier`: the stage-2 head, its best epoch by val, and its history.

    Raises:
        LongtailError: there are no features, the method does not fit the stage-1 head, or its
            training diverged.
    """
    task = _task(config, features, representation)
    if config.method == "sweep":
        heads, results = _sweep(task)
        chosen = max(heads, key=lambda name: float(results[name]["val_balanced_accuracy"]))
    else:
        chosen, heads, results = config.method, {}, {}
    fitted = heads[chosen] if heads else METHODS[chosen](task)
    description: dict[str, Any] = {
        "method": chosen,
        "best_epoch": fitted.best_epoch,
        "val": _judged(fitted, task),
        "follows_counts": fitted.follows_counts,
    }
    with whole_directory(out) as directory:
        artifact = Classifier(directory)
        save_heads(artifact.head, {"stage2": fitted.head})
        write_json(artifact.history, fitted.history)
        if heads:
            save_heads(artifact.sweep, {name: found.head for name, found in heads.items()})
            description["sweep"] = results
        write_json(artifact.description, description)


def _task(config: ClassifyConfig, features: Path, representation: Path) -> Task:
    train, val = (Labelled(*read_features(Features(features), part)) for part in ("train", "val"))
    description = read_json(Representation(representation).description)
    return Task(
        config=config,
        stage1=load_heads(Representation(representation).head)["stage1"],
        keeps_prior=description["keeps_prior"],
        train=train,
        val=val,
        num_classes=len(description["classes"]),
    )


def _sweep(task: Task) -> tuple[dict[str, Fitted], dict[str, dict[str, Any]]]:
    """Try every method; of those that do not fit stage 1, or diverge, keep the reason."""
    heads: dict[str, Fitted] = {}
    results: dict[str, dict[str, Any]] = {}
    for name, method in SWEEP.items():
        try:
            heads[name] = method(task)
            results[name] = _judged(heads[name], task)
        except LongtailError as error:
            results[name] = {"not_applicable": str(error)}
    return heads, results


def _judged(fitted: Fitted, task: Task) -> dict[str, float]:
    found = val_metrics(fitted.head, task.val)
    return found if fitted.tau is None else {**found, "tau": fitted.tau}


def _crt(task: Task) -> Fitted:
    # Balanced draws would take the prior out once more than such a loss has.
    balanced = task.config.loss.name in BALANCED_LOSSES
    return _retrained(task, task.config.loss, sampler="instance" if balanced else "class_balanced")


def _bwlm(task: Task) -> Fitted:
    return _retrained(task, task.config.bfs, sampler="instance")


def _retrained(task: Task, loss: LossSection, *, sampler: str) -> Fitted:
    counts = task.train.counts(task.num_classes)
    settings = loss.settings()
    if loss.name == "seql":  # which spares classes at random
        settings["generator"] = generator_at(task.config.seed, 1)
    sigmoid = loss.name in SIGMOID_LOSSES
    training = task.training(sampler)
    fitted = crt(
        task.train,
        task.val,
        num_classes=task.num_classes,
        training=training,
        loss=loss_on_present(loss.name, class_counts=counts, **settings),
        bias_start=-math.log(max(1, task.num_classes - 1)) if sigmoid else None,
    )
    counting = loss.name in COUNTING_LOSSES and training.sampler == "instance"
    return replace(fitted, follows_counts=counting)


def _lws(task: Task) -> Fitted:
    _need_linear(task, "lws")
    training = replace(task.training("class_balanced"), weight_decay=0.0)
    fitted = lws(task.stage1, task.train, task.val, training=training)
    return replace(fitted, follows_counts=training.sampler == "instance")


def _max_norm(task: Task) -> Fitted:
    _need_linear(task, "max_norm")
    return max_norm(task.stage1, task.train, task.val, training=task.training("instance"))


def _ncm(task: Task) -> Fitted:
    return _class_means(task, task.config.ncm_features, task.config.ncm_distance)


def _class_means(
    task: Task, features: Literal["cl2n", "l2n", "none"], distance: Literal["euclidean", "cosine"]
) -> Fitted:
    head = ncm(task.train, num_classes=task.num_classes, features=features, distance=distance)
    return Fitted(head, None, [])


def _logit_adjustment(task: Task) -> Fitted:
    _need_linear(task, "logit_adjustment")
    if not task.keeps_prior:
        raise LongtailError(
            "classify.method logit_adjustment takes out the prior, but stage 1 was not trained by "
            "the plain cross-entropy on images as they come; train it so, or use another method"
        )
    counts = task.train.counts(task.num_classes)
    given = task.config.adjustment_tau
    taus = tau_grid(max_tau=2.0, steps=21) if given is None else [given]
    heads = [adjust_logits(task.stage1, counts, tau=tau) for tau in taus]
    scores = [val_metrics(head, task.val)["val_balanced_accuracy"] for head in heads]
    best = scores.index(max(scores))
    return Fitted(heads[best], None, [], tau=taus[best], follows_counts=taus[best] == 0)


def _need_linear(task: Task, method: str) -> None:
    if task.stage1.kind != "linear":
        raise LongtailError(
            f"classify.method is {method}, but the stage-1 head is {task.stage1.kind}; its rows "
            "have no free length: use crt, bwlm or ncm, or another represent.loss"
        )


METHODS: dict[str, Callable[[Task], Fitted]] = {
    "crt": _crt,
    "lws": _lws,
    "bwlm": _bwlm,
    "max_norm": _max_norm,
    "ncm": _ncm,
    "logit_adjustment": _logit_adjustment,
}
SWEEP: dict[str, Callable[[Task], Fitted]] = {
    **{name: method for name, method in METHODS.items() if name != "ncm"},
    "ncm_cl2n": lambda task: _class_means(task, "cl2n", "euclidean"),
    "ncm_cl2n_cosine": lambda task: _class_means(task, "cl2n", "cosine"),
    "ncm_l2n": lambda task: _class_means(task, "l2n", "euclidean"),
    "ncm_none": lambda task: _class_means(task, "none", "euclidean"),
    "ncm_none_cosine": lambda task: _class_means(task, "none", "cosine"),
}
