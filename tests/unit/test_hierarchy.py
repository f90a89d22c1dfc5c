"""Two levels: the loss by a slow loop, weights against scikit-learn, metrics by hand."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from longtail.heads import Head
from longtail.hierarchy import level_metrics
from longtail.losses.hierarchy import two_level, two_level_weights
from longtail.losses.softmax import cross_entropy
from longtail.posthoc import rejection_threshold

SUPER_OF = torch.tensor([0, 0, 1, 1, 1])
COUNTS = torch.tensor([40, 10, 30, 5, 0])
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(20, 7, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.randint(0, 4, (20,), generator=GENERATOR)


def test_balanced_weights_are_scikit_learns_and_a_novel_class_gets_their_mean():
    labels = np.repeat(np.arange(4), COUNTS[:4].numpy())
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    ours = two_level_weights(COUNTS)
    torch.testing.assert_close(ours[:4], torch.from_numpy(expected))
    assert ours[4].item() == pytest.approx(expected.mean())


@pytest.mark.parametrize("balanced", [False, True])
def test_the_loss_equals_a_slow_loop(balanced):
    loss = two_level(
        super_of=SUPER_OF,
        class_counts=COUNTS,
        super_weight=0.3,
        sub_weight=0.7,
        balanced=balanced,
    )
    super_counts = torch.tensor([50, 35])
    expected = []
    for z, y in zip(LOGITS, LABELS, strict=True):
        parent = SUPER_OF[y]
        sub, above = -z[:5].log_softmax(0)[y], -z[5:].log_softmax(0)[parent]
        if balanced:
            sub = sub * two_level_weights(COUNTS)[y]
            above = above * 85 / (2 * super_counts[parent])
        expected.append(0.3 * above + 0.7 * sub)
    torch.testing.assert_close(loss(LOGITS, LABELS), torch.stack(expected))


def test_without_a_super_level_it_is_cross_entropy():
    loss = two_level(super_of=SUPER_OF, class_counts=COUNTS, super_weight=0.0)
    torch.testing.assert_close(loss(LOGITS, LABELS), cross_entropy(LOGITS[:, :5], LABELS))


def test_levels_are_measured_and_compared():
    super_of = SUPER_OF.numpy()
    labels, predictions = np.array([0, 1, 2, 3]), np.array([1, 2, 2, 3])
    found = level_metrics(
        predictions, labels, super_of=super_of, super_predictions=np.array([0, 0, 1, 0])
    )
    assert found["accuracy"] == 0.75  # only the second leaves its super-class
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["consistency"] == 0.5  # the second and the fourth disagree with the other head


def test_rejection_happens_just_below_the_threshold():
    head = Head("linear", torch.eye(3), rejects_to=2, threshold=0.6)
    x = torch.tensor([[0.5, 0.0, 9.0], [0.0, 0.3, 9.0], [-3.0, 2.0, 0.0]])
    sure = x[:, :2].softmax(1).max(1).values >= 0.6
    expected = torch.where(sure, x[:, :2].argmax(1), 2)
    assert sure.tolist() == [True, False, True]
    assert head.logits(x).argmax(1).equal(expected)


def test_the_threshold_rejects_the_asked_share_where_val_has_no_novel_image():
    logits = torch.randn(1000, 4, generator=GENERATOR)
    threshold = rejection_threshold(
        logits, torch.zeros(1000, dtype=torch.int64), novel=3, false_rejections=0.05
    )
    rejected = (logits[:, :3].softmax(1).max(1).values < threshold).double().mean()
    assert rejected.item() == pytest.approx(0.05, abs=0.002)


def test_the_threshold_separates_novel_images_that_val_has():
    sure, unsure = torch.eye(4)[torch.arange(3)] * 5, torch.zeros(3, 4)
    labels = torch.tensor([0, 1, 2, 3, 3, 3])
    threshold = rejection_threshold(
        torch.cat([sure, unsure]), labels, novel=3, false_rejections=0.05
    )
    assert 1 / 3 < threshold <= sure[0, :3].softmax(0).max()
