"""Published images: what is uploaded, fetched, kept in the cache, and found wrong."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from longtail.artifacts import Images
from longtail.errors import LongtailError
from longtail.files import file_digest
from longtail.io.publishing import publish
from longtail.io.shard_store import LocalShards, open_shards
from tests.steps.ingest_fixtures import encode, picture, run_ingest, write_tree
from tests.steps.s3_server import BUCKET, Request, S3Server

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


def test_a_step_that_reads_one_percent_of_a_store_larger_than_the_cache_fetches_no_more(
    published: Images, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTAIL_SHARD_CACHE_BYTES", "200000")
    found = open_shards(published).encoded(**places(published, every=100))
    assert len(found) == IMAGES // 100
    assert s3.sent == sum(map(len, found)) < 200_000
    assert s3.sent <= cached(tmp_path / "cache") <= 200_000


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


READ = """
import hashlib, sys
from pathlib import Path
import pyarrow.parquet as pq
from longtail.artifacts import Images
from longtail.io.shard_store import open_shards
images = Images(Path(sys.argv[1]))
table = pq.read_table(images.manifest).to_pandas()
reader = open_shards(images)
for _ in range(int(sys.argv[2])):
    for start in range(0, len(table), 50):
        part = table.iloc[start : start + 50]
        found = reader.encoded(part["shard"], part["row"])
        assert [hashlib.sha256(data).hexdigest() for data in found] == part["id"].tolist()
"""


def read_in_processes(images: Images, *, processes: int, passes: int) -> None:
    command = [sys.executable, "-c", READ, str(images.root), str(passes)]
    running = [subprocess.Popen(command) for _ in range(processes)]
    assert [process.wait() for process in running] == [0] * processes


def test_processes_of_a_node_fetch_everything_once(
    published: Images, local: Images, s3: S3Server
) -> None:
    read_in_processes(published, processes=3, passes=1)
    everything = sum(local.shard(number).stat().st_size for number in range(SHARDS))
    assert s3.sent <= everything


def test_processes_that_evict_each_other_read_the_right_images(
    published: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTAIL_SHARD_CACHE_BYTES", "600000")
    read_in_processes(published, processes=3, passes=3)
    assert cached(tmp_path / "cache") <= 600_000


def test_a_damaged_cache_is_fetched_anew(
    published: Images, local: Images, s3: S3Server, tmp_path: Path
) -> None:
    wanted = places(local)
    expected = open_shards(published).encoded(**wanted)
    for path in (tmp_path / "cache").glob("*.shard"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    s3.requests.clear()
    assert open_shards(published).encoded(**wanted) == expected
    assert len(s3.objects_read) == SHARDS


@pytest.mark.parametrize("fault", [503, "cut"])
def test_a_request_that_fails_once_is_repeated(
    published: Images, local: Images, s3: S3Server, fault: int | str
) -> None:
    failed: set[str] = set()

    def once(request: Request) -> int | str | None:
        if request.method == "HEAD" or request.path in failed:
            return None
        failed.add(request.path)
        return fault

    s3.fault = once
    wanted = places(local)
    assert open_shards(published).encoded(**wanted) == LocalShards(local).encoded(**wanted)
    assert len(failed) == SHARDS


def address_of(images: Images, shard: int) -> tuple[str, str]:
    address = json.loads(images.shards.read_text())[shard]["address"]
    return address, address.removeprefix(f"s3://{BUCKET}/")


def test_a_replaced_object_is_an_error_that_names_it_and_the_image(
    published: Images, local: Images, s3: S3Server, tmp_path: Path
) -> None:
    address, key = address_of(published, 1)
    content = bytearray(local.shard(1).read_bytes())
    content[content.index(LocalShards(local).encoded([1], [5])[0]) + 100] ^= 1
    s3.put({key: bytes(content)})
    reader = open_shards(published)
    with pytest.raises(LongtailError, match=rf"{address}: the image of row 5 has another SHA-256"):
        reader.encoded([0, 1, 1], [0, 4, 5])
    assert reader.encoded([1], [4]) == LocalShards(local).encoded([1], [4])
    s3.put({key: local.shard(1).read_bytes()})
    assert reader.encoded([1], [5]) == LocalShards(local).encoded([1], [5])


def test_a_truncated_and_a_missing_object_are_errors(published: Images, s3: S3Server) -> None:
    address, key = address_of(published, 2)
    s3.put({key: b"ARROW1"})
    with pytest.raises(LongtailError, match=rf"{address}"):
        open_shards(published).encoded([2], [0])
    assert open_shards(published).rows(2) == "an object of 6 bytes"
    s3.client.delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(LongtailError, match=rf"{address}: there is no such object"):
        open_shards(published).encoded([2], [0])
    assert open_shards(published).rows(2) == "no such object"


def test_refusals_name_the_store_and_the_settings(
    published: Images, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.fault = lambda request: 403
    with pytest.raises(LongtailError, match=r"s3://images/store/.*credentials"):
        open_shards(published).encoded([0], [0])
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(LongtailError, match=r"AWS_ENDPOINT_URL \(http://127.0.0.1:9\)"):
        open_shards(published).encoded([0], [0])


def test_a_cache_that_cannot_be_is_an_error_that_names_its_setting(
    published: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LONGTAIL_SHARD_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(LongtailError, match="Set LONGTAIL_SHARD_CACHE to a writable"):
        open_shards(published).encoded([0], [0])
    monkeypatch.setenv("LONGTAIL_SHARD_CACHE_BYTES", "5GB")
    with pytest.raises(LongtailError, match="LONGTAIL_SHARD_CACHE_BYTES is 5GB; give a whole"):
        open_shards(published)


def test_shards_of_other_images_are_refused(published: Images, tmp_path: Path) -> None:
    table = pq.read_table(published.manifest)
    pq.write_table(table.slice(0, 300), published.manifest)
    with pytest.raises(LongtailError, match=r"shards\.json does not belong to .*publish"):
        open_shards(published)


def test_what_cannot_be_published_is_refused(
    published: Images,
    local: Images,
    s3_backend: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    with pytest.raises(LongtailError, match="give s3://bucket/prefix"):
        publish(local.root, url="gs://bucket", out=out)
    with pytest.raises(LongtailError, match="holds no shards"):
        publish(published.root, url=URL, out=out)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_backend)
    with pytest.raises(LongtailError, match=r"s3://nowhere/x at .*NoSuchBucket.*Check the bucket"):
        publish(local.root, url="s3://nowhere/x", out=out)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with pytest.raises(LongtailError, match=r"s3://nowhere/x.*localhost.*Check AWS_ENDPOINT_URL"):
        publish(local.root, url="s3://nowhere/x", out=out)
    assert not out.exists()
