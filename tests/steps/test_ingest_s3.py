"""Sources in a bucket, on real S3 servers: order, faults, and going on after a kill."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.artifacts import Images
from longtail.config.ingest import IngestConfig
from longtail.errors import LongtailError
from longtail.files import file_digest, read_json, write_json
from longtail.steps.fingerprint import fingerprint
from longtail.steps.ingest import ingest
from tests.steps.ingest_fixtures import png, run_ingest, stored_bytes, write_tree
from tests.steps.s3_server import BUCKET, Request, S3Server

ROOT = f"s3://{BUCKET}/data"
FILES = {
    f"{name}/{i}.png": png(seed + i)
    for seed, name in ((0, "a"), (50, "a-b"), (90, "ü"))
    for i in range(4)
}


def options(server: S3Server, **changes: Any) -> dict[str, Any]:
    return {"s3": {"endpoint_url": server.endpoint, "region": "us-east-1", **changes}}


def upload(server: S3Server, files: dict[str, bytes]) -> None:
    server.put({f"data/{name}": data for name, data in files.items()})


def test_a_bucket_gives_what_the_directory_gives(s3: S3Server, tmp_path: Path) -> None:
    upload(s3, FILES)
    s3.put({"database/other.png": b"not below the root"})
    root = write_tree(tmp_path / "local" / "in", FILES)
    local = run_ingest(tmp_path / "local", {"kind": "folder", "root": str(root)})
    remote = run_ingest(tmp_path, {"kind": "folder", "root": ROOT}, **options(s3))
    for path in sorted(local.root.iterdir()):
        assert file_digest(path) == file_digest(remote.root / path.name)
    assert sorted(s3.objects_read) == sorted(f"data/{name}" for name in FILES)
    assert read_json(tmp_path / "source.json")["identified_by"] == "etag"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "local", "source.json"]


def test_the_endpoint_may_come_from_the_environment(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(s3, {"a/1.png": png(1)})
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    images = run_ingest(tmp_path, {"kind": "folder", "root": ROOT})
    assert stored_bytes(images) == [png(1)]


def test_more_objects_than_one_page_of_a_listing(s3: S3Server, tmp_path: Path) -> None:
    upload(s3, {f"a/{i:04d}.png": b"x" for i in range(1003)})
    source = {"kind": "folder", "root": ROOT}
    config = IngestConfig.model_validate({"source": source, **options(s3)})
    fingerprint(config, out=tmp_path / "source.json")
    assert read_json(tmp_path / "source.json")["entries"] == 1003


def test_tables_are_fetched_from_the_bucket(s3: S3Server, tmp_path: Path) -> None:
    upload(s3, {"list.csv": b"path,label\na/0.png,x\na/gone.png,x\n../up.png,x\n", **FILES})
    source = {"kind": "listing", "root": ROOT, "table": "list.csv"}
    images = run_ingest(tmp_path, source, on_bad_image="quarantine", **options(s3))
    assert stored_bytes(images) == [FILES["a/0.png"]]
    kept_out = pd.read_parquet(images.quarantine)["reason"].tolist()
    assert kept_out == ["missing", "the path leaves the root"]


def test_parquet_from_a_bucket(s3: S3Server, tmp_path: Path) -> None:
    buffer = pa.BufferOutputStream()
    rows = [png(seed) for seed in range(5)]
    pq.write_table(pa.table({"image": rows, "label": [0, 1, 0, 1, 0]}), buffer)
    upload(s3, {"x.parquet": buffer.getvalue().to_pybytes()})
    images = run_ingest(tmp_path, {"kind": "parquet", "root": ROOT}, **options(s3))
    assert stored_bytes(images) == rows
    with pytest.raises(LongtailError, match=r"data/none\.json: there is no such object"):
        source = {"kind": "parquet", "root": ROOT, "classes_file": "none.json"}
        run_ingest(tmp_path, source, **options(s3))


def test_a_directory_mark_without_objects_is_an_empty_class(s3: S3Server, tmp_path: Path) -> None:
    upload(s3, {"a/1.png": png(1), "void/": b""})
    with pytest.raises(LongtailError, match="hold no image: void"):
        run_ingest(tmp_path, {"kind": "folder", "root": ROOT}, **options(s3))


@pytest.mark.parametrize("fault", [503, 500, "cut"])
def test_each_object_fails_once_and_is_read_again(
    s3: S3Server, tmp_path: Path, fault: int | str
) -> None:
    upload(s3, FILES)
    seen: Counter[str] = Counter()

    def once(request: Request) -> int | str | None:
        seen[request.path] += 1
        return fault if seen[request.path] == 1 and request.path.endswith(".png") else None

    s3.fault = once
    images = run_ingest(tmp_path, {"kind": "folder", "root": ROOT}, **options(s3))
    assert sorted(stored_bytes(images)) == sorted(FILES.values())
    assert set(Counter(s3.objects_read).values()) == {2}


@pytest.mark.parametrize("fault", [503, "cut"])
def test_a_silent_storage_stops_and_blames_no_image(
    s3: S3Server, tmp_path: Path, fault: int | str
) -> None:
    upload(s3, FILES)
    s3.fault = lambda request: fault if request.path.endswith("a/2.png") else None
    with pytest.raises(LongtailError, match=r"s3://images/data"):
        run_ingest(
            tmp_path,
            {"kind": "folder", "root": ROOT},
            on_bad_image="quarantine",
            **options(s3, max_attempts=2),
        )
    assert Counter(s3.objects_read)["data/a/2.png"] == 2
    s3.fault = lambda request: None
    s3.requests.clear()
    run_ingest(tmp_path, {"kind": "folder", "root": ROOT}, **options(s3))
    assert "data/a/0.png" not in s3.objects_read  # had been fetched before the failure


def test_wrong_bucket_and_dead_endpoint_are_named(s3: S3Server, tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match=r"s3://nowhere/x.*Check the bucket's name"):
        run_ingest(tmp_path, {"kind": "folder", "root": "s3://nowhere/x"}, **options(s3))
    dead = {"s3": {"endpoint_url": "http://127.0.0.1:9", "max_attempts": 1}}
    with pytest.raises(LongtailError, match=r"ingest.s3.endpoint_url \(http://127.0.0.1:9\)"):
        run_ingest(tmp_path, {"kind": "folder", "root": ROOT}, **dead)


SCRIPT = """
import sys
from pathlib import Path
from longtail.config.ingest import IngestConfig
from longtail.files import read_json
from longtail.steps.ingest import ingest
here = Path(sys.argv[1])
config = IngestConfig.model_validate(read_json(here / "config.json"))
ingest(config, source=here / "source.json", out=here / "images")
"""


def kill_in_the_middle(server: S3Server, config: IngestConfig, here: Path, *, after: int) -> None:
    """Ingest in a process that is killed once `after` objects have been asked for."""
    write_json(here / "config.json", config.model_dump(mode="json"))
    fingerprint(config, out=here / "source.json")

    killed = threading.Event()

    def hold(request: Request) -> None:
        if request.path.endswith(".png") and len(server.objects_read) > after:
            killed.wait(60)

    server.fault = hold
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(here)])
    while len(server.objects_read) <= after + 1:
        time.sleep(0.02)
        assert process.poll() is None
    process.kill()
    process.wait()
    killed.set()
    server.fault = lambda request: None


def test_a_killed_ingest_fetches_nothing_twice(s3: S3Server, tmp_path: Path) -> None:
    upload(s3, FILES)
    config = IngestConfig.model_validate(
        {"source": {"kind": "folder", "root": ROOT}, **options(s3, concurrency=2)}
    )
    kill_in_the_middle(s3, config, tmp_path, after=6)
    assert not (tmp_path / "images").exists()
    fetched = set(s3.objects_read[:6])
    s3.requests.clear()
    ingest(config, source=tmp_path / "source.json", out=tmp_path / "images")
    assert fetched.isdisjoint(s3.objects_read)
    assert len(s3.objects_read) == len(FILES) - 6
    assert sorted(stored_bytes(Images(tmp_path / "images"))) == sorted(FILES.values())
    assert not (tmp_path / ".images.download").exists()


@pytest.mark.parametrize("s3_backend", ["moto"], indirect=True)  # it is about files on this side
def test_copies_that_a_power_cut_has_torn_are_fetched_again(s3: S3Server, tmp_path: Path) -> None:
    upload(s3, FILES)
    source = {"kind": "folder", "root": ROOT}
    s3.fault = lambda request: 503 if request.path.endswith("ü/3.png") else None
    with pytest.raises(LongtailError, match=r"s3://images/data"):
        run_ingest(tmp_path, source, **options(s3, concurrency=2, max_attempts=1))
    s3.fault = lambda request: None
    copies = [path for path in (tmp_path / ".images.download").rglob("*") if path.is_file()]
    assert len(copies) >= 3
    for length, copy in zip((0, 0, 50), copies, strict=False):
        os.truncate(copy, length)
    s3.requests.clear()
    run_ingest(tmp_path, source, **options(s3))
    assert len(s3.objects_read) == len(FILES) - len(copies) + 3
    assert sorted(stored_bytes(Images(tmp_path / "images"))) == sorted(FILES.values())


def test_what_changed_or_vanished_after_a_kill_is_not_taken_from_disk(
    s3: S3Server, tmp_path: Path
) -> None:
    table = b"path,label\n" + b"".join(f"{name},x\n".encode() for name in sorted(FILES))
    upload(s3, {"list.csv": table, **FILES})
    source = {"kind": "listing", "root": ROOT, "table": "list.csv"}
    config = IngestConfig.model_validate(
        {"source": source, "on_bad_image": "quarantine", **options(s3, concurrency=2)}
    )
    kill_in_the_middle(s3, config, tmp_path, after=6)
    first, second = sorted(FILES)[:2]
    upload(s3, {first: png(777)})
    s3.client.delete_object(Bucket=BUCKET, Key=f"data/{second}")
    with pytest.raises(LongtailError, match="Run `longtail fingerprint` again"):
        ingest(config, source=tmp_path / "source.json", out=tmp_path / "images")
    fingerprint(config, out=tmp_path / "source.json")
    s3.requests.clear()
    ingest(config, source=tmp_path / "source.json", out=tmp_path / "images")
    images = Images(tmp_path / "images")
    assert stored_bytes(images)[0] == png(777)
    assert pd.read_parquet(images.quarantine)["source_path"].tolist() == [second]
    assert f"data/{first}" in s3.objects_read
    assert len(s3.objects_read) < len(FILES)


def test_a_killed_ingest_leaves_no_process_behind(tmp_path: Path) -> None:
    if shutil.which("ps") is None:
        pytest.skip("needs ps")
    root = write_tree(tmp_path / "in", {f"a/{i}.png": png(0) for i in range(5000)})
    config = IngestConfig.model_validate({"source": {"kind": "folder", "root": str(root)}})
    write_json(tmp_path / "config.json", config.model_dump(mode="json"))
    fingerprint(config, out=tmp_path / "source.json")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], start_new_session=True
    )
    while len(session_of(process.pid)) < 4:
        time.sleep(0.02)
        assert process.poll() is None
    process.kill()
    process.wait()
    end = time.monotonic() + 30
    while session_of(process.pid):
        assert time.monotonic() < end
        time.sleep(0.1)


def session_of(leader: int) -> list[str]:
    done = subprocess.run(
        ["ps", "-s", str(leader), "-o", "pid="], capture_output=True, text=True, check=False
    )
    return done.stdout.split()
