"""How far a registered model's logits are from those that were evaluated."""

import math

import pytest
import torch

from longtail.heads import Head
from longtail.io.smoke_worker import difference


def test_it_is_relative_to_the_largest_evaluated_logit():
    expected = torch.tensor([[1.0, -8.0], [2.0, 3.0]])
    assert difference(expected, expected) == 0
    assert difference(expected + torch.tensor([0.0, 0.5]), expected) == 0.5 / 8


@pytest.mark.parametrize("reject", [None, 1], ids=["plain", "rejecting"])
def test_classes_without_training_images_hide_no_difference(reject):
    absent = torch.tensor([False, False, True, False])
    options = {} if reject is None else {"rejects_to": reject, "threshold": 0.5}
    head = Head("linear", torch.randn(4, 8), torch.zeros(4), absent=absent, **options)
    logits = head.logits(torch.randn(5, 8))
    known = [0, 1, 3]
    largest = logits[:, known].abs().max()
    wrong = logits + torch.tensor([0.0, 0.0, 0.0, float(largest)])
    assert difference(logits, logits) == 0
    assert difference(wrong, logits) == pytest.approx(1.0)
    assert difference(torch.where(absent, -torch.inf, logits), logits) == 0


def test_a_class_left_out_in_one_of_the_two_only_is_as_far_as_can_be():
    logits, cut = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, -1e30]])
    assert difference(logits, cut) == difference(cut, logits) == math.inf


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_within_no_tolerance(value):
    expected = torch.tensor([[1.0, -1e30], [2.0, -1e30]])
    for place in ((0, 0), (0, 1)):
        broken = expected.clone()
        broken[place] = value
        assert not difference(broken, expected) <= 1e9
