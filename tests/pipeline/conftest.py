"""What would make the pipeline tests slow: a flow of its own for each, KFP's look at the stack."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kfp.dsl.pipeline_task
import pytest

from tests.made_once import made_once
from tests.pipeline.workspace import QUICK, make_workspace, run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick flow as DVC has run it."""
    return made_once(
        tmp_path_factory, "finished", lambda root: run(make_workspace(root, QUICK), "dvc", "repro")
    )


@pytest.fixture(autouse=True)
def no_source_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is set of a task, KFP asks for the stack with all its source lines.

    Looking for those of pytest's frames takes it seconds a pipeline, of which it reads one name.
    """

    def stack() -> list[Any]:
        return [(None, None, None, sys._getframe(depth).f_code.co_name) for depth in (1, 2)]

    monkeypatch.setattr(kfp.dsl.pipeline_task, "inspect", SimpleNamespace(stack=stack))
