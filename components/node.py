"""One node of stage 1: `python -m components.node NAME KEY` in each pod of a TrainJob.

Inputs and artifact are in the state (see `components.nodes`), and so is the checkpoint. Torchrun's
variables (PET_NNODES, PET_NODE_RANK, ...) come from Kubeflow Trainer.
"""

import logging
import sys
import tempfile
from pathlib import Path

from components.running import check_volumes, section, state
from components.training import torchrun
from longtail.errors import LongtailError
from longtail.files import read_json
from longtail.io.state import fetch_files, open_state, store_files


def main(name: str, key: str) -> None:
    """Fetch the inputs, train, and keep the artifact if it is this node that wrote it.

    Args:
        name: of the job. key: of the checkpoint.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_volumes()
    kept = open_state(state())
    with tempfile.TemporaryDirectory() as scratch:
        inputs, out = Path(scratch) / "in", Path(scratch) / "out"
        fetch_files(kept, f"nodes/{name}/in", inputs)
        config = section("represent", read_json(inputs / "represent"))
        tables = {part: inputs / part for part in ("train", "val", "profile", "validation")}
        paths = {"images": inputs / "images", **tables, "out": out}
        torchrun(config, placed=(), paths=paths, key=key)
        if out.is_dir():
            store_files(kept, f"nodes/{name}/out", {path.name: path for path in out.iterdir()})


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except LongtailError as error:
        sys.exit(f"longtail: {error}")
