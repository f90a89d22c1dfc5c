"""What both stages of training and what follows them without training write."""

from dataclasses import dataclass
from pathlib import Path

from longtail.artifacts.artifact import Artifact, file


@dataclass(frozen=True)
class Representation(Artifact):
    """Stage 1. `representation.json` describes the model and the data it was trained on.

    `backbone`, `pretrained` (null, `hub` or the SHA-256 of the file of weights), `feature_dim`,
    `image_size`, `mean`, `std`, `horizontal_flip` (whether training mirrored images), `head_kind`
    (linear or cosine), `head_scale`, `classes`, `super_classes` (names, or []), `super_of` (by
    label, or []), `class_counts`, `groups` (by label), `group_names`, `loss`, `sampler`,
    `departures` (keys of `represent` that make it other than plain cross-entropy on images as they
    come), `best_epoch`, `epochs`, `val` (metrics of the best epoch), `parameters`, `multiply_adds`,
    `split` (digest of the profile), `keeps_prior` (whether its probabilities contain the shares of
    the training classes, as after plain cross-entropy), `follows_counts` (whether they are at least
    roughly for those shares, as after any training that does not balance). `history.json` is a list
    of `{epoch, learning_rate, frozen_groups, train_loss, train_accuracy, val_loss, val_accuracy,
    val_balanced_accuracy}`.
    """

    backbone = file("backbone.safetensors")
    # Tensors of the head `stage1`, and of `super` if super-classes were learnt too.
    # See `longtail.io.head_files.save_heads`.
    head = file("head.safetensors")
    description = file("representation.json")
    history = file("history.json")


@dataclass(frozen=True)
class Search(Artifact):
    """`search.json`: `weight_decay`, its `score`, `tau`, `score_with_tau`, `select_by`, `trials`.

    A trial is `{number, weight_decay, state (COMPLETE, PRUNED, FAIL), score, by_epoch, error}`;
    `tau_trials` is a list of the same with `tau`, empty for a head that is not linear.
    """

    result = file("search.json")
    scores_plot = file("scores.png")
    learning_plot = file("learning.png")
    tau_plot = file("tau.png")  # missing for a head that is not linear


@dataclass(frozen=True)
class Features(Artifact):
    """Features of the frozen backbone as NumPy files, so that they can be written as a stream.

    `features.json`: `test_time_flip`, which whoever uses the heads must do likewise.
    """

    description = file("features.json")

    def features(self, split: str) -> Path:
        """float32 `[V, N, D]`; view 0 is the plain image."""
        return self.root / f"{split}_features.npy"

    def labels(self, split: str) -> Path:
        """int64 `[N]`."""
        return self.root / f"{split}_labels.npy"


@dataclass(frozen=True)
class Classifier(Artifact):
    """The stage-2 head. `classifier.json`: `method`, `best_epoch`, `val`; `history.json`.

    `val` is `{val_loss, val_accuracy, val_balanced_accuracy, tau?}`, with the tau that val chose
    for a logit adjustment. After a sweep, `method` is the one that val chose, and `sweep` has as
    much of every method, or `{not_applicable: reason}`. `follows_counts` as in `Representation`.
    """

    head = file("head.safetensors")  # tensors of one head named `stage2`
    sweep = file("sweep.safetensors")  # those of all methods' heads by name; only after a sweep
    description = file("classifier.json")
    history = file("history.json")


@dataclass(frozen=True)
class TauNorm(Artifact):
    """All variants: `stage1`, `stage1_tau`, `stage2`, `stage2_tau`, and which one val chose.

    `tau_norm.json`: `chosen` (variant), `select_by`, `test_time_flip`, `follow_counts` (names of
    the variants whose probabilities are at least roughly for the shares of the training classes;
    never a normalised one, whose bias and lengths are gone), and `variants`: name -> `{tau,
    val_accuracy, val_balanced_accuracy, temperature?, threshold?}`, or `{not_applicable: reason}`
    for a head whose rows cannot be normalised. `curve.json`: list of `{head, tau, val_accuracy,
    val_balanced_accuracy}`.
    """

    heads = file("heads.safetensors")  # tensors of every applicable variant by name
    choice = file("tau_norm.json")
    curve = file("curve.json")
