"""From the labels of a source to numbers 0..C-1 with names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from longtail.errors import LongtailError, first_few
from longtail.sources.collection import Classes

Label = int | str


@dataclass(frozen=True)
class Numbering:
    """Names by number, and the number of every label of the source."""

    names: list[str]
    number: Mapping[Label, int]


def number_labels(
    labels: Iterable[Label], *, names: Sequence[str] | None, what: str, text: bool
) -> Numbering:
    """Number the distinct labels of a source.

    Integers are the numbers themselves and must be 0..C-1 without a gap; they are named by `names`,
    else by their digits. Strings are numbered in the order of `names`, else of the sorted strings.

    Args:
        labels: the distinct labels.
        names: all class names in order, if the source states them.
        what: `label` or `super-label`, for the messages.
        text: the labels come from a text file, where integers are strings of digits.

    Raises:
        LongtailError: no labels, integers mixed with strings, a gap (an empty class), a label that
            `names` does not have, or a name given twice.
    """
    found = set(labels)
    if not found:
        raise LongtailError(f"The source has no {what}s: there is nothing to learn from")
    if names is not None and len(set(names)) < len(names):
        twice = sorted({name for name in names if list(names).count(name) > 1})
        raise LongtailError(f"Two classes have the same name: {first_few(twice)}")
    if text and all(_is_integer(label) for label in found):
        return _by_integers({label: int(label) for label in found}, names=names, what=what)
    integers = {label for label in found if isinstance(label, int)}
    if integers == found:
        return _by_integers({label: int(label) for label in integers}, names=names, what=what)
    if integers:
        raise LongtailError(
            f"The {what}s mix integers (such as {min(integers)}) with strings; use one of them"
        )
    return _by_names({str(label) for label in found}, names=names, what=what)


def classes_of(
    pairs: Iterable[tuple[Label, Label | None]], labels: Numbering, supers: Numbering | None
) -> Classes:
    """Put the super-label of every class beside it.

    Raises:
        LongtailError: images of one class have different super-labels.
    """
    if supers is None:
        return Classes(labels.names, super_names=[], super_of=[])
    found: list[set[int]] = [set() for _ in labels.names]
    for label, super_label in pairs:
        if super_label is not None:
            found[labels.number[label]].add(supers.number[super_label])
    wrong = [
        f"{name} ({', '.join(supers.names[number] for number in sorted(above)) or 'none'})"
        for name, above in zip(labels.names, found, strict=True)
        if len(above) != 1
    ]
    if wrong:
        raise LongtailError(
            f"Every class needs exactly one super-label, but {len(wrong)} have none or several: "
            f"{first_few(wrong)}. Correct the source, or ingest it without super-labels"
        )
    return Classes(labels.names, supers.names, [above.pop() for above in found])


def _is_integer(label: Label) -> bool:
    text = str(label)
    return text.isascii() and text.isdigit() and str(int(text)) == text


def _by_integers(values: dict[Label, int], *, names: Sequence[str] | None, what: str) -> Numbering:
    used = set(values.values())
    count = max(used) + 1 if names is None else len(names)
    outside = sorted(value for value in used if not 0 <= value < count)
    if outside:
        raise LongtailError(
            f"{len(outside)} {what}s are outside of 0..{count - 1}: "
            f"{first_few([str(value) for value in outside])}. "
            "Number them from 0, name all of them, or use strings"
        )
    if len(used) < count:
        missing = (value for value in range(count) if value not in used)
        empty = [str(value) for value, _ in zip(missing, range(5), strict=False)]
        if names is not None:
            empty = [f"{value} ({names[int(value)]})" for value in empty]
        raise LongtailError(
            f"{count - len(used)} of {count} {what}s have no image: {', '.join(empty)}"
            f"{' and more' if count - len(used) > len(empty) else ''}. An empty class cannot be "
            "learned: number the others 0, 1, 2... or use strings as labels"
        )
    return Numbering(list(names or map(str, range(count))), values)


def _by_names(found: set[str], *, names: Sequence[str] | None, what: str) -> Numbering:
    ordered = sorted(found) if names is None else list(names)
    unknown = sorted(found - set(ordered))
    if unknown:
        raise LongtailError(
            f"{len(unknown)} {what}s are not among the {len(ordered)} stated names: "
            f"{first_few(unknown)}. Add them to the classes file, or correct the source"
        )
    empty = [name for name in ordered if name not in found]
    if empty:
        raise LongtailError(
            f"{len(empty)} of {len(ordered)} {what}s have no image: {first_few(empty)}. "
            "An empty class cannot be learned: take it out of the classes file"
        )
    return Numbering(ordered, {name: number for number, name in enumerate(ordered)})
