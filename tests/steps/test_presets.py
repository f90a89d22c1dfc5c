"""Every preset runs, at a tiny size: digits for the images, a small relative for the backbone."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from longtail.artifacts import Evaluation, Split, Validation
from longtail.config.params import FLOW, load_section
from longtail.files import read_json
from longtail.steps.classify import classify
from longtail.steps.embed import embed
from longtail.steps.evaluate import evaluate
from longtail.steps.fingerprint import fingerprint
from longtail.steps.ingest import ingest
from longtail.steps.represent import represent
from longtail.steps.split import split
from longtail.steps.tau_norm import tau_norm
from longtail.steps.validate import validate
from tests.steps.tiny_source import write_tiny_source

PRESETS = sorted((Path(__file__).parents[2] / "presets").glob("*.yaml"))
RELATIVES = {
    "cifar_resnet32": "cifar_resnet32",
    "resnet50": "resnet10t",
    "resnet50.tv2_in1k": "resnet10t",
    "convnext_tiny.fb_in1k": "convnext_atto",
}


def shrink(params: dict[str, Any], root: Path) -> dict[str, Any]:
    """What a preset says about method stays; what makes it large does not."""
    params["ingest"] = {"source": write_tiny_source(root / "in")}
    requested = params["split"]
    if requested["law"] != "natural":
        requested |= {"imbalance_factor": 4.0, "max_per_class": 40}
        requested["val"] = {"take_from": "train", "per_class": 6}
        requested["test"] = {"take_from": "source", "distribution": "as_is"}
        requested["selection"] = "hashed"
    rules = {"image_checks": 0, "min_train_per_class": 1, "min_test_per_class": 1}
    params["validate"] |= rules
    stage1 = params["represent"]
    stage1["backbone"] = RELATIVES[stage1["backbone"]]
    stage1 |= {"pretrained": None, "image_size": 32, "epochs": 2, "batch_size": 16}
    stage1["warmup_epochs"] = min(1, stage1.get("warmup_epochs", 1))
    params["report"]["published"] = []
    return params


@pytest.mark.parametrize("preset", PRESETS, ids=[preset.stem for preset in PRESETS])
def test_a_preset_runs_at_a_tiny_size(preset: Path, tmp_path: Path) -> None:
    # As it stands, every section is valid, and there: DVC refuses a parameter file that lacks one.
    assert list(yaml.safe_load(preset.read_text())) == list(FLOW)
    for name, model in FLOW.items():
        load_section(preset, name, model)
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump(shrink(yaml.safe_load(preset.read_text()), tmp_path)))
    read = {name: load_section(params, name, model) for name, model in FLOW.items()}
    images, tables = tmp_path / "images", Split(tmp_path / "split")
    fingerprint(read["ingest"], out=tmp_path / "source.json")
    ingest(read["ingest"], source=tmp_path / "source.json", out=images)
    split(read["split"], images=images, out=tables.root)
    validate(read["validate"], images=images, split=tables.root, out=tmp_path / "validation")
    train = {"images": images, "train": tables.train, "val": tables.val}
    represent(
        read["represent"],
        **train,
        profile=tables.profile,
        validation=Validation(tmp_path / "validation").seal,
        out=tmp_path / "representation",
    )
    stage1 = {"representation": tmp_path / "representation"}
    embed(read["embed"], **train, **stage1, out=tmp_path / "features")
    features = {"features": tmp_path / "features"}
    classify(read["classify"], **features, **stage1, out=tmp_path / "classifier")
    stage2 = {"classifier": tmp_path / "classifier"}
    tau_norm(read["tau_norm"], **features, **stage1, **stage2, out=tmp_path / "tau")
    evaluate(
        read["evaluate"],
        images=images,
        test=tables.test,
        profile=tables.profile,
        **stage1,
        **stage2,
        tau_norm=tmp_path / "tau",
        out=tmp_path / "evaluation",
    )
    report = read_json(Evaluation(tmp_path / "evaluation").report)
    assert report["variants"][report["chosen"]]["groups"]["all"]["accuracy"] > 0.1
