"""MLflow away, without a driver, or not there at all: what a user is told, and how soon."""

import os
import shutil
import sqlite3
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import boto3
import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from longtail.cli import app
from longtail.errors import LongtailError
from longtail.files import write_json
from longtail.io.connection import Unreachable, connect

AWAY = [
    "http://me:secret@127.0.0.1:9",
    "postgresql+psycopg2://me:secret@127.0.0.1:9/mlflow",
]


class Pauses:
    """In the place of `time.sleep`: notes for how long, and does not wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file without runs; to copy it takes no time, to make its tables takes seconds."""
    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    with connect(f"sqlite:///{file}"):
        return file


@pytest.fixture
def database(empty: Path, tmp_path: Path) -> Path:
    """One for each test, since tests lock theirs or leave it open."""
    return Path(shutil.copy(empty, tmp_path / "mlflow.db"))


@pytest.mark.parametrize("uri", AWAY, ids=["server", "database"])
def test_an_mlflow_that_is_away_is_told_without_minutes_of_trying(monkeypatch, uri):
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    pauses = Pauses()
    monkeypatch.setattr(time, "sleep", pauses)
    with (
        pytest.raises(Unreachable, match=r"127\.0\.0\.1.* does not answer") as caught,
        connect(uri),
    ):
        pass
    assert "secret" not in str(caught.value)
    assert sum(pauses.seconds) < 20
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


@pytest.mark.parametrize(
    ("mode", "statements", "said"),
    [
        ("ro", ["CREATE TABLE more (a)"], "readonly database"),
        ("rw", ["PRAGMA max_page_count = 1", "CREATE TABLE more (a)"], "disk is full"),
        ("rw", ["SELECT * FROM absent"], "no such table"),
    ],
)
def test_a_database_file_that_cannot_be_used_is_not_waited_for(database, mode, statements, said):
    with (
        pytest.raises(LongtailError, match=rf"cannot be used: .*{said}.*; check") as caught,
        connect(f"sqlite:///{database}"),
        create_engine(f"sqlite:///file:{database}?mode={mode}&uri=true").connect() as connection,
    ):
        for statement in statements:
            connection.execute(text(statement))
    assert not isinstance(caught.value, Unreachable)


@pytest.mark.parametrize(
    "content", [None, bytes(range(256)) * 20], ids=["a directory", "no tables"]
)
def test_what_is_no_database_file_is_told_at_once(tmp_path, monkeypatch, content):
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"waited {seconds} s"))
    file = tmp_path / "mlflow.db"
    file.mkdir() if content is None else file.write_bytes(content)
    with (
        pytest.raises(LongtailError, match=r"cannot be used: .*; check") as caught,
        connect(f"sqlite:///{file}"),
    ):
        pass
    assert not isinstance(caught.value, Unreachable)


def test_a_database_file_that_others_hold_locked_is_worth_waiting_for(database):
    other = sqlite3.connect(database, isolation_level=None)
    engine = create_engine(f"sqlite:///{database}", connect_args={"timeout": 0})
    with (
        closing(other),
        pytest.raises(Unreachable, match="is locked"),
        connect(f"sqlite:///{database}"),
    ):
        other.execute("BEGIN EXCLUSIVE")
        with engine.connect() as connection:
            connection.execute(text("SELECT * FROM experiments"))


@pytest.mark.parametrize(
    ("code", "what_to_do"),
    [
        ("ExpiredToken", "get new ones"),
        ("TokenRefreshRequired", "get new ones"),
        ("InvalidToken", "get new credentials"),
        ("RequestTimeTooSkewed", "set this machine's"),
        ("AccessDenied", "keys that may write there"),
    ],
)
def test_credentials_that_the_store_refuses_are_not_tried_again(database, code, what_to_do):
    class Refusal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = f"<Error><Code>{code}</Code><Message>No</Message></Error>".encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    with HTTPServer(("127.0.0.1", 0), Refusal) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        store = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{server.server_port}", region_name="x", **keys
        )
        with (
            pytest.raises(LongtailError, match=rf"refused .*{code}.*{what_to_do}$") as caught,
            connect(f"sqlite:///{database}"),
        ):
            store.get_object(Bucket="bucket", Key="key")
        server.shutdown()
    assert not isinstance(caught.value, Unreachable)


@pytest.mark.parametrize("scheme", ["postgresql+pg8000", "mysql+oursql"])
def test_a_database_without_a_driver_says_how_to_name_one(scheme):
    uri = f"{scheme}://me:secret@127.0.0.1:9/mlflow"
    with (
        pytest.raises(LongtailError, match=r"check|write register\.tracking_uri") as caught,
        connect(uri),
    ):
        pass
    assert "secret" not in str(caught.value) and not isinstance(caught.value, Unreachable)


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["show", "1"],
        ["history", "--json"],
        ["diff", "1", "2"],
        ["promote", "1"],
        ["rollback", "--why", "a test"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_asking_for_models_makes_no_database(tmp_path, arguments):
    database, params = tmp_path / "none" / "mlflow.db", tmp_path / "params.yaml"
    write_json(params, {"register": {"tracking_uri": f"sqlite:///{database}"}})
    done = CliRunner().invoke(app, ["models", *arguments, "--params", str(params)])
    assert isinstance(done.exception, LongtailError)
    assert f"there is no MLflow database {database}; set register.tracking_uri" in str(
        done.exception
    )
    assert list(tmp_path.iterdir()) == [params]
