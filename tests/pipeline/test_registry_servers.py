"""The registry on PostgreSQL with artifacts in a real S3 server, behind passwords.

Clients have the bucket, as the documentation advises: the server hands out addresses only.
"""

import itertools
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import psycopg2
import pytest
from mlflow.server.auth.client import AuthServiceClient
from werkzeug.security import generate_password_hash

from longtail.config.promotion import RegisterConfig
from longtail.errors import LongtailError
from longtail.io import catalogue
from longtail.io.connection import Unreachable, connect
from longtail.steps.promote import promote, rollback
from tests.pipeline.mlflow_server import MlflowServer
from tests.steps import radosgw
from tests.steps.postgres import Postgres
from tests.steps.promotion_race import race
from tests.steps.registry_fixtures import (
    SIZE,
    Workspace,
    predict_as_consumer,
    write_evaluation,
    write_models,
)

BUCKET, ADMIN_PASSWORD, PASSWORD = "models", "admins-password-1", "trainers-password-1"
USERS = ("trainer", "guest")
AUTH = """
[mlflow]
default_permission = READ
database_uri = {uri}
admin_username = admin
"""


@dataclass
class Servers:
    """All three, and a client of the bucket."""

    mlflow: MlflowServer
    s3: Any

    def keys(self) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


@pytest.fixture(scope="module")
def variables() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def servers(
    ceph: str, variables: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    database = Postgres("mlflow", "auth")
    variables.setenv("AWS_ACCESS_KEY_ID", radosgw.ACCESS_KEY)
    variables.setenv("AWS_SECRET_ACCESS_KEY", radosgw.SECRET_KEY)
    variables.setenv("MLFLOW_S3_ENDPOINT_URL", ceph)
    variables.delenv("AWS_ENDPOINT_URL", raising=False)
    variables.delenv("MLFLOW_RUN_ID", raising=False)
    s3 = boto3.Session().client("s3", endpoint_url=ceph, region_name="us-east-1")
    s3.create_bucket(Bucket=BUCKET)
    root = tmp_path_factory.mktemp("mlflow")
    (root / "auth.ini").write_text(AUTH.format(uri=database.uri("auth")))
    server = MlflowServer(
        root,
        *("--app-name", "basic-auth", "--backend-store-uri", database.uri("mlflow")),
        *("--no-serve-artifacts", "--default-artifact-root", f"s3://{BUCKET}/runs"),
        variables={
            "MLFLOW_AUTH_CONFIG_PATH": str(root / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of-the-server",
        },
    )
    log_in(variables, "admin", ADMIN_PASSWORD)
    for user in USERS:
        AuthServiceClient(server.url).create_user(user, PASSWORD)
    _hash_quickly(database)
    yield Servers(server, s3)
    server.kill()
    database.stop()


def _hash_quickly(database: Postgres) -> None:
    """Take one round for the hashes: the server checks the password again in every request."""
    quick = "pbkdf2:sha256:1"
    hashes = {"admin": generate_password_hash(ADMIN_PASSWORD, quick)}
    hashes |= {user: generate_password_hash(PASSWORD, quick) for user in USERS}
    address = database.uri("auth").replace("+psycopg2", "")
    with closing(psycopg2.connect(address)) as connection, connection:
        connection.cursor().executemany(
            "UPDATE users SET password_hash = %s WHERE username = %s",
            [(value, user) for user, value in hashes.items()],
        )


def log_in(variables: pytest.MonkeyPatch, user: str, password: str) -> None:
    variables.setenv("MLFLOW_TRACKING_USERNAME", user)
    variables.setenv("MLFLOW_TRACKING_PASSWORD", password)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def past(
    servers: Servers,
    models: tuple[Path, Path],
    variables: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Workspace:
    """A registry in which version 2 was promoted over version 1, as the trainer."""
    log_in(variables, "trainer", PASSWORD)
    root = tmp_path_factory.mktemp("past")
    config = RegisterConfig(tracking_uri=servers.mlflow.url, patience=2)
    work = Workspace(root, config, write_evaluation(root / "a", right=(15, 10, 5)), *models)
    assert work.flow()["aliases"] == ["challenger", "champion"]
    work.evaluation = write_evaluation(root / "b", right=(19, 18, 17))
    assert work.flow()["version"] == "2"
    return work


@pytest.fixture(autouse=True)
def as_trainer(past: Workspace, variables: pytest.MonkeyPatch) -> None:
    """Every test begins as the trainer, whoever the one before was."""
    log_in(variables, "trainer", PASSWORD)


@pytest.fixture(scope="module")
def candidates() -> Iterator[tuple[int, int, int]]:
    """How many images candidates have right: none has what another or one of `past` has."""
    return itertools.combinations(range(1, 6), 3)


@pytest.fixture
def work(past: Workspace, candidates: Iterator[tuple[int, int, int]], tmp_path: Path) -> Workspace:
    """A candidate that is not registered yet, but judged."""
    evaluation = write_evaluation(tmp_path / "candidate", right=next(candidates))
    fresh = replace(past, root=tmp_path, evaluation=evaluation)
    fresh.thresholds = past.thresholds.model_copy(
        update={"min_balanced_accuracy": 0.0, "min_gain": -1.0}
    )
    fresh.run_champion()
    fresh.run_gate()
    return fresh


def versions(work: Workspace) -> list[str]:
    with connect(work.config.tracking_uri) as tracker:
        return [version["version"] for version in catalogue.versions(tracker, "longtail")]


def test_artifacts_lie_in_the_bucket_and_consumers_get_them_from_there(past, servers, tmp_path):
    keys = servers.keys()
    for end in ("data/model.pt2", "evaluation/predictions.parquet", "gate/verdict.json"):
        assert sum(key.endswith(end) for key in keys) == 2
    pixels = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    answers = predict_as_consumer(past.config.tracking_uri, pixels, tmp_path)
    assert answers["labels"].tolist() == answers["direct"].argmax(axis=1).tolist()


def test_running_the_flow_again_changes_nothing(past, servers):
    before = sorted(servers.keys())
    assert past.flow()["version"] == "2"
    assert sorted(servers.keys()) == before


def test_wrong_passwords_are_told_from_a_server_that_is_away(past, variables):
    log_in(variables, "trainer", "another")
    with pytest.raises(LongtailError, match="MLFLOW_TRACKING_PASSWORD") as caught:
        past.run_champion()
    assert not isinstance(caught.value, Unreachable) and "another" not in str(caught.value)


def test_who_may_only_read_cannot_promote(past, variables):
    there = versions(past)
    log_in(variables, "guest", PASSWORD)
    assert versions(past) == there and {"1", "2"} <= set(there)
    with pytest.raises(LongtailError, match=r"not allow this to the user `guest`.*EDIT"):
        promote(past.config, "1", who="guest", why=None, override="I want to")
    log_in(variables, "trainer", PASSWORD)
    with connect(past.config.tracking_uri) as tracker:
        assert catalogue.changes(tracker, "longtail")[1] is None


def test_wrong_keys_of_the_bucket_register_nothing_and_the_right_ones_go_on(work):
    before = versions(work)
    wrong = {**os.environ, "AWS_SECRET_ACCESS_KEY": "wrong"}
    done = subprocess.run(
        work.register_command(), env=wrong, cwd=work.root, capture_output=True, text=True
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "refused the credentials" in done.stderr and "AWS_SECRET_ACCESS_KEY" in done.stderr
    assert not (work.root / "register").exists()
    assert versions(work) == before
    assert work.run_register()["version"] == str(len(before) + 1)


def test_of_several_promotions_at_once_one_wins(past, tmp_path):
    with connect(past.config.tracking_uri) as tracker:
        champion = tracker.client.get_registered_model("longtail").aliases["champion"]
        before = len(catalogue.changes(tracker, "longtail")[0])
    others = [number for number in versions(past) if number != champion]
    said = race(
        past.config.tracking_uri, 2 * others, expected=champion, barrier=tmp_path / "barrier"
    )
    assert said.count("won") == 1
    with connect(past.config.tracking_uri) as tracker:
        entries, remark = catalogue.changes(tracker, "longtail")
    assert len(entries) == before + 1 and remark is None
    assert entries[-1].version == (2 * others)[said.index("won")]
    back = rollback(past.config, who="trainer", why="the test is over")
    assert back.entry.version == champion and back.smoke is not None


def test_a_server_that_is_killed_in_the_middle_and_comes_back_is_waited_for(work, servers):
    work.config = work.config.model_copy(update={"patience": 300})
    known = set(servers.keys())
    over, killed = threading.Event(), threading.Event()

    def kill_and_start() -> None:
        deadline = time.monotonic() + work.config.patience
        while not over.wait(0.01) and time.monotonic() < deadline:
            if any(key.endswith("report.json") for key in set(servers.keys()) - known):
                killed.set()
                servers.mlflow.kill()
                servers.mlflow.start()
                return

    thread = threading.Thread(target=kill_and_start, daemon=True)
    thread.start()
    try:
        record = work.run_register()
    finally:
        over.set()
        thread.join()
    assert killed.is_set()
    assert record["aliases"] == ["challenger", "champion"]
    with connect(work.config.tracking_uri) as tracker:
        run = tracker.client.get_run(record["run_id"])
        assert run.info.status == "FINISHED"
        aliases = tracker.client.get_registered_model("longtail").aliases
        assert str(aliases["champion"]) == record["version"]


def test_a_server_that_stays_away_loses_nothing(work, servers):
    servers.mlflow.kill()
    with pytest.raises(Unreachable, match=r"does not answer.*for 2 s\. Nothing is lost"):
        work.run_register()
    assert not (work.root / "register").exists()
    servers.mlflow.start()
    assert work.run_register()["aliases"] == ["challenger", "champion"]
