"""Heads: their logits, and their file."""

import pytest
import torch

from longtail.errors import LongtailError
from longtail.heads import Head
from longtail.io.head_files import load_heads, save_heads

X = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
W = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


def test_ncm_logits_rank_by_distance():
    distances = torch.cdist(X, W)
    assert Head("ncm", W).logits(X).argsort(1, descending=True).equal(distances.argsort(1))


def test_cosine_logits_are_the_scaled_cosine():
    expected = 30 * torch.cosine_similarity(X[:, None], W[None], dim=2)
    torch.testing.assert_close(Head("cosine", W, scale=30.0).logits(X), expected)


def test_a_mixture_is_the_mean_of_its_members_on_the_classes_that_were_trained():
    absent = torch.tensor([False, True, False])
    bias = torch.randn(2, 3, generator=torch.Generator().manual_seed(2))
    mixture = Head("mixture", W, bias, absent=absent, parts=(1, 3))
    members = [
        Head("linear", W[:, :1], bias[0], absent=absent).logits(X[:, :1]),
        Head("linear", W[:, 1:], bias[1], absent=absent).logits(X[:, 1:]),
    ]
    expected = torch.stack([z.softmax(1) for z in members]).mean(0)
    torch.testing.assert_close(mixture.logits(X).softmax(1), expected)


def test_heads_come_back_from_their_file(tmp_path):
    heads = {
        "stage1": Head("linear", W, torch.ones(3)),
        "stage2": Head("ncm", W, center=X.mean(0), normalize=True),
    }
    for name in ("a", "b"):
        save_heads(tmp_path / name, heads)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded = load_heads(tmp_path / "a")
    assert list(loaded) == list(heads)
    for name, head in heads.items():
        assert loaded[name].logits(X).equal(head.logits(X))


def test_another_file_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"no heads")
    for path in (tmp_path / "x", tmp_path / "missing"):
        with pytest.raises(LongtailError, match="run the step that writes it again"):
            load_heads(path)
