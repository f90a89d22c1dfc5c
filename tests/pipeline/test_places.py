"""What pods cannot reach is refused before it is sent, what they can reach is not."""

import copy
import shutil
from dataclasses import replace
from typing import Any

import pytest
import yaml

from longtail.config.resources import ResourcesConfig
from longtail.config.section import parse
from longtail.errors import LongtailError
from pipelines.compiling import compiled
from pipelines.package import Package, read_package
from pipelines.parameters import read_parameters
from pipelines.places import check_places
from pipelines.study import compiled_study
from pipelines.training import build
from tests.pipeline.workspace import ROOT

SERVER = {"register": {"tracking_uri": "http://mlflow.longtail:5000"}}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The pipeline of the repository's parameters, whose pods mount a claim."""
    resources = parse(ResourcesConfig, {"shard_cache": {"claim": "shards"}}, where="resources")
    file = tmp_path_factory.mktemp("package") / "training.yaml"
    file.write_text(compiled(build(read_parameters(ROOT / "params.yaml"), resources)))
    return read_package(file, allow_tag=True)


def changed(package: Package, changes: dict[str, Any]) -> Package:
    other = replace(package, spec=copy.deepcopy(package.spec))
    for name, values in {**SERVER, **changes}.items():
        other.parameters[name]["defaultValue"] |= values
    return other


def source(kind: str, root: str) -> dict[str, Any]:
    return {"ingest": {"source": {"kind": kind, "root": root}}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"register": {"tracking_uri": "sqlite:////data/mlflow.db"}}, "register.tracking_uri is"),
        ({"register": {"tracking_uri": "./mlruns"}}, "register.tracking_uri is"),
        ({"register": {"tracking_uri": "file:///tmp/mlruns"}}, "register.tracking_uri is"),
        ({"register": {"tracking_uri": "SQLite:///mlflow.db"}}, "register.tracking_uri is"),
        (source("folder", "photos"), "ingest.source.root is photos.*s3://bucket/prefix"),
        (source("folder", "/cached/photos"), "ingest.source.root is /cached/photos"),
        ({"represent": {"pretrained": "in1k.safetensors"}}, "represent.pretrained is in1k"),
    ],
)
def test_what_only_this_machine_has_is_refused(package, changes, reason):
    with pytest.raises(LongtailError, match=reason):
        check_places(changed(package, changes))


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost:5000",
        "https://LocalHost",
        "http://me:secret@localhost:5000",
        "http://0.0.0.0:5000",
        "http://[::1]:5000",
        "postgresql+psycopg2://mlflow:secret@localhost:5432/mlflow",
        "mysql+pymysql://u:secret@127.0.0.1/m",
        "http://[::1",
    ],
)
def test_an_mlflow_of_this_machine_is_refused_whatever_it_speaks(package, uri):
    with pytest.raises(LongtailError, match=r"register\.tracking_uri is .*pods reach") as refused:
        check_places(changed(package, {"register": {"tracking_uri": uri}}))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "uri", ["https://localhost.example", "mysql+pymysql://localhost:x@db/m", "databricks"]
)
def test_an_mlflow_elsewhere_is_sent(package, uri):
    check_places(changed(package, {"register": {"tracking_uri": uri}}))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        source("folder", "s3://bucket/photos"),
        source("torchvision", "data/torchvision"),
        {"represent": {"pretrained": "hub"}},
    ],
    ids=["digits", "bucket", "download", "hub"],
)
def test_what_a_pod_reaches_is_sent(package, changes):
    check_places(changed(package, changes))


@pytest.mark.parametrize(
    "changes",
    [source("folder", "/cache/photos"), {"represent": {"pretrained": "/cache/w.safetensors"}}],
    ids=["images", "weights"],
)
def test_what_is_on_the_claim_is_sent_only_where_pods_mount_it(package, changes):
    check_places(changed(package, changes))
    with pytest.raises(LongtailError, match="/cache/"):
        check_places(replace(changed(package, changes), platform=[]))


def test_weights_of_a_cell_of_a_study_are_refused_too(tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    axes = {"start": {"random": {}, "ours": {"represent.pretrained": "ours.safetensors"}}}
    study, file = tmp_path / "study.yaml", tmp_path / "compiled.yaml"
    study.write_text(yaml.safe_dump({"base": "params.yaml", "axes": axes}))
    file.write_text(compiled_study(study, tmp_path / "params.yaml", parallelism=1))
    with pytest.raises(LongtailError, match=r"represent\.pretrained is ours\.safetensors"):
        check_places(read_package(file, allow_tag=True))
