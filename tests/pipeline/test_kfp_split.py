"""The split's component: a version of every split, and a run that starts from an earlier one."""

from pathlib import Path

import pytest
from kfp import dsl

from components.split import split
from longtail.config.section import parse
from longtail.config.split import SplitConfig
from longtail.io.versioning import pointed_md5
from pipelines.parameters import plain
from tests.steps.split_fixtures import write_images


class Pods:
    """Runs the component's function, each time as another pod."""

    def __init__(self, root: Path) -> None:
        self.root, self.remote, self.count = root, str(root / "remote"), 0
        self.images = dsl.Dataset(uri=str(write_images(root / "images", [0, 1, 2] * 40)))

    def run(self, *, remote: str | None = None, data_rev: str = "", **values: object):
        """Return the artifacts `split` and `pointer`."""
        self.count += 1
        out = self.root / f"pod-{self.count}"
        out.mkdir()
        artifacts = dsl.Dataset(uri=str(out / "split")), dsl.Artifact(uri=str(out / "pointer"))
        params = plain(parse(SplitConfig, {"law": "natural", **values}, where="split"))
        split.python_func(
            params=params,
            data_rev=data_rev,
            remote=self.remote if remote is None else remote,
            code_rev="",
            images=self.images,
            split=artifacts[0],
            pointer=artifacts[1],
        )
        return artifacts


@pytest.fixture
def pods(tmp_path, monkeypatch):
    monkeypatch.delenv("LONGTAIL_STATE", raising=False)
    return Pods(tmp_path)


def files(artifact: dsl.Artifact) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(artifact.path).iterdir()}


def test_a_run_starts_from_the_split_of_another(pods):
    made, pointer = pods.run(seed=5)
    md5 = pointed_md5(Path(pointer.path).read_text())
    assert md5 == made.metadata["split_md5"] == pointer.metadata["split_md5"]
    other, _ = pods.run(seed=6)
    assert files(other) != files(made)
    again, same = pods.run(seed=6, data_rev=md5)
    assert files(again) == files(made)
    assert Path(same.path).read_text() == Path(pointer.path).read_text()


def test_a_split_of_other_images_is_refused(pods):
    made, _ = pods.run()
    pods.images = dsl.Dataset(uri=str(write_images(pods.root / "others", [0, 1] * 40)))
    with pytest.raises(SystemExit, match="made from another manifest"):
        pods.run(data_rev=made.metadata["split_md5"])


def test_without_a_remote_there_is_no_version(pods):
    made, pointer = pods.run(remote="")
    assert files(made) and Path(pointer.path).read_text() == ""
    with pytest.raises(SystemExit, match="No DVC remote"):
        pods.run(remote="", data_rev=made.metadata["split_md5"])
