"""The storage below ingest, asked directly: listings, failures by name, and bounded reading ahead.

Retries, and going on after a kill, are in `test_ingest_s3`; links in `test_ingest`.
"""

import threading
from pathlib import Path

import pytest

from longtail.config.ingest import S3Config
from longtail.errors import LongtailError
from longtail.imaging import BadImage
from longtail.io.storage import open_storage
from longtail.sources.collection import Storage
from tests.steps.ingest_fixtures import png, run_ingest, stored_bytes, write_tree
from tests.steps.s3_server import BUCKET, Request, S3Server

ROOT = f"s3://{BUCKET}/data"
# A plain sort of names, directory by directory, gives another order than a bucket's listing.
FILES = {"a/1": b"one", "a-b/2": b"two", "a.c": b"three", "Z": b"", "ü/4": b"four", ".h": b"hidden"}
only_where_keys_are_checked = pytest.mark.parametrize("s3_backend", ["radosgw"], indirect=True)


def bucket(server: S3Server, tmp_path: Path, *, root: str = ROOT) -> Storage:
    config = S3Config(endpoint_url=server.endpoint, region="us-east-1", max_attempts=2)
    return open_storage(root, s3=config, cache=tmp_path / "cache")


def local(root: Path, files: dict[str, bytes]) -> Storage:
    return open_storage(str(write_tree(root, files)), s3=S3Config(), cache=root / "unused")


def test_bucket_and_directory_list_and_read_the_same(s3: S3Server, tmp_path: Path) -> None:
    s3.put({f"data/{path}": data for path, data in FILES.items()})
    s3.put({"data-2/x": b"a neighbour", "database": b"another"})
    expected = sorted((path.encode(), len(data)) for path, data in FILES.items())
    for storage in (bucket(s3, tmp_path), local(tmp_path / "in", FILES)):
        found = list(storage.entries())
        assert [(entry.path.encode(), entry.size) for entry in found] == expected
        assert {entry.path: storage.read(entry.path) for entry in found} == FILES
        assert storage.local_file("a/1").read_bytes() == b"one"


def test_a_listing_of_several_pages_is_complete_and_in_order(s3: S3Server, tmp_path: Path) -> None:
    paths = [f"{i:04d}" for i in range(1001)]
    s3.put({f"data/{path}": b"" for path in paths})
    assert [entry.path for entry in bucket(s3, tmp_path).entries()] == paths


def test_the_version_changes_with_the_content(s3: S3Server, tmp_path: Path) -> None:
    versions = []
    for content in (b"old", b"new", b"old"):
        s3.put({"data/x": content})
        versions += [entry.version for entry in bucket(s3, tmp_path).entries()]
    assert versions[0] == versions[2] != versions[1]


def test_a_copy_is_used_only_while_the_listing_shows_its_version(
    s3: S3Server, tmp_path: Path
) -> None:
    s3.put({"data/same": b"same", "data/changed": b"old"})
    first = bucket(s3, tmp_path)
    assert (first.read("same"), first.read("changed")) == (b"same", b"old")
    s3.put({"data/changed": b"new"})
    s3.requests.clear()
    second = bucket(s3, tmp_path)
    list(second.entries())
    assert (second.read("same"), second.read("changed")) == (b"same", b"new")
    assert s3.objects_read == ["data/changed"]


def test_missing_and_escaping_paths_are_bad_images(s3: S3Server, tmp_path: Path) -> None:
    s3.put({"secret": b"x", "data/a/1": b"x"})
    (tmp_path / "secret").write_bytes(b"x")
    for storage in (bucket(s3, tmp_path), local(tmp_path / "data", {"a/1": b"x"})):
        with pytest.raises(BadImage, match="missing"):
            storage.read("a/2")
        for path in ("../secret", "a/../../secret", "/etc/hostname", "a/1\0"):
            with pytest.raises(BadImage, match="leaves the root"):
                storage.read(path)
        for path in ("a/2", "../secret"):
            with pytest.raises(LongtailError, match="data/"):
                storage.local_file(path)


def test_a_missing_bucket_is_no_missing_image(s3: S3Server, tmp_path: Path) -> None:
    storage = bucket(s3, tmp_path, root="s3://nowhere/data")
    with pytest.raises(LongtailError, match=r"s3://nowhere/data.*NoSuchBucket"):
        next(iter(storage.entries()))
    with pytest.raises(LongtailError, match=r"s3://nowhere/data.*NoSuchBucket"):
        storage.read("a/1")


@only_where_keys_are_checked
@pytest.mark.parametrize(
    ("variable", "code", "act"),
    [
        ("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch", "The secret does not belong to the key"),
        ("AWS_ACCESS_KEY_ID", "InvalidAccessKey", "The server does not know this key"),
    ],
)
def test_wrong_keys_are_no_bad_images(
    s3: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    code: str,
    act: str,
) -> None:
    s3.put({"data/x": b"x"})
    monkeypatch.setenv(variable, "WRONG")
    storage = bucket(s3, tmp_path)
    with pytest.raises(LongtailError, match=rf"s3://images/data.*{code}.*{act}"):
        list(storage.entries())
    with pytest.raises(LongtailError, match=code):
        storage.read("x")
    with pytest.raises(LongtailError, match="403"):
        storage.local_file("x")


def test_reading_ahead_is_bounded_and_keeps_the_order(s3: S3Server, tmp_path: Path) -> None:
    concurrency = 3
    files = {f"a/{i:02d}.png": png(i) for i in range(12 * concurrency)}
    s3.put({f"data/{path}": data for path, data in files.items()})
    asked_while_held: list[int] = []

    def hold_the_first(request: Request) -> None:
        if not request.path.endswith("a/00.png"):
            return
        seen = -1
        while seen != len(s3.objects_read):  # until no other request arrives any more
            seen = len(s3.objects_read)
            threading.Event().wait(1)
        asked_while_held.append(seen)

    s3.fault = hold_the_first
    options = {"endpoint_url": s3.endpoint, "region": "us-east-1", "concurrency": concurrency}
    images = run_ingest(tmp_path, {"kind": "folder", "root": ROOT}, s3=options)
    assert concurrency < asked_while_held[0] <= 4 * concurrency
    assert stored_bytes(images) == list(files.values())
