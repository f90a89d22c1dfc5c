"""Folders, tables, digits: what comes out is what was put in, and nothing is lost on the way."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from longtail.artifacts import MANIFEST_SCHEMA, QUARANTINE_SCHEMA
from longtail.config.ingest import IngestConfig
from longtail.errors import LongtailError
from longtail.files import read_json
from longtail.steps.fingerprint import fingerprint
from longtail.steps.ingest import ingest
from tests.steps.artifact_fixtures import digests
from tests.steps.ingest_fixtures import (
    encode,
    manifest,
    picture,
    png,
    run_ingest,
    stored_bytes,
    write_tree,
)


def test_digits_are_the_ones_of_scikit_learn_in_its_order(tmp_path: Path) -> None:
    images = run_ingest(tmp_path, {"kind": "digits"})
    table = manifest(images)
    digits = load_digits()
    assert table["label"].tolist() == digits.target.tolist()
    assert table["class_name"].tolist() == [str(label) for label in digits.target]
    pixels = np.stack([np.frombuffer(data[-64:], np.uint8) for data in stored_bytes(images)])
    assert np.array_equal(pixels, np.round(digits.data * 255 / 16))


def test_the_manifest_describes_the_stored_bytes(tmp_path: Path) -> None:
    files = {f"{name}/{i}.png": png(ord(name) + i) for name in "abc" for i in range(4)}
    source = {"kind": "folder", "root": str(write_tree(tmp_path / "in", files))}
    images = run_ingest(tmp_path, source)
    assert pq.read_schema(images.manifest).equals(MANIFEST_SCHEMA)
    assert pq.read_schema(images.quarantine).equals(QUARANTINE_SCHEMA)
    table = manifest(images)
    assert table["source_path"].tolist() == sorted(files)
    assert stored_bytes(images) == [files[path] for path in sorted(files)]
    assert table["id"].tolist() == [hashlib.sha256(files[p]).hexdigest() for p in sorted(files)]
    assert table["bytes"].tolist() == [len(files[path]) for path in sorted(files)]
    assert table["index"].tolist() == list(range(12))
    assert set(table[["width", "height", "mode", "format"]].itertuples(index=False, name=None)) == {
        (12, 12, "RGB", "PNG")
    }
    assert read_json(images.classes) == {
        "classes": ["a", "b", "c"],
        "super_classes": [],
        "super_of": [],
    }
    assert len(pd.read_parquet(images.quarantine)) == 0


def test_same_input_gives_the_same_bytes_wherever_it_lies(tmp_path: Path) -> None:
    files = {f"{name}/{i}.png": png(i) for name in "ab" for i in range(3)}
    results = []
    for place in ("one", "two"):
        root = write_tree(tmp_path / place / "in", files)
        images = run_ingest(tmp_path / place, {"kind": "folder", "root": str(root)})
        identity = read_json(tmp_path / place / "source.json")
        results.append((digests(images.root), identity["digest"], identity["identified_by"]))
    assert results[0] == results[1]
    assert results[0][2] == "sha256"


def test_processes_and_threads_write_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{name}/{i:03d}.png": png(i) for name in "ab" for i in range(150)}
    files["a/050.png"] = b"broken"
    source = {"kind": "folder", "root": str(write_tree(tmp_path / "in", files))}
    small = run_ingest(tmp_path, source, on_bad_image="quarantine")
    monkeypatch.setattr("longtail.inspection._WORTH_PROCESSES", 0)
    (tmp_path / "again").mkdir()
    large = run_ingest(tmp_path / "again", source, on_bad_image="quarantine")
    assert digests(small.root) == digests(large.root)


def test_shards_end_at_their_size_and_rows_are_found(tmp_path: Path) -> None:
    noise = [encode(picture(seed, side=300), "BMP") for seed in range(9)]  # 270 kB each
    files = {f"a/{i}.bmp": data for i, data in enumerate(noise)}
    source = {"kind": "folder", "root": str(write_tree(tmp_path / "in", files))}
    images = run_ingest(tmp_path, source, shard_megabytes=1)
    assert manifest(images)["shard"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert stored_bytes(images) == noise


def test_super_directories_become_super_labels(tmp_path: Path) -> None:
    files = {"pets/dog/1.png": png(1), "pets/cat/1.png": png(2), "farm/ant/deep/1.png": png(3)}
    root = write_tree(tmp_path / "in", files)
    images = run_ingest(tmp_path, {"kind": "folder", "root": str(root), "levels": 2})
    assert read_json(images.classes) == {
        "classes": ["ant", "cat", "dog"],
        "super_classes": ["farm", "pets"],
        "super_of": [0, 1, 1],
    }
    assert manifest(images)["super_name"].tolist() == ["farm", "pets", "pets"]
    write_tree(root, {"farm/cat/1.png": png(4)})
    with pytest.raises(LongtailError, match=r"exactly one super-label.*cat \(farm, pets\)"):
        run_ingest(tmp_path, {"kind": "folder", "root": str(root), "levels": 2})


def test_an_empty_class_stops_always(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "in", {"a/1.png": png(1)})
    (root / "void").mkdir()
    with pytest.raises(LongtailError, match=r"1 directories .* hold no image: void"):
        run_ingest(tmp_path, {"kind": "folder", "root": str(root)}, on_bad_image="quarantine")
    write_tree(root, {"void/1.png": b"no image"})
    with pytest.raises(LongtailError, match="1 of 2 classes have only bad images: void"):
        run_ingest(tmp_path, {"kind": "folder", "root": str(root)}, on_bad_image="quarantine")
    assert not (tmp_path / "images").exists()


BAD = {
    "a/bomb.pgm": (b"P5 60000 60000 255\n", "pixels"),
    "a/empty.png": (b"", "zero bytes"),
    "a/moving.gif": (
        encode(picture(1), "GIF", save_all=True, append_images=[picture(2)]),
        "animated",
    ),
    "a/mislabelled.jpg": (png(3), "the content is PNG"),
    "a/text.txt": (b"read me", "not an image"),
    "a/truncated.png": (png(4)[:200], "truncated"),
    ".DS_Store": (b"x", "hidden"),
    "stray.png": (png(5), "not inside a class directory"),
}


def test_bad_images_stop_with_one_error_that_counts_them_all(tmp_path: Path) -> None:
    bad = {path: data for path, (data, _) in BAD.items()}
    root = write_tree(tmp_path / "in", {"a/good.png": png(0), **bad})
    with pytest.raises(LongtailError) as caught:
        run_ingest(tmp_path, {"kind": "folder", "root": str(root)})
    message = str(caught.value)
    assert message.startswith(f"{len(BAD)} of {len(BAD) + 1} images are bad: .DS_Store (hidden")
    assert f"and {len(BAD) - 5} more" in message
    assert "on_bad_image: quarantine" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "source.json"]


def test_quarantine_lists_every_bad_image_with_its_reason(tmp_path: Path) -> None:
    bad = {path: data for path, (data, _) in BAD.items()}
    root = write_tree(tmp_path / "in", {"a/good.png": png(0), **bad})
    source = {"kind": "folder", "root": str(root)}
    images = run_ingest(tmp_path, source, on_bad_image="quarantine")
    assert manifest(images)["source_path"].tolist() == ["a/good.png"]
    kept_out = pd.read_parquet(images.quarantine).set_index("source_path")
    assert sorted(kept_out.index) == sorted(BAD)
    for path, (_, reason) in BAD.items():
        assert reason in kept_out.loc[path, "reason"]
    assert kept_out.loc["a/empty.png", "class_name"] == "a"
    assert pd.isna(kept_out.loc["stray.png", "class_name"])


def test_links_may_not_leave_the_root(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(9))
    outside = write_tree(tmp_path / "outside", {"x.png": png(8)})
    root = write_tree(tmp_path / "in", {"a/good.png": png(0)})
    (root / "a" / "inside.png").symlink_to("good.png")
    (root / "a" / "leaves.png").symlink_to(secret)
    (root / "a" / "directory").symlink_to(outside)
    (root / "a" / "nowhere.png").symlink_to("gone.png")
    source = {"kind": "folder", "root": str(root)}
    images = run_ingest(tmp_path, source, on_bad_image="quarantine")
    assert manifest(images)["source_path"].tolist() == ["a/good.png", "a/inside.png"]
    kept_out = pd.read_parquet(images.quarantine).set_index("source_path")["reason"].to_dict()
    assert "leaves the root" in kept_out["a/leaves.png"]
    assert "leaves the root" in kept_out["a/directory"]
    assert kept_out["a/nowhere.png"] == "missing"


def test_names_that_are_no_utf8_are_kept_readable(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "in", {"a/good.png": png(0)})
    with open(os.fsencode(root / "a") + b"/caf\xe9.png", "wb") as file:
        file.write(png(1))
    images = run_ingest(tmp_path, {"kind": "folder", "root": str(root)})
    assert manifest(images)["source_path"].tolist() == ["a/caf\\xe9.png", "a/good.png"]
    os.rename(root / "a", os.fsencode(root) + b"/caf\xe9")
    with pytest.raises(LongtailError, match=r"caf.xe9: a class is named by UTF-8"):
        run_ingest(tmp_path, {"kind": "folder", "root": str(root)})


def test_formats_and_modes_reach_the_manifest(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = picture(0).resize((20, 10))
    sixteen = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8))
    files = {
        "a/cmyk.jpg": encode(wide.convert("CMYK"), "JPEG"),
        "a/grey.png": encode(wide.convert("L")),
        "a/palette.png": encode(wide.quantize(8)),
        "a/rgba.png": encode(wide.convert("RGBA")),
        "a/sixteen.png": encode(sixteen),
        "a/turned.jpg": encode(wide, "JPEG", exif=exif),
    }
    root = write_tree(tmp_path / "in", files)
    table = manifest(run_ingest(tmp_path, {"kind": "folder", "root": str(root)}))
    assert table["mode"].tolist() == ["CMYK", "L", "P", "RGBA", "I;16", "RGB"]
    assert table["format"].tolist() == ["JPEG", "PNG", "PNG", "PNG", "PNG", "JPEG"]
    assert table["width"].tolist() == [20, 20, 20, 20, 8, 10]


def test_a_source_that_changed_after_its_fingerprint_is_refused(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "in", {"a/1.png": png(1)})
    config = IngestConfig.model_validate({"source": {"kind": "folder", "root": str(root)}})
    fingerprint(config, out=tmp_path / "source.json")
    write_tree(root, {"a/2.png": png(2)})
    with pytest.raises(LongtailError, match=r"1 entries then, 2 now.*longtail fingerprint"):
        ingest(config, source=tmp_path / "source.json", out=tmp_path / "images")


def test_the_fingerprint_sees_content_and_not_times(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "in", {"a/1.png": png(1), "a/2.png": png(2)})
    config = IngestConfig.model_validate({"source": {"kind": "folder", "root": str(root)}})

    def identity() -> str:
        fingerprint(config, out=tmp_path / "source.json")
        return (tmp_path / "source.json").read_text()

    first = identity()
    os.utime(root / "a" / "1.png", (1, 1))
    assert identity() == first
    (root / "a" / "1.png").write_bytes(png(1)[:-1] + b"x")  # the same size
    assert identity() != first
    (root / "a" / "1.png").write_bytes(png(1))
    (root / "a" / "1.png").rename(root / "a" / "3.png")
    assert identity() != first


def test_large_sources_are_identified_by_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longtail.steps.fingerprint.CONTENT_LIMIT", 10)
    root = write_tree(tmp_path / "in", {"a/1.png": png(1)})
    config = IngestConfig.model_validate({"source": {"kind": "folder", "root": str(root)}})
    fingerprint(config, out=tmp_path / "one.json")
    os.utime(root / "a" / "1.png", (1, 1))
    fingerprint(config, out=tmp_path / "two.json")
    one, two = read_json(tmp_path / "one.json"), read_json(tmp_path / "two.json")
    assert one["identified_by"] == "mtime"
    assert one["digest"] != two["digest"]


@pytest.mark.parametrize("root", ["missing", "ftp://host/x", "s3://"])
def test_roots_that_are_none_are_refused(tmp_path: Path, root: str) -> None:
    with pytest.raises(LongtailError, match=root):
        run_ingest(tmp_path, {"kind": "folder", "root": root})


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "in", {"1.png": png(1)})
    with pytest.raises(LongtailError, match="No class directories"):
        run_ingest(tmp_path, {"kind": "folder", "root": str(root)})


def test_a_failed_ingest_leaves_the_previous_result(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "in", {"a/1.png": png(1)})
    images = run_ingest(tmp_path, {"kind": "folder", "root": str(root)})
    before = digests(images.root)
    write_tree(root, {"a/2.png": b"broken"})
    with pytest.raises(LongtailError):
        run_ingest(tmp_path, {"kind": "folder", "root": str(root)})
    assert digests(images.root) == before
    shutil.rmtree(root)
    assert json.loads(images.classes.read_text())["classes"] == ["a"]
