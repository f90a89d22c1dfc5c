"""What it takes to start a server of this machine for tests."""

import shlex
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path


def free_port() -> int:
    """Return a port of the loopback interface that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_it_answers(
    url: str, process: "subprocess.Popen[bytes]", log: Path, seconds: float
) -> None:
    """Ask until the process that serves the URL answers.

    Raises:
        RuntimeError: it ended, or did not answer in that time; with the end of its log.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _failure(process, f"ended with status {process.returncode}", log)
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise _failure(process, f"did not answer at {url} in {seconds} s", log)


def _failure(process: "subprocess.Popen[bytes]", what: str, log: Path) -> RuntimeError:
    return RuntimeError(f"{shlex.join(process.args)} {what}; {log}:\n{log.read_text()[-4000:]}")
