"""Cells that cannot even begin."""

import yaml

from longtail.study.grid import cells, read_study
from longtail.study.runner import run


def test_a_source_that_cannot_be_read_fails_its_own_cells_with_its_error(tmp_path):
    (tmp_path / "base.yaml").write_text("represent: {epochs: 2, warmup_epochs: 1}\n")
    missing = {"ingest.source": {"kind": "folder", "root": str(tmp_path / "gone")}}
    also = {"ingest.source": {"kind": "folder", "root": str(tmp_path / "also")}}
    study = {"base": "base.yaml", "axes": {"data": {"photos": missing, "scans": also}}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    told: list[str] = []
    grid = cells(read_study(tmp_path / "study.yaml"))
    states = run(grid, store=tmp_path / "store", workers=1, tell=told.append)
    assert [state.name for state in states] == ["failed", "failed"]
    for state, place in zip(states, ("gone", "also"), strict=True):
        assert f"{place} is no directory" in state.error
    assert len(told) == 2 and "photos, seed 0: " in told[0] and "no directory" in told[0]
