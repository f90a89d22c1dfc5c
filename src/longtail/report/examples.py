"""Pictures of the best and worst classes: which test images to show, and small copies of them."""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from longtail.metrics import Outcome
from longtail.report.ranking import confusion_of, taken_for

Kind = Literal["mistake", "right", "lookalike"]
LARGEST_SIDE = 112  # pixels; larger pictures would make the page heavy
LOSSLESS_SIDE = 64  # up to which PNG is the smaller file too


@dataclass(frozen=True)
class Example:
    """One image to show with a class.

    Attributes:
        shown_with: label of the class that it illustrates.
        kind: a mistake or a right answer on an image of that class, or an image of the class that
            it is most often taken for.
        position: row in the test table.
    """

    shown_with: int
    kind: Kind
    position: int


def choose_examples(
    outcome: Outcome, *, worst: list[int], best: list[int], num_classes: int, limit: int
) -> list[Example]:
    """Return up to `limit` images of each class, and one of what it is most often taken for.

    Of the worst classes the most confident mistakes come first, of the best ones the most confident
    right answers; the others fill up. Equal confidences go by position.
    """
    confused = taken_for(confusion_of(outcome, num_classes=num_classes))
    order = np.lexsort((np.arange(len(outcome.labels)), -outcome.confidences))
    found: list[Example] = []
    for label in dict.fromkeys([*worst, *best]):
        own = order[outcome.labels[order] == label]
        right, wrong = own[outcome.correct[own]], own[~outcome.correct[own]]
        mistakes = [Example(label, "mistake", int(at)) for at in wrong]
        answers = [Example(label, "right", int(at)) for at in right]
        pictures = mistakes + answers if label in worst else answers + mistakes
        found += pictures[:limit]
        if label in confused and limit:
            found += _lookalike(outcome, order, label, confused[label][0])
    return found


def _lookalike(outcome: Outcome, order: NDArray[np.intp], label: int, other: int) -> list[Example]:
    own = order[outcome.labels[order] == other]
    best = np.concatenate([own[outcome.correct[own]], own[~outcome.correct[own]]])
    return [Example(label, "lookalike", int(at)) for at in best[:1]]


def thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """Encode `[S, S, 3]` as a small PNG, or JPEG if it is a photograph of some size."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if max(picture.size) <= LOSSLESS_SIDE:
        picture.save(buffer, format="PNG", optimize=True)
    else:
        picture.save(buffer, format="JPEG", quality=82, optimize=True)
    return buffer.getvalue()
