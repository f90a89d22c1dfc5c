"""Super-classes and a novel class through the whole flow, from a table of real digits."""

import shutil
from pathlib import Path

import pytest

from longtail.artifacts import Evaluation, Representation, Split, TauNorm, Validation
from longtail.config.promotion import EvaluateConfig
from longtail.config.represent import RepresentConfig
from longtail.config.section import parse
from longtail.config.split import SplitConfig, ValidateConfig
from longtail.config.stage2 import ClassifyConfig, EmbedConfig, TauNormConfig
from longtail.errors import LongtailError
from longtail.files import read_json
from longtail.io.head_files import load_heads
from longtail.steps.classify import classify
from longtail.steps.embed import embed
from longtail.steps.evaluate import evaluate
from longtail.steps.represent import represent
from longtail.steps.split import split
from longtail.steps.tau_norm import tau_norm
from longtail.steps.validate import validate
from tests.steps.ingest_fixtures import run_ingest
from tests.steps.tiny_source import ROUND, STRAIGHT, write_tiny_source

SIZES = {"train": 40, "val": 10, "test": 15}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("hierarchy")
    source = write_tiny_source(root / "in", sizes=SIZES, only_in_test="nine")
    images = run_ingest(root, source).root
    config = {
        "law": "given",
        "val": {"take_from": "source"},
        "test": {"take_from": "source", "distribution": "as_is"},
    }
    split(parse(SplitConfig, config, where="split"), images=images, out=root / "split")
    rules = ValidateConfig(min_train_per_class=0, min_val_per_class=0, image_checks=0)
    validate(rules, images=images, split=root / "split", out=root / "validation")
    return {"images": images, "split": root / "split", "validation": root / "validation"}


def train(data: dict[str, Path], out: Path, **changes: object) -> Path:
    tables = Split(data["split"])
    values = {
        "image_size": 8,
        "epochs": 12,
        "batch_size": 16,
        "warmup_epochs": 1,
        "learning_rate": 0.02,
        "schedule": "cosine",
        "augment": {"crop_padding": 1, "horizontal_flip": False},
        "hierarchy": {"hidden": 32, "dropout": 0.1, "class_weights": "balanced"},
        "absent_classes": "novel",
    }
    represent(
        parse(RepresentConfig, values | changes, where="represent"),
        images=data["images"],
        train=tables.train,
        val=tables.val,
        profile=tables.profile,
        validation=Validation(data["validation"]).seal,
        out=out,
    )
    return out


@pytest.fixture(scope="module")
def representation(data, tmp_path_factory) -> Path:
    return train(data, tmp_path_factory.mktemp("stage1") / "representation")


def evaluated(data: dict[str, Path], representation: Path, root: Path, **tau: object) -> dict:
    tables = Split(data["split"])
    embed(
        EmbedConfig(),
        images=data["images"],
        train=tables.train,
        val=tables.val,
        representation=representation,
        out=root / "features",
    )
    features = {"features": root / "features", "representation": representation}
    classify(ClassifyConfig(epochs=5), **features, out=root / "classifier")
    tau_norm(TauNormConfig(**tau), **features, classifier=root / "classifier", out=root / "tau")
    evaluate(
        EvaluateConfig(),
        images=data["images"],
        test=tables.test,
        profile=tables.profile,
        representation=representation,
        classifier=root / "classifier",
        tau_norm=root / "tau",
        out=root / "evaluation",
    )
    return read_json(Evaluation(root / "evaluation").report)


def test_both_levels_are_learnt_and_measured(data, representation, tmp_path):
    report = evaluated(data, representation, tmp_path)
    levels = report["super_classes"]
    assert levels["names"] == ["round", "straight"]
    # Two thirds are round, and the sixth that is of the novel class was never seen.
    assert levels["head"]["accuracy"] > 0.7
    for name, row in levels["variants"].items():
        assert row["accuracy"] >= report["variants"][name]["groups"]["all"]["accuracy"]
    assert levels["variants"]["stage1"]["consistency"] > 0.8
    novel = [entry["name"] for entry in report["classes"]].index("nine")
    assert report["variants"]["stage1"]["per_class"][novel]["correct"] == 0


def test_uncertain_images_are_rejected_to_the_novel_class(data, representation, tmp_path):
    report = evaluated(data, representation, tmp_path, reject_to="nine", false_rejections=0.2)
    choice = read_json(TauNorm(tmp_path / "tau").choice)
    assert all(0 < row["threshold"] < 1 for row in choice["variants"].values())
    novel = [entry["name"] for entry in report["classes"]].index("nine")
    assert report["variants"]["stage1"]["per_class"][novel]["correct"] > 0


def test_rejecting_to_a_class_that_was_trained_is_refused(data, representation, tmp_path):
    with pytest.raises(LongtailError, match=r"reject_to is 'eight'.*those are nine"):
        evaluated(data, representation, tmp_path, reject_to="eight")


def test_the_head_of_each_level_has_its_own_hidden_layer(representation):
    heads = load_heads(Representation(representation).head)
    assert set(heads) == {"stage1", "super"}
    assert heads["stage1"].weight.shape == (6, 32) and heads["super"].weight.shape == (2, 32)
    assert not heads["stage1"].hidden_weight.equal(heads["super"].hidden_weight)


def test_a_hierarchy_without_super_classes_is_refused(tmp_path):
    write_tiny_source(tmp_path / "in", sizes=SIZES)
    (tmp_path / "in" / "table.csv").unlink()
    source = {"kind": "folder", "root": str(tmp_path / "in")}
    images = run_ingest(tmp_path, source).root
    config = {
        "law": "natural",
        "val": {"share": 0.2},
        "test": {"distribution": "as_is", "share": 0.2},
    }
    split(parse(SplitConfig, config, where="split"), images=images, out=tmp_path / "split")
    rules = ValidateConfig(image_checks=0)
    validate(rules, images=images, split=tmp_path / "split", out=tmp_path / "validation")
    plain = {"images": images, "split": tmp_path / "split", "validation": tmp_path / "validation"}
    with pytest.raises(LongtailError, match="needs super-classes"):
        train(plain, tmp_path / "out")


def test_a_folder_tree_gives_the_levels(tmp_path):
    write_tiny_source(tmp_path / "flat", sizes={"train": 30})
    for name in (*ROUND, *STRAIGHT):
        above = "round" if name in ROUND else "straight"
        shutil.copytree(tmp_path / "flat" / name, tmp_path / "tree" / above / name)
    source = {"kind": "folder", "root": str(tmp_path / "tree"), "levels": 2}
    images = run_ingest(tmp_path, source).root
    share = {"share": 0.2}
    config = {"law": "natural", "val": share, "test": {"distribution": "as_is", **share}}
    split(parse(SplitConfig, config, where="split"), images=images, out=tmp_path / "split")
    rules = ValidateConfig(image_checks=0)
    validate(rules, images=images, split=tmp_path / "split", out=tmp_path / "validation")
    tree = {"images": images, "split": tmp_path / "split", "validation": tmp_path / "validation"}
    report = evaluated(tree, train(tree, tmp_path / "representation"), tmp_path)
    assert report["super_classes"]["names"] == ["round", "straight"]
    assert report["super_classes"]["head"]["accuracy"] > 0.6
