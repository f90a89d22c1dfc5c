"""Published images: what is uploaded, fetched, kept in the cache, and found wrong."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from longtail.artifacts import Images
from longtail.files import file_digest
from longtail.io.publishing import publish
from longtail.io.shard_store import LocalShards, open_shards
from tests.steps.ingest_fixtures import encode, picture, run_ingest, write_tree
from tests.steps.s3_server import BUCKET, S3Server, s3, s3_backend

__all__ = ["s3", "s3_backend"]  # fixtures
URL = f"s3://{BUCKET}/store"
IMAGES, SHARDS = 500, 3  # of about 5 kB; a shard takes a megabyte


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Images:
    root = tmp_path_factory.mktemp("local")
    files = {f"{i % 2}/{i}.png": encode(picture(i, side=40)) for i in range(IMAGES)}
    write_tree(root / "in", files)
    return run_ingest(root, {"kind": "folder", "root": str(root / "in")}, shard_megabytes=1)


@pytest.fixture
def published(
    local: Images, s3: S3Server, s3_backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Images:
    """The artifact in the store; read through the proxy, with an empty cache."""
    monkeypatch.setenv("LONGTAIL_SHARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_backend)
    publish(local.root, url=URL, out=tmp_path / "published")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    return Images(tmp_path / "published")


def places(images: Images, every: int = 1) -> dict[str, list[int]]:
    table = pq.read_table(images.manifest, columns=["shard", "row"]).to_pandas().iloc[::every]
    return {"shards": table["shard"].tolist(), "rows": table["row"].tolist()}


def cached(directory: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in directory.iterdir())


def test_the_artifact_holds_addresses_and_the_store_every_shard_once(
    published: Images,
    local: Images,
    s3: S3Server,
    s3_backend: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = json.loads(published.shards.read_text())
    assert [entry["rows"] for entry in entries] == (
        pd.read_parquet(local.manifest).groupby("shard").size().tolist()
    )
    for number, entry in enumerate(entries):
        key = f"store/{file_digest(local.shard(number))}.arrow"
        assert entry["address"] == f"s3://{BUCKET}/{key}"
        stored = s3.client.get_object(Bucket=BUCKET, Key=key)
        assert stored["Body"].read() == local.shard(number).read_bytes()
    assert len(entries) == SHARDS
    before = {item["Key"]: item["LastModified"] for item in listing(s3)}
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_backend)
    publish(local.root, url=URL + "/", out=tmp_path / "again")
    assert {item["Key"]: item["LastModified"] for item in listing(s3)} == before
    names = sorted(path.name for path in published.root.iterdir())
    assert names == ["classes.json", "manifest.parquet", "quarantine.parquet", "shards.json"]
    for name in names:
        assert file_digest(tmp_path / "again" / name) == file_digest(published.root / name)


def listing(s3: S3Server) -> list[dict]:
    return s3.client.list_objects_v2(Bucket=BUCKET)["Contents"]


def test_images_are_the_same_from_directory_store_and_cache(
    published: Images, local: Images, s3: S3Server
) -> None:
    order = [*np.random.default_rng(0).permutation(IMAGES).tolist(), 7, 7]  # one twice
    wanted = {name: [of[i] for i in order] for name, of in places(local).items()}
    expected = LocalShards(local).encoded(**wanted)
    assert open_shards(published).encoded(**wanted) == expected
    fetched = s3.sent
    assert open_shards(published).encoded(**wanted) == expected
    assert s3.sent == fetched
    assert [open_shards(published).rows(i) for i in range(SHARDS)] == [
        LocalShards(local).rows(i) for i in range(SHARDS)
    ]


def test_images_that_nobody_asks_for_are_not_fetched(
    published: Images, local: Images, s3: S3Server, tmp_path: Path
) -> None:
    wanted = places(local, every=100)
    found = open_shards(published).encoded(**wanted)
    assert sum(map(len, found)) == s3.sent
    assert cached(tmp_path / "cache") <= s3.sent + 3 * 4096 * len(found)


def test_neighbours_are_fetched_by_one_request(published: Images, s3: S3Server) -> None:
    open_shards(published).encoded([1] * 20, list(range(40, 80, 2)))
    assert len(s3.objects_read) == 1


@pytest.mark.parametrize("kilobytes", [0, 4, 300, 1200])
def test_the_cache_stays_within_its_bound(
    published: Images,
    local: Images,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kilobytes: int,
) -> None:
    monkeypatch.setenv("LONGTAIL_SHARD_CACHE_BYTES", str(kilobytes * 1000))
    reader = open_shards(published)
    table, largest = places(local), 0
    for start in range(0, IMAGES, 25):
        part = {name: of[start : start + 25] for name, of in table.items()}
        assert reader.encoded(**part) == LocalShards(local).encoded(**part)
        largest = max(largest, cached(tmp_path / "cache"))
    assert largest <= kilobytes * 1000
    if kilobytes >= 300:
        assert largest > kilobytes * 500


def test_what_was_read_last_stays(
    published: Images, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTAIL_SHARD_CACHE_BYTES", "1000000")
    reader, rows = open_shards(published), list(range(80))  # about 400 kB
    reader.encoded([0] * 80, rows)
    reader.encoded([1] * 80, rows)
    reader.encoded([0] * 80, rows)
    reader.encoded([2] * 80, rows)
    s3.requests.clear()
    reader.encoded([0] * 80, rows)
    assert s3.objects_read == []
    reader.encoded([1] * 80, rows)
    assert s3.objects_read != []
