"""The script that keeps dumps of MLflow's databases, run as its pods run it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.pipeline.workspace import ROOT

SCRIPT = ROOT / "k8s" / "components" / "postgres" / "dump_store.py"
BOTH = ("mlflow.dump", "mlflow_auth.dump")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    variables = {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "BACKUPS": "s3://bucket/backups",
        "BACKUP": "",
        "KEEP": "2",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    yield client
    for entry in client.list_objects_v2(Bucket="bucket").get("Contents", []):  # of all of moto
        client.delete_object(Bucket="bucket", Key=entry["Key"])
    server.stop()


def upload(client: Any, time: str, names: tuple[str, ...] = BOTH) -> None:
    for name in names:
        client.put_object(Bucket="bucket", Key=f"backups/{time}/{name}", Body=time.encode())


def times(client: Any, prefix: str = "backups") -> set[str]:
    listed = client.list_objects_v2(Bucket="bucket", Prefix=f"{prefix}/").get("Contents", [])
    return {entry["Key"].split("/")[-2] for entry in listed}


def run(action: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    directory.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, str(SCRIPT), action, str(directory)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


def dumps(directory: Path) -> Path:
    directory.mkdir()
    for name in BOTH:
        (directory / name).write_text("now")
    return directory


def test_the_newest_whole_backup_is_fetched(client, tmp_path):
    upload(client, "2026-01-01T02-00-00Z")
    upload(client, "2026-01-02T02-00-00Z")
    upload(client, "2026-01-03T02-00-00Z", BOTH[:1])  # ended while it uploaded
    assert run("fetch", tmp_path / "out").returncode == 0
    fetched = {file.name: file.read_text() for file in (tmp_path / "out").iterdir()}
    assert fetched == dict.fromkeys(BOTH, "2026-01-02T02-00-00Z")
    half = run("fetch", tmp_path / "half", BACKUP="2026-01-03T02-00-00Z")
    assert half.returncode == 1
    assert "no whole backup '2026-01-03T02-00-00Z'" in half.stderr and "01-02T" in half.stderr


def test_the_newest_whole_backups_stay(client, tmp_path):
    for day in ("01", "02"):
        upload(client, f"2026-01-{day}T02-00-00Z")
    for day in ("03", "04"):
        upload(client, f"2026-01-{day}T02-00-00Z", BOTH[:1])
    done = run("store", dumps(tmp_path / "dumps"))
    assert done.returncode == 0, done.stderr
    stored = times(client)
    assert "2026-01-01T02-00-00Z" not in stored and "2026-01-02T02-00-00Z" in stored
    assert len(stored) == 4, "a half one goes when it is older than all that stay"


def test_what_others_keep_at_the_place_stays(client, tmp_path):
    """A bucket of its own, and a prefix that nobody else uses, is more than the page asks for."""
    theirs = {
        f"backups/{key}"
        for key in ("2025/shop.dump", "0000/mlflow.dump", "shop/2026-01-01T02-00-00Z/mlflow.dump")
    } | {"backups/2026-01-01T02-00-00Z/notes.txt"}
    for key in theirs:
        client.put_object(Bucket="bucket", Key=key, Body=b"theirs")
    upload(client, "2026-01-01T02-00-00Z")
    assert run("store", dumps(tmp_path / "dumps"), KEEP="1").returncode == 0
    left = {e["Key"] for e in client.list_objects_v2(Bucket="bucket")["Contents"]}
    assert theirs < left and "backups/2026-01-01T02-00-00Z/mlflow.dump" not in left


def test_a_secret_names_another_store_than_that_of_the_cluster(client, tmp_path, monkeypatch):
    monkeypatch.setenv("OTHER_AWS_ENDPOINT_URL", os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("OTHER_BACKUPS", "s3://bucket/elsewhere")
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "BACKUPS": "s3://absent/backups"}
    assert run("store", dumps(tmp_path / "dumps"), **nowhere).returncode == 0
    assert not times(client) and len(times(client, "elsewhere")) == 1
    assert run("fetch", tmp_path / "out", **nowhere).returncode == 0
    assert (tmp_path / "out" / "mlflow_auth.dump").read_text() == "now"
