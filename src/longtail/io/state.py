"""What outlives a pod: small files and checkpoints, in a directory or in a bucket."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from longtail.errors import LongtailError
from longtail.files import read_json, whole_file, write_json
from longtail.io.address import split_address
from longtail.io.refusals import advice


class State(Protocol):
    """Files by name, a name being a relative path with slashes."""

    def names(self, prefix: str) -> list[str]:
        """Return the names that start with `prefix`, sorted."""

    def fetch(self, name: str, into: Path) -> None:
        """Write the content of a file into a local one."""

    def store(self, name: str, file: Path) -> None:
        """Keep the content of a local file under a name, whole or not at all."""

    def remove(self, name: str) -> None:
        """Forget a file; one that is not there is fine."""


def open_state(uri: str) -> State:
    """Return the state at a local directory or `s3://bucket/prefix`.

    Raises:
        LongtailError: another scheme, or no bucket.
    """
    if uri.startswith("s3://"):
        return S3State(uri)
    if "://" in uri:
        raise LongtailError(f"Unknown kind of state: {uri}. Use a directory or s3://bucket/prefix")
    return LocalState(Path(uri))


def store_files(state: State, name: str, files: Mapping[str, Path]) -> None:
    """Keep local files as `<name>/<key>`, and at last `<name>.json`, which lists them.

    So whoever finds the list finds the files.
    """
    for key, file in files.items():
        state.store(f"{name}/{key}", file)
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "list.json"
        write_json(listed, sorted(files))
        state.store(f"{name}.json", listed)


def fetch_files(state: State, name: str, into: Path) -> None:
    """Write what `store_files` kept under `name` into a directory, by key."""
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "list.json"
        state.fetch(f"{name}.json", listed)
        for key in read_json(listed):
            (into / key).parent.mkdir(parents=True, exist_ok=True)
            state.fetch(f"{name}/{key}", into / key)


class LocalState:
    """Files below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self, prefix: str) -> list[str]:
        """See `State`; partly written files, which start with a dot, have no name."""
        files = (p for p in self.root.rglob("*") if p.is_file() and not p.name.startswith("."))
        names = (path.relative_to(self.root).as_posix() for path in files)
        return sorted(name for name in names if name.startswith(prefix))

    def fetch(self, name: str, into: Path) -> None:
        """See `State`; FileNotFoundError if there is no such file."""
        into.write_bytes((self.root / name).read_bytes())

    def store(self, name: str, file: Path) -> None:
        """See `State`."""
        with whole_file(self.root / name) as partial:
            partial.write_bytes(file.read_bytes())

    def remove(self, name: str) -> None:
        """See `State`."""
        (self.root / name).unlink(missing_ok=True)


class S3State:
    """Objects below `s3://bucket/prefix`; large ones go in parts at the same time.

    Endpoint and credentials come from boto3's usual places; requests are repeated with pauses.

    Raises:
        LongtailError: the storage refuses or stays silent.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._bucket, self._prefix = split_address(uri)
        self._client: Any = None
        with self._explained():
            retries = Config(retries={"total_max_attempts": 5, "mode": "standard"})
            self._client = boto3.client("s3", config=retries)

    def names(self, prefix: str) -> list[str]:
        """See `State`; page by page."""
        with self._explained():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return sorted(key.removeprefix(self._prefix) for key in keys)

    def fetch(self, name: str, into: Path) -> None:
        """See `State`."""
        with self._explained():
            self._client.download_file(self._bucket, self._prefix + name, str(into))

    def store(self, name: str, file: Path) -> None:
        """See `State`; an object appears whole."""
        with self._explained():
            self._client.upload_file(str(file), self._bucket, self._prefix + name)

    def remove(self, name: str) -> None:
        """See `State`."""
        with self._explained():
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, Boto3Error, ClientError, ValueError) as error:
            raise LongtailError(
                f"{self._uri}: {error}. {advice(error, client=self._client)}. It is "
                "resources.state, where pods list, read, write and delete"
            ) from error
