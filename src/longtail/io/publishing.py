"""Put the shards of an images artifact into an object store, where steps read what they need."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from longtail.artifacts import Images
from longtail.config.ingest import S3Config
from longtail.errors import LongtailError
from longtail.files import file_digest, whole_directory, write_json
from longtail.io.address import split_address
from longtail.io.refusals import advice
from longtail.io.s3 import s3_client
from longtail.progress import progress

_SHARDS_AT_A_TIME = 4


def publish(images: Path, *, url: str, out: Path) -> None:
    """Upload every shard to `<url>/<its SHA-256>.arrow` and write the artifact without shards.

    Shards that are there already are left alone, so that publishing again goes on where it was
    killed, and costs next to nothing where nothing changed. The same images and `url` give the same
    artifact.

    Args:
        images: what `ingest` wrote.
        url: `s3://bucket/prefix`; endpoint and credentials are found where boto3 finds them.

    Raises:
        LongtailError: another scheme, no shards, or the store refuses or stays silent.
    """
    source = Images(images)
    shards = sorted(images.glob("shard-*.arrow"))
    if not url.startswith("s3://"):
        raise LongtailError(f"{url} is no object store; give s3://bucket/prefix")
    if not shards:
        raise LongtailError(f"{images} holds no shards; give what `longtail ingest` wrote")
    bucket, prefix = split_address(url)
    store = _Store(url, bucket)
    with whole_directory(out) as directory:
        with ThreadPoolExecutor(_SHARDS_AT_A_TIME) as pool:
            described = pool.map(lambda shard: _upload(shard, store, prefix), shards)
            entries = list(progress(described, total=len(shards), what="publish", unit="shards"))
        published = Images(directory)
        write_json(published.shards, entries)
        for table in (source.manifest, source.quarantine, source.classes):
            shutil.copyfile(table, directory / table.name)


def _upload(shard: Path, store: "_Store", prefix: str) -> dict[str, Any]:
    digest, size = file_digest(shard), shard.stat().st_size
    key = f"{prefix}{digest}.arrow"
    store.put(shard, key)
    rows, batches = _layout(shard)
    return {
        "address": f"s3://{store.bucket}/{key}",
        "sha256": digest,
        "bytes": size,
        "rows": rows,
        "batches": batches,
    }


def _layout(shard: Path) -> tuple[int, list[list[int]]]:
    """Return the rows of a shard, and of each batch its first row and the position of its bytes."""
    with pa.memory_map(str(shard)) as file:
        content = file.read_buffer()
        reader = pa.ipc.open_file(content)
        rows, batches = 0, []
        for number in range(reader.num_record_batches):
            column = reader.get_batch(number).column(0)
            batches.append([rows, column.buffers()[2].address - content.address])
            rows += len(column)
    return rows, batches


class _Store:
    def __init__(self, url: str, bucket: str) -> None:
        self.bucket = bucket
        self._url = url
        self._client = s3_client(url, S3Config(), settings="AWS_ENDPOINT_URL, AWS_DEFAULT_REGION")

    def put(self, file: Path, key: str) -> None:
        """Upload a file unless there is an object of its size; objects appear whole."""
        try:
            if self._size(key) != file.stat().st_size:
                self._client.upload_file(
                    str(file), self.bucket, key, Config=TransferConfig(max_concurrency=4)
                )
        except (BotoCoreError, Boto3Error, ClientError) as error:
            raise LongtailError(
                f"{self._url} at {self._client.meta.endpoint_url}: {error}. "
                f"{advice(error, client=self._client)}. Then publish again: what has been uploaded "
                "is not uploaded twice"
            ) from error

    def _size(self, key: str) -> int | None:
        try:
            return int(self._client.head_object(Bucket=self.bucket, Key=key)["ContentLength"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "404":
                return None
            raise
