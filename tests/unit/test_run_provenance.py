"""Where a model of a cluster comes from: the environment is that of the pod that trained it."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.provenance import of_this_pod, with_split
from longtail.files import read_json, write_json
from longtail.io.versioning import dvc_directory_md5


@pytest.fixture
def known(tmp_path: Path) -> dict[str, Path]:
    write_json(tmp_path / "provenance", {"git_commit": "c0ffee", "params": {"split": {"seed": 7}}})
    (tmp_path / "split").mkdir()
    write_json(tmp_path / "split" / "profile.json", {"requested": {"seed": 0}})
    return {"provenance": tmp_path / "provenance", "split": tmp_path / "split"}


def content(known: dict[str, Path], representation: dict[str, Any]) -> dict[str, Any]:
    with with_split(**known, remote="s3://splits", representation=representation) as file:
        return dict(read_json(file))


def test_versions_and_gpu_are_those_of_stage_1(known, monkeypatch):
    monkeypatch.setenv("LONGTAIL_IMAGE", "longtail@sha256:1")
    monkeypatch.setenv("LONGTAIL_GPU_IMAGE", "longtail@sha256:2")
    trained = {"gpu": "NVIDIA H100", "torch": "2.15.0"}
    found = content(known, {"environment": json.dumps(trained), "epochs": 3})
    assert found["environment"] == trained
    assert (found["image"], found["gpu_image"]) == ("longtail@sha256:1", "longtail@sha256:2")
    assert found["git_commit"] == "c0ffee"
    assert found["split_md5"] == dvc_directory_md5(known["split"])
    assert found["split_remote"] == "s3://splits"


def test_the_parameters_of_the_split_are_those_it_was_made_with(known):
    assert content(known, {})["params"] == {"split": {"seed": 0}}


def test_a_gpu_that_nobody_noted_is_unknown_and_not_none(known):
    found = content(known, {})
    assert "gpu" not in found["environment"] and "torch" in found["environment"]


def test_a_pod_that_had_nodes_train_does_not_speak_for_their_gpus(monkeypatch):
    assert "gpu" in json.loads(of_this_pod()["environment"])
    monkeypatch.setenv("LONGTAIL_TRAINJOB", "{}")
    assert "gpu" not in json.loads(of_this_pod()["environment"])
