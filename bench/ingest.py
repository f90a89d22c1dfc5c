"""Ingest against a plain copy of the same files; memory of ingest and embed at 10k and 100k."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
from PIL import Image
from safetensors.torch import save_file

from longtail.artifacts import SPLIT_SCHEMA, Images, Representation
from longtail.backbones.building import build_backbone
from longtail.files import write_json

COPIED, FEW, MANY, CLASSES = 20_000, 10_000, 100_000, 100
DISTINCT = 1000

_INGEST = """
import json, sys, time
from pathlib import Path
from longtail.config.ingest import IngestConfig
from longtail.steps.fingerprint import fingerprint
from longtail.steps.ingest import ingest

if __name__ == "__main__":
    root, out = sys.argv[1:]
    config = IngestConfig.model_validate({"source": {"kind": "folder", "root": root}})
    started = time.perf_counter()
    fingerprint(config, out=Path(out) / "source.json")
    listed = time.perf_counter()
    ingest(config, source=Path(out) / "source.json", out=Path(out) / "images")
    print(json.dumps([listed - started, time.perf_counter() - listed]))
"""

_EMBED = """
import sys
from pathlib import Path
from longtail.config.stage2 import EmbedConfig
from longtail.steps.embed import embed

if __name__ == "__main__":
    root = Path(sys.argv[1])
    tables = {"train": root / "train.parquet", "val": root / "val.parquet"}
    embed(
        EmbedConfig(),
        images=root / "images",
        representation=root / "representation",
        out=root / "features",
        **tables,
    )
"""


def run() -> dict[str, float]:
    """Return seconds of copy, fingerprint and ingest, peak memory (processes together), ratios."""
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        pictures = _pictures()
        _write(here / "files", pictures, COPIED)
        copy = _seconds_to_copy(here / "files", here / "copy")
        fingerprint, ingest, _ = _ingest(here / "files", here / "out")
        peaks, embedding = [], []
        for count in (FEW, MANY):
            _write(here / f"{count}", pictures, count)
            peaks.append(_ingest(here / f"{count}", here / f"out{count}")[2])
            embedding.append(_embed(here / f"out{count}"))
    return {
        "images": COPIED,
        "copy_seconds": copy,
        "fingerprint_seconds": fingerprint,
        "ingest_seconds": ingest,
        "images_per_second": COPIED / ingest,
        "ingest_over_copy": ingest / copy,
        "peak_gigabytes_10k": peaks[0],
        "peak_gigabytes_100k": peaks[1],
        "peak_100k_over_10k": peaks[1] / peaks[0],
        "embed_peak_gigabytes_10k": embedding[0],
        "embed_peak_gigabytes_100k": embedding[1],
        "embed_peak_100k_over_10k": embedding[1] / embedding[0],
    }


def _pictures() -> list[bytes]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (DISTINCT, 8, 8, 3), dtype=np.uint8)
    encoded = []
    for pixels in coarse:
        buffer = BytesIO()
        Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC).save(buffer, "PNG")
        encoded.append(buffer.getvalue())
    return encoded


def _write(root: Path, pictures: list[bytes], count: int) -> None:
    for label in range(CLASSES):
        (root / f"{label:03d}").mkdir(parents=True)
    for number in range(count):
        path = root / f"{number % CLASSES:03d}" / f"{number:06d}.png"
        path.write_bytes(pictures[number % DISTINCT])


def _seconds_to_copy(source: Path, target: Path) -> float:
    started = time.perf_counter()
    shutil.copytree(source, target)
    return time.perf_counter() - started


def _ingest(root: Path, out: Path) -> tuple[float, float, float]:
    """Return seconds of fingerprint and of ingest, and the peak memory in gigabytes."""
    out.mkdir()
    printed, peak = _watched(_INGEST, root, out)
    fingerprint, ingest = json.loads(printed)
    return fingerprint, ingest, peak


def _embed(out: Path) -> float:
    """Embed all images with a random ResNet-32 at 8x8; return the peak memory in gigabytes."""
    table = pq.read_table(Images(out / "images").manifest, columns=SPLIT_SCHEMA.names)
    pq.write_table(table, out / "train.parquet")
    pq.write_table(table.slice(0, 100), out / "val.parquet")
    representation = Representation(out / "representation")
    representation.root.mkdir()
    backbone = build_backbone("cifar_resnet32")
    save_file(backbone.state_dict(), representation.backbone)
    description = {"backbone": "cifar_resnet32", "image_size": 8, "feature_dim": 64}
    views = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "horizontal_flip": False}
    write_json(representation.description, description | views)
    return _watched(_EMBED, out)[1]


def _watched(script: str, *arguments: Path) -> tuple[str, float]:
    """Run a script; return what it printed and its peak memory in gigabytes."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(0.05)
        assert process.stdout is not None and process.returncode == 0
        return process.stdout.read(), peak / 1e9


def _resident(pid: int) -> int:
    """Return the resident memory of a process and all below it in bytes."""
    total = 0
    try:
        leader = psutil.Process(pid)
        for process in (leader, *leader.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        return total
    return total


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name, value in run().items():
        print(f"{name:<30} {value:.4g}")
