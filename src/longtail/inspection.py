"""Check many records of a source at a time: which are images, and their manifest facts."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from longtail.errors import LongtailError
from longtail.image_check import Seen, Task, check
from longtail.imaging import BadImage
from longtail.parallel import in_order, process_pool, usable_cores
from longtail.sources.collection import Collection, Record

# A batch ends at either; small enough for a few of them a core, large enough to be worth a message.
_BATCH_IMAGES = 128
_BATCH_BYTES = 4 << 20
_MAX_WORKERS = 16
# Fewer images are done before processes would have started.
_WORTH_PROCESSES = 4096


def inspect_all(
    collection: Collection, *, max_pixels: int
) -> Iterator[tuple[Record, bytes, Seen | str]]:
    """Yield every record in order with its bytes and what was seen, or the reason why it is bad.

    Bytes are read by threads and decoded by processes, both a bounded number of images ahead.
    """
    look = partial(check, max_pixels=max_pixels)
    workers = min(usable_cores(), _MAX_WORKERS) if collection.total >= _WORTH_PROCESSES else 1
    with ThreadPoolExecutor(collection.concurrency) as readers, _decoders(workers) as decoders:
        tasks = _batches(_fetch(collection, readers))
        try:
            for batch, seen in in_order(decoders, look, tasks, ahead=2 * workers):
                for (record, content), outcome in zip(batch, seen, strict=True):
                    yield record, content if isinstance(content, bytes) else b"", outcome
        except BrokenProcessPool as error:
            raise LongtailError(
                "A process that decodes images was killed, most likely for want of memory: lower "
                f"ingest.max_pixels ({max_pixels}) or give more"
            ) from error


def _decoders(workers: int) -> Executor:
    if workers == 1:
        return ThreadPoolExecutor(1)
    return process_pool(workers, preload=["longtail.image_check", "imagehash", "scipy.fftpack"])


def _fetch(collection: Collection, readers: Executor) -> Iterator[tuple[Record, bytes | str]]:
    read = collection.read
    if read is None:
        return ((record, record.problem or record.data or b"") for record in collection.records())
    tasks = ((record, record) for record in collection.records())
    ahead = 2 * collection.concurrency
    return in_order(readers, partial(_content, read), tasks, ahead=ahead)


def _content(read: Callable[[str], bytes], record: Record) -> bytes | str:
    """Return the bytes, or why there are none."""
    if record.problem is not None:
        return record.problem
    try:
        return read(record.path)
    except BadImage as reason:
        return str(reason)


Batch = list[tuple[Record, bytes | str]]


def _batches(fetched: Iterable[tuple[Record, bytes | str]]) -> Iterator[tuple[Batch, Task]]:
    batch: Batch = []
    size = 0
    for record, content in fetched:
        batch.append((record, content))
        size += len(content)
        if len(batch) == _BATCH_IMAGES or size >= _BATCH_BYTES:
            yield batch, [(record.path, content) for record, content in batch]
            batch, size = [], 0
    if batch:
        yield batch, [(record.path, content) for record, content in batch]
