"""The connection to MLflow, and what its failures mean to the user."""

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import mlflow
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError
from mlflow.exceptions import MlflowException
from requests import HTTPError, RequestException
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from longtail.errors import LongtailError, masked
from longtail.io.database import opening, require_answer
from longtail.io.refusals import ADVICE

# A fresh database, and an environment without pip, are announced with lines that look like trouble.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
logging.getLogger("mlflow.store.model_registry.abstract_store").setLevel(logging.WARNING)
# Importing mlflow.pytorch sets the level of all loggers to ERROR; our warnings shall be seen.
logging.getLogger("longtail").setLevel(logging.WARNING)

log = logging.getLogger(__name__)

T = TypeVar("T")

MLFLOW_FAILURES = (MlflowException, SQLAlchemyError, RequestException)
STORE_FAILURES = (Boto3Error, BotoCoreError, ClientError)
# MLflow's own seven take minutes; where there is time for that, ours are told (`persistently`).
HTTP_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
LONGEST_WAIT = 30.0

_NO_ANSWER = re.compile(r"failed with (timeout )?exception|Connection|timed out|starting up", re.I)
# Of a local file: no rights, no room, no tables. One that others hold locked is free again soon.
_UNUSABLE_FILE = re.compile(r"sqlite3\.(Operational|Database)Error\) (?!.*locked)")
_WRONG_PASSWORD = re.compile(r"authentication failed|no password supplied|Access denied for user")
_S3_REFUSAL = re.compile(
    r"InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|Forbidden|\(40[13]\)|Unable to locate "
    r"credentials|PartialCredentials|ExpiredToken|InvalidToken|TokenRefreshRequired|"
    r"RequestTimeTooSkewed"
)


@dataclass(frozen=True)
class Tracker:
    """An open connection to an MLflow server or database."""

    uri: str
    client: mlflow.MlflowClient


class Unreachable(LongtailError):
    """MLflow, or the store of its artifacts, does not answer; trying again may help."""


@contextmanager
def connect(tracking_uri: str) -> Iterator[Tracker]:
    """Open the tracking store and registry at `tracking_uri`; a local database is created.

    One that is away is told within seconds, unless MLFLOW_HTTP_REQUEST_MAX_RETRIES says otherwise.

    Raises:
        Unreachable: MLflow, or the store of its artifacts, does not answer.
        LongtailError: it refused the credentials, or what was asked of it.
    """
    try:
        with _few_http_retries():
            yield _opened(tracking_uri)
    except (*MLFLOW_FAILURES, *STORE_FAILURES) as error:
        raise _explained(error, masked(tracking_uri)) from error


def _opened(tracking_uri: str) -> Tracker:
    try:
        with opening(tracking_uri):
            require_answer(tracking_uri)
            mlflow.set_tracking_uri(tracking_uri)
            mlflow.set_registry_uri(tracking_uri)
            client = mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
            client.search_experiments(max_results=1)
    except ImportError as error:
        raise LongtailError(
            f"there is no driver for MLflow's database {masked(tracking_uri)}: {error}; write "
            "register.tracking_uri as postgresql+psycopg2://user:password@host/database"
        ) from error
    return Tracker(tracking_uri, client)


def persistently(
    action: Callable[[Tracker], T], *, tracking_uri: str, patience: float, what: str
) -> T:
    """Return `action(tracker)`; while MLflow does not answer, begin it again with back-off.

    The waits are 1, 2, 4 ... and at most 30 seconds, `patience` seconds together, so `action` must
    be one that finds what an earlier attempt left. Any other error ends it at once.
    """
    waited, wait = 0.0, 1.0
    with _few_http_retries():
        while True:
            try:
                with connect(tracking_uri) as tracker:
                    return action(tracker)
            except Unreachable as error:
                wait = min(wait, patience - waited)
                if wait <= 0:
                    raise
                log.warning("%s; %s is tried again in %.0f s", error, what, wait)
            time.sleep(wait)
            waited, wait = waited + wait, min(2 * wait, LONGEST_WAIT)


@contextmanager
def _few_http_retries() -> Iterator[None]:
    if HTTP_RETRIES in os.environ:
        yield
        return
    os.environ[HTTP_RETRIES] = "2"
    try:
        yield
    finally:
        os.environ.pop(HTTP_RETRIES, None)


def _explained(error: Exception, uri: str) -> LongtailError:
    reason = masked(str(error).partition("\n")[0])
    if isinstance(error, STORE_FAILURES) or "S3" in type(error).__name__:
        return store_failure(reason)
    response = error.response if isinstance(error, HTTPError) else None
    status = None if response is None else response.status_code
    code = getattr(error, "error_code", None)
    if isinstance(error, OperationalError) and _WRONG_PASSWORD.search(reason):
        return LongtailError(
            f"MLflow's database {uri} refused the credentials: {reason}; correct user and password "
            "in register.tracking_uri"
        )
    if _UNUSABLE_FILE.search(reason):
        return LongtailError(
            f"the database of MLflow at {uri} cannot be used: {reason}; check that it is one of "
            "MLflow's, the rights to the file and its directory, and the room on the disk"
        )
    if code == "UNAUTHENTICATED" or status == 401:
        return LongtailError(
            f"MLflow at {uri} refused the credentials: set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN) to those of your account there"
        )
    if code == "PERMISSION_DENIED" or status == 403:
        return LongtailError(
            f"MLflow at {uri} does not allow this to {_user()}: {reason}; ask its administrator "
            "for EDIT on the registered model and on the experiment of register.experiment"
        )
    if _temporary(error, code, status, reason):
        return Unreachable(
            f"MLflow at {uri} does not answer: {reason}; check that it runs, "
            "and register.tracking_uri"
        )
    return LongtailError(
        f"MLflow at {uri} failed: {reason}; check register.tracking_uri and what was asked of it"
    )


def _temporary(error: Exception, code: str | None, status: int | None, reason: str) -> bool:
    if isinstance(error, OperationalError) or code == "TEMPORARILY_UNAVAILABLE":
        return True
    if isinstance(error, RequestException):
        return status is None or status >= 500
    return code == "INTERNAL_ERROR" and _NO_ANSWER.search(reason) is not None


def store_failure(reason: str) -> LongtailError:
    """Return what to say of a failure of the store of artifacts, by its words."""
    if refusal := _S3_REFUSAL.search(reason):
        what_to_do = ADVICE.get(
            refusal[0],
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or ~/.aws) to keys that may write "
            "there",
        )
        return LongtailError(
            f"the store of MLflow's artifacts refused the credentials: {reason}. {what_to_do}"
        )
    if "NoSuchBucket" in reason:
        return LongtailError(
            f"MLflow's artifacts have no place: {reason}; create the bucket that the server's "
            "--default-artifact-root names"
        )
    return Unreachable(
        f"the store of MLflow's artifacts failed: {reason}; check that it runs, and "
        "MLFLOW_S3_ENDPOINT_URL"
    )


def _user() -> str:
    return f"the user `{os.environ.get('MLFLOW_TRACKING_USERNAME', 'anonymous')}`"
