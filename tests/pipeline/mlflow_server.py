"""A real MLflow server for tests: a process of its own that can be killed and started again."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.steps.local_servers import free_port, wait_until_it_answers

START_SECONDS = 300  # half a minute on an idle machine
# As in the Containerfile and k8s/base/services/mlflow.env.
SETTINGS = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


class MlflowServer:
    """`mlflow server` on a free port of this machine; its cold start takes half a minute."""

    def __init__(self, root: Path, *options: str, variables: Mapping[str, str]) -> None:
        self._port = free_port()
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
        environment = {**os.environ, **SETTINGS, **self._variables}
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
            health = f"{self.url}/health"
            wait_until_it_answers(health, self._process, self._root / "log", START_SECONDS)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it and its workers at once, as a lost machine would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
