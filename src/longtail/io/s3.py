"""Objects of an S3 bucket, kept on disk until an interrupted ingest has been completed."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotoConnectionError

from longtail.config.ingest import S3Config
from longtail.errors import LongtailError
from longtail.files import flush_to_disk
from longtail.imaging import BadImage
from longtail.io.address import split_address
from longtail.io.refusals import advice
from longtail.sources.collection import Entry, check_relative

T = TypeVar("T")
_MISSING = ("404", "NoSuchKey")
_PARTIAL = "partial-"
_BROKEN_OFF = (HTTPClientError, BotoConnectionError, IncompleteReadError)


class S3Storage:
    """Objects below `s3://bucket/prefix`.

    What is read is kept in `cache` under its key and ETag, so that an ingest that was killed does
    not fetch it again. A copy counts only after a listing of this run has shown the object with the
    same ETag and size: of one that has changed, or is gone, no copy is used, nor one that is torn.

    Requests that fail, or are refused for load, are repeated with growing pauses, `max_attempts`
    in all, and so are answers that break off. Without credentials requests are anonymous, as public
    buckets want them.
    """

    lasting_versions = True

    def __init__(self, root: str, *, config: S3Config, cache: Path) -> None:
        self.root = root
        self.concurrency = config.concurrency
        self._bucket, self._prefix = split_address(root)
        self._config = config
        self._client = s3_client(root, config, settings="ingest.s3.endpoint_url, ingest.s3.region")
        self._cache = cache
        self._run = time.time_ns()  # the time that marks copies as confirmed by this run

    def entries(self) -> Iterator[Entry]:
        """Yield all objects in order of their keys."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        following = iter(pages)
        while (page := self._call(lambda: next(following, None))) is not None:
            for item in page.get("Contents", ()):
                path = item["Key"].removeprefix(self._prefix)
                if path:
                    self._confirm(path, item["ETag"], item["Size"])
                    yield Entry(path, item["Size"], f"{item['Size']} {item['ETag']}")

    def read(self, path: str) -> bytes:
        """Return the content of an object.

        Raises:
            BadImage: there is no such object, or the path leaves the root.
            LongtailError: the storage refuses or stays silent.
        """
        check_relative(path)
        copy = self._confirmed(path)
        if copy is not None:
            return copy.read_bytes()
        data, etag = self._call(lambda: self._get(path))
        self._keep(path, etag, lambda partial: partial.write_bytes(data))
        return data

    def local_file(self, path: str) -> Path:
        """Fetch a table, large ones in parts at the same time, and return where its copy is."""
        copy = self._confirmed(path)
        if copy is not None:
            return copy
        key = self._prefix + path
        transfer = TransferConfig(
            max_concurrency=self.concurrency, num_download_attempts=self._config.max_attempts
        )

        def fetch() -> Path:
            etag = self._client.head_object(Bucket=self._bucket, Key=key)["ETag"]
            return self._keep(
                path,
                etag,
                lambda partial: self._client.download_file(
                    self._bucket, key, str(partial), Config=transfer
                ),
            )

        try:
            return self._call(fetch)
        except BadImage:
            raise LongtailError(
                f"{self.root.rstrip('/')}/{path}: there is no such object. Check the bucket "
                "and the file names of ingest.source"
            ) from None

    def _get(self, path: str) -> tuple[bytes, str]:
        for attempt in range(1, self._config.max_attempts + 1):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)
                return answer["Body"].read(), answer["ETag"]
            except _BROKEN_OFF:  # boto3 repeats requests, but not the reading of their answers
                if attempt == self._config.max_attempts:
                    raise
                time.sleep(min(0.1 * 2**attempt, 10.0))
        raise AssertionError("max_attempts is at least 1")

    def _call(self, request: Callable[[], T]) -> T:
        try:
            return request()
        except ClientError as error:
            code = str(error.response["Error"]["Code"])
            if code in _MISSING:
                raise BadImage("missing") from error
            raise LongtailError(f"{self.root}: {error}. {self._advice(error)}") from error
        except (BotoCoreError, Boto3Error) as error:
            raise LongtailError(
                f"{self.root}: {error} ({self._config.max_attempts} attempts). Check "
                f"ingest.s3.endpoint_url ({self._client.meta.endpoint_url}) and start again: what "
                "has been fetched is kept"
            ) from error

    def _advice(self, error: ClientError) -> str:
        if error.response["ResponseMetadata"].get("HTTPStatusCode", 0) >= 500:
            return (
                f"The server is overloaded or broken ({self._config.max_attempts} attempts). Lower "
                "ingest.s3.concurrency or start again later: what has been fetched is kept"
            )
        return advice(error, client=self._client)

    def _directory(self, path: str) -> Path:
        key = hashlib.sha256(f"{self._bucket}/{self._prefix}{path}".encode()).hexdigest()
        return self._cache / key[:2] / key[2:]

    def _confirm(self, path: str, etag: str, size: int) -> None:
        copy = self._directory(path) / _name(etag)
        if copy.exists() and copy.stat().st_size == size:
            os.utime(copy, ns=(self._run, self._run))

    def _confirmed(self, path: str) -> Path | None:
        try:
            copies = [c for c in self._directory(path).iterdir() if not c.name.startswith(_PARTIAL)]
        except FileNotFoundError:
            return None
        return next((copy for copy in copies if copy.stat().st_mtime_ns == self._run), None)

    def _keep(self, path: str, etag: str, write: Callable[[Path], Any]) -> Path:
        directory = self._directory(path)
        directory.mkdir(parents=True, exist_ok=True)
        partial = directory / f"{_PARTIAL}{threading.get_ident()}"
        write(partial)
        flush_to_disk(partial)
        os.utime(partial, ns=(self._run, self._run))
        os.replace(partial, directory / _name(etag))
        return directory / _name(etag)


def _name(etag: str) -> str:
    return hashlib.sha256(etag.encode()).hexdigest()


def s3_client(root: str, config: S3Config, *, settings: str) -> Any:
    """Return a client of boto3; anonymous where there are no credentials.

    Args:
        settings: where the user sets endpoint and region, for what is said if they cannot be.

    Raises:
        LongtailError: the settings cannot be those of a client of `root`.
    """
    try:
        return connected(
            config,
            max_pool_connections=config.concurrency,
            retries={"total_max_attempts": config.max_attempts, "mode": "standard"},
            connect_timeout=10,
            read_timeout=60,
        )
    except (BotoCoreError, ValueError) as error:  # half of the keys, no such profile, no URL
        raise LongtailError(
            f"{root}: {error}. Check {settings} and the credentials (AWS_ACCESS_KEY_ID with "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
        ) from error


def connected(config: S3Config, **options: Any) -> Any:
    """Return a client with these options of botocore; anonymous where there are no credentials.

    Raises:
        BotoCoreError, ValueError: the settings cannot be those of a client.
    """
    session = boto3.session.Session()
    signature = UNSIGNED if session.get_credentials() is None else None
    settings = Config(region_name=config.region, signature_version=signature, **options)
    return session.client("s3", endpoint_url=config.endpoint_url, config=settings)
