"""Six classes of real digits in two super-classes, as a listing with train and test images."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits

from tests.steps.ingest_fixtures import write_tree

ROUND, STRAIGHT = {"zero": 0, "six": 6, "eight": 8, "nine": 9}, {"one": 1, "seven": 7}


def write_tiny_source(
    root: Path, *, sizes: dict[str, int] | None = None, only_in_test: str | None = None
) -> dict[str, Any]:
    """Write images and `table.csv`; return the `ingest.source` that reads them.

    Args:
        sizes: source split -> images a class.
        only_in_test: a class that has test images alone.
    """
    digits = load_digits()
    rows, files = [], {}
    for name, digit in (ROUND | STRAIGHT).items():
        images = digits.images[digits.target == digit]
        start = 0
        for part, size in (sizes or {"train": 60, "test": 20}).items():
            wanted = 0 if name == only_in_test and part != "test" else size
            for number in range(start, start + wanted):
                buffer = io.BytesIO()
                Image.fromarray((images[number] * 15).astype(np.uint8)).save(buffer, "PNG")
                files[f"{name}/{number}.png"] = buffer.getvalue()
                above = "round" if name in ROUND else "straight"
                rows.append((f"{name}/{number}.png", name, above, part))
            start += size
    write_tree(root, files)
    table = pd.DataFrame(rows, columns=["path", "label", "super", "split"])
    table.to_csv(root / "table.csv", index=False)
    return {
        "kind": "listing",
        "root": str(root),
        "table": "table.csv",
        "super_label_column": "super",
        "split_column": "split",
    }
