"""MLflow away, without a driver, or not there at all: what a user is told, and how soon."""

import os
import time

import pytest
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
