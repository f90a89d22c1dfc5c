"""The study files of the repository: every cell's parameters are valid, every number is known."""

from pathlib import Path

import pytest
import torch

from longtail.losses.hierarchy import two_level
from longtail.losses.softmax import cross_entropy
from longtail.losses.weights import CLASS_WEIGHTS
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
    counts, labels = torch.tensor([500, 40, 5]), torch.tensor([0, 1, 2, 2])
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    levels = two_level(
        super_of=torch.tensor([0, 0, 1]), class_counts=counts, super_weight=0.0, balanced=True
    )
    weights = CLASS_WEIGHTS[reference.reweighting.scheme](counts).float()[labels]
    assert reference.reweighting.reduction == "batch_mean"  # as that of two levels
    alone = weights * cross_entropy(logits[:, :3], labels)
    torch.testing.assert_close(levels(logits, labels), alone)
