"""What takes long to make and several workers need: the first makes it for all."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from longtail.files import locked


def made_once(temporary: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return the directory that `make` has filled; who changes it works on a copy."""
    shared = temporary.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    place = shared / name
    place.mkdir(exist_ok=True)
    content, made = place / "content", place / "made"
    with locked(place, wait=True):
        if not made.exists():
            shutil.rmtree(content, ignore_errors=True)  # of a worker that failed
            content.mkdir()
            make(content)
            made.touch()
    return content
