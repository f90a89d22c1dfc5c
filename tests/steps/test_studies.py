"""The study files of the repository: every cell's parameters are valid, every number is known."""

from pathlib import Path

import pytest

from longtail.report.published import published_rows
from longtail.study.grid import cells, read_study

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_can_start(path):
    config = read_study(path)
    grid = cells(config)
    rows = {cell.row for cell in grid}
    variants = {"stage1": "", **{name: f" / {name}" for name in config.variants}}
    labels = {
        row + ("" if name == "stage1" else suffix)
        for row in rows
        for name, suffix in variants.items()
    }
    assert set(config.published) <= labels
    published_rows(list(config.published.values()))


def test_the_reference_of_the_hierarchical_study_weighs_classes_as_its_two_levels_do():
    config = read_study(next(path for path in STUDIES if path.stem == "hierarchical"))
    stages = {cell.row: cell.params["represent"] for cell in cells(config)}
    ours, reference = stages["ResNet-50, balanced weights"], stages[config.reference["network"]]
    assert ours.hierarchy.class_weights == "balanced" and reference.hierarchy is None
    # The weights and the mean that the loss of two levels has too.
    assert reference.reweighting.scheme == "inverse_frequency"
    assert reference.reweighting.reduction == "batch_mean"
