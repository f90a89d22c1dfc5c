"""Stage 1 on several nodes, on the step's side: inputs out, a TrainJob, the artifact back."""

import json
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from components import trainjob
from components.cluster import own_cluster
from components.running import run_id, state
from longtail.artifacts import Images
from longtail.config.represent import RepresentConfig
from longtail.errors import LongtailError
from longtail.files import content_digest, whole_directory, write_json
from longtail.io.state import fetch_files, open_state, store_files

SECONDS_BETWEEN_LOOKS = 10.0  # at the job
log = logging.getLogger(__name__)


def template() -> dict[str, Any] | None:
    """Return the TrainJob that this pod is to launch (`LONGTAIL_TRAINJOB`), if it is."""
    return json.loads(os.environ.get("LONGTAIL_TRAINJOB", "null"))  # type: ignore[no-any-return]


def train_on_nodes(
    config: RepresentConfig,
    manifest: dict[str, Any],
    *,
    key: str,
    paths: dict[str, Path],
) -> None:
    """Have the nodes of a TrainJob run the step `represent`; their meeting place is the state.

    `nodes/<name>/in` has all inputs but the shards, `nodes/<name>/out` the artifact. The name is of
    the run and the training, so a retry goes on with the job, or takes what it has left.

    Args:
        key: identifies the training.
        paths: the step's inputs and `out`, by argument.

    Raises:
        LongtailError: the images are not published, or the job failed.
    """
    if not Images(paths["images"]).shards.is_file():
        raise LongtailError(
            "several nodes read the images from an object store, and these are not published; "
            "set resources.image_store, or resources.gpu.nodes: 1"
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    name = f"longtail-{content_digest([run_id(), key])[:16]}"
    kept, result = open_state(state()), f"nodes/{name}/out"
    if not kept.names(f"{result}.json"):
        _send(config, paths, f"nodes/{name}/in")
        try:
            job = _named(manifest, name, key)
            trainjob.run(own_cluster(), job, seconds=SECONDS_BETWEEN_LOOKS, tell=log.info)
        except LongtailError:
            # Another step of this run that trains the same may have taken job and result first,
            # and a node may fail after the artifact is whole.
            if not kept.names(f"{result}.json"):
                raise
    with whole_directory(paths["out"]) as directory:
        fetch_files(kept, result, directory)


def _named(manifest: dict[str, Any], name: str, key: str) -> dict[str, Any]:
    trainer = {**manifest["spec"]["trainer"], "args": [name, key]}
    return {
        **manifest,
        "metadata": {**manifest["metadata"], "name": name},
        "spec": {**manifest["spec"], "trainer": trainer},
    }


def _send(config: RepresentConfig, paths: dict[str, Path], name: str) -> None:
    images = {f"images/{path.name}": path for path in paths["images"].iterdir()}
    tables = {part: paths[part] for part in ("train", "val", "profile", "validation")}
    with tempfile.TemporaryDirectory() as scratch:
        section = Path(scratch) / "represent.json"
        write_json(section, config.model_dump(mode="json"))
        store_files(open_state(state()), name, {**images, **tables, "represent": section})
