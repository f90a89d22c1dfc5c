"""The registered model as MLflow loads it: kinds of requests, answers, refusals."""

import base64
import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from scipy.special import softmax

from longtail.io.pyfunc import load, place
from longtail.serving import ServedModel, example_images
from tests.steps.ingest_fixtures import encode, picture
from tests.steps.served_fixtures import (
    CLASSES,
    COUNTS,
    MEAN,
    SIZE,
    STD,
    backbone,
    expected_logits,
    head,
    write_model,
)

PICTURES = [picture(seed, side=SIZE) for seed in range(3)]
PIXELS = np.stack([np.asarray(image) for image in PICTURES])
ENCODED = [encode(image) for image in PICTURES]
TEXTS = [base64.b64encode(data).decode() for data in ENCODED]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def served(model) -> mlflow.pyfunc.PyFuncModel:
    return mlflow.pyfunc.load_model(str(model))


REQUESTS = {
    "pixels": PIXELS,
    "integers": PIXELS.astype(np.int64),
    "nested lists": PIXELS.tolist(),
    "bytes": pd.DataFrame({"image": ENCODED}),
    "base64": pd.DataFrame({"other": range(3), "image": TEXTS}),
    "one column": pd.DataFrame({"photo": TEXTS}),
    "dictionary": {"image": TEXTS},
    "dictionary of arrays": {"image": np.array(TEXTS)},
    "array of texts": np.array(TEXTS),
    "mixed": [ENCODED[0], TEXTS[1], PIXELS[2]],
}


@pytest.mark.parametrize("request_data", REQUESTS.values(), ids=REQUESTS.keys())
def test_every_kind_of_request_has_the_same_answer(served, request_data):
    answers = served.predict(request_data)
    probabilities = softmax(expected_logits(PIXELS).astype(float), axis=1)
    assert answers["label"].tolist() == probabilities.argmax(axis=1).tolist()
    assert answers["class_name"].tolist() == [CLASSES[k] for k in probabilities.argmax(axis=1)]
    found = answers["probability"].astype(float)
    np.testing.assert_allclose(found, probabilities.max(axis=1), rtol=1e-4)
    assert answers["error"].tolist() == [None, None, None]
    tops = [sum(entry["probability"] for entry in top) for top in answers["top_k"]]
    np.testing.assert_allclose(tops, 1)


def test_pixels_of_another_size_are_treated_as_the_encoded_picture(served):
    large = picture(9, side=30).resize((50, 21))
    answers = served.predict([np.asarray(large), encode(large)])
    assert answers.iloc[0].to_dict() == answers.iloc[1].to_dict()


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (ENCODED[0][:-20], "truncated"),
        (b"", "zero bytes"),
        ("*not base64*", "not base64"),
        ("ünïcode", "not base64"),
        (None, "height, width, 3"),
        (PIXELS[0].astype(float), "whole numbers"),
        (PIXELS[0].astype(int) + 255, "whole numbers"),
        (PIXELS[0][..., :2], "height, width, 3"),
        ([[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]]], "differ in length"),
    ],
)
def test_one_bad_image_does_not_spoil_the_others(served, image, reason):
    answers = served.predict([ENCODED[0], image, ENCODED[1]])
    assert reason in answers["error"][1] and answers["label"][1] is None
    assert answers["error"].tolist()[::2] == [None, None]
    assert answers["top_k"][1] is None and len(answers["top_k"][2]) == len(CLASSES)


@pytest.mark.parametrize(
    ("data", "params", "reason"),
    [
        (PIXELS[0], {}, r"a batch is \[images, height, width, 3\]"),
        (pd.DataFrame({"a": [1], "b": [2]}), {}, "no column 'image' among a, b"),
        ({"photo": TEXTS}, {}, "no key 'image' among photo"),
        ("text", {}, "a str is no batch of images"),
        (ENCODED, {"top_k": 0}, "top_k is 0"),
        (ENCODED, {"prior": [0.5, 0.5]}, "2 shares are given for 4 classes"),
        (ENCODED, {"prior": [0.0] * 4}, "not all 0"),
    ],
)
def test_a_request_that_is_none_is_refused_as_a_whole(served, data, params, reason):
    with pytest.raises(MlflowException, match=reason) as refused:
        served.predict(data, params=params)
    assert refused.value.get_http_status_code() == 400


def test_parameters_of_a_request(served):
    answers = served.predict(ENCODED, params={"top_k": 2, "prior": [0.0, 0.1, 0.1, 0.8]})
    weighted = softmax(expected_logits(PIXELS).astype(float), axis=1)
    weighted = weighted * [0.0, 0.1, 0.1, 0.8] / COUNTS
    expected = weighted / weighted.sum(axis=1, keepdims=True)
    assert answers["label"].tolist() == expected.argmax(axis=1).tolist()
    np.testing.assert_allclose(
        answers["probability"].astype(float), expected.max(axis=1), rtol=1e-4
    )
    assert [len(top) for top in answers["top_k"]] == [2, 2, 2]


def test_an_empty_request_has_an_empty_answer(served):
    assert served.predict([]).empty


def test_the_signature_names_the_answer_and_the_parameters(model):
    signature = mlflow.models.get_model_info(str(model)).signature
    assert signature.outputs.input_names()[:4] == ["label", "class_name", "probability", "group"]
    assert [param.name for param in signature.params] == ["top_k", "prior"]


def test_requirements_name_what_serving_imports(model):
    named = {line.split("==")[0] for line in (model / "requirements.txt").read_text().split()}
    assert named == {"mlflow", "numpy", "pandas", "pillow", "torch"}


def test_models_of_two_versions_of_the_code_answer_in_one_process(model, tmp_path):
    other = shutil.copytree(model, tmp_path / "other")
    (package,) = (other / "code").iterdir()
    renamed = package.rename(package.with_name("longtail_served_0123456789ab"))
    source = (renamed / "predictor.py").read_text()
    (renamed / "predictor.py").write_text(source.replace('"error": None}', '"error": "changed"}'))
    (other / "MLmodel").write_text(
        (other / "MLmodel").read_text().replace(package.name, renamed.name)
    )
    new, old = mlflow.pyfunc.load_model(str(other)), mlflow.pyfunc.load_model(str(model))
    assert new.predict(ENCODED)["error"].tolist() == ["changed"] * 3
    assert old.predict(ENCODED)["error"].tolist() == [None] * 3


class Bomb:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_a_program_with_a_pickle_in_it_is_refused_unread(model, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    evil = shutil.copytree(model, tmp_path / "evil")
    with zipfile.ZipFile(evil / "data" / "model.pt2") as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    (examples,) = [name for name in records if "sample_inputs" in name and name.endswith(".pt")]
    buffer = io.BytesIO()
    torch.save(Bomb(tmp_path / "exploded"), buffer)
    records[examples] = buffer.getvalue()
    with zipfile.ZipFile(evil / "data" / "model.pt2", "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    with pytest.raises(MlflowException, match="not a pickle-free payload"):
        load(evil)
    assert not (tmp_path / "exploded").exists()
    pickle.loads(pickle.dumps(Bomb(tmp_path / "exploded")))  # it would have gone off
    assert (tmp_path / "exploded").exists()


def test_what_travels_with_a_model_needs_no_longtail(model):
    code = """
import sys
sys.modules["longtail"] = None  # an import of it fails
import mlflow
import numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
print(model.predict(np.zeros((2, 8, 8, 3), np.uint8)).to_json(orient="records"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=True
    )
    assert len(json.loads(done.stdout)) == 2


def test_a_program_moves_to_another_device_with_all_that_it_holds():
    served = ServedModel(backbone(), head(4), mean=MEAN, std=STD).eval()
    program = torch.export.export(served, (example_images(SIZE),)).module()
    assert place(program, example=example_images(SIZE)) == "cpu"
    program.to("meta")  # stands for a GPU: all of the computation must be there
    assert program(example_images(SIZE).to("meta")).device.type == "meta"


def test_a_parameter_that_is_null_is_as_if_it_were_not_there(served):
    assert served.predict(ENCODED, params={"top_k": None}).equals(served.predict(ENCODED))
