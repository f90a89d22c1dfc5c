"""Write the images artifact as a stream: shards of bytes, manifest and quarantine."""

from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from longtail.artifacts import MANIFEST_SCHEMA, QUARANTINE_SCHEMA, SHARD_SCHEMA, Images

_BATCH_BYTES = 4 << 20  # of a record batch in a shard
_ROW_GROUP = 10_000


class ImagesWriter:
    """Takes images one by one, in order, and holds only the last few megabytes of them.

    Args:
        images: where to write; the directory exists.
        shard_bytes: a shard ends once it has as many bytes of images.
    """

    def __init__(self, images: Images, *, shard_bytes: int) -> None:
        self._images = images
        self._shard_bytes = shard_bytes
        self._manifest = _TableWriter(images.manifest, MANIFEST_SCHEMA)
        self._quarantine = _TableWriter(images.quarantine, QUARANTINE_SCHEMA)
        self._shard: _ShardWriter | None = None
        self._shards = 0
        self.count = 0

    def __enter__(self) -> "ImagesWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shard is not None:
            self._shard.close()
        self._manifest.close()
        self._quarantine.close()

    def add(self, data: bytes, facts: dict[str, Any]) -> None:
        """Append an image; `facts` are its manifest columns but for index, shard, row and bytes."""
        if self._shard is None:
            self._shard = _ShardWriter(pa.OSFile(str(self._images.shard(self._shards)), "wb"))
            self._shards += 1
        place = {"index": self.count, "shard": self._shards - 1, "row": self._shard.rows}
        self._manifest.add({**facts, **place, "bytes": len(data)})
        self._shard.add(data)
        self.count += 1
        if self._shard.bytes >= self._shard_bytes:
            self._shard.close()
            self._shard = None

    def reject(self, path: str, class_name: str | None, reason: str) -> None:
        """Append an image that is kept out."""
        self._quarantine.add({"source_path": path, "class_name": class_name, "reason": reason})


class _ShardWriter:
    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        self._writer = pa.ipc.new_file(file, SHARD_SCHEMA)
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self.rows = 0
        self.bytes = 0

    def add(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)
        self.rows += 1
        self.bytes += len(data)
        if self._pending_bytes >= _BATCH_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()
        self._file.close()

    def _flush(self) -> None:
        if self._pending:
            column = pa.array(self._pending, SHARD_SCHEMA.field(0).type)
            self._writer.write_batch(pa.record_batch([column], schema=SHARD_SCHEMA))
            self._pending, self._pending_bytes = [], 0


class _TableWriter:
    def __init__(self, path: Any, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._schema = schema
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []
