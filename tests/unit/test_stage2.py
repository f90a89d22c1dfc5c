"""Stage 2 on toy features: class means by hand, what each method may move, and what it is for."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from longtail.class_means import ncm
from longtail.heads import Head
from longtail.losses.table import LOSSES, build_loss, loss_on_present
from longtail.stage2 import Labelled, Training, crt, lws, max_norm, project_rows
from longtail.tau_norm import tau_curve, tau_normalize

COUNTS = (300, 40, 8)


def gaussians(counts: tuple[int, ...], seed: int) -> Labelled:
    """Three overlapping clouds in four dimensions."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    centres = 1.5 * torch.eye(3, 4)
    noise = torch.randn(len(labels), 4, generator=generator)
    return Labelled((centres[labels] + noise)[None], labels)


TRAIN, VAL = gaussians(COUNTS, 0), gaussians((60, 60, 60), 1)
TEST = gaussians((400, 400, 400), 2)


def training(seed: int = 0, **changes) -> Training:
    values = {
        "epochs": 12,
        "batch_size": 16,
        "learning_rate": 0.1,
        "weight_decay": 0.0,
        "sampler": "class_balanced",
        "generator": torch.Generator().manual_seed(seed),
    }
    return Training(**values | changes)


def cross_entropy_head() -> Head:
    weight, bias = torch.zeros(3, 4, requires_grad=True), torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(TRAIN.features[0] @ weight.T + bias, TRAIN.labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    return Head("linear", weight.detach(), bias.detach())


def recall(head: Head, label: int) -> float:
    predictions = head.logits(TEST.features[0]).argmax(1)
    return (predictions[TEST.labels == label] == label).double().mean().item()


def test_crt_helps_the_rare_class():
    fitted = crt(TRAIN, VAL, num_classes=3, training=training(weight_decay=5e-4))
    assert recall(fitted.head, 2) > recall(cross_entropy_head(), 2) + 0.1
    best = max(fitted.history, key=lambda entry: entry["val_balanced_accuracy"])
    assert fitted.history[fitted.best_epoch] == best
    assert len(fitted.history) == 12


def test_bwlm_helps_the_rare_class_without_resampling():
    loss = build_loss("bfs", class_counts=TRAIN.counts(3))
    fitted = crt(
        TRAIN,
        VAL,
        num_classes=3,
        training=training(weight_decay=5e-3, sampler="instance"),
        loss=loss,
    )
    assert recall(fitted.head, 2) > recall(cross_entropy_head(), 2) + 0.1


def test_crt_depends_on_its_generator_alone():
    fits = [crt(TRAIN, VAL, num_classes=3, training=training(seed)) for seed in (3, 3, 4)]
    assert fits[0].head.weight.equal(fits[1].head.weight)
    assert not fits[0].head.weight.equal(fits[2].head.weight)


def test_crt_draws_from_every_view():
    """The second view alone carries the classes: without it nothing could be learnt."""
    useless = torch.zeros_like(TRAIN.features)
    views = Labelled(torch.cat([useless, TRAIN.features]), TRAIN.labels)
    fitted = crt(views, VAL, num_classes=3, training=training())
    assert min(recall(fitted.head, label) for label in range(3)) > 0.5


def test_lws_scales_whole_rows_and_starts_from_stage_1():
    stage1 = cross_entropy_head()
    fitted = lws(stage1, TRAIN, VAL, training=training())
    scales = fitted.head.weight / stage1.weight
    torch.testing.assert_close(scales, scales[:, :1].expand(3, 4))
    torch.testing.assert_close(fitted.head.bias / stage1.bias, scales[:, 0])
    assert recall(fitted.head, 2) > recall(stage1, 2)
    still = lws(stage1, TRAIN, VAL, training=training(epochs=1, learning_rate=1e-12))
    torch.testing.assert_close(still.head.weight, stage1.weight)


def test_max_norm_keeps_every_row_within_the_radius_of_stage_1():
    stage1 = cross_entropy_head()
    fitted = max_norm(stage1, TRAIN, VAL, training=training(sampler="instance"))
    lengths = stage1.weight.norm(dim=1)
    radius = lengths.min() + 0.1 * (lengths.max() - lengths.min())
    assert fitted.head.weight.norm(dim=1).max() <= radius * (1 + 1e-6)
    assert recall(fitted.head, 2) > recall(stage1, 2)


def test_rows_of_classes_without_images_do_not_set_the_radius_of_max_norm():
    stage1 = cross_entropy_head()
    alone = max_norm(stage1, TRAIN, VAL, training=training(sampler="instance"))
    wider = replace(
        stage1,
        weight=torch.cat([stage1.weight, torch.full((1, 4), 1e-3)]),  # as weight decay leaves it
        bias=torch.cat([stage1.bias, torch.zeros(1)]),
        absent=torch.tensor([False, False, False, True]),
    )
    beside = max_norm(wider, TRAIN, VAL, training=training(sampler="instance"))
    torch.testing.assert_close(beside.head.weight[:3], alone.head.weight)


def test_a_projection_moves_only_long_rows_and_keeps_directions():
    weight = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    projected = project_rows(weight, radius=2.0)
    torch.testing.assert_close(projected, torch.tensor([[1.2, 1.6], [0.3, 0.4], [0.0, 0.0]]))
    assert project_rows(projected, radius=2.0).equal(projected)


@pytest.mark.parametrize("features", ["cl2n", "l2n", "none"])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_ncm_equals_a_slow_loop(features, distance):
    head = ncm(TRAIN, num_classes=3, features=features, distance=distance)
    x, y = TRAIN.features[0], TEST.features[0]
    if features == "cl2n":
        x, y = x - x.mean(0), y - x.mean(0)
    if features != "none":
        x, y = F.normalize(x, dim=1), F.normalize(y, dim=1)
    means = torch.stack([x[TRAIN.labels == label].mean(0) for label in range(3)])
    if distance == "euclidean":
        nearest = torch.cdist(y, means).argmin(1)
    else:
        nearest = F.cosine_similarity(y[:, None], means[None], dim=2).argmax(1)
    assert (head.logits(TEST.features[0]).argmax(1) == nearest).all()


def test_ncm_never_predicts_a_class_without_images():
    head = ncm(TRAIN, num_classes=4, features="cl2n", distance="euclidean")
    assert 3 not in head.logits(TEST.features[0]).argmax(1)


def _without_the_last_class() -> Labelled:
    generator = torch.Generator().manual_seed(0)
    return Labelled(torch.randn(1, 300, 8, generator=generator), torch.arange(300) % 3)


@pytest.mark.parametrize("features", ["cl2n", "l2n", "none"])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_no_class_mean_is_made_of_nothing(features, distance):
    data = _without_the_last_class()
    head = ncm(data, num_classes=4, features=features, distance=distance)
    assert not (head.logits(data.features[0]).argmax(1) == 3).any()


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"ldam"}))
def test_a_retrained_head_never_predicts_a_class_without_images(name):
    data = _without_the_last_class()
    loss = loss_on_present(name, class_counts=data.counts(4))
    training = Training(
        epochs=2,
        batch_size=50,
        learning_rate=0.1,
        weight_decay=5e-4,
        sampler="instance",
        generator=torch.Generator().manual_seed(1),
    )
    fitted = crt(data, data, num_classes=4, training=training, loss=loss)
    assert not (fitted.head.logits(data.features[0]).argmax(1) == 3).any()
    assert all(entry["val_loss"] < 100 and entry["train_loss"] < 100 for entry in fitted.history)


def test_the_tau_curve_is_what_the_saved_head_predicts_with_absent_classes_too():
    data = _without_the_last_class()
    weight = torch.randn(4, 8, generator=torch.Generator().manual_seed(2))
    absent = torch.tensor([False, False, False, True])
    for point in tau_curve(data.features[0], weight, taus=[0.0, 0.7, 2.0], absent=absent):
        head = Head("linear", tau_normalize(weight, tau=point.tau), absent=absent)
        assert point.predictions.equal(head.logits(data.features[0]).argmax(1))


def test_the_bias_of_a_sigmoid_loss_starts_low_and_does_not_decay():
    data = _without_the_last_class()
    training = Training(
        epochs=1,
        batch_size=300,
        learning_rate=1e-12,
        weight_decay=1e9,
        sampler="instance",
        generator=torch.Generator().manual_seed(1),
    )
    fitted = crt(data, data, num_classes=3, training=training, bias_start=-2.0)
    assert fitted.head.bias is not None
    assert torch.allclose(fitted.head.bias, torch.full((3,), -2.0))
