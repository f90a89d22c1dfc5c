"""The split of a million rows against reading and writing the same table."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from longtail.artifacts import MANIFEST_SCHEMA, Images
from longtail.files import write_json

ROWS, CLASSES = 1_000_000, 1000

_SPLIT = """
from longtail.config.split import SplitConfig
from longtail.steps.split import split
config = SplitConfig(law="exp", imbalance_factor=100)
work = lambda: split(config, images=images, out=out)
"""
_COPY = """
import pyarrow.parquet as pq
from longtail.artifacts import SPLIT_SCHEMA, Images
columns = SPLIT_SCHEMA.names
def work():
    table = pq.read_table(Images(images).manifest, columns=columns)
    pq.write_table(table, out, compression="zstd", use_dictionary=["shard", "label"])
"""
_MEASURE = """
import json, sys, time
from pathlib import Path
images, out = map(Path, sys.argv[1:])
{setup}
started = time.perf_counter()
work()
seconds = time.perf_counter() - started
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([seconds, int(status["VmHWM"].split()[0]) / 1e6]))
"""


def run() -> dict[str, float]:
    """Return seconds and peak memory of the split, seconds of the plain copy, and their ratio."""
    with tempfile.TemporaryDirectory() as directory:
        images = Path(directory) / "images"
        _write_images(images)
        copy_seconds, _ = _measure(_COPY, images, Path(directory) / "copy.parquet")
        split_seconds, peak = _measure(_SPLIT, images, Path(directory) / "split")
    return {
        "rows": ROWS,
        "split_seconds": split_seconds,
        "split_peak_gigabytes": peak,
        "read_and_write_seconds": copy_seconds,
        "split_over_read_and_write": split_seconds / copy_seconds,
    }


def _measure(setup: str, images: Path, out: Path) -> tuple[float, float]:
    script = _MEASURE.format(setup=setup)
    command = [sys.executable, "-c", script, str(images), str(out)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, gigabytes = json.loads(answer)
    return seconds, gigabytes


def _write_images(root: Path) -> None:
    """Write a manifest whose classes have 1900 down to 100 images, 1 in 1000 of them twice."""
    root.mkdir()
    rng = np.random.default_rng(0)
    share = np.linspace(1.9, 0.1, CLASSES) / CLASSES
    labels = rng.choice(CLASSES, size=ROWS, p=share / share.sum()).astype(np.int32)
    digests = rng.integers(0, 256, size=(ROWS, 32), dtype=np.uint8)
    digests[::1000] = digests[1::1000]
    names = [f"class {label:04d}" for label in range(CLASSES)]
    index = np.arange(ROWS)
    columns = {
        "index": pa.array(index),
        "id": _hex_strings(digests),
        "shard": pa.array((index // 10_000).astype(np.int32)),
        "row": pa.array((index % 10_000).astype(np.int32)),
        "label": pa.array(labels),
        "class_name": pa.array(names).take(pa.array(labels)),
        "phash": pa.array(np.full(ROWS, "0" * 16)),
        "source_path": pa.array(np.char.add("images/", index.astype(str))),
    }
    for field in MANIFEST_SCHEMA:
        if field.name not in columns:
            filler = None if field.nullable else {pa.string(): "PNG"}.get(field.type, 32)
            columns[field.name] = pa.array([filler], field.type).take(pa.array(np.zeros(ROWS, int)))
    table = pa.table([columns[name] for name in MANIFEST_SCHEMA.names], schema=MANIFEST_SCHEMA)
    pq.write_table(table, Images(root).manifest)
    write_json(Images(root).classes, {"classes": names, "super_classes": [], "super_of": []})


def _hex_strings(digests: np.ndarray) -> pa.StringArray:
    offsets = np.arange(len(digests) + 1, dtype=np.int32) * (2 * digests.shape[1])
    text = digests.tobytes().hex().encode()
    return pa.StringArray.from_buffers(len(digests), pa.py_buffer(offsets), pa.py_buffer(text))
