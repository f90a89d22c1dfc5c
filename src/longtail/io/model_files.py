"""Registered models as directories."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow.artifacts

from longtail.errors import LongtailError
from longtail.io.connection import connect
from longtail.io.database import require_existing
from longtail.io.pyfunc import FACTS

REGISTERED = "models:/"


@contextmanager
def model_directory(model: str, *, tracking_uri: str) -> Iterator[Path]:
    """Yield the directory of a model, downloaded for the while if it is in the registry.

    Args:
        model: `models:/name@alias`, `models:/name/version`, or a local directory.

    Raises:
        LongtailError: there is no such model, or it is not one that `register` made.
    """
    if not model.startswith(REGISTERED):
        _require_ours(Path(model), model)
        yield Path(model)
        return
    require_existing(tracking_uri, wanted=model)
    with tempfile.TemporaryDirectory() as scratch:
        with connect(tracking_uri):
            local = Path(mlflow.artifacts.download_artifacts(artifact_uri=model, dst_path=scratch))
        _require_ours(local, model)
        yield local


def _require_ours(directory: Path, model: str) -> None:
    if not (directory / FACTS).is_file():
        raise LongtailError(
            f"{model} is no model that `longtail register` made: it has no {FACTS}; give "
            "models:/name@alias, models:/name/version, or the directory of such a model"
        )
