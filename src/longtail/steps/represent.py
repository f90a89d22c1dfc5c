"""Stage 1: train the backbone and its first classifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

import longtail
from longtail.artifacts import Images, Representation
from longtail.backbones.building import feature_dimension
from longtail.backbones.images import multiply_adds
from longtail.checkpoint import remove_checkpoint
from longtail.config.represent import RepresentConfig
from longtail.data import ImageStore
from longtail.distributed import World, world
from longtail.errors import LongtailError
from longtail.files import content_digest, file_digest, read_json, whole_directory, write_json
from longtail.io.head_files import save_heads
from longtail.network import Network
from longtail.shifted_bn import shift_statistics
from longtail.steps.stage1 import build_network, build_trainer, trained_heads
from longtail.training import AfterEpoch, Outcome


def represent(
    config: RepresentConfig,
    *,
    images: Path,
    train: Path,
    val: Path,
    profile: Path,
    validation: Path,
    out: Path,
    checkpoint: Path | None = None,
    after_epoch: AfterEpoch = lambda history: None,
) -> None:
    """Train on `train`, keep the best epoch by balanced accuracy on `val`, write `Representation`.

    Resumes from its checkpoint if that is of the same inputs and parameters; under torchrun every
    process trains on its share and the first one writes.

    Args:
        checkpoint: directory of `training.pt`, which is removed at the end, and with it the
            directory if nothing else is there; default: `.<out>.checkpoint` beside `out`.

    Raises:
        LongtailError: the split did not pass validation, the parameters do not fit together, or
            there is no file of weights where they name one.
    """
    split_digest = validated_split(profile, validation)
    description = _describe(config, read_json(profile), split_digest)
    description |= _super_classes(config, read_json(profile), Images(images))
    _check_absent(config, description)
    with world() as processes:
        network = build_network(config, description, processes)  # before the images are decoded
        stores = _stores(config, images, (train, val), processes)
        trainer = build_trainer(config, network, stores[0], description, processes)
        directory = checkpoint or out.with_name(f".{out.name}.checkpoint")
        directory.mkdir(parents=True, exist_ok=True)
        outcome = trainer.fit(
            *stores,
            checkpoint=directory / "training.pt",
            key=training_key(config, train=train, val=val, profile=profile),
            after_epoch=after_epoch,
        )
        if config.shifted_bn:
            outcome = shift_statistics(trainer, outcome, *stores)
        if processes.rank == 0:
            _write(out, config, network, outcome, description)
            remove_checkpoint(directory / "training.pt")


def training_key(config: RepresentConfig, *, train: Path, val: Path, profile: Path) -> str:
    """Return a digest of what a training depends on: a checkpoint of another one is not used."""
    versions = [longtail.__version__, str(torch.__version__)]
    values = {**config.model_dump(), "pretrained": first_weights(config)}
    return content_digest([versions, values, *map(file_digest, (profile, train, val))])


def first_weights(config: RepresentConfig) -> str | None:
    """Return None, `hub`, or the SHA-256 of a local file, whose name may get other content."""
    name = config.pretrained
    if name is None or name == "hub":
        return name
    if not Path(name).is_file():
        raise LongtailError(
            f"represent.pretrained: {name} does not exist; name a safetensors file, or `hub`"
        )
    return file_digest(Path(name))


def validated_split(profile: Path, validation: Path) -> str:
    """Return the digest of a split's profile; LongtailError if the seal is of another split."""
    digest = file_digest(profile)
    if read_json(validation)["split"] != digest:
        raise LongtailError(
            f"{validation} is the seal of another split than {profile}; run validate again"
        )
    return digest


def _super_classes(config: RepresentConfig, profile: Any, images: Images) -> dict[str, Any]:
    names = read_json(images.classes)["super_classes"]
    super_of = [entry["super_label"] for entry in profile["classes"]]
    if config.hierarchy and not names:
        raise LongtailError(
            "represent.hierarchy needs super-classes, but these images have none; give the source "
            "super labels (super_label_column, or levels: 2), or leave hierarchy out"
        )
    return {"super_classes": names, "super_of": super_of if names else []}


def _check_absent(config: RepresentConfig, description: dict[str, Any]) -> None:
    pairs = zip(description["classes"], description["class_counts"], strict=True)
    absent = [name for name, count in pairs if count == 0]
    if absent and config.absent_classes == "refuse":
        raise LongtailError(
            f"{len(absent)} classes have no training images, {absent[0]} among them; change the "
            "split, or set represent.absent_classes: mask, so that they are never predicted"
        )


def _describe(config: RepresentConfig, profile: Any, split_digest: str) -> dict[str, Any]:
    classes = profile["classes"]
    return {
        "backbone": config.backbone,
        "pretrained": first_weights(config),
        "image_size": config.image_size,
        "mean": config.mean,
        "std": config.std,
        "horizontal_flip": config.augment.horizontal_flip,
        "classes": [entry["name"] for entry in classes],
        "class_counts": [entry["train"] for entry in classes],
        "groups": [entry["group"] for entry in classes],
        "group_names": profile["group_names"],
        "loss": config.loss.name,
        "departures": config.departures,
        "keeps_prior": config.keeps_prior,
        "follows_counts": config.follows_counts,
        "sampler": config.sampler,
        "epochs": config.epochs,
        "head_kind": config.head_kind,
        "head_scale": config.head_scale,
        "split": split_digest,
    }


def _stores(
    config: RepresentConfig, images: Path, tables: Sequence[Path], processes: World
) -> list[ImageStore]:
    """Open the tables; keep those in memory that fit into what the ones before leave."""
    free = config.resident_gigabytes * 1e9 / processes.on_device
    stores = [ImageStore(Images(images), table, size=config.image_size) for table in tables]
    for store, table in zip(stores, tables, strict=True):
        needed = len(store) * store.image_bytes
        if needed == 0:
            raise LongtailError(f"{table} has no images; change the split so that it gets some")
        if needed <= free:
            store.make_resident(processes.device)
            free -= needed
    return stores


def _write(
    out: Path,
    config: RepresentConfig,
    network: Network,
    outcome: Outcome,
    description: dict[str, Any],
) -> None:
    weights = outcome.weights
    backbone = {
        k.removeprefix("backbone."): v for k, v in weights.items() if k.startswith("backbone.")
    }
    heads = trained_heads(config, weights, description)
    with whole_directory(out) as directory:
        artifact = Representation(directory)
        save_file({k: v.contiguous() for k, v in backbone.items()}, artifact.backbone)
        save_heads(artifact.head, heads)
        write_json(artifact.history, outcome.history)
        write_json(
            artifact.description,
            {
                **description,
                "feature_dim": feature_dimension(network.backbone),
                "best_epoch": outcome.best_epoch,
                "val": outcome.history[outcome.best_epoch],
                "parameters": sum(p.numel() for p in network.parameters()),
                "multiply_adds": multiply_adds(network.backbone.cpu(), image_size=config.image_size)
                + sum(p.numel() for p in network.head.parameters() if p.ndim == 2),
            },
        )
