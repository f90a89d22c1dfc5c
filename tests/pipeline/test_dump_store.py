"""Dumps of MLflow's databases: the script that keeps them, and the commands of its pods."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from tests.pipeline.kube_play import find
from tests.pipeline.workspace import ROOT
from tests.steps.postgres import Postgres, programs

COMPONENT = ROOT / "k8s" / "components" / "postgres"
SCRIPT = COMPONENT / "dump_store.py"
BOTH = ("mlflow.dump", "mlflow_auth.dump")


@pytest.fixture
def client(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {"BACKUPS": f"s3://{bucket}/backups", "BACKUP": "", "KEEP": "2"}.items():
        monkeypatch.setenv(name, value)
    return boto3.client("s3")


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
    """README.md asks for neither a bucket of its own nor a prefix that nobody else uses."""
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


@pytest.fixture
def database() -> Iterator[Postgres]:
    server = Postgres("mlflow", "mlflow_auth")
    yield server
    server.stop()


def in_shell(command: str, database: Postgres) -> str:
    paths = f"{programs()}:{os.environ['PATH']}"
    variables = {**os.environ, "PATH": paths, **database.variables()}
    return subprocess.run(
        ["sh", "-ec", command], env=variables, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def command_of(job: str, container: str, dumps: Path) -> str:
    """A container's command, with a directory of this machine in the place of its volume."""
    manifests = list(yaml.safe_load_all((COMPONENT / "backup.yaml").read_text()))
    pod = find(manifests, "CronJob", job)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [found] = [c for c in pod["initContainers"] + pod["containers"] if c["name"] == container]
    assert found["command"][:2] == ["sh", "-ec"]
    return found["command"][2].replace("/dumps", str(dumps))


def test_a_backup_from_before_an_upgrade_takes_the_place_of_what_the_upgrade_made(
    database, tmp_path
):
    """Tables that the dump does not know hold on to those that it brings back."""
    before = "create table runs (id int primary key); insert into runs values (1)"
    upgrade = "alter table runs add later int; create table metrics (run int references runs)"
    in_shell(f'psql --quiet mlflow --command "{before}"', database)
    in_shell(command_of("postgres-backup", "dump", tmp_path), database)
    in_shell(f'psql --quiet mlflow --command "{upgrade}"', database)
    in_shell(command_of("postgres-restore", "restore", tmp_path), database)
    assert in_shell('psql -At mlflow -c "select * from runs" -c "\\d"', database).splitlines() == [
        "1",
        "public|runs|table|mlflow",
    ]
    in_shell(f'psql --quiet mlflow --command "{upgrade}"', database)


def test_a_restore_that_fails_leaves_what_was_there(database, tmp_path):
    in_shell('psql --quiet mlflow --command "create table runs (id int)"', database)
    in_shell(command_of("postgres-backup", "dump", tmp_path), database)
    whole = (tmp_path / "mlflow.dump").read_bytes()
    (tmp_path / "mlflow.dump").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(subprocess.CalledProcessError):
        in_shell(command_of("postgres-restore", "restore", tmp_path), database)
    assert "runs" in in_shell("psql -At mlflow -c '\\d'", database)
