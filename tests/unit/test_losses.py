"""Theorems and limits of the losses."""

import pytest
import torch
import torch.nn.functional as F

from longtail.losses import (
    LOSSES,
    balanced_softmax,
    cross_entropy,
    effective_number_weights,
    ldam,
    weighted_mean,
)

COUNTS = torch.tensor([500, 120, 30, 5])


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 4, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 4, (64,), generator=generator)


def test_balanced_softmax_equals_a_slow_loop(batch):
    logits, labels = batch
    expected = []
    for z, y in zip(logits, labels, strict=True):
        terms = [n * torch.exp(v) for n, v in zip(COUNTS, z, strict=True)]
        expected.append(-torch.log(terms[y] / sum(terms)))
    torch.testing.assert_close(
        balanced_softmax(logits, labels, class_counts=COUNTS), torch.stack(expected)
    )


def test_balanced_softmax_with_equal_counts_is_cross_entropy(batch):
    logits, labels = batch
    counts = torch.full((4,), 37)
    torch.testing.assert_close(
        balanced_softmax(logits, labels, class_counts=counts), cross_entropy(logits, labels)
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


def test_effective_number_limits():
    nearly_zero = effective_number_weights(COUNTS, beta=1e-12)
    torch.testing.assert_close(nearly_zero, torch.ones(4, dtype=torch.float64))
    inverse = 1 / COUNTS.double()
    nearly_one = effective_number_weights(COUNTS, beta=1 - 1e-9)
    torch.testing.assert_close(nearly_one, 4 * inverse / inverse.sum(), rtol=1e-5, atol=0)


def test_effective_number_is_not_flat_at_the_usual_beta():
    """Guards against beta = 0.9, which makes all weights equal beyond about 40 images."""
    weights = effective_number_weights(COUNTS, beta=0.9999)
    assert weights[3] / weights[0] > 90
    assert weights.sum() == pytest.approx(4)


def test_effective_number_of_a_class_without_images_is_no_weight():
    weights = effective_number_weights(torch.tensor([10, 0, 5]), beta=0.9999)
    assert weights[1] == 0
    assert weights.sum() == pytest.approx(3)


def test_weighted_mean_is_torchs_weighted_cross_entropy(batch):
    logits, labels = batch
    weights = effective_number_weights(COUNTS, beta=0.9999)
    torch.testing.assert_close(
        weighted_mean(cross_entropy(logits, labels), labels, weights),
        F.cross_entropy(logits, labels, weight=weights),
    )


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences(name, batch):
    logits, labels = batch[0][:4].tanh().requires_grad_(), batch[1][:4]
    loss = LOSSES[name](COUNTS)
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), (logits,))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_overflow_when_confidently_wrong(name, dtype):
    logits = torch.tensor([[1e4, -1e4, 0.0, 0.0]], dtype=dtype, requires_grad=True)
    value = LOSSES[name](COUNTS)(logits, torch.tensor([1]))
    value.sum().backward()
    assert torch.isfinite(value).all() and value > 0
    assert logits.grad[0, 1] < 0, "the wronged class must be pulled up"
