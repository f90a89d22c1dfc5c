"""Files below a local directory or a bucket prefix, by one interface."""

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from longtail.config import S3Config
from longtail.errors import LongtailError
from longtail.files import whole_file


class EscapesRoot(ValueError):
    """A path leads out of the root that it is meant to be below."""


@dataclass(frozen=True)
class Entry:
    """One file: path relative to the root, size in bytes, and a tag that changes with the content."""

    path: str
    size: int
    tag: str


class Root(Protocol):
    """A place with files."""

    name: str  # as the user wrote it

    def entries(self) -> list[Entry]:
        """Every file below the root, sorted by path; hidden files are left out."""

    def read(self, path: str) -> bytes:
        """Content of one file; LongtailError if it is missing."""

    def read_many(self, paths: Iterable[str]) -> Iterator[bytes | Exception]:
        """Contents in the order of `paths`, read concurrently with bounded look-ahead.

        A missing file gives a FileNotFoundError, a path out of the root an EscapesRoot, in its
        place.
        """

    def local_copy(self, path: str) -> Path:
        """A local file with this content."""


def open_root(root: str, s3: S3Config, *, cache: Path | None = None) -> Root:
    """Open a local directory or `s3://bucket/prefix`; downloads are kept in `cache`, if given.

    Raises:
        LongtailError: the directory does not exist, or the address has no bucket.
    """
    if root.startswith("s3://"):
        return S3Root(root, s3, cache=cache)
    if not Path(root).is_dir():
        raise LongtailError(f"{root} is not a directory; correct ingest.source.root")
    return LocalRoot(root)


class LocalRoot:
    """A directory."""

    def __init__(self, root: str) -> None:
        self.name = root
        self._base = Path(root).resolve()

    def entries(self) -> list[Entry]:
        """Every file, sorted by path; the tag is the modification time."""
        found = []
        for folder, folders, files in os.walk(self._base):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                path = Path(folder, name)
                if not name.startswith("."):
                    state = path.stat()
                    relative = path.relative_to(self._base).as_posix()
                    found.append(Entry(relative, state.st_size, str(state.st_mtime_ns)))
        return sorted(found, key=lambda entry: entry.path)

    def read(self, path: str) -> bytes:
        """Content of one file."""
        return self.local_copy(path).read_bytes()

    def read_many(self, paths: Iterable[str]) -> Iterator[bytes | Exception]:
        """Contents in order; a disk needs no look-ahead."""
        for path in paths:
            try:
                yield self._inside(path).read_bytes()
            except (FileNotFoundError, EscapesRoot, IsADirectoryError) as error:
                yield error

    def local_copy(self, path: str) -> Path:
        """The file itself."""
        file = self._inside(path)
        if not file.is_file():
            raise LongtailError(f"{self.name} has no file {path}")
        return file

    def _inside(self, path: str) -> Path:
        _refuse_escape(path)
        file = (self._base / path).resolve()
        if not file.is_relative_to(self._base):
            raise EscapesRoot(f"{path} is a link out of {self.name}")
        return file


class S3Root:
    """A bucket, or the keys below a prefix of it."""

    def __init__(self, root: str, s3: S3Config, *, cache: Path | None = None) -> None:
        import boto3
        from botocore.config import Config

        self.name = root
        bucket, _, prefix = root.removeprefix("s3://").partition("/")
        if not bucket:
            raise LongtailError(f"{root} names no bucket; write s3://bucket/prefix")
        self._bucket, self._prefix = bucket, prefix.rstrip("/") + "/" if prefix else ""
        self._cache, self._concurrency = cache, s3.concurrency
        self._client = boto3.client(
            "s3",
            endpoint_url=s3.endpoint_url,
            region_name=s3.region,
            config=Config(
                retries={"max_attempts": s3.max_attempts, "mode": "standard"},
                max_pool_connections=s3.concurrency,
            ),
        )
        self._tags: dict[str, str] = {}

    def entries(self) -> list[Entry]:
        """Every object, sorted by path; the tag is the ETag."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        found = [
            Entry(key, item["Size"], item["ETag"].strip('"'))
            for page in self._answered(lambda: list(pages))
            for item in page.get("Contents", [])
            if (key := item["Key"].removeprefix(self._prefix)) and _is_visible(key)
        ]
        self._tags = {entry.path: entry.tag for entry in found}
        return sorted(found, key=lambda entry: entry.path)

    def read(self, path: str) -> bytes:
        """Content of one object."""
        try:
            return self._fetch(path)
        except (FileNotFoundError, EscapesRoot):
            raise LongtailError(f"{self.name} has no file {path}") from None

    def read_many(self, paths: Iterable[str]) -> Iterator[bytes | Exception]:
        """Contents in order, at most four times `concurrency` objects in memory."""
        pending: deque[Future[bytes | Exception]] = deque()
        if self._cache is not None and not self._tags:
            self.entries()  # so that what an earlier run fetched is recognised
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="s3") as pool:
            for path in paths:
                pending.append(pool.submit(self._fetch_or_error, path))
                if len(pending) >= 4 * self._concurrency:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def local_copy(self, path: str) -> Path:
        """The object as a file in the cache."""
        if self._cache is None:
            raise LongtailError(f"{self.name}/{path}: reading it as a file needs a cache directory")
        if not self._tags:
            self.entries()
        file = self._cached(path)
        if not file.is_file():
            self.read(path)
        return file

    def _fetch_or_error(self, path: str) -> bytes | Exception:
        try:
            return self._fetch(path)
        except (FileNotFoundError, EscapesRoot) as error:
            return error

    def _fetch(self, path: str) -> bytes:
        _refuse_escape(path)
        known = self._cache is not None and path in self._tags
        if known and (file := self._cached(path)).is_file():
            return file.read_bytes()
        data: bytes = self._answered(lambda: self._get(path))
        if known:
            with whole_file(self._cached(path)) as partial:
                partial.write_bytes(data)
        return data

    def _get(self, path: str) -> bytes:
        answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)
        return bytes(answer["Body"].read())

    def _cached(self, path: str) -> Path:
        assert self._cache is not None
        identity = f"{self._bucket}/{self._prefix}{path}@{self._tags.get(path, '')}"
        return self._cache / hashlib.sha256(identity.encode()).hexdigest()

    def _answered(self, request: Any) -> Any:
        """Make a request; what cannot be mended by trying again becomes an error in plain words."""
        from botocore.exceptions import BotoCoreError, ClientError

        endpoint = self._client.meta.endpoint_url
        try:
            return request()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("NoSuchKey", "404"):
                raise FileNotFoundError(f"no such object in {self.name}") from None
            raise LongtailError(
                f"{endpoint} refuses {self.name} ({code}); check bucket name, credentials and "
                "permissions"
            ) from None
        except BotoCoreError as error:
            raise LongtailError(
                f"{self.name} cannot be read from {endpoint}: {error}; check ingest.s3.endpoint_url "
                "or AWS_ENDPOINT_URL, the network and the credentials"
            ) from None


def _refuse_escape(path: str) -> None:
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts:
        raise EscapesRoot(f"{path} leads out of the root")


def _is_visible(key: str) -> bool:
    return not key.endswith("/") and not any(part.startswith(".") for part in key.split("/"))
