"""Ranges of objects in an S3 store, read by pyarrow's own client: so training needs no boto3."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from longtail.errors import LongtailError

SCHEME = "s3://"
_ATTEMPTS = 5


class Objects:
    """Objects by address `s3://bucket/key`; endpoint and credentials are the environment's.

    Requests that fail, are refused for load, or break off are repeated with growing pauses.
    """

    def __init__(self) -> None:
        self._store = lru_cache(_connect)
        self._open = lru_cache(maxsize=None)(self._opened)

    def read(self, address: str, run: range) -> bytes:
        """Return the bytes of a range of an object, fewer where it ends before.

        Raises:
            LongtailError: there is no such object, or the store refuses or stays silent.
        """
        with _explained(address):
            data: bytes = self._open(address).read_at(len(run), run.start)
            return data

    def size(self, address: str) -> int | None:
        """Return how many bytes an object has, None if there is none.

        Raises:
            LongtailError: the store refuses or stays silent.
        """
        with _explained(address):
            found = self._store().get_file_info(address.removeprefix(SCHEME))
            return None if found.type == fs.FileType.NotFound else int(found.size)

    def _opened(self, address: str) -> pa.NativeFile:
        return self._store().open_input_file(address.removeprefix(SCHEME))


def _connect() -> Any:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    options: dict[str, Any] = {}
    if endpoint:
        parts = urlsplit(endpoint)
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        options = {
            "scheme": parts.scheme,
            "endpoint_override": parts.netloc,
            "region": region or "us-east-1",  # or it would be looked for in the cloud
        }
    if authorities := os.environ.get("AWS_CA_BUNDLE"):
        options["tls_ca_file_path"] = authorities
    return fs.S3FileSystem(
        connect_timeout=10,
        request_timeout=60,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        **options,
    )


@contextmanager
def _explained(address: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise LongtailError(
            f"{address}: there is no such object. If the images were published to another store, "
            "set AWS_ENDPOINT_URL to it; if they were removed, publish them again: `longtail "
            "publish`, or the pipeline's ingest without its cache"
        ) from None
    except (OSError, pa.ArrowException) as error:
        raise LongtailError(
            f"{address}: {error} ({_ATTEMPTS} attempts where repeating helps). Check "
            f"AWS_ENDPOINT_URL ({os.environ.get('AWS_ENDPOINT_URL', 'not set: AWS')}), AWS_REGION "
            "and the credentials, then start again: what has been fetched is kept"
        ) from error
