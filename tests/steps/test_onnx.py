"""A registered model as ONNX gives what torch gives for any number of images, or is not there."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from longtail.errors import LongtailError
from longtail.heads import ABSENT
from longtail.io import onnx_file
from longtail.io.onnx_file import export_onnx
from tests.steps.served_fixtures import CLASSES, SIZE, expected_logits, head, write_model

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model")


def session(path: Path) -> "onnxruntime.InferenceSession":
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def test_logits_are_those_of_the_network_for_any_number_of_images(model, tmp_path):
    difference = export_onnx(model, tmp_path / "model.onnx")
    assert 0 <= difference < 1e-4
    runtime = session(tmp_path / "model.onnx")
    assert runtime.get_inputs()[0].shape == ["batch", SIZE, SIZE, 3]
    for count in (1, 3, 64):
        (found,) = runtime.run(["logits"], {"images": images(count)})
        np.testing.assert_allclose(found, expected_logits(images(count)), atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_the_file_names_its_classes(model, tmp_path):
    export_onnx(model, tmp_path / "model.onnx")
    known = session(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(known["classes"]) == CLASSES
    assert json.loads(known["image_size"]) == SIZE


def test_both_levels_have_their_logits(tmp_path):
    above, absent = head(2, seed=2), head(4, absent=torch.tensor([False, False, False, True]))
    model = write_model(
        tmp_path / "model",
        own_head=absent,
        above=above,
        super_classes=["insect", "pet"],
        super_of=[0, 0, 1, 1],
    )
    export_onnx(model, tmp_path / "model.onnx")
    classes, supers = session(tmp_path / "model.onnx").run(None, {"images": images(3)})
    np.testing.assert_allclose(supers, expected_logits(images(3), above), atol=1e-4)
    expected = expected_logits(images(3), absent)
    np.testing.assert_allclose(classes[:, :3], expected[:, :3], atol=1e-4)
    assert (classes[:, 3] == np.float32(ABSENT)).all()


def test_logits_that_differ_leave_no_file(model, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "TOLERANCE", -1.0)
    with pytest.raises(LongtailError, match=r"differ from torch's by .*serve it with MLflow"):
        export_onnx(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_the_user_is_told_what_to_install(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(LongtailError, match="pip install onnx onnxruntime onnxscript"):
        export_onnx(model, tmp_path / "model.onnx")
