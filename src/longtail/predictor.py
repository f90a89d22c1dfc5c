"""What a registered model answers: pixels in, classes with probabilities out.

This module and those that it imports travel with every registered model (`longtail.io.export`). So
they import, of this package, only each other, and by relative names.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .image_input import Pixels, try_pixels
from .prior_shift import Floats, log_softmax, shift_prior

# Pixels `[N, S, S, 3]` -> logits of classes `[N, C]`, and of super-classes `[N, K]` if there are.
Forward = Callable[[Pixels], tuple[Floats, ...]]
Answer = dict[str, Any]
FIELDS = ("label", "class_name", "probability", "group", "top_k", "error")
SUPER_FIELDS = ("super_label", "super_name", "super_probability", "levels_agree")
BATCH = 64  # images a forward pass


@dataclass(frozen=True)
class Facts:
    """`model.json` of a registered model.

    Attributes:
        chosen: the variant that val chose.
        classes, groups: name and group of every class, `[C]`.
        super_classes: names, `[K]`. super_of: super-class of every class, `[C]`; both may be empty.
        class_counts: training images, `[C]`.
        prior: the class distribution that the probabilities assume, `[C]`.
        rejects: whether a class stands for images that the model is uncertain of.
        image_size: side of the square input in pixels. mean, std: of its channels, RGB in 0..1;
            the program normalises by itself.
    """

    chosen: str
    classes: list[str]
    groups: list[str]
    super_classes: list[str]
    super_of: list[int]
    class_counts: list[int]
    prior: list[float]
    rejects: bool
    image_size: int
    mean: list[float]
    std: list[float]


@dataclass(frozen=True)
class Scores:
    """Log-probabilities of classes `[N, C]`, and of super-classes `[N, K]` or None."""

    classes: Floats
    supers: Floats | None


class Predictor:
    """A model with the names of what it predicts."""

    def __init__(self, forward: Forward, facts: Facts) -> None:
        self.facts = facts
        self._forward = forward
        self.fields = FIELDS + SUPER_FIELDS if facts.super_of else FIELDS

    def answer(
        self, images: Sequence[Any], *, top_k: int, target: Floats | None = None
    ) -> list[Answer]:
        """Return an answer for each image, or only the reason where something is no image.

        Args:
            images: each as `image_input.model_pixels` takes it.
            target: class distribution to predict for, as `target` returns it; default: `prior`.
        """
        seen = [try_pixels(image, size=self.facts.image_size) for image in images]
        good = [pixels for pixels in seen if not isinstance(pixels, str)]
        answers: Iterator[Answer] = iter(())
        if good:
            scores = self.scores(np.stack(good))
            if target is not None:
                scores = self.shifted(scores, target)
            answers = iter(self.answers(scores, top_k=top_k))
        return [self.failure(p) if isinstance(p, str) else next(answers) for p in seen]

    def scores(self, pixels: Pixels) -> Scores:
        """Return what the model says of pixels `[N, S, S, 3]`, `N > 0`, in float32."""
        passes = [
            [log_softmax(logits) for logits in self._forward(pixels[start : start + BATCH])]
            for start in range(0, len(pixels), BATCH)
        ]
        levels = [np.concatenate(level) for level in zip(*passes, strict=True)]
        return Scores(levels[0], levels[1] if len(levels) > 1 else None)

    def target(self, shares: Sequence[float]) -> Floats:
        """Return a class distribution `[C]` to predict for, from shares or counts by label.

        Raises:
            ValueError: they are no distribution over classes that the model knows, or the model
                has none.
        """
        self.require_prior()
        values = np.array(shares, dtype=np.float64)
        names = self.facts.classes
        if values.shape != (len(names),):
            raise ValueError(f"{len(shares)} shares are given for {len(names)} classes")
        if not np.isfinite(values).all() or values.min() < 0 or values.sum() == 0:
            raise ValueError("shares of classes are 0 or more, and not all 0")
        unknown = [
            n for n, share, p in zip(names, values, self.facts.prior, strict=True) if share > p == 0
        ]
        if unknown:
            raise ValueError(
                f"the model was trained without images of {', '.join(unknown[:5])}, so it never "
                "predicts them; give them the share 0"
            )
        return np.asarray(values / values.sum())

    def require_prior(self) -> None:
        """Raise ValueError if the model's probabilities assume no class distribution."""
        if self.facts.rejects:
            raise ValueError(
                "this model rejects uncertain images to a class of their own, which has no "
                "probability in the sense of Bayes' rule; use it without a prior"
            )

    def assuming(self, prior: list[float]) -> "Predictor":
        """Return the model with another `prior` `[C]` that its probabilities are to assume."""
        return Predictor(self._forward, replace(self.facts, prior=prior))

    def shifted(self, scores: Scores, target: Floats) -> Scores:
        """Return the scores under the class distribution `target` `[C]`."""
        prior, supers = np.array(self.facts.prior), scores.supers
        if supers is not None:
            supers = shift_prior(supers, trained=self._above(prior), target=self._above(target))
        return Scores(shift_prior(scores.classes, trained=prior, target=target), supers)

    def answers(self, scores: Scores, *, top_k: int) -> list[Answer]:
        """Return a record per image, with `FIELDS` and, with super-classes, `SUPER_FIELDS`.

        Super-classes without a head of their own have the sums of their classes' probabilities.
        """
        probabilities = np.exp(scores.classes.astype(np.float64))  # [N, C]
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
        records = [self._answer(*pair) for pair in zip(best, probabilities, strict=True)]
        if self.facts.super_of:
            own = scores.supers
            above = self._above(probabilities) if own is None else np.exp(own.astype(np.float64))
            for record, row in zip(records, above, strict=True):
                record |= self._answer_above(row, label=record["label"])
        return records

    def failure(self, reason: str) -> Answer:
        """Return the record of an image that cannot be read."""
        return {**dict.fromkeys(self.fields), "error": reason}

    def _answer(self, ranked: NDArray[np.intp], probabilities: Floats) -> Answer:
        top = [
            {
                "label": int(label),
                "class_name": self.facts.classes[label],
                "probability": float(probabilities[label]),
            }
            for label in ranked
        ]
        return {**top[0], "group": self.facts.groups[ranked[0]], "top_k": top, "error": None}

    def _answer_above(self, probabilities: Floats, *, label: int) -> Answer:
        best = int(probabilities.argmax())
        return {
            "super_label": best,
            "super_name": self.facts.super_classes[best],
            "super_probability": float(probabilities[best]),
            "levels_agree": self.facts.super_of[label] == best,
        }

    def _above(self, by_class: Floats) -> Floats:
        """Sums over the classes of each super-class, `[..., C]` -> `[..., K]`."""
        member = np.eye(len(self.facts.super_classes))[self.facts.super_of]  # [C, K]
        return np.asarray(by_class @ member)


def read_facts(path: Path) -> Facts:
    """Read a `model.json`."""
    return Facts(**json.loads(path.read_text(encoding="utf-8")))
