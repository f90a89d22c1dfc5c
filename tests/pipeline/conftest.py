"""What would make the pipeline tests slow: a flow of its own for each, KFP's look at the stack."""

import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kfp.dsl.pipeline_task
import pytest

from longtail.files import locked
from tests.pipeline.workspace import QUICK, make_workspace, run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick flow as DVC has run it, once for all workers: who changes it works on a copy."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    directory = shared / "finished"
    with locked(shared, wait=True):
        if not (directory / "reports/register/registration.json").exists():
            shutil.rmtree(directory, ignore_errors=True)
            run(make_workspace(directory, QUICK), "dvc", "repro")
    return directory


@pytest.fixture(autouse=True)
def no_source_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is set of a task, KFP asks for the stack with all its source lines.

    Looking for those of pytest's frames takes it seconds a pipeline, of which it reads one name.
    """

    def stack() -> list[Any]:
        return [(None, None, None, sys._getframe(depth).f_code.co_name) for depth in (1, 2)]

    monkeypatch.setattr(kfp.dsl.pipeline_task, "inspect", SimpleNamespace(stack=stack))
