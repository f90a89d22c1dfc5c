"""What every source gives: class names, and a stream of labelled images."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from longtail.errors import LongtailError, first_few

Label = int | str


@dataclass(frozen=True)
class Item:
    """One image of a source, or why it could not be read."""

    path: str
    label: int
    split: str | None
    content: bytes | Exception


@dataclass(frozen=True)
class Collection:
    """A source, opened: `items` can be walked once."""

    classes: list[str]
    items: Iterator[Item]
    size: int
    super_classes: list[str] = field(default_factory=list)
    super_of: list[int] = field(default_factory=list)  # by label; empty without super-classes


def number_labels(
    labels: Sequence[Label], *, names: Sequence[str] | None, where: str
) -> tuple[list[str], list[int]]:
    """Number labels from 0: integers keep their value, strings are sorted.

    Args:
        labels: one an image, all integers or all strings.
        names: class names by integer label, if the source has them.
        where: what to name in errors.

    Returns:
        class names `[C]`, and the number of each label `[N]`.

    Raises:
        LongtailError: there is no image, a class without images, or a label without a class.
    """
    counts = Counter(labels)
    if not counts:
        raise LongtailError(f"{where} has no images; check root and file names")
    if all(isinstance(label, int) for label in counts):
        known = list(names) if names else [str(label) for label in range(_largest(counts) + 1)]
        numbers = [int(label) for label in labels]
        strangers = sorted({n for n in numbers if not 0 <= n < len(known)})
        if strangers:
            raise LongtailError(
                f"{where}: label {strangers[0]} is outside of 0..{len(known) - 1}, the classes "
                "that are named; correct the labels or the class file"
            )
    else:
        known = list(names) if names else sorted(str(label) for label in counts)
        place = {name: number for number, name in enumerate(known)}
        unnamed = sorted(str(label) for label in counts if str(label) not in place)
        if unnamed:
            raise LongtailError(f"{where}: no class is called {first_few(unnamed)}")
        numbers = [place[str(label)] for label in labels]
    empty = [known[number] for number in sorted(set(range(len(known))) - set(numbers))]
    if empty:
        raise LongtailError(
            f"{where}: {len(empty)} classes have no image: {first_few(empty)}; add images or take "
            "the names out"
        )
    return known, numbers


def number_super_labels(
    super_labels: Sequence[Label], numbers: Sequence[int], *, names: Sequence[str] | None, where: str
) -> tuple[list[str], list[int]]:
    """Return super-class names and the super-class of each class.

    Raises:
        LongtailError: as `number_labels`, or a class has images of two super-classes.
    """
    known, supers = number_labels(super_labels, names=names, where=where)
    of_class: dict[int, int] = {}
    for number, above in zip(numbers, supers, strict=True):
        if of_class.setdefault(number, above) != above:
            raise LongtailError(
                f"{where}: class {number} has images of super-classes {known[of_class[number]]} "
                f"and {known[above]}; a class belongs to one"
            )
    return known, [of_class[number] for number in range(len(of_class))]


def _largest(counts: "Counter[Any]") -> int:
    return max(int(label) for label in counts)
