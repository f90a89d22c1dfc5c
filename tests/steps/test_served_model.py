"""What a candidate's artifacts say goes into the registered model and its facts."""

from pathlib import Path
from typing import Any

import pytest
import torch

from longtail.artifacts import Representation, TauNorm
from longtail.files import read_json, write_json
from longtail.heads import Head
from longtail.io.head_files import save_heads
from longtail.steps.served_model import served_model
from tests.steps.registry_fixtures import SIZE, write_models

CLASSES = [
    {"name": "ant", "group": "many", "train": 150, "test": 5},
    {"name": "bee", "group": "medium", "train": 50, "test": 5},
    {"name": "cat", "group": "few", "train": 0, "test": 5},
]


@pytest.fixture
def models(tmp_path: Path) -> tuple[Representation, TauNorm]:
    representation, tau_norm = write_models(tmp_path)
    return Representation(representation), TauNorm(tau_norm)


def describe(representation: Representation, **changes: Any) -> None:
    write_json(representation.description, read_json(representation.description) | changes)


def test_plain_training_leaves_the_counts_in_the_probabilities(models):
    _, facts, _ = served_model(*models, chosen="stage1", classes=CLASSES)
    assert facts.prior == [0.75, 0.25, 0.0] and facts.class_counts == [150, 50, 0]
    assert facts.classes == ["ant", "bee", "cat"] and facts.groups == ["many", "medium", "few"]
    assert facts.image_size == SIZE and facts.chosen == "stage1" and not facts.rejects


def test_whatever_balances_takes_them_out(models):
    _, facts, _ = served_model(*models, chosen="stage2", classes=CLASSES)
    assert facts.prior == [0.5, 0.5, 0.0]


def test_a_head_of_super_classes_goes_along(models):
    representation, _ = models
    describe(representation, super_classes=["insect", "pet"], super_of=[0, 0, 1])
    heads = {
        "stage1": Head("linear", torch.randn(3, 64)),
        "super": Head("linear", torch.ones(2, 64)),
    }
    save_heads(representation.head, heads)
    model, facts, stored = served_model(*models, chosen="stage2", classes=CLASSES)
    assert list(stored) == ["stage2", "super"] and facts.super_of == [0, 0, 1]
    logits, super_logits = model.eval()(torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8))
    assert logits.shape == (2, 3) and super_logits.shape == (2, 2)


def test_super_classes_without_a_head_are_known_all_the_same(models):
    representation, _ = models
    describe(representation, super_classes=["insect", "pet"], super_of=[0, 0, 1])
    save_heads(representation.head, {"stage1": Head("linear", torch.randn(3, 64))})
    model, facts, stored = served_model(*models, chosen="stage2", classes=CLASSES)
    assert list(stored) == ["stage2"] and facts.super_classes == ["insect", "pet"]
    assert model.eval()(torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8)).shape == (2, 3)


def test_a_model_that_rejects_says_so(models):
    rejecting = Head("linear", torch.randn(3, 64), rejects_to=2, threshold=0.4)
    save_heads(models[1].heads, {"stage2": rejecting})
    _, facts, _ = served_model(*models, chosen="stage2", classes=CLASSES)
    assert facts.rejects
