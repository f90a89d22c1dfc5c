"""What identifies the source, so that a change of it is seen without reading the images."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from longtail.config import IngestConfig
from longtail.files import write_json
from longtail.sources import source_root


def fingerprint(config: IngestConfig, *, out: Path) -> None:
    """Write the file `out`: `{source, entries, digest}`.

    `digest` covers path, size and ETag (in a bucket) or modification time (on a disk) of every file
    below the root, which costs a listing and no reading. A set of a library is known by its version.

    Raises:
        LongtailError: the source cannot be listed.
    """
    write_json(out, source_identity(config))


def source_identity(config: IngestConfig) -> dict[str, Any]:
    """Return the content of the fingerprint."""
    source = config.source.model_dump()
    root = source_root(config)
    if root is None:
        library = "scikit-learn" if source["kind"] == "digits" else "torchvision"
        return {"source": source, "entries": None, "digest": f"{library} {version(library)}"}
    digest, entries = hashlib.sha256(), root.entries()
    for entry in entries:
        digest.update(f"{entry.path}\0{entry.size}\0{entry.tag}\n".encode())
    return {"source": source, "entries": len(entries), "digest": digest.hexdigest()}
