"""The same steps against a real MLflow server: registry and artifacts through HTTP."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from longtail.config.promotion import RegisterConfig
from longtail.errors import LongtailError
from tests.steps.registry_fixtures import (
    SIZE,
    Workspace,
    predict_as_consumer,
    write_evaluation,
    write_models,
)

START_SECONDS = 180


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a free port of this machine; its cold start takes half a minute."""
    root = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", f"sqlite:///{root / 'mlflow.db'}"),
        *("--artifacts-destination", str(root / "artifacts")),
    ]
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=root, env=_environment(), start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process, root / "log")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


def _environment() -> dict[str, str]:
    return {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"mlflow server ended at once:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"mlflow server did not answer in {START_SECONDS} s:\n{log.read_text()}")


@pytest.fixture(scope="module")
def work(server: str, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("work")
    evaluation = write_evaluation(root / "a", right=(15, 10, 5))
    return Workspace(
        root, RegisterConfig(tracking_uri=server), evaluation, *write_models(root / "models")
    )


def test_two_candidates_become_champion_one_after_the_other(work, tmp_path):
    assert work.run_champion() is None
    work.run_gate()
    first = work.run_register()
    assert first["version"] == "1" and first["aliases"] == ["challenger", "champion"]
    assert work.flow() == first

    work.evaluation = write_evaluation(work.root / "b", right=(16, 12, 9))
    second, seen = work.flow(), work.gate_inputs()
    assert second["version"] == "2"
    assert work.flow() == second and work.gate_inputs() == seen

    pixels = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    answers = predict_as_consumer(work.config.tracking_uri, pixels, tmp_path)
    assert answers["direct"].shape == (5, 3)
    assert answers["labels"].tolist() == answers["direct"].argmax(axis=1).tolist()


def test_a_name_that_the_server_refuses_is_an_error_for_the_user(work):
    work.config = work.config.model_copy(update={"model_name": "long/tail"})
    with pytest.raises(LongtailError, match=r"127\.0\.0\.1.*failed"):
        work.run_champion()
