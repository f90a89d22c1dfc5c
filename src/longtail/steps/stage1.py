"""From the parameters of stage 1 to its network, its trainer, and the heads that come out."""

import math
import os
import shutil
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from longtail.augment import Augmentation, image_policy
from longtail.backbones.building import build_backbone, feature_dimension
from longtail.backbones.freezing import layer_group_count
from longtail.backbones.images import require_image_size
from longtail.batches import Batching
from longtail.config.losses import SIGMOID_LOSSES
from longtail.config.represent import RepresentConfig
from longtail.data import ImageStore
from longtail.distributed import World
from longtail.errors import LongtailError
from longtail.heads import Head
from longtail.losses.hierarchy import two_level
from longtail.losses.table import SampleLoss, loss_on_present
from longtail.losses.weights import CLASS_WEIGHTS
from longtail.network import CosineLinear, Network, TwoLevelHead
from longtail.optimization import build_optimizer, working_precision
from longtail.randomness import mixed_seed
from longtail.sampling import epoch_order
from longtail.schedules import cosine_factor, step_factor
from longtail.training import Recipe, Trainer


def build_network(
    config: RepresentConfig, description: dict[str, Any], processes: World
) -> Network:
    """Build the backbone and its heads on this process's device, the same in every process."""
    torch.manual_seed(mixed_seed(config.seed))
    backbone = build_backbone(config.backbone, pretrained=config.pretrained)
    if config.shifted_bn and not any(isinstance(m, _BatchNorm) for m in backbone.modules()):
        raise LongtailError(
            f"represent.shifted_bn is true, but the backbone {config.backbone} has no BatchNorm; "
            "set it to false, or take another backbone"
        )
    require_image_size(backbone, name=config.backbone, image_size=config.image_size)
    head = _head(config, description, feature_dimension(backbone))
    network = Network(backbone, head)
    return network.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _head(config: RepresentConfig, description: dict[str, Any], features: int) -> nn.Module:
    classes = len(description["classes"])
    if config.hierarchy:
        return TwoLevelHead(
            features,
            classes,
            len(description["super_classes"]),
            hidden=config.hierarchy.hidden,
            dropout=config.hierarchy.dropout,
        )
    if config.head_kind == "cosine":
        # LDAM wants the cosines themselves and multiplies after its margins.
        scale = 1.0 if config.loss.name == "ldam" else config.head_scale
        return CosineLinear(features, classes, scale=scale)
    head = nn.Linear(features, classes)
    if config.loss.name in SIGMOID_LOSSES:
        nn.init.constant_(head.bias, -math.log(max(1, classes - 1)))
    return head


def build_trainer(
    config: RepresentConfig,
    network: Network,
    train: ImageStore,
    description: dict[str, Any],
    processes: World,
) -> Trainer:
    """Build what trains `network` on the labels of `train` as the parameters say."""
    average = None
    if config.ema_decay is not None:
        from timm.utils.model_ema import ModelEmaV3

        # Warm-up, or a short training would end at the average of its first steps. BatchNorm's
        # statistics are averaged too: those of the network of today do not fit averaged weights.
        average = ModelEmaV3(network, decay=config.ema_decay, use_warmup=True)
    return Trainer(
        _recipe(config, network, train.labels, description, processes),
        network,
        build_optimizer(
            network,
            name=config.optimizer,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            decay_norms_and_biases=config.decay_norms_and_biases,
            undecayed=frozenset({"head.bias"} if config.loss.name in SIGMOID_LOSSES else ()),
        ),
        processes,
        compiled=_compiled(network, processes.device) if config.compile else None,
        average=average,
    )


def _compiled(network: Network, device: torch.device) -> Callable[[Tensor], Tensor]:
    _require_compiler(device)
    # On a GPU as CUDA graphs too: a small network's kernels take less time than launching them.
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    # A graph for each size of batch: a dynamic one, made for a short batch, would serve all others.
    return torch.compile(network, mode=mode, dynamic=False)


def _require_compiler(device: torch.device) -> None:
    """Raise LongtailError where torch would find at the first step what it lacks."""
    variable, usual = ("CC", ["gcc", "clang"]) if device.type == "cuda" else ("CXX", ["g++"])
    compilers = [os.environ[variable]] if variable in os.environ else usual
    lacks = []
    if not any(map(shutil.which, compilers)):
        lacks.append(f"a compiler ({' or '.join(compilers)})")
    if device.type == "cuda" and find_spec("triton") is None:
        lacks.append("Triton (`pip install triton`)")
    if lacks:
        raise LongtailError(
            f"represent.compile is true, but this machine lacks {' and '.join(lacks)}; install "
            "what is missing, or set it to false"
        )


def _recipe(
    config: RepresentConfig,
    network: Network,
    labels: Tensor,
    description: dict[str, Any],
    processes: World,
) -> Recipe:
    counts = torch.tensor(description["class_counts"])
    everything = config.frozen_groups == "all"
    frozen = layer_group_count(network.backbone) if everything else int(config.frozen_groups)
    return Recipe(
        epochs=config.epochs,
        batching=_batching(config, labels, len(counts)),
        num_classes=len(counts),
        present=counts > 0,
        loss=_loss(config, description, processes.device),
        class_weights=partial(_class_weights, config, counts),
        reduction=config.reweighting.reduction if config.reweighting else "batch_mean",
        learning_rate=partial(_learning_rate, config),
        frozen_groups=partial(_frozen_groups, config, frozen),
        sam_rho=config.sam_rho,
        early_stopping=config.early_stopping,
        precision=working_precision(config.precision, processes.device),
    )


def _batching(config: RepresentConfig, labels: Tensor, num_classes: int) -> Batching:
    return Batching(
        batch_size=config.batch_size,
        seed=config.seed,
        order=lambda epoch, generator: epoch_order(
            _sampler(config, epoch),
            labels,
            num_classes=num_classes,
            epoch=epoch,
            epochs=config.epochs,
            generator=generator,
        ),
        augmentation=_augmentation(config),
        mixup_alpha=config.augment.mixup_alpha,
        cutmix_alpha=config.augment.cutmix_alpha,
        mean=config.mean,
        std=config.std,
    )


def _loss(config: RepresentConfig, description: dict[str, Any], device: torch.device) -> SampleLoss:
    counts = torch.tensor(description["class_counts"], device=device)
    if config.hierarchy:
        return two_level(
            super_of=torch.tensor(description["super_of"], device=device),
            class_counts=counts,
            super_weight=config.hierarchy.super_weight,
            sub_weight=config.hierarchy.sub_weight,
            balanced=config.hierarchy.class_weights == "balanced",
        )
    return loss_on_present(config.loss.name, class_counts=counts, **config.loss.settings())


def _augmentation(config: RepresentConfig) -> Augmentation:
    given = config.augment
    red, green, blue = (round(255 * channel) for channel in config.mean)
    color = (red, green, blue)
    return Augmentation(
        crop_padding=given.crop_padding,
        horizontal_flip=given.horizontal_flip,
        vertical_flip=given.vertical_flip,
        rotation=given.rotation,
        scale=given.scale,
        policy=image_policy(given.auto, color_jitter=given.color_jitter, color=color),
        policy_at_once=given.auto in (None, "cifar10"),
        cutout=given.cutout,
        cutout_color=color,
    )


def _sampler(config: RepresentConfig, epoch: int) -> str:
    """The sampler of an epoch: deferred re-sampling changes it once."""
    late = epoch >= _first_epoch(config.deferred_start, config.epochs)
    return config.deferred_sampler if config.deferred_sampler and late else config.sampler


def _class_weights(config: RepresentConfig, counts: Tensor, epoch: int) -> Tensor:
    """Equal weights until the re-weighting starts."""
    given = config.reweighting
    if given is None or epoch < _first_epoch(given.start, config.epochs):
        return torch.ones(len(counts))
    settings = {"beta": given.beta} if given.scheme == "effective_number" else {}
    return CLASS_WEIGHTS[given.scheme](counts, **settings).float()


def _first_epoch(share: float, epochs: int) -> int:
    """The epoch from which something deferred counts; in a short training, the last."""
    return min(round(share * epochs), epochs - 1)


def _frozen_groups(config: RepresentConfig, frozen: int, epoch: int) -> int:
    """Layer groups that rest in an epoch; one less every `unfreeze_every` epochs."""
    return max(0, frozen - epoch // config.unfreeze_every) if config.unfreeze_every else frozen


def _learning_rate(config: RepresentConfig, step: int, total_steps: int) -> float:
    warmup_steps = config.warmup_epochs * (total_steps // config.epochs)
    if config.schedule == "step":
        factor = step_factor(
            step,
            total_steps=total_steps,
            warmup_steps=warmup_steps,
            milestones=config.milestones,
        )
    else:
        factor = cosine_factor(
            step,
            total_steps=total_steps,
            warmup_steps=warmup_steps,
            min_ratio=config.min_lr_ratio,
        )
    return config.learning_rate * factor


def trained_heads(
    config: RepresentConfig, weights: dict[str, Tensor], description: dict[str, Any]
) -> dict[str, Head]:
    """The stage-1 head, and the one of the super-classes if there is one, named `super`."""
    absent = torch.tensor(description["class_counts"]) == 0
    masked = absent if absent.any() and config.absent_classes != "refuse" else None
    if not config.hierarchy:
        stage1 = Head(
            kind=description["head_kind"],
            weight=weights["head.weight"],
            bias=weights.get("head.bias"),
            scale=description["head_scale"],
            absent=masked,
        )
        return {"stage1": stage1}

    def hidden(level: str, absent: Tensor | None) -> Head:
        return Head(
            kind="linear",
            hidden_weight=weights[f"head.{level}.0.weight"],
            hidden_bias=weights[f"head.{level}.0.bias"],
            weight=weights[f"head.{level}.3.weight"],
            bias=weights[f"head.{level}.3.bias"],
            absent=absent,
        )

    return {"stage1": hidden("sub", masked), "super": hidden("super", None)}
