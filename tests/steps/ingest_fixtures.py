"""Small real images, and the two steps that ingest them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from longtail.artifacts import Images
from longtail.config.ingest import IngestConfig
from longtail.steps.fingerprint import fingerprint
from longtail.steps.ingest import ingest


def picture(seed: int, *, side: int = 12) -> Image.Image:
    """An RGB picture of noise, another for each seed."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(seed: int) -> bytes:
    return encode(picture(seed))


def write_tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def run_ingest(tmp_path: Path, source: dict[str, Any], **options: Any) -> Images:
    """Fingerprint and ingest; the artifact is `tmp_path/images`."""
    config = IngestConfig.model_validate({"source": source, **options})
    fingerprint(config, out=tmp_path / "source.json")
    ingest(config, source=tmp_path / "source.json", out=tmp_path / "images")
    return Images(tmp_path / "images")


def manifest(images: Images) -> pd.DataFrame:
    return pd.read_parquet(images.manifest)


def stored_bytes(images: Images) -> list[bytes]:
    """The bytes of every image of the manifest, found by shard and row."""
    table = manifest(images)
    shards = {
        number: pa.ipc.open_file(pa.OSFile(str(images.shard(number)))).read_all()["bytes"]
        for number in set(table["shard"])
    }
    places = zip(table["shard"], table["row"], strict=True)
    return [shards[shard][row].as_py() for shard, row in places]
