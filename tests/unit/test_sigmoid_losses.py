"""Theorems and limits of the losses with one sigmoid a class, and of BFS."""

import pytest
import torch
import torch.nn.functional as F

from longtail.losses.sigmoid import bfs, sigmoid_cross_entropy, sigmoid_focal
from longtail.losses.softmax import balanced_softmax

COUNTS = torch.tensor([500, 120, 30, 5])


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 4, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 4, (64,), generator=generator)


def test_sigmoid_cross_entropy_sums_torchs_over_the_classes(batch):
    """On logits, summed over classes: not on softmax outputs, and not averaged over `N * C`."""
    logits, labels = batch
    targets = F.one_hot(labels, 4).double()
    expected = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
    torch.testing.assert_close(sigmoid_cross_entropy(logits, labels), expected)


def test_sigmoid_focal_without_focus_is_sigmoid_cross_entropy(batch):
    torch.testing.assert_close(sigmoid_focal(*batch, gamma=0.0), sigmoid_cross_entropy(*batch))


def test_sigmoid_focal_equals_a_slow_loop(batch):
    expected = []
    for z, y in zip(*batch, strict=True):
        truth = [torch.sigmoid(v if k == y else -v) for k, v in enumerate(z)]
        expected.append(sum((1 - p) ** 2 * -torch.log(p) for p in truth))
    torch.testing.assert_close(sigmoid_focal(*batch, gamma=2.0), torch.stack(expected))


def test_bfs_without_its_focal_part_is_balanced_softmax(batch):
    torch.testing.assert_close(
        bfs(*batch, class_counts=COUNTS, alpha=0.0), balanced_softmax(*batch, class_counts=COUNTS)
    )


def test_the_weight_of_bfs_is_raw(batch):
    """`(1 - b) / (1 - b^n)`: 1 for a single image, near `1 / n` for b near 1, of no fixed sum."""
    logits, labels = batch
    for n, b, weight in ((1, 0.9999, 1.0), (50, 1 - 1e-9, 1 / 50)):
        ours = bfs(logits, labels, class_counts=torch.full((4,), n), alpha=1.0, beta=b)
        torch.testing.assert_close(ours, weight * sigmoid_focal(logits, labels), rtol=1e-5, atol=0)


def test_bfs_mixes_in_proportion(batch):
    parts = [bfs(*batch, class_counts=COUNTS, alpha=a) for a in (0.0, 1.0)]
    mixed = bfs(*batch, class_counts=COUNTS, alpha=0.1)
    torch.testing.assert_close(mixed, 0.9 * parts[0] + 0.1 * parts[1])
