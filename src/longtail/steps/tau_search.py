"""The second part of a search: tau for the head of the best trial, on the held-out images."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import optuna
import torch
from torch import Tensor

from longtail.artifacts import Images, Representation
from longtail.data import ImageStore
from longtail.extraction import FeatureExtractor
from longtail.heads import ABSENT
from longtail.io.head_files import load_heads
from longtail.metrics import val_scores
from longtail.steps.trials import Row, rows, run
from longtail.tau_norm import tau_normalize

MAX_TAU = 2.0
TAU_STEP = 0.01
STARTUP_TRIALS = 8
CHUNK = 512


def search_tau(
    taus: optuna.Study,
    *,
    images: Path,
    table: Path,
    representation: Path,
    select_by: Literal["balanced_accuracy", "accuracy"],
    test_time_flip: bool,
    trials: int,
    seed: int,
) -> list[Row]:
    """Try taus in 0..2, 0 and 1 first, on the images of `table`; none if the head is not linear."""
    head = load_heads(Representation(representation).head)["stage1"]
    if head.kind != "linear":
        return []
    features, labels = _features(images, table, representation, test_time_flip=test_time_flip)
    prepared = head.prepare(features)

    def score(trial: optuna.Trial) -> float:
        tau = trial.suggest_float("tau", 0.0, MAX_TAU, step=TAU_STEP)
        logits = prepared @ tau_normalize(head.weight, tau=tau).T  # [N, C]
        if head.absent is not None:
            logits = logits.masked_fill(head.absent, ABSENT)
        scores = val_scores(logits.max(dim=1).indices, labels, num_classes=len(head.weight))
        return scores[f"val_{select_by}"]

    for tau in (0.0, 1.0):
        taus.enqueue_trial({"tau": tau}, skip_if_exists=True)
    run(taus, score, trials=trials, startup_trials=STARTUP_TRIALS, seed=seed)
    # Optuna multiplies steps: it has 0.7000000000000001.
    return [replace(row, value=round(row.value, 2)) for row in rows(taus, "tau")]


def _features(
    images: Path, table: Path, representation: Path, *, test_time_flip: bool
) -> tuple[Tensor, Tensor]:
    extract = FeatureExtractor(Representation(representation), test_time_flip=test_time_flip)
    store = ImageStore(Images(images), table, size=extract.description["image_size"])
    return torch.cat(list(map(extract, store.batches(CHUNK)))), store.labels
