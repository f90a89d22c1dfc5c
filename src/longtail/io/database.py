"""Tracking databases: a local file, opened by one process at a time, or a server's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longtail.errors import LongtailError
from longtail.files import locked

_TIMEOUT_SECONDS = 10
_TAKING_A_TIMEOUT = ("psycopg2", "psycopg", "pymysql", "mysqldb")
_DATABASES = ("postgresql", "mysql", "mssql", "sqlite")


def sqlite_file(tracking_uri: str) -> Path | None:
    """Return the file of a `sqlite:///` URI, relative to the working directory; None for others."""
    if not tracking_uri.startswith("sqlite:///"):
        return None
    return Path(tracking_uri.removeprefix("sqlite:///").partition("?")[0])


def require_existing(tracking_uri: str, *, wanted: str) -> None:
    """Raise LongtailError if a local database is not there; whoever only reads shall make none."""
    database = sqlite_file(tracking_uri)
    if database is not None and not database.is_file():
        raise LongtailError(
            f"{wanted}: there is no MLflow database {database}; set register.tracking_uri in the "
            "parameter file, or run the flow first"
        )


def require_answer(tracking_uri: str) -> None:
    """Open a database once, so that one that is away, or cannot be, is told within seconds.

    MLflow itself tries ten times, two minutes together. Other kinds of tracking store are left
    alone.

    Raises:
        SQLAlchemyError: it does not answer, or refuses, or is a file that cannot be opened.
        ImportError: there is no driver for it.
    """
    if tracking_uri.partition(":")[0].partition("+")[0] not in _DATABASES:
        return
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.pool import NullPool

    url = make_url(tracking_uri)
    timed = url.get_driver_name() in _TAKING_A_TIMEOUT
    patience = {"connect_timeout": _TIMEOUT_SECONDS} if timed else {}
    create_engine(url, poolclass=NullPool, connect_args=patience).connect().close()


@contextmanager
def opening(tracking_uri: str) -> Iterator[None]:
    """Let one process at a time open a local database, which the first one creates.

    Several processes that find no tables would all create them, and all but one would fail.
    """
    database = sqlite_file(tracking_uri)
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with locked(database.parent, wait=True):
        yield
