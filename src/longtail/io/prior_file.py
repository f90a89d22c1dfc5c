"""Class distributions as files: class name -> share or count, as JSON or CSV."""

import csv
import json
from pathlib import Path
from typing import Any

from longtail.config.section import nearest
from longtail.errors import LongtailError, first_few
from longtail.files import write_json

COLUMNS = ("class", "probability")


def read_prior(path: Path, *, classes: list[str]) -> list[float]:
    """Return the shares of a file by label; they need not sum to 1.

    Args:
        path: a JSON object, or a CSV table with the columns `class` and `probability`.
        classes: names by label; the file names each of them once, and no other.

    Raises:
        LongtailError: it does not, or is not such a file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        pairs = _from_csv(text) if path.suffix.lower() == ".csv" else _from_json(text)
        shares = {name: float(share) for name, share in pairs}
    except (OSError, ValueError, TypeError) as error:
        raise LongtailError(
            f"{path} cannot be read as class -> probability ({error}); give a JSON object, or a "
            f"CSV file with the columns {' and '.join(COLUMNS)}"
        ) from None
    if len(shares) != len(pairs):
        raise LongtailError(f"{path} names a class twice")
    for name in shares:
        if name not in classes:
            raise LongtailError(f"{path}: no class is called {name!r}{nearest(name, classes)}")
    missing = [name for name in classes if name not in shares]
    if missing:
        raise LongtailError(
            f"{path} lacks {len(missing)} of {len(classes)} classes: {first_few(missing)}; give 0 "
            "to those that cannot occur"
        )
    return [shares[name] for name in classes]


def write_prior(path: Path, prior: list[float], *, classes: list[str]) -> None:
    """Write a JSON file that `read_prior` reads."""
    write_json(path, dict(zip(classes, prior, strict=True)))


def _from_json(text: str) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=list)
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        raise ValueError("no JSON object")
    return pairs


def _from_csv(text: str) -> list[tuple[str, Any]]:
    rows = csv.DictReader(text.splitlines())
    missing = set(COLUMNS) - set(rows.fieldnames or ())
    if missing:
        raise ValueError(f"no column {' and '.join(sorted(missing))}")
    return [(row[COLUMNS[0]], row[COLUMNS[1]]) for row in rows]
