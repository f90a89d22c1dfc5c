"""A split's way to a DVC remote and back, on real S3 servers, without Git or a writable HOME."""

from pathlib import Path

import pytest

from longtail.commands.pin import read_pointer
from longtail.errors import LongtailError
from longtail.io.versioning import check_belongs, dvc_directory_md5, pointed_md5, pull, version
from tests.steps.s3_server import BUCKET, S3Server
from tests.steps.split_fixtures import run_split, write_images

REMOTE = f"s3://{BUCKET}/versions"
PARTS = {"law": "natural", "val": {"share": 0.25}}


@pytest.fixture
def split(tmp_path: Path) -> Path:
    run_split(write_images(tmp_path / "images", [0, 1] * 40), tmp_path / "split", **PARTS)
    return tmp_path / "split"


@pytest.fixture
def endpoint(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HOME", "/nonexistent")
    return str(s3.client.meta.endpoint_url)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_pod_hands_over_a_pointer_by_which_another_has_the_same_bytes(split, endpoint, tmp_path):
    before = contents(split)
    pointer = version(split, remote=REMOTE, endpoint_url=endpoint)
    assert contents(split) == before
    assert version(split, remote=REMOTE, endpoint_url=endpoint) == pointer

    md5 = pointed_md5(pointer)
    assert md5 == dvc_directory_md5(split)  # what dvc.lock and the registered model say
    for name, handed_over in {"a": pointer, "b": md5, "c": md5.removesuffix(".dir")}.items():
        pull(handed_over, remote=REMOTE, out=tmp_path / name, endpoint_url=endpoint)
        assert contents(tmp_path / name) == before


@pytest.mark.parametrize("scheme", ["s3", "minio"])  # minio:// is how KFP calls its own store
def test_the_pointer_is_read_where_a_run_left_it(s3, endpoint, scheme):
    pointer = "outs:\n- md5: 5d274f28c60d899b75e5726f929b1fdc.dir\n  path: split\n"
    s3.put({"v2/artifacts/run/split/pointer": pointer.encode()})
    artifact = f"{scheme}://{BUCKET}/v2/artifacts/run/split"
    assert read_pointer(f"{artifact}/pointer", endpoint) == pointer
    with pytest.raises(LongtailError, match=f"{artifact}/gone"):
        read_pointer(f"{artifact}/gone", endpoint)


def test_another_split_is_another_version_beside_the_first(split, endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    first = version(split, remote=REMOTE)
    run_split(tmp_path / "images", tmp_path / "other", **PARTS, seed=1)
    second = version(tmp_path / "other", remote=REMOTE)
    assert pointed_md5(first) != pointed_md5(second)
    pull(first, remote=REMOTE, out=tmp_path / "back")
    assert contents(tmp_path / "back") == contents(split)


def test_content_that_is_not_what_the_md5_says_is_refused(split, s3, endpoint, tmp_path):
    pointer = version(split, remote=REMOTE, endpoint_url=endpoint)
    listed = s3.client.list_objects_v2(Bucket=BUCKET, Prefix="versions/")["Contents"]
    file = next(item["Key"] for item in listed if not item["Key"].endswith(".dir"))
    out = tmp_path / "out"
    s3.client.put_object(Bucket=BUCKET, Key=file, Body=b"something else")
    with pytest.raises(LongtailError, match="failed to pull"):
        pull(pointer, remote=REMOTE, out=out, endpoint_url=endpoint)
    s3.client.delete_object(Bucket=BUCKET, Key=file)
    with pytest.raises(LongtailError, match="failed to"):
        pull(pointer, remote=REMOTE, out=out, endpoint_url=endpoint)
    assert not out.exists()


def test_a_remote_that_does_not_hold_it_is_named(split, endpoint, tmp_path):
    with pytest.raises(LongtailError, match=f"{REMOTE}.*that it holds this version"):
        pull("0" * 32, remote=REMOTE, out=tmp_path / "out", endpoint_url=endpoint)
    with pytest.raises(LongtailError, match=r"s3://no-such-bucket/x.*NoSuchBucket"):
        version(split, remote="s3://no-such-bucket/x", endpoint_url=endpoint)
    with pytest.raises(LongtailError, match="gs://bucket"):
        version(split, remote="gs://bucket")


@pytest.mark.parametrize("text", ["", "main", "outs:\n- hash: md5\n", "- md5: abc.dir\n"])
def test_what_points_to_nothing_is_refused(text):
    with pytest.raises(LongtailError, match="points to no split"):
        pointed_md5(text)


def test_an_empty_directory_is_no_split(tmp_path):
    with pytest.raises(LongtailError, match="holds no split"):
        version(tmp_path, remote=str(tmp_path / "store"))


def test_a_split_belongs_to_the_images_it_was_made_from(split, tmp_path):
    check_belongs(split, images=tmp_path / "images")
    others = write_images(tmp_path / "others", [0, 1] * 41)
    with pytest.raises(LongtailError, match="made from another manifest"):
        check_belongs(split, images=others)
