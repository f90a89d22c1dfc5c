"""What both stages of training and what follows them without training write."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Representation:
    """Stage 1. `representation.json` describes the model and the data it was trained on.

    `backbone`, `pretrained` (null, `hub` or the SHA-256 of the file of weights), `feature_dim`,
    `image_size`, `mean`, `std`, `horizontal_flip` (whether training mirrored images), `head_kind`
    (linear or cosine), `head_scale`, `classes`, `super_classes` (names, or []), `super_of` (by
    label, or []), `class_counts`, `groups` (by label), `group_names`, `loss`, `sampler`,
    `best_epoch`, `epochs`, `val` (metrics of the best epoch), `parameters`, `multiply_adds`,
    `split` (digest of the profile), `keeps_prior` (whether its probabilities contain the shares of
    the training classes, as after plain cross-entropy), `follows_counts` (whether they are at least
    roughly for those shares, as after any training that does not balance). `history.json` is a list
    of `{epoch, learning_rate, frozen_groups, train_loss, train_accuracy, val_loss, val_accuracy,
    val_balanced_accuracy}`.
    """

    root: Path

    @property
    def backbone(self) -> Path:
        return self.root / "backbone.safetensors"

    @property
    def head(self) -> Path:
        """Tensors of the head `stage1`, and of `super` if super-classes were learnt too.

        See `longtail.io.head_files.save_heads`.
        """
        return self.root / "head.safetensors"

    @property
    def description(self) -> Path:
        return self.root / "representation.json"

    @property
    def history(self) -> Path:
        return self.root / "history.json"


@dataclass(frozen=True)
class Search:
    """`search.json`: `weight_decay`, its `score`, `tau`, `score_with_tau`, `select_by`, `trials`.

    A trial is `{number, weight_decay, state (COMPLETE, PRUNED, FAIL), score, by_epoch, error}`;
    `tau_trials` is a list of the same with `tau`, empty for a head that is not linear.
    """

    root: Path

    @property
    def result(self) -> Path:
        return self.root / "search.json"

    @property
    def scores_plot(self) -> Path:
        return self.root / "scores.png"

    @property
    def learning_plot(self) -> Path:
        return self.root / "learning.png"

    @property
    def tau_plot(self) -> Path:
        """Missing for a head that is not linear."""
        return self.root / "tau.png"


@dataclass(frozen=True)
class Features:
    """Features of the frozen backbone as NumPy files, so that they can be written as a stream.

    `features.json`: `test_time_flip`, which whoever uses the heads must do likewise.
    """

    root: Path

    @property
    def description(self) -> Path:
        return self.root / "features.json"

    def features(self, split: str) -> Path:
        """float32 `[V, N, D]`; view 0 is the plain image."""
        return self.root / f"{split}_features.npy"

    def labels(self, split: str) -> Path:
        """int64 `[N]`."""
        return self.root / f"{split}_labels.npy"


@dataclass(frozen=True)
class Classifier:
    """The stage-2 head. `classifier.json`: `method`, `best_epoch`, `val`; `history.json`.

    `val` is `{val_loss, val_accuracy, val_balanced_accuracy, tau?}`, with the tau that val chose
    for a logit adjustment. After a sweep, `method` is the one that val chose, and `sweep` has as
    much of every method, or `{not_applicable: reason}`.
    """

    root: Path

    @property
    def head(self) -> Path:
        """Tensors of one head named `stage2`."""
        return self.root / "head.safetensors"

    @property
    def sweep(self) -> Path:
        """Tensors of the heads of all methods by name; only after a sweep."""
        return self.root / "sweep.safetensors"

    @property
    def description(self) -> Path:
        return self.root / "classifier.json"

    @property
    def history(self) -> Path:
        return self.root / "history.json"


@dataclass(frozen=True)
class TauNorm:
    """All variants: `stage1`, `stage1_tau`, `stage2`, `stage2_tau`, and which one val chose.

    `tau_norm.json`: `chosen` (variant), `select_by`, `test_time_flip`, and `variants`: name ->
    `{tau, val_accuracy, val_balanced_accuracy, temperature?, threshold?}`, or
    `{not_applicable: reason}` for a head whose rows cannot be normalised. `curve.json`: list of
    `{head, tau, val_accuracy, val_balanced_accuracy}`.
    """

    root: Path

    @property
    def heads(self) -> Path:
        """Tensors of every applicable variant by name."""
        return self.root / "heads.safetensors"

    @property
    def choice(self) -> Path:
        return self.root / "tau_norm.json"

    @property
    def curve(self) -> Path:
        return self.root / "curve.json"
