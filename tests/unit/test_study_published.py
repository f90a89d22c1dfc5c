"""Published numbers in a study: each says something, stands at its own setting, and is printed."""

import csv
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import timm

from longtail.report.published import published_rows
from longtail.report.study import markdown, page, printed
from longtail.study.grid import cells, read_study

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))
HEAD_AND_TAIL = "caltech101_table5_batch_size_64"


def summary(key: str) -> dict[str, Any]:
    """Of a study with one row, which stands beside the published number `key`."""
    value = {"mean": 0.5, "sd": None, "by_seed": [0.5]}
    row = {
        "label": "ours",
        "seeds": [0],
        "accuracy": {"all": value, "large": value, "small": value},
        "interval": (0.4, 0.6),
        "val": 0.5,
        "difference": None,
        "published": asdict(published_rows([key])[0]),
        "parameters": 1,
        "multiply_adds": 1,
        "minutes": None,
        "imbalance_factor": None,
        "line": "ours",
        "by_class": [{"train": count, "accuracy": 0.5} for count in (200, 50)],
    }
    return {"level": 0.05, "groups": ["large", "small"], "seeds": [0], "rows": [row]}


def test_a_paper_without_an_accuracy_over_all_stands_there_by_its_head_and_tail() -> None:
    made = summary(HEAD_AND_TAIL)
    table, _, notes = markdown(made).partition("Published:")
    assert "| head 96.2 / tail 64.9 |" in table
    assert "- ours: head 96.2 / tail 64.9 in Tang" in notes
    html = page("one row", made)
    assert "<td>head 96.2 / tail 64.9</td>" in html
    assert "<li>ours: head 96.2 / tail 64.9, Tang" in html


def test_an_accuracy_over_all_stands_there_alone() -> None:
    assert "| 31.62 |" not in (table := markdown(summary("decoupling_baseline_tau_if100")))
    assert "| 27.34 |" in table


def test_no_published_number_is_blank() -> None:
    with files("longtail.report").joinpath("published.csv").open(encoding="utf-8") as file:
        assert all(printed(row) for row in csv.DictReader(file))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_published_number_is_of_its_cells_law_and_imbalance_factor(path: Path) -> None:
    config = read_study(path)
    splits = {cell.row: cell.params["split"] for cell in cells(config)}
    for label, key in config.published.items():
        split = splits[label if label in splits else label.rpartition(" / ")[0]]
        number = published_rows([key])[0]
        if split.law in ("exp", "step"):
            assert float(number.imbalance_factor) == split.imbalance_factor, label
            assert ("step law" in number.difference) == (split.law == "step"), label


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_timm_has_the_weights_that_a_cell_asks_for(path: Path) -> None:
    stages = [cell.params["represent"] for cell in cells(read_study(path))]
    wanted = {stage.backbone for stage in stages if stage.pretrained == "hub"}
    assert {name for name in wanted if not timm.is_model_pretrained(name)} == set()
