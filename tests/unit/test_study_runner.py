"""Which cells a run takes up, and which of their steps; cells that cannot even begin."""

import subprocess
import sys

import pytest
import yaml

from longtail.commands.study import status
from longtail.study import runner, worker
from longtail.study.grid import cells, read_study
from longtail.study.records import CellRecords
from longtail.study.runner import run, source_of, state
from longtail.study.tasks import tasks


def test_a_source_that_cannot_be_read_fails_its_own_cells_with_its_error(tmp_path):
    (tmp_path / "base.yaml").write_text("represent: {epochs: 2, warmup_epochs: 1}\n")
    missing = {"ingest.source": {"kind": "folder", "root": str(tmp_path / "gone")}}
    also = {"ingest.source": {"kind": "folder", "root": str(tmp_path / "also")}}
    study = {"base": "base.yaml", "axes": {"data": {"photos": missing, "scans": also}}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    told: list[str] = []
    grid = cells(read_study(tmp_path / "study.yaml"))
    states = run(grid, store=tmp_path / "store", workers=1, tell=told.append)
    assert [found.name for found in states] == ["failed", "failed"]
    for found, place in zip(states, ("gone", "also"), strict=True):
        assert f"{place} is no directory" in found.error
    assert len(told) == 2 and "photos, seed 0: " in told[0] and "no directory" in told[0]


@pytest.fixture
def finished(tmp_path):
    """Four cells of one source whose results are all there, empty."""
    (tmp_path / "base.yaml").write_text("represent: {epochs: 2, warmup_epochs: 1}\n")
    study = {"base": "base.yaml", "axes": {}, "seeds": [0, 1, 2, 3]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    grid, store = cells(read_study(tmp_path / "study.yaml")), tmp_path / "store"
    runner.fingerprint_sources(grid, store)
    for cell in grid:
        for task in chain_of(cell, store).values():
            finish(task)
    return grid, store


def chain_of(cell, store):
    return tasks(cell.params, source=source_of(cell.params["ingest"], store), store=store)


def finish(task, *_, **__):
    task.out.mkdir(parents=True, exist_ok=True)
    (task.out / "passed.json").touch()


def test_what_was_made_from_a_deleted_result_is_made_again(finished, monkeypatch):
    grid, store = finished
    chain = chain_of(grid[0], store)
    (chain["represent"].out / "passed.json").unlink()
    chain["represent"].out.rmdir()
    assert [state(cell, store).name for cell in grid] == ["waiting", "done", "done", "done"]
    ran = []
    monkeypatch.setattr(
        worker, "run_task", lambda task, *a, **k: (ran.append(task.step), finish(task))
    )
    monkeypatch.setattr(runner, "_run_one", lambda cell, *_: worker.run_cell(cell.params, store))
    states = run(grid, store=store, workers=1, tell=lambda line: None)
    assert ran == ["represent", "embed", "classify", "tau_norm", "evaluate"]
    assert {found.name for found in states} == {"done"}


def test_a_failed_validation_is_no_result(finished):
    grid, store = finished
    (chain_of(grid[0], store)["validate"].out / "passed.json").unlink()
    assert {state(cell, store).name for cell in grid} == {"waiting"}


def test_a_cell_is_running_until_the_process_that_writes_its_log_ends(finished, capsys):
    grid, store = finished
    chain_of(grid[0], store)["evaluate"].out.rename(store / "elsewhere")
    speak = "print('epoch 1 of 2: ...', flush=True); input()"
    with CellRecords(grid[0], store).writing() as log:
        child = subprocess.Popen(
            [sys.executable, "-c", speak], stdin=subprocess.PIPE, stdout=log, stderr=log
        )
    while not CellRecords(grid[0], store).lines():
        assert child.poll() is None
    status(store.parent / "study.yaml", store=store)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "running  base, seed 0  7 of 8 steps; epoch 1 of 2: ..."
    assert [line.split()[0] for line in lines[1:]] == ["done", "done", "done"]
    child.communicate()
    assert state(grid[0], store).name == "waiting"


def test_the_cells_that_are_left_share_all_cores(finished, monkeypatch):
    grid, store = finished
    chain_of(grid[0], store)["evaluate"].out.rename(store / "elsewhere")
    places = []
    monkeypatch.setattr(runner, "usable_cores", lambda: 8)
    monkeypatch.setattr(runner, "_run_one", lambda *a: places.append(a[2].get_nowait()))
    run(grid, store=store, workers=4, tell=lambda line: None)
    assert places == [{"OMP_NUM_THREADS": "8"}]
