"""Where a model comes from, once its split is known."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longtail.commands.provenance import dvc_directory_md5, surroundings
from longtail.files import read_json, write_json


@contextmanager
def with_split(provenance: Path, *, split: Path) -> Iterator[Path]:
    """Yield a JSON file with what component `parameters` wrote, what the pod knows, and the split.

    The content is that of `longtail.commands.provenance.provenance`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "provenance.json"
        known = surroundings() | read_json(provenance)
        write_json(file, known | {"split_md5": dvc_directory_md5(split)})
        yield file
