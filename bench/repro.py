"""`dvc repro` with nothing to do, in seconds and against the first run of the same small flow."""

import tempfile
import time
from pathlib import Path

from tests.pipeline import workspace as workspaces


def run() -> dict[str, float]:
    """Return seconds of the first and of the second run, and their ratio."""
    with tempfile.TemporaryDirectory() as directory:
        workspace = workspaces.make_workspace(Path(directory), workspaces.QUICK)
        first, again = _seconds(workspace), _seconds(workspace)
    return {
        "first_run_seconds": first,
        "nothing_to_do_seconds": again,
        "nothing_to_do_over_first_run": again / first,
    }


def _seconds(workspace: Path) -> float:
    started = time.perf_counter()
    workspaces.run(workspace, "dvc", "repro", "--quiet")
    return time.perf_counter() - started
