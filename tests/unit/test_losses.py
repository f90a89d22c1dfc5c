"""Theorems and limits of the softmax losses, and what every loss of the table must hold."""

import pytest
import torch
import torch.nn.functional as F

from longtail.losses.softmax import (
    balanced_softmax,
    cross_entropy,
    focal,
    label_aware_smoothing,
    ldam,
    logit_adjusted,
    seql,
)
from longtail.losses.table import LOSSES, build_loss

COUNTS = torch.tensor([500, 120, 30, 5])
EQUAL = torch.full((4,), 37)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 4, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 4, (64,), generator=generator)


def test_smoothed_cross_entropy_equals_soft_targets(batch):
    logits, labels = batch
    targets = 0.9 * F.one_hot(labels, 4) + 0.1 / 4
    expected = -(targets * logits.log_softmax(1)).sum(1)
    torch.testing.assert_close(cross_entropy(logits, labels, smoothing=0.1), expected)


def test_focal_without_focus_is_cross_entropy(batch):
    torch.testing.assert_close(focal(*batch, gamma=0.0), cross_entropy(*batch))


def test_focal_equals_a_slow_loop(batch):
    expected = []
    for z, y in zip(*batch, strict=True):
        p = torch.exp(z[y]) / torch.exp(z).sum()
        expected.append((1 - p) ** 2 * -torch.log(p))
    torch.testing.assert_close(focal(*batch, gamma=2.0), torch.stack(expected))


def test_the_gradient_of_focal_flows_through_its_modulator(batch):
    """Guards against a modulator from detached or weighted losses, whose slope is another."""
    logits, labels = batch[0][:8].requires_grad_(), batch[1][:8]
    (ours,) = torch.autograd.grad(focal(logits, labels, gamma=2.0).sum(), logits)
    p = logits.softmax(1).detach()
    own = p[torch.arange(8), labels]
    # d/dp of (1 - p)^2 (-log p), times dp/dz = p (1[k = y] - p_k).
    slope = 2 * (1 - own) * own.log() - (1 - own) ** 2 / own
    expected = (slope * own)[:, None] * (F.one_hot(labels, 4) - p)
    torch.testing.assert_close(ours, expected)


def test_a_sure_and_right_focal_loss_has_a_finite_gradient_below_one():
    logits = torch.tensor([[100.0, 0.0]], requires_grad=True)
    focal(logits, torch.tensor([0]), gamma=0.5).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_balanced_softmax_equals_a_slow_loop(batch):
    expected = []
    for z, y in zip(*batch, strict=True):
        terms = [n * torch.exp(v) for n, v in zip(COUNTS, z, strict=True)]
        expected.append(-torch.log(terms[y] / sum(terms)))
    torch.testing.assert_close(balanced_softmax(*batch, class_counts=COUNTS), torch.stack(expected))


def test_balanced_softmax_is_logit_adjustment_of_strength_one(batch):
    torch.testing.assert_close(
        balanced_softmax(*batch, class_counts=COUNTS),
        logit_adjusted(*batch, class_counts=COUNTS, tau=1.0),
    )


def test_no_logit_adjustment_is_cross_entropy(batch):
    torch.testing.assert_close(
        logit_adjusted(*batch, class_counts=COUNTS, tau=0.0), cross_entropy(*batch)
    )


def test_balanced_softmax_leaves_out_a_class_without_images(batch):
    logits, labels = batch
    labels = labels.clamp(max=2)
    with_absent = balanced_softmax(
        logits.requires_grad_(), labels, class_counts=torch.tensor([500, 120, 30, 0])
    )
    without = balanced_softmax(logits[:, :3], labels, class_counts=torch.tensor([500, 120, 30]))
    torch.testing.assert_close(with_absent, without)
    with_absent.sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_ldam_without_margin_and_scale_is_cross_entropy(batch):
    cosines, labels = batch[0].tanh(), batch[1]
    torch.testing.assert_close(
        ldam(cosines, labels, class_counts=COUNTS, max_margin=0.0, scale=1.0),
        cross_entropy(cosines, labels),
    )


def test_ldam_moves_the_true_class_alone_by_its_margin(batch):
    cosines, labels = batch[0].tanh(), batch[1]
    margins = 0.5 * (COUNTS.double() / COUNTS.min()) ** -0.25
    expected = []
    for z, y in zip(cosines, labels, strict=True):
        shifted = z.clone()
        shifted[y] -= margins[y]
        expected.append(-torch.log_softmax(30 * shifted, dim=0)[y])
    torch.testing.assert_close(ldam(cosines, labels, class_counts=COUNTS), torch.stack(expected))


def test_seql_that_spares_nobody_is_cross_entropy(batch):
    torch.testing.assert_close(
        seql(*batch, class_counts=COUNTS, gamma=0.0, rare_below=1.0), cross_entropy(*batch)
    )


def test_seql_that_always_spares_leaves_rare_classes_out_of_other_denominators(batch):
    """And never the true class out of its own, so that no loss is negative."""
    logits, labels = batch
    ours = seql(logits, labels, class_counts=COUNTS, gamma=1.0, rare_below=0.05)  # 2 and 3 rare
    for z, y, loss in zip(logits, labels, ours, strict=True):
        kept = {0, 1, int(y)}
        total = sum(torch.exp(z[k]) for k in kept)
        torch.testing.assert_close(loss, torch.log(total) - z[y])
    assert (ours >= 0).all()


def test_seql_spares_as_often_as_it_says():
    logits = torch.zeros(20_000, 4)
    labels = torch.zeros(20_000, dtype=torch.int64)
    losses = seql(
        logits,
        labels,
        class_counts=COUNTS,
        gamma=0.9,
        rare_below=0.01,  # class 3 alone
        generator=torch.Generator().manual_seed(0),
    )
    spared = torch.isclose(losses, torch.tensor(3.0).log()).double().mean()
    assert abs(spared - 0.9) < 6 * (0.9 * 0.1 / 20_000) ** 0.5


def test_label_aware_smoothing_equals_a_slow_loop(batch):
    expected = []
    for z, y in zip(*batch, strict=True):
        share = (COUNTS[y] - 5) / 495
        e = 0.1 + 0.3 * torch.sin(torch.pi / 2 * share)
        log_p = z.log_softmax(0)
        expected.append(-(1 - e) * log_p[y] - e * log_p.mean())
    ours = label_aware_smoothing(*batch, class_counts=COUNTS, head=0.4, tail=0.1)
    torch.testing.assert_close(ours, torch.stack(expected), rtol=1e-6, atol=1e-6)


def test_label_aware_smoothing_of_equal_counts_is_plain_smoothing(batch):
    torch.testing.assert_close(
        label_aware_smoothing(*batch, class_counts=EQUAL, head=0.3, tail=0.0),
        cross_entropy(*batch, smoothing=0.3),
    )


PLAIN_WHEN_EQUAL = {
    "balanced_softmax": {},
    "logit_adjusted": {"tau": 2.5},
    "bfs": {"alpha": 0.0},
    "label_aware_smoothing": {"head": 0.0, "tail": 0.2},
    "seql": {},
    "focal": {"gamma": 0.0},
}


@pytest.mark.parametrize("name", PLAIN_WHEN_EQUAL)
def test_with_equal_counts_it_is_cross_entropy(name, batch):
    loss = build_loss(name, class_counts=EQUAL, **PLAIN_WHEN_EQUAL[name])
    torch.testing.assert_close(loss(*batch), cross_entropy(*batch))


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences(name, batch):
    logits, labels = batch[0][:4].tanh().requires_grad_(), batch[1][:4]
    loss = build_loss(name, class_counts=COUNTS)

    def value(z: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)  # of seql
        return loss(z, labels)

    assert torch.autograd.gradcheck(value, (logits,))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_overflow_when_confidently_wrong(name, dtype):
    """Guards against `log(1 + exp(-z))`, which gives a wronged class no gradient at all."""
    logits = torch.tensor([[1e4, -1e4, 0.0, 0.0]], dtype=dtype, requires_grad=True)
    value = build_loss(name, class_counts=COUNTS)(logits, torch.tensor([1]))
    value.sum().backward()
    assert torch.isfinite(value).all() and value > 0
    assert logits.grad[0, 1] < 0, "the wronged class must be pulled up"


@pytest.mark.parametrize("name", LOSSES)
def test_no_overflow_when_confidently_right(name):
    logits = torch.tensor([[1e4, -1e4, 0.0, 0.0]], requires_grad=True)
    value = build_loss(name, class_counts=COUNTS)(logits, torch.tensor([0]))
    value.sum().backward()
    assert torch.isfinite(value).all() and torch.isfinite(logits.grad).all()
