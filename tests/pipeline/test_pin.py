"""`longtail pin` in a clone, under the real DVC: the split of a run elsewhere is used as it is."""

import shutil
from pathlib import Path

import pytest

from longtail.files import read_json
from longtail.io.versioning import pointed_md5, version
from tests.pipeline.workspace import QUICK, change_params, make_workspace, run

RUN_SEED = 5


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = make_workspace(tmp_path_factory.mktemp("pin") / "clone", QUICK)
    run(directory, "dvc", "repro", "split")
    return directory


@pytest.fixture(scope="module")
def store(clone: Path) -> Path:
    return clone.parent / "store"


@pytest.fixture(scope="module")
def pod(clone: Path, store: Path) -> Path:
    """What a run with another seed left: its split, and its pointer beside it."""
    pod = clone.parent / "pod"
    shutil.copytree(clone / "data/images", pod / "data/images")
    shutil.copy(clone / "params.yaml", pod)
    change_params(pod, {"split.seed": RUN_SEED})
    run(pod, "longtail", "split", "--images", "data/images", "--out", "split")
    (pod / "split.dvc").write_text(version(pod / "split", remote=str(store)))
    return pod


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture(scope="module")
def pinned(clone: Path, pod: Path, store: Path) -> Path:
    assert contents(clone / "data/split") != contents(pod / "split")
    run(clone, "git", "add", ".")
    run(clone, "git", "commit", "--quiet", "--message", "before")
    run(clone, "longtail", "pin", str(pod / "split.dvc"), "--remote", str(store))
    return clone


def test_git_sees_which_split_it_is_and_nothing_else(pinned, pod):
    changed = run(pinned, "git", "diff", "--unified=0").splitlines()
    added = [line.strip("+ ") for line in changed if line.startswith("+ ")]
    md5 = pointed_md5((pod / "split.dvc").read_text())
    assert {"frozen: true", f"seed: {RUN_SEED}", f"md5: {md5}"} <= set(added)
    assert len(added) == 5  # the seed in params.yaml and dvc.lock, md5 and size in dvc.lock


def test_repro_uses_it_whatever_becomes_of_the_code_that_splits(pinned, pod):
    with (pinned / "src/longtail/splitting.py").open("a") as file:
        file.write("\n# changed\n")
    output = run(pinned, "dvc", "repro", "validate")
    assert "Running stage 'validate'" in output and "Running stage 'split'" not in output
    assert contents(pinned / "data/split") == contents(pod / "split")
    seal = read_json(pinned / "reports/validation/passed.json")
    assert run(pinned, "sha256sum", "data/split/profile.json").startswith(seal["split"])


def test_another_clone_has_it_by_pulling(pinned, pod, store):
    run(pinned, "dvc", "remote", "add", "--default", "store", str(store))
    run(pinned, "dvc", "push", "split")
    run(pinned, "git", "add", ".")
    run(pinned, "git", "commit", "--quiet", "--message", "pinned")
    other = pinned.parent / "other"
    run(pinned.parent, "git", "clone", "--quiet", str(pinned), str(other))
    run(other, "dvc", "repro", "--pull", "split")
    assert contents(other / "data/split") == contents(pod / "split")


def test_the_default_remote_and_an_md5_will_do(pinned, pod):
    shutil.rmtree(pinned / "data/split")
    run(pinned, "longtail", "pin", pointed_md5((pod / "split.dvc").read_text()))
    assert contents(pinned / "data/split") == contents(pod / "split")
    assert (pinned / "dvc.yaml").read_text().count("frozen: true") == 1


def test_a_split_of_other_images_is_refused_and_changes_nothing(pinned, pod, store):
    profile = read_json(pod / "split/profile.json")
    foreign = pinned.parent / "foreign"
    shutil.copytree(pod / "split", foreign)
    text = (foreign / "profile.json").read_text()
    (foreign / "profile.json").write_text(text.replace(profile["manifest"], "0" * 64))
    pointer = version(foreign, remote=str(store))
    before = contents(pinned / "data/split")
    with pytest.raises(AssertionError, match="made from another manifest"):
        run(pinned, "longtail", "pin", pointed_md5(pointer), "--remote", str(store))
    assert contents(pinned / "data/split") == before


def test_what_is_no_pointer_says_where_one_is_found(pinned):
    with pytest.raises(AssertionError, match="neither a file nor an md5"):
        run(pinned, "longtail", "pin", "split.dcv")
