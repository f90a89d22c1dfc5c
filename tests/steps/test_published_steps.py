"""The steps give the same files from images in a directory and from images in a store."""

from pathlib import Path

import pytest

from longtail.artifacts import Split, Validation
from longtail.config.promotion import EvaluateConfig
from longtail.config.represent import RepresentConfig
from longtail.config.section import parse
from longtail.config.split import SplitConfig, ValidateConfig
from longtail.config.stage2 import ClassifyConfig, EmbedConfig, TauNormConfig
from longtail.errors import LongtailError
from longtail.files import file_digest
from longtail.io.publishing import publish
from longtail.steps.classify import classify
from longtail.steps.embed import embed
from longtail.steps.evaluate import evaluate
from longtail.steps.represent import represent
from longtail.steps.split import split
from longtail.steps.tau_norm import tau_norm
from longtail.steps.validate import validate
from tests.steps.ingest_fixtures import run_ingest
from tests.steps.s3_server import BUCKET, S3Server
from tests.steps.tiny_source import write_tiny_source

SPLIT = {"law": "given", "val": {"take_from": "source"}, "test": {"take_from": "source"}}
STAGE_1 = {"image_size": 8, "epochs": 1, "batch_size": 16, "warmup_epochs": 0}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("local")
    source = write_tiny_source(root / "in", sizes={"train": 12, "val": 4, "test": 6})
    return run_ingest(root, source).root


@pytest.fixture
def published(
    local: Path, s3: S3Server, s3_backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.setenv("LONGTAIL_SHARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_backend)
    publish(local, url=f"s3://{BUCKET}/store", out=tmp_path / "published")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    return tmp_path / "published"


def flow(images: Path, out: Path, *, resident: bool) -> dict[str, str]:
    """Run every step that reads images; return the digest of every file."""
    split(parse(SplitConfig, SPLIT, where="split"), images=images, out=out / "split")
    tables = Split(out / "split")
    validate(ValidateConfig(), images=images, split=tables.root, out=out / "validation")
    stage_1 = STAGE_1 | {"resident_gigabytes": 1.0 if resident else 0.0}
    pair = {"train": tables.train, "val": tables.val}
    represent(
        parse(RepresentConfig, stage_1, where="represent"),
        images=images,
        **pair,
        profile=tables.profile,
        validation=Validation(out / "validation").seal,
        out=out / "representation",
    )
    model = {"representation": out / "representation"}
    embed(EmbedConfig(train_views=2), images=images, **pair, **model, out=out / "features")
    stage_2 = {"features": out / "features", **model}
    classify(ClassifyConfig(epochs=1), **stage_2, out=out / "classifier")
    heads = {"classifier": out / "classifier"}
    tau_norm(TauNormConfig(), **stage_2, **heads, out=out / "tau")
    evaluate(
        EvaluateConfig(),
        images=images,
        test=tables.test,
        profile=tables.profile,
        **model,
        **heads,
        tau_norm=out / "tau",
        out=out / "evaluation",
    )
    files = (path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): file_digest(path) for path in files}


@pytest.mark.parametrize(("resident", "cache_bytes"), [(True, 10**9), (False, 10_000)])
def test_every_step_writes_the_same_files(
    local: Path,
    published: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    resident: bool,
    cache_bytes: int,
) -> None:
    monkeypatch.setenv("LONGTAIL_SHARD_CACHE_BYTES", str(cache_bytes))
    far = flow(published, tmp_path / "far", resident=resident)
    assert far == flow(local, tmp_path / "near", resident=resident)
    assert "evaluation/report.json" in far


def test_validate_says_which_shard_is_not_in_the_store(
    published: Path, s3: S3Server, tmp_path: Path
) -> None:
    split(parse(SplitConfig, SPLIT, where="split"), images=published, out=tmp_path / "split")
    for item in s3.client.list_objects_v2(Bucket=BUCKET)["Contents"]:
        s3.client.delete_object(Bucket=BUCKET, Key=item["Key"])
    with pytest.raises(LongtailError, match="no such object"):
        validate(
            ValidateConfig(image_checks=0),
            images=published,
            split=tmp_path / "split",
            out=tmp_path / "validation",
        )
