"""The predictions of one variant, read from `predictions.parquet`."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from longtail.errors import LongtailError
from longtail.gating.predictions import Predictions, sorted_predictions


def read_predictions(path: Path, variant: str) -> Predictions:
    """Read what one variant said about the test images, in an order of its own.

    Raises:
        LongtailError: the file knows no such variant.
    """
    columns = ["id", "label", f"{variant}_prediction", f"{variant}_confidence"]
    there = pq.read_schema(path).names
    for name in columns:
        if name not in there:
            raise LongtailError(
                f"the predictions lack the column {name}; they hold {', '.join(there)}"
            )
    table = pq.read_table(path, columns=columns)
    ids, labels, predicted, confidences = (table.column(name) for name in columns)
    return sorted_predictions(
        ids.to_pylist(),
        labels=labels.to_numpy().astype(np.int64),
        predicted=predicted.to_numpy().astype(np.int64),
        confidences=confidences.to_numpy().astype(np.float64),
    )
