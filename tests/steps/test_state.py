"""What outlives a pod, in a directory and in a bucket."""

import threading
from pathlib import Path

import boto3
import pytest

from longtail.errors import LongtailError
from longtail.io.mirror import mirrored
from longtail.io.state import open_state


@pytest.fixture
def prefix(bucket: str) -> str:
    return f"s3://{bucket}/a/state"


@pytest.fixture(params=["directory", "prefix"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "directory":
        return str(tmp_path / "state")
    return str(request.getfixturevalue("prefix"))


def written(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def test_files_come_back_under_their_names(uri, tmp_path):
    state = open_state(uri)
    state.store("runs/1/b.json", written(tmp_path / "b", b"two"))
    state.store("runs/1/a.json", written(tmp_path / "a", b"one"))
    state.store("runs/12/a.json", tmp_path / "a")
    assert state.names("runs/1/") == ["runs/1/a.json", "runs/1/b.json"]
    state.fetch("runs/1/b.json", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"two"
    state.remove("runs/1/b.json")
    state.remove("runs/1/b.json")
    assert open_state(uri).names("runs/1/") == ["runs/1/a.json"]


def test_what_the_body_leaves_is_there_the_next_time(uri):
    with mirrored(uri, "checkpoints/k", seconds=60) as directory:
        directory.mkdir(exist_ok=True, parents=True)
        written(directory / "training.pt", b"epoch 1")
        written(directory / ".training.pt.partial", b"half")
    with mirrored(uri, "checkpoints/k") as directory:
        assert (directory / "training.pt").read_bytes() == b"epoch 1"
        (directory / "training.pt").unlink()
    assert open_state(uri).names("checkpoints/k/") == []


def test_what_an_interrupted_body_had_is_kept(uri):
    with pytest.raises(SystemExit), mirrored(uri, "checkpoints/k", seconds=60) as directory:
        directory.mkdir(exist_ok=True, parents=True)
        written(directory / "training.pt", b"epoch 2")
        raise SystemExit(143)
    assert open_state(uri).names("checkpoints/k/") == ["checkpoints/k/training.pt"]


def test_checkpoints_are_uploaded_while_the_body_works(prefix: str):
    """So that a pod that is killed without a word has lost no more than the time since."""
    state = open_state(prefix)
    with mirrored(prefix, "checkpoints/k", seconds=0.02) as directory:
        for content in (b"epoch 1", b"epoch 2 is longer"):
            partial = written(directory / ".partial", content)
            partial.replace(directory / "training.pt")
            wait_until(lambda content=content: fetched(state, directory) == content)


def test_a_store_that_refuses_at_the_end_costs_no_finished_body(prefix: str, tmp_path, caplog):
    open_state(prefix).store("checkpoints/k/training.pt", written(tmp_path / "t", b"epoch 1"))
    with mirrored(prefix, "checkpoints/k", seconds=60) as directory:
        (directory / "training.pt").unlink()
        delete_bucket()
    assert "checkpoints/k" in caplog.text and "create it" in caplog.text


def delete_bucket() -> None:
    boto3.resource("s3").Bucket("bucket").objects.delete()
    boto3.client("s3").delete_bucket(Bucket="bucket")


@pytest.mark.parametrize("act", ["names", "store", "fetch"])
def test_every_refusal_says_what_to_do(act, prefix: str, tmp_path, monkeypatch):
    asked = {
        "names": lambda state: state.names(""),
        "store": lambda state: state.store("a", written(tmp_path / "a", b"")),
        "fetch": lambda state: state.fetch("a", tmp_path / "b"),
    }[act]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # has the credentials
    with pytest.raises(LongtailError, match="no complete credentials"):
        asked(open_state(prefix))


def fetched(state, directory: Path) -> bytes | None:
    if not state.names("checkpoints/k/"):
        return None
    state.fetch("checkpoints/k/training.pt", directory.parent / "seen")
    return (directory.parent / "seen").read_bytes()


def wait_until(condition) -> None:
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.02)
    pytest.fail("it never happened")


def test_a_bucket_that_is_not_there_is_an_error_for_the_user(prefix: str):
    with pytest.raises(LongtailError, match=r"bucket's name, or create it.*resources\.state"):
        open_state("s3://nowhere/state").names("")
    with pytest.raises(LongtailError, match="Use a directory or s3://"):
        open_state("gs://bucket/state")
