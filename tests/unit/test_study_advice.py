"""What `longtail study advise` says of the certainty of val."""

import re
from pathlib import Path

import numpy as np
import pytest

from longtail.artifacts import Split
from longtail.files import write_json
from longtail.study.advice import advise
from longtail.study.candidates import Candidate, over_seeds

LABELS = np.repeat(np.arange(4), 25)
NAMED = (("plain", 0.3), ("ours", 0.8))


@pytest.fixture
def split(tmp_path: Path) -> Split:
    groups = ["many", "many", "few", "few"]
    classes = [{"train": 100 - 20 * i, "group": group} for i, group in enumerate(groups)]
    profile = {"classes": classes, "group_names": ["many", "few"], "imbalance_factor": 2.5}
    write_json(Split(tmp_path).profile, profile)
    return Split(tmp_path)


def candidate(label: str, *, wrong: float) -> Candidate:
    rng = np.random.default_rng(len(label))
    return Candidate(label, rng.random((1, len(LABELS))) >= wrong)


def points(split: Split, *candidates: Candidate) -> float:
    said = advise(split, candidates, LABELS)[1]
    found = re.search(r"known to about ([\d.]+) points", said)
    assert found, said
    return float(found[1])


def test_what_val_can_tell_apart_does_not_depend_on_which_method_is_the_reference(split):
    good, bad = candidate("good", wrong=0.2), candidate("bad", wrong=0.5)
    assert points(split, good, bad) == points(split, bad, good) > 1.0


def test_the_least_certain_of_the_differences_is_named(split):
    good, near = candidate("good", wrong=0.2), candidate("bad", wrong=0.5)
    alike = Candidate("alike", good.right.copy())
    assert points(split, good, alike) == 0.0
    assert points(split, good, alike, near) == points(split, good, near)


def test_the_best_of_many_equal_methods_is_not_called_better(split):
    """Each alone would be called better one time in forty; the best of fifty nearly always."""
    rng = np.random.default_rng(0)
    said = []
    for _ in range(40):
        equal = [Candidate(f"m{i}", rng.random((1, len(LABELS))) >= 0.5) for i in range(50)]
        said.append(" ".join(advise(split, equal, LABELS)))
    sure = [text for text in said if "may be chance" not in text and "no other" not in text]
    assert len(sure) <= 6  # 5 % of 40 are 2; three standard deviations more are 6


def test_what_val_has_no_images_of_is_not_called_free(split):
    """As where a step law takes all images of the classes of its larger half."""
    few = LABELS >= 2
    rng = np.random.default_rng(0)
    plain, ours = (Candidate(name, rng.random((1, 100)) < share) for name, share in NAMED)
    whole = " ".join(advise(split, [plain, ours], LABELS))
    assert "it costs nothing in any group." in whole
    kept = [Candidate(c.label, c.right[:, few]) for c in (plain, ours)]
    half = " ".join(advise(split, kept, LABELS[few]))
    assert "points of few; what it costs many is unknown: val has none." in half
    assert "nothing" not in half


def test_a_head_that_cells_share_is_one_candidate():
    """Methods of stage 2 on one stage 1, whose heads have a name in each of their cells."""
    rng = np.random.default_rng(1)
    shared = {"stage1": rng.random((1, 100)) < 0.4, "stage1_tau": rng.random((1, 100)) < 0.4}
    rows = {}
    for row in ("CE", "BWLM"):
        heads = {**shared, "stage2": rng.random((1, 100)) < 0.5}
        rows[row] = [[Candidate(f"{row} / {name}", right) for name, right in heads.items()]]
    labels = [candidate.label for candidate in over_seeds(rows)]
    assert labels == ["CE / stage1", "CE / stage1_tau", "CE / stage2", "BWLM / stage2"]
