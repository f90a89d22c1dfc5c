"""Join several trained models into one: their features side by side, their predictions averaged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from longtail.artifacts import Representation, TauNorm
from longtail.errors import LongtailError
from longtail.extraction import ENSEMBLE
from longtail.files import read_json, require_apart, whole_directory, write_json
from longtail.heads import Head
from longtail.io.head_files import load_heads, save_heads

# What all members must share, so that one model with one preprocessing can stand for them.
SHARED = ("split", "classes", "image_size", "mean", "std")
Average = Literal["logits", "probabilities"]


@dataclass(frozen=True)
class Member:
    """A finished model, and the head that val chose for it."""

    root: Path
    representation: Representation
    description: dict[str, Any]
    head: Head
    follows_counts: bool


def ensemble(members: list[Path], *, average: Average, out: Path) -> None:
    """Write a `Representation` whose head `stage1` averages the members' chosen heads.

    Whatever follows stage 1 works on it as on any other: `embed`, a stage 2 on all features
    together, `evaluate`, `gate` and `register`, which registers one model.

    Linear heads averaged by their logits are one linear head on the joined features. Averaged by
    their probabilities they are a `mixture`, whose rows cannot be tau-normalised.

    Args:
        members: directories with `representation` and `tau_norm`, as `models/` of the flow.
        average: of what.

    Raises:
        LongtailError: fewer than two members, members that differ in split, classes or
            preprocessing, or a chosen head that is not linear; or `out` is of a member.
    """
    require_apart(out, kept=[m / part for m in members for part in ("representation", "tau_norm")])
    if len(members) < 2:
        raise LongtailError(f"an ensemble needs two members or more, but {len(members)} is given")
    found = [_read(root) for root in members]
    for member in found[1:]:
        _require_same(found[0], member)
    head = _mean_logits(found) if average == "logits" else _mixture(found)
    weights = {
        f"members.{number}.{name}": tensor
        for number, member in enumerate(found)
        for name, tensor in load_file(member.representation.backbone).items()
    }
    with whole_directory(out) as directory:
        artifact = Representation(directory)
        save_file(weights, artifact.backbone)
        save_heads(artifact.head, {"stage1": head})
        write_json(artifact.history, [])
        write_json(artifact.description, _describe(found, head, average))


def _read(root: Path) -> Member:
    representation, tau_norm = Representation(root / "representation"), TauNorm(root / "tau_norm")
    description = read_json(representation.description)
    if description["backbone"] == ENSEMBLE:
        raise LongtailError(f"{root} is an ensemble; name its members instead")
    choice = read_json(tau_norm.choice)
    chosen = choice["chosen"]
    head = load_heads(tau_norm.heads)[chosen]
    if head.kind != "linear" or head.hidden_weight is not None or head.rejects_to is not None:
        raise LongtailError(
            f"{root}: the chosen head {chosen} is {head.kind}, or has a hidden layer or a "
            "rejection; an ensemble averages plain linear heads: choose another classify.method"
        )
    follows_counts = chosen in choice["follow_counts"]
    return Member(root, representation, description, head, follows_counts)


def _require_same(first: Member, other: Member) -> None:
    for key in SHARED:
        if first.description[key] != other.description[key]:
            raise LongtailError(
                f"{other.root} and {first.root} differ in {key}; an ensemble has one split, one "
                "list of classes and one preprocessing: train its members alike"
            )


def _mean_logits(members: list[Member]) -> Head:
    weights = [member.head.scale * member.head.weight for member in members]
    biases = [member.head.scale * _bias(member.head) for member in members]
    return Head(
        kind="linear",
        weight=torch.cat(weights, dim=1) / len(members),
        bias=torch.stack(biases).mean(dim=0),
        absent=members[0].head.absent,
    )


def _mixture(members: list[Member]) -> Head:
    return Head(
        kind="mixture",
        weight=torch.cat([member.head.scale * member.head.weight for member in members], dim=1),
        bias=torch.stack([member.head.scale * _bias(member.head) for member in members]),
        absent=members[0].head.absent,
        parts=tuple(member.head.weight.shape[1] for member in members),
    )


def _bias(head: Head) -> Tensor:
    return torch.zeros(len(head.weight)) if head.bias is None else head.bias


def _describe(members: list[Member], head: Head, average: Average) -> dict[str, Any]:
    descriptions = [member.description for member in members]
    first = descriptions[0]
    kept = ("classes", "super_classes", "super_of", "class_counts", "groups", "group_names")
    return {
        **{key: first[key] for key in (*SHARED, *kept)},
        "horizontal_flip": all(description["horizontal_flip"] for description in descriptions),
        "backbone": ENSEMBLE,
        "members": [description["backbone"] for description in descriptions],
        "average": average,
        "feature_dim": head.weight.shape[1],
        "head_kind": head.kind,
        "head_scale": 1.0,
        # Post-hoc methods ask what the head was trained with: of several, no single loss.
        "loss": ENSEMBLE,
        "keeps_prior": False,
        "follows_counts": all(member.follows_counts for member in members),
        "sampler": ENSEMBLE,
        "epochs": sum(description["epochs"] for description in descriptions),
        "best_epoch": None,
        "val": None,
        "parameters": sum(description["parameters"] for description in descriptions),
        "multiply_adds": sum(description["multiply_adds"] for description in descriptions),
    }
