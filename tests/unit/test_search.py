"""What is held out for a search, and how what it finds gets into a parameter file."""

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from longtail.commands.search import settings
from longtail.config.params import load_section, set_parameters
from longtail.config.represent import RepresentConfig
from longtail.config.search import SearchConfig
from longtail.config.stage2 import TauNormConfig
from longtail.errors import LongtailError
from longtail.holding_out import held_out

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]


def labels_of(*counts: int) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def chosen_from(labels: Tensor, copies: Tensor | None = None, *, share=0.2, seed=0) -> Tensor:
    copies = torch.arange(len(labels)) if copies is None else copies
    place = torch.Generator().manual_seed(seed)
    return held_out(labels, copies=copies, share=share, generator=place)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.2, [10, 2, 1, 0]), (0.001, [1, 1, 1, 0]), (0.999, [49, 9, 1, 0])]
)
def test_every_class_of_two_images_is_on_both_sides(share, expected):
    labels = labels_of(50, 10, 2, 1)
    chosen = chosen_from(labels, share=share)
    assert torch.bincount(labels[chosen], minlength=4).tolist() == expected


def test_the_seed_decides_which_images():
    labels = labels_of(50, 10, 2, 1)
    assert chosen_from(labels, seed=3).equal(chosen_from(labels, seed=3))
    assert not chosen_from(labels, seed=3).equal(chosen_from(labels, seed=4))


def test_exact_duplicates_stay_together():
    labels = labels_of(40, 4, 2)
    copies = torch.cat([torch.arange(20).repeat(2), torch.tensor([20, 21, 20, 21, 22, 22])])
    for seed in range(20):
        chosen = chosen_from(labels, copies, seed=seed)
        assert not set(copies[chosen].tolist()) & set(copies[~chosen].tolist())
        # 20 and 2 different images, and one that is there twice and cannot be on both sides.
        assert torch.bincount(labels[chosen], minlength=3).tolist() == [8, 2, 0]


@pytest.mark.parametrize("seed", range(20))
def test_a_class_whose_images_are_copies_of_another_class_keeps_some(seed):
    labels, copies = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 1, 2, 0, 1, 2])
    held = chosen_from(labels, copies, seed=seed)
    assert set(labels[~held].tolist()) == {0, 1, 2}
    assert all(held[copies == image].unique().numel() == 1 for image in range(3))


def test_a_range_that_is_none_is_refused(tmp_path):
    (tmp_path / "params.yaml").write_text("search: {weight_decay: [0.1, 0.001]}\n")
    with pytest.raises(LongtailError, match=r"from low to high, not from 0\.1 to 0\.001"):
        load_section(tmp_path / "params.yaml", "search", SearchConfig)


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_what_was_found_changes_its_own_lines_alone(file, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text(file.read_text())
    found = settings({"weight_decay": 0.00140512345, "tau": 0.37})
    set_parameters(params, found)
    assert load_section(params, "represent", RepresentConfig).weight_decay == 0.001405
    assert load_section(params, "tau_norm", TauNormConfig).stage1_tau == 0.37
    changed = set(params.read_text().splitlines()) ^ set(file.read_text().splitlines())
    assert all(
        line.strip().startswith(("weight_decay:", "tau_norm:", "stage1_tau:")) for line in changed
    )


def test_a_file_without_the_section_gets_one(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("# mine\nsplit:\n  seed: 3  # lucky\n")
    set_parameters(params, settings({"weight_decay": 1e-5, "tau": None}))
    assert "# mine" in params.read_text() and "# lucky" in params.read_text()
    assert yaml.safe_load(params.read_text()).keys() == {"split", "represent"}
    assert load_section(params, "represent", RepresentConfig).weight_decay == 1e-5
