"""A PostgreSQL server for tests, from the distribution's package, on loopback."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.steps.local_servers import free_port

USER, PASSWORD = "mlflow", "of-the-database"
SUPERUSER = "postgres"


def programs() -> Path:
    """Return the directory of `initdb` and `postgres`, which Debian keeps off the path, or skip."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        pytest.skip("no PostgreSQL: initdb not found; apt-get install postgresql")
    return Path(on_path).parent


class Postgres:
    """A server that lives until `stop`; it refuses to run as root and then runs as `postgres`.

    As on the cluster, its databases are those of a role that may do nothing else.
    """

    def __init__(self, *databases: str) -> None:
        bin_directory = programs()
        # Not below pytest's own directories, which other users cannot enter.
        self._root = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._port = free_port()
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self._root, user.pw_uid, user.pw_gid)
        password = self._root / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        data = str(self._root / "data")
        subprocess.run(
            [
                str(bin_directory / "initdb"),
                "-D",
                data,
                "-U",
                SUPERUSER,
                "--no-sync",
                "--auth=scram-sha-256",
                f"--pwfile={password}",
            ],
            check=True,
            capture_output=True,
            cwd=self._root,
            **self._as,
        )
        with (self._root / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(bin_directory / "postgres"),
                    "-D",
                    data,
                    "-p",
                    str(self._port),
                    "-F",
                    "-k",
                    str(self._root),
                    "-c",
                    "listen_addresses=127.0.0.1",
                ],
                stdout=log,
                stderr=log,
                cwd=self._root,
                **self._as,
            )
        try:
            self._create(databases)
        except BaseException:
            self.stop()
            raise

    def uri(self, database: str) -> str:
        """Return a database's address for SQLAlchemy."""
        return f"postgresql+psycopg2://{USER}:{PASSWORD}@127.0.0.1:{self._port}/{database}"

    def variables(self) -> dict[str, str]:
        """Return what libpq finds the server by."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self._port),
            "PGUSER": USER,
            "PGPASSWORD": PASSWORD,
        }

    def stop(self) -> None:
        """End the server and remove its files."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._root, ignore_errors=True)

    def _create(self, databases: tuple[str, ...]) -> None:
        connection = self._connect()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
            for database in databases:
                cursor.execute(f'CREATE DATABASE "{database}" OWNER {USER}')
        connection.close()

    def _connect(self) -> Any:
        deadline = time.monotonic() + 60
        while True:
            try:
                return psycopg2.connect(
                    host="127.0.0.1",
                    port=self._port,
                    user=SUPERUSER,
                    password=PASSWORD,
                    dbname="postgres",
                )
            except psycopg2.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError((self._root / "log").read_text()) from None
                time.sleep(0.1)
