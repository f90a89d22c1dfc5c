"""From a study file to its cells: the parameters of each, checked before anything runs."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from longtail.config.params import FLOW, parse_content, read_mapping, read_params
from longtail.config.section import Section, nearest, parse
from longtail.config.study import SEEDED, VARIANTS, StudyConfig
from longtail.errors import LongtailError
from longtail.report.published import published_rows

BASE = "base"  # what the only row of a study without axes is called


@dataclass(frozen=True)
class Cell:
    """One run of the flow: its place in the grid and the sections of its parameters."""

    values: dict[str, str]  # axis -> name of the value
    seed: int
    params: dict[str, Section]

    @property
    def row(self) -> str:
        """What it is called in tables; the cells of several seeds share it."""
        return " / ".join(self.values.values()) or BASE

    @property
    def name(self) -> str:
        """What it is called in messages: its row and its seed."""
        return f"{self.row}, seed {self.seed}"


def read_study(path: Path) -> StudyConfig:
    """Read a study file; `base` is taken relative to it.

    Raises:
        LongtailError: it is no YAML mapping, says what no study says, has two rows of one name, or
            names a published number that is not known or belongs to no row.
    """
    config = parse(StudyConfig, read_mapping(path, fix="name the file of a study"), where=str(path))
    published_rows(list(config.published.values()), where=f"{path}, published")
    _require_rows(config, where=str(path))
    return config.model_copy(update={"base": path.parent / config.base})


def cells(config: StudyConfig) -> list[Cell]:
    """Return all cells: the product of the axes in the order of the file, the seeds within.

    Raises:
        LongtailError: a cell's parameters are wrong; it says which cell.
    """
    base = read_params(config.base, fix="correct `base` in the study's file")
    choices = [[(axis, name) for name in values] for axis, values in config.axes.items()]
    return [
        _cell(config, base, dict(chosen), seed)
        for chosen in itertools.product(*choices)
        for seed in config.seeds
    ]


def matching(cells: Sequence[Cell], patterns: Sequence[str]) -> list[Cell]:
    """Return the cells of these names, in which `*` stands for any text; all if there is no name.

    Raises:
        LongtailError: no cell has one of them.
    """
    if not patterns:
        return list(cells)
    for pattern in patterns:
        if not any(_is_called(cell, pattern) for cell in cells):
            raise LongtailError(
                f"no cell is called `{pattern}`; `longtail study status` lists all names; "
                "* in a name stands for any text"
            )
    return [cell for cell in cells if any(_is_called(cell, pattern) for pattern in patterns)]


def _is_called(cell: Cell, pattern: str) -> bool:
    """Return whether the pattern fits; a name fits itself, though fnmatch reads its brackets."""
    return cell.name == pattern or fnmatchcase(cell.name, pattern)


def _require_rows(config: StudyConfig, *, where: str) -> None:
    """Refuse rows of one name, which would pass for seeds of one, and published numbers of none."""
    rows = [" / ".join(values) or BASE for values in itertools.product(*config.axes.values())]
    heads = [(row, variant) for row in rows for variant in VARIANTS]
    for name, times in Counter([*rows, *(f"{row} / {head}" for row, head in heads)]).items():
        if times > 1:
            raise LongtailError(
                f"{where}, axes: two rows would be called `{name}`; give a value another name"
            )
    known = [*rows, *(f"{row} / {head}" for row, head in heads if head != "stage1")]
    for label in config.published:
        if label not in known:
            raise LongtailError(
                f"{where}, published: no row is called `{label}`{nearest(label, known)}"
            )


def _cell(config: StudyConfig, base: dict[str, Any], values: dict[str, str], seed: int) -> Cell:
    content = {name: dict(base.get(name) or {}) for name in FLOW}
    overrides = dict(config.set)
    for axis, name in values.items():
        overrides |= config.axes[axis][name]
    where = f"cell {' / '.join(values.values())}, seed {seed}"
    for dotted, value in overrides.items():
        _override(content, dotted, value, where=where)
    for dotted in SEEDED:
        _override(content, dotted, seed, where=where)
    return Cell(values, seed, parse_content(content, where=where))


def _override(content: dict[str, Any], dotted: str, value: Any, *, where: str) -> None:
    """Set a dotted parameter or a whole section; the mappings on its way are copied."""
    *path, key = dotted.split(".")
    if (path or [key])[0] not in content or not (path or isinstance(value, dict)):
        raise LongtailError(
            f"{where}: `{dotted}` is no parameter of a section; write it as represent.epochs, with "
            f"one of {', '.join(content)}"
        )
    place = content
    for name in path:
        inner = place.get(name)
        place[name] = dict(inner) if isinstance(inner, dict) else {}
        place = place[name]
    place[key] = value
