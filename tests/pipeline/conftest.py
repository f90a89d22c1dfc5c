"""What would make every pipeline test slow."""

import sys
from types import SimpleNamespace
from typing import Any

import kfp.dsl.pipeline_task
import pytest


@pytest.fixture(autouse=True)
def no_source_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is set of a task, KFP asks for the stack with all its source lines.

    Looking for those of pytest's frames takes it seconds a pipeline, of which it reads one name.
    """

    def stack() -> list[Any]:
        return [(None, None, None, sys._getframe(depth).f_code.co_name) for depth in (1, 2)]

    monkeypatch.setattr(kfp.dsl.pipeline_task, "inspect", SimpleNamespace(stack=stack))
