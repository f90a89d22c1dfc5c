"""An ensemble predicts what its members' averages say, and goes through the rest of the flow."""

import shutil
from pathlib import Path

import pytest
import torch

from longtail.artifacts import Evaluation, Representation, Split, TauNorm
from longtail.config.promotion import EvaluateConfig
from longtail.config.represent import RepresentConfig
from longtail.config.section import parse
from longtail.config.split import SplitConfig
from longtail.config.stage2 import ClassifyConfig, EmbedConfig, TauNormConfig
from longtail.errors import LongtailError
from longtail.extraction import load_backbone
from longtail.files import file_digest, read_json, write_json
from longtail.io.head_files import load_heads
from longtail.serving import ServedModel
from longtail.steps.classify import classify
from longtail.steps.embed import embed
from longtail.steps.ensemble import ensemble
from longtail.steps.evaluate import evaluate
from longtail.steps.represent import represent
from longtail.steps.split import split
from longtail.steps.tau_norm import tau_norm
from tests.steps.ingest_fixtures import run_ingest
from tests.steps.tiny_source import write_tiny_source


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("ensemble")
    images = run_ingest(root, write_tiny_source(root / "in", sizes={"train": 20})).root
    share = {"share": 0.2}
    requested = {"law": "natural", "val": share, "test": {"distribution": "as_is", **share}}
    split(parse(SplitConfig, requested, where="split"), images=images, out=root / "split")
    write_json(root / "passed.json", {"split": file_digest(Split(root / "split").profile)})
    return {
        "root": root,
        "images": images,
        "split": root / "split",
        "validation": root / "passed.json",
    }


def finish(data: dict[str, Path], models: Path, *, method: str = "crt") -> None:
    """Everything between a representation and the choice of its head."""
    tables = Split(data["split"])
    stage1 = {"representation": models / "representation"}
    embed(
        EmbedConfig(),
        images=data["images"],
        train=tables.train,
        val=tables.val,
        **stage1,
        out=models / "features",
    )
    features = {"features": models / "features", **stage1}
    classify(ClassifyConfig(epochs=2, method=method), **features, out=models / "classifier")
    tau_norm(TauNormConfig(), **features, classifier=models / "classifier", out=models / "tau_norm")


def member(data: dict[str, Path], name: str, **changes: object) -> Path:
    models, tables = data["root"] / name, Split(data["split"])
    small = {"image_size": 8, "epochs": 1, "batch_size": 8, "warmup_epochs": 0}
    represent(
        RepresentConfig(**{**small, "learning_rate": 0.02, **changes}),
        images=data["images"],
        train=tables.train,
        val=tables.val,
        profile=tables.profile,
        validation=data["validation"],
        out=models / "representation",
    )
    finish(data, models)
    return models


@pytest.fixture(scope="module")
def members(data) -> list[Path]:
    return [member(data, "first"), member(data, "second", seed=1, backbone="resnet10t")]


def chosen_logits(models: Path, x: torch.Tensor) -> torch.Tensor:
    backbone, _ = load_backbone(Representation(models / "representation"))
    choice = read_json(TauNorm(models / "tau_norm").choice)["chosen"]
    return load_heads(TauNorm(models / "tau_norm").heads)[choice].logits(backbone(x))


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_it_says_the_average_of_its_members(members, tmp_path, average):
    ensemble(members, average=average, out=tmp_path / "representation")
    backbone, description = load_backbone(Representation(tmp_path / "representation"))
    head = load_heads(Representation(tmp_path / "representation").head)["stage1"]
    x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    said = [chosen_logits(models, x) for models in members]
    if average == "logits":
        expected = torch.stack(said).mean(0)
    else:
        expected = torch.stack([logits.softmax(1) for logits in said]).mean(0).log()
    torch.testing.assert_close(head.logits(backbone(x)), expected, rtol=1e-4, atol=1e-5)
    assert description["members"] == ["cifar_resnet32", "resnet10t"]


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_the_rest_of_the_flow_takes_it_and_it_can_be_served(data, members, tmp_path, average):
    ensemble(members, average=average, out=tmp_path / "representation")
    finish(data, tmp_path)
    tables = Split(data["split"])
    evaluate(
        EvaluateConfig(),
        images=data["images"],
        test=tables.test,
        profile=tables.profile,
        representation=tmp_path / "representation",
        classifier=tmp_path / "classifier",
        tau_norm=tmp_path / "tau_norm",
        out=tmp_path / "evaluation",
    )
    report = read_json(Evaluation(tmp_path / "evaluation").report)
    not_linear = "not_applicable" in report["variants"]["stage1_tau"]
    assert not_linear == (average == "probabilities")

    backbone, description = load_backbone(Representation(tmp_path / "representation"))
    head = load_heads(Representation(tmp_path / "representation").head)["stage1"]
    model = ServedModel(backbone, head, mean=description["mean"], std=description["std"]).eval()
    images = torch.randint(0, 256, (3, 8, 8, 3), dtype=torch.uint8)
    exported = torch.export.export(model, (images,)).module()
    torch.testing.assert_close(exported(images), model(images))


def test_it_counts_as_trained_on_mirrored_images_if_all_members_were(members, tmp_path):
    plain = Representation(shutil.copytree(members[1], tmp_path / "plain") / "representation")
    write_json(plain.description, read_json(plain.description) | {"horizontal_flip": False})
    for name, second in (("all", members[1]), ("one", tmp_path / "plain")):
        ensemble([members[0], second], average="logits", out=tmp_path / name)
        described = read_json(Representation(tmp_path / name).description)
        assert described["horizontal_flip"] == (name == "all")


def test_one_member_is_no_ensemble(members, tmp_path):
    with pytest.raises(LongtailError, match="two members or more, but 1"):
        ensemble(members[:1], average="logits", out=tmp_path / "out")


def test_members_of_other_splits_or_preprocessing_are_refused(data, members, tmp_path):
    other = member(data, "other", mean=(0.5, 0.5, 0.5))
    with pytest.raises(LongtailError, match=r"other.*differ in mean"):
        ensemble([members[0], other], average="logits", out=tmp_path / "out")


@pytest.mark.parametrize("other", ["stage1", "stage2"])
def test_it_follows_the_counts_if_all_of_its_members_do(members, tmp_path, other):
    copies = [tmp_path / "a", tmp_path / "b"]
    for models, copy, chosen in zip(members, copies, ["stage1", other], strict=True):
        shutil.copytree(models, copy)
        choice = TauNorm(copy / "tau_norm").choice
        write_json(choice, {**read_json(choice), "chosen": chosen, "follow_counts": ["stage1"]})
    ensemble(copies, average="probabilities", out=tmp_path / "out")
    description = read_json(Representation(tmp_path / "out").description)
    assert description["follows_counts"] == (other == "stage1")


def test_class_means_are_refused(data, members, tmp_path):
    finish(data, members[0], method="ncm")
    choice = read_json(TauNorm(members[0] / "tau_norm").choice)
    write_json(TauNorm(members[0] / "tau_norm").choice, {**choice, "chosen": "stage2"})
    with pytest.raises(LongtailError, match=r"stage2 is ncm.*plain linear heads"):
        ensemble(members, average="logits", out=tmp_path / "out")
