"""Stage 1 on a few digits: what is written, what its options do, what is refused."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from longtail.artifacts import Images, Representation
from longtail.backbones.building import build_backbone
from longtail.backbones.images import normalize
from longtail.config.represent import RepresentConfig
from longtail.config.section import parse
from longtail.data import ImageStore
from longtail.distributed import World
from longtail.errors import LongtailError
from longtail.extraction import load_backbone
from longtail.files import file_digest, read_json, write_json
from longtail.io.head_files import load_heads
from longtail.steps.represent import represent, training_key
from longtail.steps.stage1 import build_network
from tests.steps.artifact_fixtures import digests, stage1_description
from tests.steps.represent_fixtures import config, inputs, judged_again

__all__ = ["inputs"]  # fixture


def test_writes_a_backbone_and_a_head_that_load(inputs, tmp_path):
    represent(config(), **inputs, out=tmp_path / "out")
    artifact = Representation(tmp_path / "out")
    backbone, description = load_backbone(artifact)
    features = backbone(torch.zeros(2, 3, 8, 8))
    assert load_heads(artifact.head)["stage1"].logits(features).shape == (2, 3)
    assert not backbone.training
    assert set(description) == set(stage1_description())
    assert description["class_counts"] == [12, 6, 3]
    assert description["parameters"] == 464_154 - 7 * 65
    history = read_json(artifact.history)
    assert [entry["epoch"] for entry in history] == [0, 1]
    best = max(history, key=lambda entry: entry["val_balanced_accuracy"])
    assert description["val"] == best
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"], "no checkpoint stays"


def test_a_directory_given_for_the_checkpoint_keeps_what_else_is_in_it(inputs, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("text")
    represent(config(epochs=1), **inputs, out=tmp_path / "out", checkpoint=mine)
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]


def test_same_inputs_give_the_same_bytes(inputs, tmp_path):
    for name in ("a", "b"):
        represent(config(epochs=1), **inputs, out=tmp_path / name)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_bf16_rounds_the_arithmetic_but_not_the_weights(inputs, tmp_path):
    losses = {}
    for precision in ("fp32", "bf16"):
        out = Representation(tmp_path / precision)
        represent(config(epochs=1, precision=precision), **inputs, out=out.root)
        losses[precision] = read_json(out.history)[0]["train_loss"]
        weights = load_file(out.backbone).values()
        assert {w.dtype for w in weights if w.is_floating_point()} == {torch.float32}
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)


def test_streaming_images_train_the_same_model_as_resident_ones(inputs, tmp_path):
    represent(config(epochs=1), **inputs, out=tmp_path / "resident")
    represent(config(epochs=1, resident_gigabytes=0.0), **inputs, out=tmp_path / "streamed")
    assert digests(tmp_path / "resident") == digests(tmp_path / "streamed")


@pytest.mark.parametrize(
    ("images", "processes", "kept"),
    [(27, 1, [21, 6]), (26, 1, [21]), (20, 1, [6]), (54, 2, [21, 6]), (53, 2, [21])],
)
def test_train_val_and_all_processes_of_a_machine_share_one_memory(
    inputs, tmp_path, monkeypatch, images, processes, kept
):
    """21 images of train and 6 of val, 192 bytes each."""
    resident = []
    monkeypatch.setattr(ImageStore, "make_resident", lambda store, _: resident.append(len(store)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gigabytes = (images + 0.1) * 192 / 1e9
    represent(config(epochs=1, resident_gigabytes=gigabytes), **inputs, out=tmp_path / "out")
    assert resident == kept


EVERY_OPTION = {
    "ldam-drw": {"loss": "ldam", "reweighting": {"scheme": "effective_number", "start": 0.5}},
    "balanced-softmax": {"loss": "balanced_softmax", "sampler": "progressive"},
    "seql-drs": {"loss": "seql", "deferred_sampler": "class_aware", "deferred_start": 0.5},
    "sigmoid-focal": {
        "loss": {"name": "sigmoid_focal", "gamma": 1.0},
        "reweighting": {"scheme": "inverse_frequency", "reduction": "batch_mean"},
    },
    "bfs-oversampled": {"loss": "bfs", "sampler": "oversampling"},
    "cosine-head": {"head": "cosine", "loss": {"name": "cross_entropy", "smoothing": 0.1}},
    "ema-adamw": {"ema_decay": 0.9, "decay_norms_and_biases": False, "optimizer": "adamw"},
    "mixup-randaugment": {"augment": {"mixup_alpha": 0.4, "auto": "rand-m5"}},
    "cutmix-cutout-turns": {
        "augment": {"cutmix_alpha": 1.0, "cutout": 4, "rotation": 20, "scale": [0.8, 1.2]}
    },
    "jitter-flips": {"augment": {"color_jitter": [0.4, 0.4, 0.4, 0.1], "vertical_flip": True}},
    "sam-adam": {"sam_rho": 0.05, "optimizer": "adam", "learning_rate": 0.001},
    "timm": {"backbone": "resnet10t", "image_size": 32},
}


@pytest.mark.parametrize("changes", EVERY_OPTION.values(), ids=EVERY_OPTION)
def test_every_option_trains(inputs, tmp_path, changes):
    given = config(**changes)
    represent(given, **inputs, out=tmp_path / "out")
    description = read_json(Representation(tmp_path / "out").description)
    cosine = changes.get("loss") == "ldam" or "head" in changes
    assert description["head_kind"] == ("cosine" if cosine else "linear")
    assert description["follows_counts"] == given.follows_counts
    assert all(entry["train_loss"] > 0 for entry in read_json(tmp_path / "out" / "history.json"))


def test_a_compiled_network_trains_the_same_model(inputs, tmp_path, monkeypatch):
    # Real compilation needs a compiler and minutes; here `torch.compile` is called, but its network
    # runs eagerly.
    monkeypatch.setenv("CXX", "true")
    changes = {"frozen_groups": "all", "unfreeze_every": 1, "sam_rho": 0.05}
    with torch.compiler.set_stance("force_eager"):
        for compiled in (False, True):
            represent(config(compile=compiled, **changes), **inputs, out=tmp_path / str(compiled))
    assert digests(tmp_path / "True") == digests(tmp_path / "False")


def test_compile_without_a_compiler_is_refused_before_training(inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(LongtailError, match=r"lacks a compiler \(no-such-compiler\); install"):
        represent(config(compile=True), **inputs, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_average_of_weights_ends_where_training_does(inputs, tmp_path):
    # 40 epochs are 120 steps: far fewer than the thousand that a decay of 0.999 looks back.
    losses = {}
    for decay in (None, 0.999):
        represent(config(epochs=40, ema_decay=decay), **inputs, out=tmp_path / str(decay))
        losses[decay] = read_json(tmp_path / str(decay) / "history.json")[-1]["val_loss"]
    assert losses[0.999] == pytest.approx(losses[None], abs=0.2)


def test_shifted_bn_moves_statistics_alone_to_those_of_balanced_images(inputs, tmp_path):
    represent(config(), **inputs, out=tmp_path / "plain")
    represent(config(shifted_bn=True), **inputs, out=tmp_path / "shifted")
    plain, shifted = (
        load_file(Representation(tmp_path / name).backbone) for name in ("plain", "shifted")
    )
    moved = {name for name, tensor in shifted.items() if not tensor.equal(plain[name])}
    running = {n for n in plain if n.endswith(("running_mean", "running_var", "batches_tracked"))}
    assert moved and moved <= running
    scores = [
        read_json(Representation(tmp_path / name).description)["val"]["val_accuracy"]
        for name in ("plain", "shifted")
    ]
    assert all(0 <= score <= 1 for score in scores)


def test_shifted_bn_leaves_a_last_batch_of_one_image_out(inputs, tmp_path):
    tracked = {}
    for size in (20, 19):  # of 21 images: one is left, or two
        represent(config(shifted_bn=True, batch_size=size), **inputs, out=tmp_path / str(size))
        backbone = load_file(Representation(tmp_path / str(size)).backbone)
        tracked[size] = backbone["bn1.num_batches_tracked"].item()
    assert tracked == {20: 1, 19: 2}


def test_shifted_bn_needs_batch_norm(inputs, tmp_path):
    options = {"backbone": "convnext_atto", "image_size": 32, "shifted_bn": True}
    with pytest.raises(LongtailError, match="convnext_atto has no BatchNorm"):
        represent(config(**options), **inputs, out=tmp_path / "out")


def test_a_size_that_the_backbone_cannot_take_is_refused_before_images_are_decoded(
    inputs, tmp_path, monkeypatch
):
    monkeypatch.delattr(ImageStore, "make_resident")
    with pytest.raises(LongtailError, match="image_size is 8, which the backbone convnext_atto"):
        represent(config(backbone="convnext_atto"), **inputs, out=tmp_path / "out")


def weights_after(epochs: int, inputs, out: Path, **changes) -> dict[str, torch.Tensor]:
    represent(config(epochs=epochs, **changes), **inputs, out=out)
    return load_file(Representation(out).backbone)


def test_a_frozen_backbone_moves_neither_weights_nor_statistics(inputs, tmp_path):
    start = weights_after(1, inputs, tmp_path / "first", frozen_groups="all")
    longer = weights_after(3, inputs, tmp_path / "longer", frozen_groups="all")
    assert all(tensor.equal(start[name]) for name, tensor in longer.items())


def test_freezing_up_to_a_stage_lets_the_others_train(inputs, tmp_path):
    start = weights_after(1, inputs, tmp_path / "first", frozen_groups="all")
    part = weights_after(2, inputs, tmp_path / "part", frozen_groups=2)
    moved = {name for name, tensor in part.items() if not tensor.equal(start[name])}
    assert moved and all(int(name.split(".")[1]) >= 5 for name in moved)
    assert not any(name.startswith(("conv1", "bn1")) for name in moved)


def test_unfreezing_gradually_frees_a_group_at_a_time(inputs, tmp_path):
    options = {"frozen_groups": "all", "unfreeze_every": 2, "epochs": 10}
    represent(config(**options), **inputs, out=tmp_path / "out")
    history = read_json(tmp_path / "out" / "history.json")
    assert [entry["frozen_groups"] for entry in history] == [4, 4, 3, 3, 2, 2, 1, 1, 0, 0]


def test_a_class_without_training_images_is_refused_or_never_predicted(inputs, tmp_path):
    profile = read_json(inputs["profile"])
    profile["classes"].append({**profile["classes"][0], "name": "unseen", "train": 0})
    write_json(tmp_path / "profile.json", profile)
    write_json(tmp_path / "passed.json", {"split": file_digest(tmp_path / "profile.json")})
    changed = {
        **inputs,
        "profile": tmp_path / "profile.json",
        "validation": tmp_path / "passed.json",
    }
    with pytest.raises(LongtailError, match=r"unseen.*absent_classes: mask"):
        represent(config(), **changed, out=tmp_path / "out")
    represent(config(absent_classes="mask"), **changed, out=tmp_path / "out")
    head = load_heads(Representation(tmp_path / "out").head)["stage1"]
    features = torch.randn(500, head.weight.shape[1])
    assert not (head.logits(features).argmax(1) == len(head.weight) - 1).any()


@pytest.mark.parametrize(
    "loss",
    [{"name": "cross_entropy", "smoothing": 0.1}, "label_aware_smoothing", "ldam", "bfs"],
    ids=["smoothing", "label-aware", "ldam", "bfs"],
)
def test_val_images_of_a_class_without_training_images_leave_the_loss_on_val(
    inputs, tmp_path, loss
):
    """The same as if they were not in val; a logit that is only masked would weigh 1e28."""
    profile = read_json(inputs["profile"])
    profile["classes"].append({**profile["classes"][0], "name": "unseen", "train": 0})
    write_json(tmp_path / "profile.json", profile)
    write_json(tmp_path / "passed.json", {"split": file_digest(tmp_path / "profile.json")})
    val = pd.read_parquet(inputs["val"])
    tables = {"without": val.iloc[1:], "with": val.assign(label=[3, *val["label"][1:]])}
    losses = {}
    for name, table in tables.items():
        schema = pq.read_schema(inputs["val"])
        file = tmp_path / f"{name}.parquet"
        pq.write_table(pa.Table.from_pandas(table, schema, preserve_index=False), file)
        changed = {
            **inputs,
            "val": file,
            "profile": tmp_path / "profile.json",
            "validation": tmp_path / "passed.json",
        }
        represent(config(absent_classes="mask", loss=loss), **changed, out=tmp_path / name)
        history = read_json(tmp_path / name / "history.json")
        losses[name] = [(entry["train_loss"], entry["val_loss"]) for entry in history]
    assert losses["with"] == [pytest.approx(pair, rel=1e-5) for pair in losses["without"]]
    assert all(loss < 100 for pair in losses["with"] for loss in pair)


def test_val_is_judged_by_the_head_that_is_saved(inputs, tmp_path):
    """So a class without training images wins on no image of val, however untrained its logit."""
    profile = read_json(inputs["profile"])
    profile["classes"].append({**profile["classes"][0], "name": "unseen", "train": 0})
    write_json(tmp_path / "profile.json", profile)
    write_json(tmp_path / "passed.json", {"split": file_digest(tmp_path / "profile.json")})
    changed = {
        **inputs,
        "profile": tmp_path / "profile.json",
        "validation": tmp_path / "passed.json",
    }
    # With seed 1 the logit of the unseen class is the largest on every image of val.
    untrained = config(absent_classes="mask", epochs=1, learning_rate=1e-9, seed=1)
    represent(untrained, **changed, out=tmp_path / "out")
    assert read_json(tmp_path / "out" / "history.json")[0] == pytest.approx(
        read_json(tmp_path / "out" / "history.json")[0] | judged_again(tmp_path / "out", inputs)
    )


@pytest.mark.parametrize(
    ("loss", "reduction", "expected"),
    [
        ("cross_entropy", "weighted_mean", lambda z, y, w: F.cross_entropy(z, y, weight=w)),
        (
            "cross_entropy",
            "batch_mean",
            lambda z, y, w: (w[y] * F.cross_entropy(z, y, reduction="none")).mean(),
        ),
        (
            {"name": "focal", "gamma": 2.0},
            "batch_mean",
            # The weight does not enter the modulator, which would make it p^w.
            lambda z, y, w: (
                w[y]
                * (1 - z.softmax(1)[range(len(y)), y]) ** 2
                * F.cross_entropy(z, y, reduction="none")
            ).mean(),
        ),
    ],
    ids=["weighted mean", "batch mean", "focal"],
)
def test_class_weights_weigh_as_in_the_field(inputs, tmp_path, loss, reduction, expected):
    """The loss of an epoch that is one batch, against torch's and the formula."""
    given = config(
        epochs=1,
        batch_size=64,
        loss=loss,
        reweighting={"scheme": "inverse_frequency", "reduction": reduction},
        augment={"crop_padding": 0, "horizontal_flip": False},
    )
    represent(given, **inputs, out=tmp_path / "out")
    description = read_json(Representation(tmp_path / "out").description)
    network = build_network(given, description, World(0, 1, torch.device("cpu"))).train()
    store = ImageStore(Images(inputs["images"]), inputs["train"], size=8)
    logits = network(normalize(next(store.batches(64)), mean=given.mean, std=given.std))
    weights = torch.tensor([21 / (3 * count) for count in (12, 6, 3)])
    [entry] = read_json(tmp_path / "out" / "history.json")
    found = expected(logits, store.labels, weights).item()
    assert entry["train_loss"] == pytest.approx(found, rel=1e-5)


def test_other_weights_under_the_same_name_are_another_training(inputs, tmp_path):
    weights = tmp_path / "weights.safetensors"
    start = config(epochs=1, pretrained=str(weights))
    tables = {name: inputs[name] for name in ("train", "val", "profile")}
    with pytest.raises(LongtailError, match=r"weights\.safetensors does not exist"):
        represent(start, **inputs, out=tmp_path / "out")
    keys = set()
    for seed in (1, 2, 2):
        torch.manual_seed(seed)
        save_file(build_backbone("cifar_resnet32").state_dict(), weights)
        keys.add(training_key(start, **tables))
    assert len(keys) == 2
    represent(start, **inputs, out=tmp_path / "out")
    description = read_json(Representation(tmp_path / "out").description)
    assert description["pretrained"] == file_digest(weights)


def test_early_stopping_ends_the_run(inputs, tmp_path):
    represent(
        config(epochs=30, learning_rate=1e-9, early_stopping=2), **inputs, out=tmp_path / "out"
    )
    history = read_json(tmp_path / "out" / "history.json")
    best = read_json(tmp_path / "out" / "representation.json")["best_epoch"]
    assert len(history) == best + 3 < 30


def test_the_seal_of_another_split_is_refused(inputs, tmp_path):
    other = tmp_path / "passed.json"
    write_json(other, {"split": "0" * 64})
    with pytest.raises(LongtailError, match="run validate again"):
        represent(config(), **{**inputs, "validation": other}, out=tmp_path / "out")


def test_warm_up_as_long_as_training_is_refused():
    with pytest.raises(LongtailError, match="warmup_epochs 5 must be below epochs 5"):
        parse(RepresentConfig, {"epochs": 5, "warmup_epochs": 5}, where="params.yaml")


def test_the_store_gives_the_images_that_the_table_names(inputs):
    store = ImageStore(Images(inputs["images"]), inputs["train"], size=8)
    assert torch.bincount(store.labels).tolist() == [12, 6, 3]
    everything = torch.cat(list(store.batches(4)))
    assert everything.shape == (21, 8, 8, 3)
    order = torch.tensor([20, 3, 11])
    assert store.decode(order).equal(everything[order])
    store.make_resident(torch.device("cpu"))
    assert store.decode(order).equal(everything[order])
