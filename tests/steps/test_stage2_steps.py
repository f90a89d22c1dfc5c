"""embed, classify and tau_norm on a few digits and a small real backbone."""

import hashlib
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from longtail.artifacts import Classifier, Features, Images, Representation, Split, TauNorm
from longtail.backbones.images import normalize
from longtail.config.represent import RepresentConfig
from longtail.config.section import parse
from longtail.config.stage2 import ClassifyConfig, EmbedConfig, TauNormConfig
from longtail.data import ImageStore
from longtail.errors import LongtailError
from longtail.extraction import FeatureExtractor, load_backbone
from longtail.files import file_digest, read_json, write_json
from longtail.heads import Head
from longtail.io.head_files import load_heads, save_heads
from longtail.steps.classify import classify
from longtail.steps.embed import embed
from longtail.steps.represent import represent
from longtail.steps.served_model import served_model
from longtail.steps.tau_norm import tau_norm
from tests.steps import artifact_fixtures
from tests.steps.validate_fixtures import digits, write_artifacts


def train(root: Path, loss: str) -> dict[str, Path]:
    images, split = write_artifacts(root, digits())
    tables = Split(split)
    write_json(root / "passed.json", {"split": file_digest(tables.profile)})
    represent(
        RepresentConfig(
            image_size=8, epochs=1, batch_size=8, warmup_epochs=0, learning_rate=0.01, loss=loss
        ),
        images=images,
        train=tables.train,
        val=tables.val,
        profile=tables.profile,
        validation=root / "passed.json",
        out=root / "representation",
    )
    return {
        "images": images,
        "train": tables.train,
        "val": tables.val,
        "representation": root / "representation",
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    paths = train(tmp_path_factory.mktemp("linear"), "cross_entropy")
    embed(EmbedConfig(train_views=2), **paths, out=paths["images"].parent / "features")
    return paths | {"features": paths["images"].parent / "features"}


def stage2(inputs: dict[str, Path], out: Path, **changes: object) -> dict[str, object]:
    paths = {"features": inputs["features"], "representation": inputs["representation"]}
    classify(ClassifyConfig(epochs=2, batch_size=8, **changes), **paths, out=out / "classifier")
    tau_norm(TauNormConfig(), **paths, classifier=out / "classifier", out=out / "tau")
    return read_json(TauNorm(out / "tau").choice)


def described_as(inputs: dict[str, Path], root: Path, **changes: object) -> dict[str, Path]:
    """The inputs with a copy of the representation that says other things of itself."""
    copy = Representation(root / "representation")
    shutil.copytree(inputs["representation"], copy.root)
    write_json(copy.description, read_json(copy.description) | changes)
    return inputs | {"representation": copy.root}


def test_features_are_those_of_the_frozen_backbone(inputs):
    features = np.load(Features(inputs["features"]).features("train"), allow_pickle=False)
    backbone, description = load_backbone(Representation(inputs["representation"]))
    store = ImageStore(Images(inputs["images"]), inputs["train"], size=8)
    pixels = store.decode(torch.arange(len(store)))
    with torch.no_grad():
        plain = backbone(normalize(pixels, mean=description["mean"], std=description["std"]))
    assert features.shape == (2, 21, 64)
    torch.testing.assert_close(torch.from_numpy(features[0]), plain, rtol=1e-4, atol=1e-5)
    assert not np.allclose(features[1], features[0]), "the second view is augmented"


def test_embedding_leaves_the_backbone_alone_and_repeats_itself(inputs, tmp_path):
    file = Representation(inputs["representation"]).backbone
    before = file_digest(file)
    paths = {k: inputs[k] for k in ("images", "train", "val", "representation")}
    embed(EmbedConfig(train_views=2, batch_size=5), **paths, out=tmp_path / "a")
    embed(EmbedConfig(train_views=2, batch_size=5), **paths, out=tmp_path / "b")
    assert file_digest(file) == before
    for path in sorted((tmp_path / "a").iterdir()):
        twin = tmp_path / "b" / path.name
        assert (
            hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(twin.read_bytes()).digest()
        )


@pytest.mark.parametrize("mirror", [True, False])
def test_views_are_mirrored_if_stage_1_mirrored(inputs, tmp_path, mirror):
    """Else each is one of the nine crops of its image, of which the padding is one pixel."""
    changed = described_as(inputs, tmp_path, horizontal_flip=mirror)
    paths = {key: changed[key] for key in ("images", "train", "val", "representation")}
    embed(EmbedConfig(train_views=4), **paths, out=tmp_path / "features")
    views = torch.from_numpy(np.load(Features(tmp_path / "features").features("train")))[1:]
    store = ImageStore(Images(inputs["images"]), inputs["train"], size=8)
    padded = F.pad(store.decode(torch.arange(len(store))), (0, 0, 1, 1, 1, 1))
    extract = FeatureExtractor(Representation(changed["representation"]))
    places = itertools.product(range(3), range(3))
    crops = torch.stack([extract(padded[:, y : y + 8, x : x + 8]) for y, x in places])  # [9, N, D]
    nearest = (views[:, None] - crops).norm(dim=3).amin(dim=1)  # [V, N]
    assert (nearest > 1e-3).any() == mirror


@pytest.mark.parametrize("method", ["crt", "lws"])
def test_linear_methods_have_all_four_variants(inputs, tmp_path, method):
    choice = stage2(inputs, tmp_path, method=method)
    assert set(choice) == set(artifact_fixtures.choice())
    assert list(load_heads(TauNorm(tmp_path / "tau").heads)) == [
        "stage1",
        "stage1_tau",
        "stage2",
        "stage2_tau",
    ]
    best = max(v["val_balanced_accuracy"] for v in choice["variants"].values())
    assert choice["variants"][choice["chosen"]]["val_balanced_accuracy"] == best
    curve = read_json(TauNorm(tmp_path / "tau").curve)
    assert next(point["tau"] for point in curve if point["head"] == "stage2") == 0.0
    assert len(curve) == 2 * 21
    description = read_json(Classifier(tmp_path / "classifier").description)
    assert description["method"] == method
    assert set(description) == set(artifact_fixtures.stage2_description())


def test_class_means_have_no_normalised_form(inputs, tmp_path):
    choice = stage2(inputs, tmp_path, method="ncm")
    assert "ncm" in choice["variants"]["stage2_tau"]["not_applicable"]
    assert "stage2_tau" not in load_heads(TauNorm(tmp_path / "tau").heads)


def test_weight_scaling_of_a_cosine_head_is_refused(tmp_path):
    paths = train(tmp_path, "ldam")
    embed(EmbedConfig(), **paths, out=tmp_path / "features")
    with pytest.raises(LongtailError, match="use crt, bwlm or ncm"):
        classify(
            ClassifyConfig(method="lws"),
            features=tmp_path / "features",
            representation=paths["representation"],
            out=tmp_path / "classifier",
        )
    assert not (tmp_path / "classifier").exists()


def test_a_test_time_flip_averages_both_images_and_is_handed_on(inputs, tmp_path):
    paths = {key: inputs[key] for key in ("images", "train", "val", "representation")}
    embed(EmbedConfig(test_time_flip=True), **paths, out=tmp_path / "features")
    features = np.load(Features(tmp_path / "features").features("val"))[0]
    backbone, description = load_backbone(Representation(inputs["representation"]))
    store = ImageStore(Images(inputs["images"]), inputs["val"], size=8)
    pixels = store.decode(torch.arange(len(store)))
    both = [
        backbone(normalize(p, mean=description["mean"], std=description["std"]))
        for p in (pixels, pixels.flip(2))
    ]
    torch.testing.assert_close(torch.from_numpy(features), sum(both) / 2, rtol=1e-4, atol=1e-5)
    choice = stage2(inputs | {"features": tmp_path / "features"}, tmp_path)
    assert choice["test_time_flip"] is True
    flipped, _ = load_backbone(Representation(inputs["representation"]), test_time_flip=True)
    batch = normalize(pixels, mean=description["mean"], std=description["std"])
    torch.testing.assert_close(flipped(batch), sum(both) / 2)


@pytest.mark.parametrize("method", ["crt", "lws", "bwlm", "max_norm", "ncm", "logit_adjustment"])
def test_every_method_gives_a_head_that_knows_its_val_numbers(inputs, tmp_path, method):
    stage2(inputs, tmp_path, method=method)
    description = read_json(Classifier(tmp_path / "classifier").description)
    head = load_heads(Classifier(tmp_path / "classifier").head)["stage2"]
    features = torch.from_numpy(np.load(Features(inputs["features"]).features("val")))
    labels = torch.from_numpy(np.load(Features(inputs["features"]).labels("val")))
    right = (head.logits(features[0]).argmax(1) == labels).double().mean()
    assert description["method"] == method
    assert description["val"]["val_accuracy"] == pytest.approx(right.item())


def test_a_sweep_trains_every_head_and_takes_the_best_by_val(inputs, tmp_path):
    choice = stage2(inputs, tmp_path, method="sweep")
    classifier = Classifier(tmp_path / "classifier")
    description, heads = read_json(classifier.description), load_heads(classifier.sweep)
    scores = {name: row["val_balanced_accuracy"] for name, row in description["sweep"].items()}
    assert len(scores) == 10 and set(heads) == set(scores)
    assert scores[description["method"]] == max(scores.values())
    assert 0 <= description["sweep"]["logit_adjustment"]["tau"] <= 2
    assert load_heads(classifier.head)["stage2"].weight.equal(heads[description["method"]].weight)
    assert set(choice["variants"]) == set(scores) | {
        "stage1",
        "stage1_tau",
        "stage2",
        "stage2_tau",
    }
    assert choice["chosen"] in ("stage1", "stage1_tau", "stage2", "stage2_tau")

    alone = tmp_path / "alone"
    stage2(inputs, alone, method="crt")
    crt = load_heads(Classifier(alone / "classifier").head)["stage2"]
    assert crt.weight.equal(heads["crt"].weight), "a sweep's crt is crt"


@pytest.mark.parametrize(
    ("loss", "sampler"),
    [
        ("cross_entropy", "class_balanced"),
        ("focal", "class_balanced"),
        ("balanced_softmax", "instance"),
        ("logit_adjusted", "instance"),
        ("bfs", "instance"),
    ],
)
@pytest.mark.parametrize("method", ["crt", "sweep"])
def test_crt_takes_the_prior_out_once(inputs, tmp_path, loss, sampler, method):
    """By balanced draws, or by a loss that does it, which then sees the images as they come."""
    given = {"features": inputs["features"], "representation": inputs["representation"]}
    heads = []
    for name, options in (("default", {"method": method}), ("asked", {"sampler": sampler})):
        config = parse(ClassifyConfig, {"epochs": 1, "loss": loss} | options, where="classify")
        out = Classifier(tmp_path / name)
        classify(config, **given, out=out.root)
        swept = options.get("method") == "sweep"
        heads.append(load_heads(out.sweep)["crt"] if swept else load_heads(out.head)["stage2"])
    assert heads[0].weight.equal(heads[1].weight)


def test_seql_spares_the_same_classes_whatever_was_drawn_before(inputs, tmp_path):
    heads = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        stage2(inputs, tmp_path / str(seed), loss={"name": "seql", "rare_below": 0.3})
        heads.append(load_heads(Classifier(tmp_path / str(seed) / "classifier").head)["stage2"])
    assert heads[0].weight.equal(heads[1].weight)


def test_logit_adjustment_of_a_representation_without_the_prior_is_refused(inputs, tmp_path):
    sampled = described_as(inputs, tmp_path, keeps_prior=False)  # as represent notes of samplers
    with pytest.raises(LongtailError, match="plain cross-entropy on images as they come"):
        stage2(sampled, tmp_path, method="logit_adjustment")


def test_a_sweep_over_a_cosine_head_says_what_cannot_be_done(tmp_path):
    paths = train(tmp_path, "ldam")
    embed(EmbedConfig(), **paths, out=tmp_path / "features")
    stage2(paths | {"features": tmp_path / "features"}, tmp_path, method="sweep")
    sweep = read_json(Classifier(tmp_path / "classifier").description)["sweep"]
    refused = {name for name, row in sweep.items() if "not_applicable" in row}
    assert refused == {"lws", "max_norm", "logit_adjustment"}


def test_a_stage_2_that_diverges_says_so_and_is_left_out_of_a_sweep(inputs, tmp_path):
    too_much = {"learning_rate": 1e20, "weight_decay": 1e20}
    with pytest.raises(LongtailError, match=r"stage 2 diverged.*epoch \d.*learning_rate"):
        stage2(inputs, tmp_path, **too_much)
    stage2(inputs, tmp_path, method="sweep", **too_much)
    classifier = read_json(Classifier(tmp_path / "classifier").description)
    assert "diverged" in classifier["sweep"]["crt"]["not_applicable"]
    assert "ncm_none" in load_heads(Classifier(tmp_path / "classifier").sweep)


def test_temperature_lowers_the_loss_and_moves_no_prediction(inputs, tmp_path):
    stage2(inputs, tmp_path)
    paths = {"features": inputs["features"], "representation": inputs["representation"]}
    calibrated = tmp_path / "calibrated"
    tau_norm(
        TauNormConfig(temperature=True),
        **paths,
        classifier=tmp_path / "classifier",
        out=calibrated,
    )
    val = torch.from_numpy(np.load(Features(inputs["features"]).features("val")))[0]
    labels = torch.from_numpy(np.load(Features(inputs["features"]).labels("val")))
    before = load_heads(TauNorm(tmp_path / "tau").heads)
    for name, head in load_heads(TauNorm(calibrated).heads).items():
        plain, cooled = before[name].logits(val), head.logits(val)
        assert cooled.argmax(1).equal(plain.argmax(1))
        loss = F.cross_entropy
        assert loss(cooled, labels) <= loss(plain, labels) + 1e-6


@pytest.mark.parametrize(
    ("method", "follows"),
    [
        ({"method": "crt"}, {"stage2": False}),
        ({"method": "crt", "sampler": "instance"}, {"stage2": True, "stage2_tau": False}),
        ({"method": "crt", "loss": {"name": "balanced_softmax"}}, {"stage2": False}),
        ({"method": "lws", "sampler": "instance"}, {"stage2": True}),
        ({"method": "bwlm"}, {"stage2": False}),
        ({"method": "ncm"}, {"stage2": False}),
        ({"method": "logit_adjustment", "adjustment_tau": 0.0}, {"stage2": True}),
        (
            {"method": "logit_adjustment", "adjustment_tau": 1.0},
            {"stage2": False, "stage1": True},
        ),
    ],
    ids=str,
)
def test_the_prior_of_a_model_is_what_its_head_was_trained_for(inputs, tmp_path, method, follows):
    stage2(inputs, tmp_path, **method)
    representation = Representation(inputs["representation"])
    description = read_json(representation.description)
    counts = description["class_counts"]
    classes = [
        {"name": name, "group": "all", "train": count}
        for name, count in zip(description["classes"], counts, strict=True)
    ]
    for variant, with_counts in follows.items():
        _, facts, _ = served_model(
            representation, TauNorm(tmp_path / "tau"), chosen=variant, classes=classes
        )
        shares = np.float64(counts if with_counts else [1] * len(classes))
        assert facts.prior == pytest.approx(shares / shares.sum()), variant


def test_a_stage_1_that_balances_does_not_follow_the_counts(inputs, tmp_path):
    balanced = described_as(inputs, tmp_path, follows_counts=False)
    assert "stage1" not in stage2(balanced, tmp_path)["follow_counts"]


def test_the_choice_is_the_best_with_its_rejection(tmp_path):
    """Stage 2 is the better one as it is; only stage 1 can tell what is of no class it has seen."""
    kinds = ["sure", "torn", "far", "novel"]
    as_stage1 = {"sure": [4, 0], "torn": [0, 1], "far": [0, 4], "novel": [0.1, 0]}
    as_stage2 = {"sure": [2, 0], "torn": [1, 0], "far": [0, 2], "novel": [4, 0]}
    labels = {"sure": 0, "torn": 0, "far": 1, "novel": 2}
    rows = np.float32([as_stage1[kind] + as_stage2[kind] for kind in kinds for _ in range(5)])
    features = Features(tmp_path / "features")
    features.root.mkdir()
    np.save(features.features("val"), rows[None])
    np.save(features.labels("val"), np.repeat([labels[kind] for kind in kinds], 5))
    write_json(features.description, {"test_time_flip": False})
    representation, classifier = Representation(tmp_path / "one"), Classifier(tmp_path / "two")
    known = {"classes": ["a", "b", "c"], "class_counts": [9, 9, 0], "follows_counts": False}
    for artifact, name, first in ((representation, "stage1", 0), (classifier, "stage2", 2)):
        weight = torch.zeros(3, 4)
        weight[0, first] = weight[1, first + 1] = 1.0
        artifact.root.mkdir()
        head = Head("linear", weight, absent=torch.tensor([False, False, True]))
        save_heads(artifact.head, {name: head})
        write_json(artifact.description, known)
    tau_norm(
        TauNormConfig(reject_to="c"),
        features=features.root,
        representation=representation.root,
        classifier=classifier.root,
        out=tmp_path / "tau",
    )
    choice = read_json(TauNorm(tmp_path / "tau").choice)
    scores = {name: row["val_balanced_accuracy"] for name, row in choice["variants"].items()}
    assert scores["stage1"] == pytest.approx(5 / 6)  # "torn" is wrong, all else right
    assert scores["stage2"] == pytest.approx(2 / 3)  # "novel" is surest of all
    assert choice["chosen"] == "stage1"


def test_a_given_tau_is_that_of_stage_1_alone(inputs, tmp_path):
    paths = {"features": inputs["features"], "representation": inputs["representation"]}
    classify(ClassifyConfig(epochs=2, batch_size=8), **paths, out=tmp_path / "classifier")
    config = TauNormConfig(stage1_tau=0.37, steps=5)
    tau_norm(config, **paths, classifier=tmp_path / "classifier", out=tmp_path / "tau")
    points = read_json(TauNorm(tmp_path / "tau").curve)
    assert [point["tau"] for point in points if point["head"] == "stage1"] == [0.37]
    assert [point["tau"] for point in points if point["head"] == "stage2"] == [0, 0.5, 1, 1.5, 2]
    heads = load_heads(TauNorm(tmp_path / "tau").heads)
    lengths = heads["stage1"].weight.norm(dim=1, keepdim=True)
    torch.testing.assert_close(heads["stage1_tau"].weight, heads["stage1"].weight / lengths**0.37)
