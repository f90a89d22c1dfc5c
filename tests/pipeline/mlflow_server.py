"""A real MLflow server for tests: a process of its own that can be killed and started again."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

START_SECONDS = 300  # half a minute on an idle machine


class MlflowServer:
    """`mlflow server` on a free port of this machine; its cold start takes half a minute."""

    def __init__(self, root: Path, *options: str, variables: Mapping[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._root = root
        self._options = options
        self._variables = variables
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        """Start it on its port and wait until it answers."""
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(self._port), "--workers", "1", *self._options),
        ]
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", **self._variables}
        with (self._root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self._root,
                env=environment,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it and its workers at once, as a lost machine would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                pytest.fail(f"mlflow server ended at once:\n{self._log()}")
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        pytest.fail(f"mlflow server did not answer in {START_SECONDS} s:\n{self._log()}")

    def _log(self) -> str:
        return (self._root / "log").read_text()[-4000:]
