"""Where a model comes from, once its split is known and stage 1 is trained."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components import nodes
from longtail.artifacts import Split
from longtail.files import read_json, write_json
from longtail.io.versioning import dvc_directory_md5
from longtail.provenance import surroundings


def of_this_pod() -> dict[str, str]:
    """Return what stage 1's artifact says of where it was trained, as metadata.

    Metadata stays with an artifact that is found in the cache.
    """
    found = surroundings()["environment"]
    if nodes.template() is not None:
        del found["gpu"]  # the nodes have it, and this pod does not see them
    return {"environment": json.dumps(found)}


@contextmanager
def with_split(
    provenance: Path, *, split: Path, remote: str | None, representation: Mapping[str, Any]
) -> Iterator[Path]:
    """Yield a JSON file with what component `parameters` wrote, what the pod knows, and the split.

    The content is that of `longtail.provenance.full_provenance`; its environment is the
    one in which stage 1 was trained, and its section `split` is what the split was made with, which
    the run's own parameters need not say of an earlier version.

    Args:
        remote: the DVC remote that has the split, if any.
        representation: metadata of the artifact; if it does not say so, the versions are this
            pod's and the GPU is unknown.
    """
    known = surroundings() | read_json(provenance)
    if "environment" in representation:
        known["environment"] = json.loads(representation["environment"])
    else:
        del known["environment"]["gpu"]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "provenance.json"
        found = {
            "split_md5": dvc_directory_md5(split),
            "split_remote": remote or None,
            "params": known["params"] | {"split": read_json(Split(split).profile)["requested"]},
        }
        write_json(file, known | found)
        yield file
