"""Classifier heads on features: one value type for every method."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

ABSENT = -1e30  # a logit that no other is below, but finite
TENSORS = ("weight", "bias", "center", "absent", "hidden_weight", "hidden_bias")
SETTINGS = ("kind", "scale", "normalize", "rejects_to", "threshold", "parts")


@dataclass(frozen=True)
class Head:
    """A classifier: features `[N, D]` -> logits `[N, C]`.

    First `x' = relu(V x + a)` if there is a hidden layer, then `x' - center`, then `x' / ||x'||` if
    `normalize`. With `w` the rows of `weight`:

    - `linear`: `z_j = scale * (w_j . x' + b_j)`
    - `cosine`: `z_j = scale * cos(w_j, x')`
    - `ncm`: `z_j = scale * (2 w_j . x' - ||w_j||^2)`, which is minus the squared distance to the
      class mean `w_j`, up to `||x'||^2`, a term that is common to all classes.
    - `mixture`: `z = scale * log mean_k softmax(W_k x'_k + b_k)`, an ensemble of linear heads:
      features are cut into `parts`, the columns of `weight` likewise, and `b_k` is row `k` of
      `bias`.

    Attributes:
        weight: float32 `[C, D]`, or `[C, H]` behind a hidden layer.
        bias: float32 `[C]` or None; of `linear` only, and `[K, C]` of `mixture`.
        center: float32 `[D]` or None.
        absent: bool `[C]` or None: classes without training images, which are never predicted.
        hidden_weight, hidden_bias: `V` `[H, D]` and `a` `[H]`, or None.
        rejects_to: label of a class for images that are of no class seen in training, or None; it
            is predicted where no other class has a probability of at least `threshold`.
        parts: dimensions `D_k` of the members of a `mixture`; their sum is `D`.
    """

    kind: Literal["linear", "cosine", "ncm", "mixture"]
    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    center: Tensor | None = None
    normalize: bool = False
    absent: Tensor | None = None
    hidden_weight: Tensor | None = None
    hidden_bias: Tensor | None = None
    rejects_to: int | None = None
    threshold: float = 0.0
    parts: tuple[int, ...] = ()

    def prepare(self, features: Tensor) -> Tensor:
        """Bring features into the space of `weight`'s rows, `[N, D]` -> `[N, D or H]`."""
        if self.hidden_weight is not None:
            features = F.relu(F.linear(features, self.hidden_weight, self.hidden_bias))
        if self.center is not None:
            features = features - self.center
        return F.normalize(features, dim=1) if self.normalize else features

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits `[N, C]` of features `[N, D]`; those of absent classes are `ABSENT`."""
        z = self._scores(self.prepare(features))
        if self.absent is not None:
            z = z.masked_fill(self.absent, ABSENT)
        return z if self.rejects_to is None else _with_rejection(z, self.rejects_to, self.threshold)

    def _scores(self, x: Tensor) -> Tensor:
        if self.kind == "cosine":
            return self.scale * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))
        if self.kind == "ncm":
            return self.scale * F.linear(x, 2 * self.weight, -self.weight.square().sum(dim=1))
        if self.kind == "mixture":
            return self._mixture(x)
        return self.scale * F.linear(x, self.weight, self.bias)

    def _mixture(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        pieces = zip(
            torch.split(x, list(self.parts), dim=1),
            torch.split(self.weight, list(self.parts), dim=1),
            self.bias,
            strict=True,
        )
        scores = [F.linear(*piece) for piece in pieces]
        if self.absent is not None:  # no member gives them a share
            scores = [z.masked_fill(self.absent, ABSENT) for z in scores]
        members = [z.log_softmax(dim=1) for z in scores]
        return self.scale * (torch.stack(members).logsumexp(dim=0) - math.log(len(members)))


def known_labels(logits: Tensor, labels: Tensor) -> Tensor:
    """Return which images `[N]` have a label that their head can give: none of an absent class."""
    return logits.gather(1, labels[:, None]).squeeze(1) > ABSENT / 1e3


def _with_rejection(logits: Tensor, label: int, threshold: float) -> Tensor:
    """Give `label` the logit that is the largest just where no probability reaches `threshold`.

    `p_max < t` is `z_max < log t + log sum_k e^(z_k)`, the sum over the other classes.
    """
    column = torch.arange(logits.shape[1], device=logits.device) == label
    known = logits.masked_fill(column, ABSENT)
    rejection = math.log(threshold) + torch.logsumexp(known, dim=1, keepdim=True)
    return torch.where(column, rejection, known)
