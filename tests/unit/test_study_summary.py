"""The rows of a study's table."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from longtail.artifacts import Evaluation, TauNorm
from longtail.config.section import parse
from longtail.config.split import SplitConfig
from longtail.config.study import StudyConfig
from longtail.files import write_json
from longtail.metrics import balanced_accuracy_interval
from longtail.report.study import markdown, page, plot_by_class, plot_by_factor, plot_trade_off
from longtail.study.grid import Cell
from longtail.study.results import Result, Row
from longtail.study.summary import summarise

LABELS = np.repeat([0, 1], 200)


def row(root: Path, name: str, *, groups: tuple[str, str], wrong: int, flip: bool = False) -> Row:
    """A method that has the first `wrong` test images wrong."""
    root = root / name
    evaluation, tau_norm = Evaluation(root), TauNorm(root)
    root.mkdir()
    predictions = np.where(np.arange(400) < wrong, 1 - LABELS, LABELS)
    table = {"index": range(400), "label": LABELS, "stage1_prediction": predictions}
    pd.DataFrame(table).to_parquet(evaluation.predictions)
    variants = {"stage1": {"val_balanced_accuracy": 0.5}}
    write_json(tau_norm.choice, {"test_time_flip": flip, "variants": variants})
    right = 1 - wrong / 400
    of_all = {"all": {"balanced_accuracy": right}}
    of_groups = {group: {"accuracy": 1.0} for group in groups}
    report = {
        "group_names": list(groups),
        "test": {"digest": "same"},
        "classes": [{"train": 9, "test": 200}, {"train": 3, "test": 200}],
        "variants": {"stage1": {"groups": of_all | of_groups}},
    }
    cell = Cell({"method": name}, 0, {"split": SplitConfig()})
    size = {"parameters": 10, "multiply_adds": 100}
    return Row(name, [Result(cell, "stage1", evaluation, tau_norm, size, report, None)])


@pytest.fixture
def config() -> StudyConfig:
    axes = {"method": {name: {} for name in ("a", "b")}}
    return parse(StudyConfig, {"base": "base.yaml", "axes": axes}, where="study.yaml")


def test_methods_with_other_groups_stand_in_one_table_with_gaps(config, tmp_path):
    rows = [
        row(tmp_path, "a", groups=("many", "few"), wrong=40),
        row(tmp_path, "b", groups=("head", "few"), wrong=80),
    ]
    summary = summarise(config, rows)
    assert summary["groups"] == ["many", "few", "head"]
    lines = markdown(summary).splitlines()
    assert lines[0].startswith("| method | seeds | all | many | few | head |")
    assert lines[2].startswith("| a | 1 | 90.0 | 100.0 | 100.0 | - |")
    assert lines[3].startswith("| b | 1 | 80.0 | - | 100.0 | 100.0 |")


def test_a_page_says_that_one_seed_is_all_there_is_so_far(config, tmp_path):
    planned = config.model_copy(update={"seeds": [0, 1, 2]})
    rows = [row(tmp_path, n, groups=("many", "few"), wrong=40) for n in ("a", "b")]
    whole = [
        replace(
            found,
            results=[found.first, replace(found.first, cell=replace(found.first.cell, seed=1))],
        )
        for found in rows
    ]
    for so_far in (rows, [rows[0], whole[1]], [whole[0], rows[1]]):
        assert "One seed" in markdown(summarise(planned, so_far))
    assert "One seed" not in markdown(summarise(planned, whole))


@pytest.mark.parametrize(("law", "factor"), [("step", 100.0), ("natural", None)])
def test_images_as_they_come_have_no_place_on_the_axis_of_imbalance_factors(
    config, tmp_path, law, factor
):
    found = row(tmp_path, "a", groups=("many", "few"), wrong=9)
    found.first.cell.params["split"] = SplitConfig(law=law)
    assert summarise(config, [found])["rows"][0]["imbalance_factor"] == factor


@pytest.mark.parametrize(
    ("beside", "lines"),
    [
        ({"validate.min_train_per_class": 2}, ["all", "all"]),
        ({"represent.weight_decay": 0.01}, ["all", "IF 100"]),
        ({"split.law": "step"}, ["all", "IF 100"]),
    ],
)
def test_imbalance_factors_are_joined_by_a_line_where_nothing_else_differs(tmp_path, beside, lines):
    factors = {"IF 10": 10.0, "IF 100": 100.0}
    values = {name: {"split.imbalance_factor": factor} for name, factor in factors.items()}
    values["IF 100"] |= beside
    config = parse(StudyConfig, {"base": "base.yaml", "axes": {"method": values}}, where="s.yaml")
    rows = [row(tmp_path, name, groups=("many", "few"), wrong=9) for name in factors]
    for found, factor in zip(rows, factors.values(), strict=True):
        found.first.cell.params["split"] = SplitConfig(imbalance_factor=factor)
    summary = summarise(config, rows)
    assert [entry["line"] for entry in summary["rows"]] == lines
    assert ("Accuracy by imbalance factor" in page("x", summary)) is (lines == ["all", "all"])


def test_of_many_lines_those_that_are_best_on_val_are_drawn():
    rows = [
        {
            "line": f"method {i}",
            "imbalance_factor": factor,
            "val": i / 10,
            "accuracy": {"all": {"mean": i / 10}},
        }
        for i in range(10)
        for factor in (10.0, 100.0)
    ]
    legend = plot_by_factor({"rows": rows}).axes[0].get_legend_handles_labels()[1]
    assert legend == [f"method {i}" for i in range(9, 1, -1)]


def test_a_row_has_its_number_and_colour_in_every_picture():
    rows = [
        {
            "label": f"method {i}",
            "val": i / 10,
            "accuracy": {group: {"mean": i / 10} for group in ("many", "few")},
            "by_class": [{"train": 9, "accuracy": 0.5}, {"train": 3, "accuracy": 0.5}],
        }
        for i in range(10)
    ]
    rows[0]["accuracy"]["few"] = {"mean": None}
    summary = {"rows": rows, "groups": ["many", "few"]}
    points = plot_trade_off(summary).axes[0]
    numbers = [int(text.get_text()) for text in points.texts]
    colors = {n: line.get_color() for n, line in zip(numbers, points.lines[1:], strict=True)}
    assert numbers == list(range(2, 11))
    lines = plot_by_class(summary).axes[0].lines
    assert [line.get_label() for line in lines] == [f"{n} method {n - 1}" for n in range(10, 2, -1)]
    assert all(line.get_color() == colors[int(line.get_label().split()[0])] for line in lines)
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(lines)


@pytest.mark.parametrize("wrong", [0, 1, 100])
def test_the_interval_of_one_seed_is_that_of_its_report_even_if_all_is_right(
    config, tmp_path, wrong
):
    found = summarise(config, [row(tmp_path, "a", groups=("many", "few"), wrong=wrong)])
    expected = balanced_accuracy_interval(
        np.array([200, 200]), np.array([200 - wrong, 200]), confidence=0.95
    )
    assert found["rows"][0]["interval"] == pytest.approx(expected)


def test_an_answer_with_the_mirror_image_costs_twice(config, tmp_path):
    rows = [row(tmp_path, "a", groups=("many", "few"), wrong=9, flip=True)]
    assert summarise(config, rows)["rows"][0]["multiply_adds"] == 200
