"""`dvc.yaml` says what a step really depends on, so that nothing stale passes for new."""

import inspect
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from longtail.config.params import FLOW
from tests.pipeline.code_dependencies import imported_files, named_files
from tests.pipeline.dvc_stages import STAGES, upstream

SECTION_OF = {"fingerprint": "ingest", "champion": "register"}
PREFIXES = ("data/", "models/", "reports/")


def options(stage: str) -> dict[str, str]:
    words = shlex.split(STAGES[stage]["cmd"])
    return {
        name.removeprefix("--"): value for name, value in zip(words[2::2], words[3::2], strict=True)
    }


@pytest.mark.parametrize("stage", STAGES)
def test_code_dependencies_are_the_imported_modules(stage):
    missing = imported_files(stage) - named_files(stage)
    surplus = named_files(stage) - imported_files(stage)
    hint = "python -m tests.pipeline.code_dependencies prints the lines to change"
    assert (missing, surplus) == (set(), set()), hint


@pytest.mark.parametrize("stage", STAGES)
def test_stage_calls_the_step_of_its_name_with_the_parameters_of_its_section(stage):
    assert shlex.split(STAGES[stage]["cmd"])[:2] == ["longtail", stage]
    assert STAGES[stage]["params"] == [SECTION_OF.get(stage, stage)]


def test_every_section_is_the_parameters_of_a_stage():
    assert {name for entry in STAGES.values() for name in entry["params"]} == set(FLOW)


@pytest.mark.parametrize("stage", STAGES)
def test_paths_on_the_command_line_are_the_inputs_and_the_output(stage):
    paths = options(stage)
    assert [paths.pop("out")] == STAGES[stage]["outs"]
    deps = [dep for dep in STAGES[stage].get("deps", []) if dep.startswith(PREFIXES)]
    unnamed = [d for d in deps if not any(d == p or d.startswith(f"{p}/") for p in paths.values())]
    unread = [p for p in paths.values() if not any(d == p or d.startswith(f"{p}/") for d in deps)]
    assert (unnamed, unread) == ([], [])


@pytest.mark.parametrize("stage", STAGES)
def test_options_are_the_paths_of_the_step(stage):
    step = getattr(import_module(f"longtail.steps.{stage}"), stage)
    parameters = inspect.signature(step).parameters.values()
    paths = {parameter.name for parameter in parameters if parameter.annotation is Path}
    wanted = {name.replace("_", "-") for name in paths}
    given = set(options(stage))
    if stage in ("report", "register"):  # the command line makes the provenance
        wanted = wanted - {"provenance", "costs"}
    assert given == wanted


def test_only_stages_of_the_world_outside_always_run():
    always = {name for name, entry in STAGES.items() if entry.get("always_changed")}
    assert always == {"fingerprint", "champion", "register"}


def test_stage_2_changes_nothing_upstream():
    assert not {"classify", "tau_norm"} & (upstream("embed") | {"embed"})
    assert "classify" not in upstream("represent")


def test_the_test_split_is_read_by_validation_and_evaluation_only():
    readers = {
        name
        for name, entry in STAGES.items()
        for dep in entry.get("deps", [])
        if dep in ("data/split", "data/split/test.parquet")
    }
    # report and register name the whole split, but only to record its digest
    assert readers == {"validate", "evaluate", "report", "register"}


def test_training_waits_for_validation():
    assert "validate" in upstream("represent")


def test_outputs_are_kept_out_of_git():
    ignored = (Path(__file__).parents[2] / ".gitignore").read_text().splitlines()
    tops = {out.split("/")[0] for entry in STAGES.values() for out in entry["outs"]}
    assert {f"/{top}/" for top in tops} <= set(ignored)
