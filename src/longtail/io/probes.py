"""Probes of the services that the flow uses: quick, without changes, with advice on failures."""

import http.client
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

from longtail.config.ingest import S3Config
from longtail.errors import LongtailError
from longtail.io.address import split_address

TIMEOUT_SECONDS = 5


class Problem(Exception):
    """What a check found wrong, with the next act."""


def objects(address: str, s3: S3Config) -> bool:
    """Return whether there is any object below `s3://bucket/prefix`; asked as the flow does."""
    from botocore.exceptions import BotoCoreError, ClientError

    from longtail.io.s3 import connected

    try:
        bucket, prefix = split_address(address)
    except LongtailError as error:
        raise Problem(str(error)) from None
    try:
        client = connected(
            s3,
            connect_timeout=TIMEOUT_SECONDS,
            read_timeout=TIMEOUT_SECONDS,
            retries={"total_max_attempts": 1},
        )
        answer = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except (BotoCoreError, ClientError, ValueError) as error:
        raise Problem(
            f"{address}: {error}; check the bucket, the endpoint (ingest.s3.endpoint_url, "
            "AWS_ENDPOINT_URL, resources.environment) and the credentials (AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY or ~/.aws)"
        ) from None
    return bool(answer.get("KeyCount"))


def sqlite(path: Path) -> str:
    """Say how many model versions a local tracking database holds."""
    if not path.exists():
        return f"{path} will be created by `register`"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            (versions,) = database.execute("SELECT count(*) FROM model_versions").fetchone()
    except sqlite3.Error as error:
        raise Problem(
            f"{path} is no MLflow database ({error}); move it away or correct register.tracking_uri"
        ) from None
    return f"{path} holds {_counted(versions)}"


def database(uri: str) -> str:
    """Say how many model versions the tracking database of a server holds; no password is shown."""
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    fix = (
        "register.tracking_uri is sqlite:///file, http(s)://server or "
        "postgresql+psycopg2://user:password@host/database"
    )
    try:
        url = make_url(uri)
        shown = url.render_as_string(hide_password=True)
        patience = {"connect_timeout": TIMEOUT_SECONDS}  # of psycopg2 and of MySQL's clients
        with closing(create_engine(url, connect_args=patience).connect()) as connection:
            if not inspect(connection).has_table("model_versions"):
                return f"{shown} is empty; `register` will fill it"
            versions = connection.execute(text("SELECT count(*) FROM model_versions")).scalar_one()
    except ArgumentError:
        raise Problem(f"the tracking URI is none that MLflow knows; {fix}") from None
    except ImportError as error:
        raise Problem(f"{shown}: no driver for it is installed ({error}); {fix}") from None
    except SQLAlchemyError as error:
        first_line = str(error).partition("\n")[0]
        raise Problem(f"{shown}: {first_line}; check that it runs, and user and password") from None
    return f"{shown} holds {_counted(versions)}"


def server(url: str, *, fix: str) -> None:
    """Raise `Problem` unless something answers at `url`; one that asks who we are does."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):
            raise Problem(f"{url} answers {error.code}; {fix}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Problem(f"{url} does not answer ({error}); {fix}") from None


def _counted(versions: int) -> str:
    return f"{versions} model version{'' if versions == 1 else 's'}"
