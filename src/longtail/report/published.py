"""Numbers printed in papers, to stand beside ours; facts with their setting, not targets."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from longtail.config.section import nearest
from longtail.errors import LongtailError


@dataclass(frozen=True)
class Published:
    """One printed result; accuracies in percent, None or empty where the paper says nothing.

    Attributes:
        difference: how its protocol differs from ours, beyond the choice of the epoch.
    """

    key: str
    method: str
    source: str
    dataset: str
    imbalance_factor: str
    backbone: str
    epochs: str
    accuracy: str
    head: str
    tail: str
    difference: str


def published_rows(keys: Sequence[str], *, where: str = "report.published") -> list[Published]:
    """Return the rows of `published.csv` with these keys, in the order of the keys.

    Raises:
        LongtailError: a key is unknown; it says so of `where`, with the nearest.
    """
    with files("longtail.report").joinpath("published.csv").open(encoding="utf-8") as file:
        table = {row["key"]: Published(**row) for row in csv.DictReader(file)}
    unknown = [key for key in keys if key not in table]
    if unknown:
        raise LongtailError(
            f"{where}: no published number has the key {unknown[0]!r}"
            f"{nearest(unknown[0], list(table))}"
        )
    return [table[key] for key in keys]
