"""Registered models in use: served over HTTP by MLflow, and through the command line."""

import base64
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from longtail.config.promotion import RegisterConfig
from tests.pipeline.workspace import environment, run
from tests.steps.ingest_fixtures import encode, picture, write_tree
from tests.steps.local_servers import free_port, wait_until_it_answers
from tests.steps.registry_fixtures import SIZE, Workspace, write_evaluation, write_models

START_SECONDS = 180
NAMES = {"class-0", "class-1", "class-2"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a database whose champion is a registered model, and a parameter file."""
    root = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{root / 'mlflow.db'}"
    evaluation = write_evaluation(root / "evaluation", right=(15, 10, 5))
    models = write_models(root / "models")
    Workspace(root, RegisterConfig(tracking_uri=uri), evaluation, *models).flow()
    (root / "params.yaml").write_text(yaml.safe_dump({"register": {"tracking_uri": uri}}))
    return root


@pytest.fixture(scope="module")
def server(registry: Path) -> Iterator[str]:
    """The champion behind `mlflow models serve` on a free port of this machine, without pickles."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"),
        *("--model-uri", "models:/longtail@champion", "--host", "127.0.0.1", "--port", str(port)),
    ]
    settings = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{registry / 'mlflow.db'}",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with (registry / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=registry,
            env={**os.environ, **environment(), **settings},
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_it_answers(f"{url}/ping", process, registry / "log", START_SECONDS)
        yield url
    finally:
        os.killpg(process.pid, 15)  # the shell, the server and its workers
        process.wait(timeout=60)


def post(url: str, content: dict[str, Any]) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"{url}/invocations",
        json.dumps(content).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_encoded_images_and_pixels_are_answered_over_http(server):
    pictures = [picture(seed, side=SIZE) for seed in range(3)]
    rows = [[in_base64(encode(image))] for image in pictures]
    status, encoded = post(server, {"dataframe_split": {"columns": ["image"], "data": rows}})
    assert status == 200
    first = encoded["predictions"][0]
    assert first["class_name"] in NAMES and first["group"] in {"many", "medium", "few"}
    assert first["top_k"][0]["probability"] == first["probability"] and first["error"] is None
    assert sum(entry["probability"] for entry in first["top_k"]) == pytest.approx(1)

    records = [{"image": row[0]} for row in rows]
    for same in (
        {"dataframe_records": records},
        {"inputs": {"image": [row[0] for row in rows]}},
        {"inputs": [np.asarray(image).tolist() for image in pictures]},
        {"instances": [np.asarray(image).tolist() for image in pictures]},
    ):
        assert post(server, same) == (200, encoded)


def test_a_bad_image_and_parameters_over_http(server):
    images = [in_base64(b"no image"), in_base64(encode(picture(0)))]
    content = {"inputs": {"image": images}, "params": {"top_k": 1, "prior": [0.0, 0.0, 1.0]}}
    status, answer = post(server, content)
    bad, good = answer["predictions"]
    assert status == 200 and bad["error"] == "not an image in a known format"
    assert bad["label"] is None and bad["probability"] is None
    assert good["class_name"] == "class-2" and good["probability"] == pytest.approx(1)
    assert len(good["top_k"]) == 1


def test_a_request_that_is_none_is_answered_with_what_is_wrong(server):
    status, answer = post(server, {"inputs": {"photo": ["x"]}})
    assert status == 400 and "no key 'image' among photo" in answer["message"]


def test_the_command_line_predicts_with_the_champion(registry, tmp_path):
    write_tree(tmp_path / "photos", {f"{n}.png": encode(picture(n)) for n in range(4)})
    write_tree(tmp_path / "photos", {"notes.txt": b"no image"})
    printed = run(
        registry,
        *("longtail", "predict", "--model", "models:/longtail@champion"),
        *("--images", str(tmp_path / "photos"), "--out", str(tmp_path / "out.parquet")),
        "--estimate-prior",
    )
    assert "5 images, 1 of them not readable" in printed and "Estimated shares" in printed
    rows = pd.read_parquet(tmp_path / "out.parquet")
    assert rows["class_name"].dropna().isin(NAMES).all() and rows["error"].notna().sum() == 1
    shares = json.loads((tmp_path / "out.prior.json").read_text())
    assert set(shares) == NAMES


def test_the_command_line_writes_onnx(registry, tmp_path):
    pytest.importorskip("onnxscript")
    printed = run(
        registry,
        *("longtail", "export-onnx", "--model", "models:/longtail/1"),
        *("--out", str(tmp_path / "model.onnx")),
    )
    assert "model.onnx: logits within" in printed and (tmp_path / "model.onnx").is_file()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("models:/longtail@nobody", "nobody"),
        ("models:/nothing/1", "nothing"),
        ("photos", "photos is no model that `longtail register` made"),
    ],
)
def test_a_model_that_is_not_there_is_an_error_without_a_traceback(registry, model, reason):
    done = subprocess.run(
        ["longtail", "predict", "--model", model, "--images", ".", "--out", "out.parquet"],
        cwd=registry,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and reason in done.stderr
    assert "Traceback" not in done.stderr and not (registry / "out.parquet").exists()


def test_no_parameter_file_and_no_database_is_said_and_none_is_made(tmp_path):
    done = subprocess.run(
        ["longtail", "predict", "--model", "models:/m/1", "--images", ".", "--out", "o.parquet"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "there is no MLflow database mlflow.db" in done.stderr
    assert list(tmp_path.iterdir()) == []
