"""What pods cannot reach is refused before it is sent, what they can reach is not."""

from pathlib import Path
from typing import Any

import pytest

from longtail.config.params import FLOW
from longtail.config.resources import ResourcesConfig
from longtail.config.section import parse
from longtail.errors import LongtailError
from pipelines.compiling import compiled
from pipelines.package import Package, read_package
from pipelines.parameters import plain, read_parameters
from pipelines.places import check_places
from pipelines.training import build
from tests.pipeline.workspace import ROOT

SERVER = {"register": {"tracking_uri": "http://mlflow.longtail:5000"}}


def package(directory: Path, changes: dict[str, Any], **resources: Any) -> Package:
    sections = read_parameters(ROOT / "params.yaml")
    for name, values in {**SERVER, **changes}.items():
        sections[name] = plain(parse(FLOW[name], {**sections[name], **values}, where=name))
    pipeline = build(sections, parse(ResourcesConfig, resources, where="resources"))
    file = directory / "training.yaml"
    file.write_text(compiled(pipeline))
    return read_package(file, allow_tag=True)


def source(kind: str, root: str, **others: str) -> dict[str, Any]:
    return {"ingest": {"source": {"kind": kind, "root": root, **others}}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"register": {"tracking_uri": "sqlite:////data/mlflow.db"}}, "register.tracking_uri"),
        (source("folder", "photos"), "ingest.source.root is photos.*s3://bucket/prefix"),
        (source("folder", "/cache/photos"), "ingest.source.root is /cache/photos"),
    ],
)
def test_what_only_this_machine_has_is_refused(tmp_path, changes, reason):
    with pytest.raises(LongtailError, match=reason):
        check_places(package(tmp_path, changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        source("folder", "s3://bucket/photos"),
        source("torchvision", "data/torchvision", name="cifar10"),
        source("folder", "/cache/photos"),
    ],
    ids=["digits", "bucket", "download", "claim"],
)
def test_what_a_pod_reaches_is_sent(tmp_path, changes):
    check_places(package(tmp_path, changes, shard_cache={"claim": "shards"}))
