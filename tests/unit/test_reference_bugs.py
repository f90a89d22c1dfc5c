"""Bugs of public reference implementations that no other test here names.

The others: the modulator of weighted focal and the flat `beta = 0.9` in `test_class_weights`,
losses on softmax outputs in `test_sigmoid_losses`, overflow in `test_losses`, moving BatchNorm in
`test_models`, empty groups in `test_metrics`, group edges in `test_profiles`, schedules one epoch
late in `test_schedules`, and choices on the test split in `test_dvc_graph`.
"""

import pytest
import torch

from longtail.config.represent import RepresentConfig
from longtail.data import ImageStore
from longtail.distributed import World
from longtail.stage2 import Labelled, Training, crt
from longtail.steps.stage1 import build_network, build_trainer

COUNTS = [60, 30, 6]
LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))


class Labels(ImageStore):
    """A store that has labels alone."""

    def __init__(self) -> None:
        self.labels = LABELS


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        ("instance", COUNTS),
        ("undersampling", [6, 6, 6]),
        ("oversampling", [60, 60, 60]),
        ("class_aware", [32, 32, 32]),
    ],
)
def test_the_sampler_that_is_asked_for_reaches_the_training(sampler, expected):
    config = RepresentConfig(sampler=sampler, epochs=2, warmup_epochs=0)
    world = World(0, 1, torch.device("cpu"))
    description = {"classes": ["a", "b", "c"], "class_counts": COUNTS}
    network = build_network(config, description, world)
    trainer = build_trainer(config, network, Labels(), description, world)
    drawn = trainer.recipe.batching.order(0, torch.Generator().manual_seed(0))
    assert torch.bincount(LABELS[drawn]).tolist() == expected


def test_deferred_resampling_changes_the_sampler_at_its_start_and_not_before():
    config = RepresentConfig(deferred_sampler="undersampling", epochs=10, warmup_epochs=0)
    world = World(0, 1, torch.device("cpu"))
    description = {"classes": ["a", "b", "c"], "class_counts": COUNTS}
    network = build_network(config, description, world)
    trainer = build_trainer(config, network, Labels(), description, world)
    sizes = [len(trainer.recipe.batching.order(epoch, torch.Generator())) for epoch in range(10)]
    assert sizes == [96] * 8 + [18] * 2


def test_deferred_reweighting_starts_at_epoch_160_of_200():
    """The recipe of Cao et al.; `1 / E_n` by its formula, normalised to sum to C."""
    reweighting = {"scheme": "effective_number", "beta": 0.9999, "start": 0.8}
    config = RepresentConfig(reweighting=reweighting, epochs=200)
    world = World(0, 1, torch.device("cpu"))
    description = {"classes": ["a", "b", "c"], "class_counts": COUNTS}
    network = build_network(config, description, world)
    recipe = build_trainer(config, network, Labels(), description, world).recipe
    assert recipe.class_weights(159).tolist() == [1.0, 1.0, 1.0]
    inverse = [(1 - 0.9999) / (1 - 0.9999**n) for n in COUNTS]
    expected = torch.tensor([3 * w / sum(inverse) for w in inverse])
    for epoch in (160, 199):
        torch.testing.assert_close(recipe.class_weights(epoch), expected)


@pytest.mark.parametrize("epochs", [1, 2])
def test_what_is_deferred_comes_in_the_last_epoch_of_a_training_too_short_for_it(epochs):
    config = RepresentConfig(
        deferred_sampler="undersampling",
        reweighting={"scheme": "inverse_frequency", "start": 0.8},
        epochs=epochs,
        warmup_epochs=0,
    )
    world = World(0, 1, torch.device("cpu"))
    description = {"classes": ["a", "b", "c"], "class_counts": COUNTS}
    network = build_network(config, description, world)
    recipe = build_trainer(config, network, Labels(), description, world).recipe
    sizes = [len(recipe.batching.order(epoch, torch.Generator())) for epoch in range(epochs)]
    assert sizes == [96] * (epochs - 1) + [18]
    weighted = [recipe.class_weights(epoch).unique().numel() > 1 for epoch in range(epochs)]
    assert weighted == [False] * (epochs - 1) + [True]


def test_stage_2_is_kept_however_much_better_stage_1_was():
    """Its own best epoch counts from nothing: val may well like the representation's head more."""
    generator = torch.Generator().manual_seed(0)
    noise = Labelled(torch.randn(1, 96, 4, generator=generator), LABELS)  # nothing to be learnt
    training = Training(
        epochs=3,
        batch_size=16,
        learning_rate=0.1,
        weight_decay=0.0,
        sampler="class_balanced",
        generator=generator,
    )
    fitted = crt(noise, noise, num_classes=3, training=training)
    assert fitted.best_epoch in (0, 1, 2)
    assert fitted.history[fitted.best_epoch]["val_balanced_accuracy"] == max(
        entry["val_balanced_accuracy"] for entry in fitted.history
    )
