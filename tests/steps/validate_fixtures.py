"""Small images and split artifacts of handwritten digits, written straight from their schemas."""

import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import imagehash
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn.datasets import load_digits

from longtail.artifacts import MANIFEST_SCHEMA, SHARD_SCHEMA, SPLIT_SCHEMA, Images, Split
from longtail.files import file_digest, write_json

CLASSES = ["zero", "one", "two"]
TRAIN = (12, 6, 3)
PER_SHARD = 20


@dataclass(frozen=True)
class Picture:
    """One image of the artifact: its bytes, label and split."""

    data: bytes
    label: int
    split: str


def digits() -> list[Picture]:
    """Three classes of 12, 6 and 3 training, 2 validation and 3 test images."""
    bunch = load_digits()
    pictures = []
    for label, train in enumerate(TRAIN):
        pixels = bunch.images[bunch.target == label]
        splits = ["train"] * train + ["val"] * 2 + ["test"] * 3
        for image, split in zip(pixels, splits, strict=False):
            pictures.append(
                Picture(encode(Image.fromarray((image * 15).astype("uint8"))), label, split)
            )
    return pictures


def encode(image: Image.Image) -> bytes:
    """The image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def moved(picture: Picture, *, label: int | None = None, split: str | None = None) -> Picture:
    """The same bytes under another label or in another split."""
    return replace(
        picture,
        label=picture.label if label is None else label,
        split=split or picture.split,
    )


def write_artifacts(root: Path, pictures: list[Picture]) -> tuple[Path, Path]:
    """Write both artifacts, in which everything fits together; return their directories."""
    images, split = Images(root / "images"), Split(root / "split")
    images.root.mkdir(parents=True)
    split.root.mkdir()
    manifest = pd.DataFrame([_row(number, picture) for number, picture in enumerate(pictures)])
    pq.write_table(pa.Table.from_pandas(manifest, MANIFEST_SCHEMA), images.manifest)
    write_json(images.classes, {"classes": CLASSES, "super_classes": [], "super_of": []})
    for shard, start in enumerate(range(0, len(pictures), PER_SHARD)):
        data = [picture.data for picture in pictures[start : start + PER_SHARD]]
        with (
            pa.OSFile(str(images.shard(shard)), "wb") as file,
            pa.ipc.new_file(file, SHARD_SCHEMA) as writer,
        ):
            writer.write_batch(pa.record_batch([pa.array(data)], schema=SHARD_SCHEMA))
    for name in ("train", "val", "test"):
        rows = manifest[[picture.split == name for picture in pictures]]
        table = pa.Table.from_pandas(rows[SPLIT_SCHEMA.names], SPLIT_SCHEMA, preserve_index=False)
        pq.write_table(table, getattr(split, name))
    write_json(split.profile, _profile(pictures, manifest=file_digest(images.manifest)))
    return images.root, split.root


def _row(number: int, picture: Picture) -> dict[str, object]:
    try:
        image = Image.open(io.BytesIO(picture.data))
        size, mode, phash = image.size, image.mode, str(imagehash.phash(image))
    except OSError:
        size, mode, phash = (1, 1), "L", "0" * 16
    return {
        "index": number,
        "id": hashlib.sha256(picture.data).hexdigest(),
        "shard": number // PER_SHARD,
        "row": number % PER_SHARD,
        "label": picture.label,
        "class_name": CLASSES[picture.label],
        "super_label": None,
        "super_name": None,
        "width": size[0],
        "height": size[1],
        "mode": mode,
        "format": "PNG",
        "bytes": len(picture.data),
        "phash": phash,
        "source_path": f"{number}.png",
        "source_split": "test" if picture.split == "test" else "train",
    }


def _profile(pictures: list[Picture], *, manifest: str) -> dict[str, object]:
    def counted(label: int, split: str) -> int:
        return sum(picture.label == label and picture.split == split for picture in pictures)

    return {
        "law": "exp",
        "manifest": manifest,
        "group_names": ["many", "medium", "few"],
        "classes": [
            {
                "name": name,
                "super_label": None,
                "planned": counted(label, "train"),
                "group": ("medium", "few", "few")[label],
                **{split: counted(label, split) for split in ("train", "val", "test")},
            }
            for label, name in enumerate(CLASSES)
        ],
    }
