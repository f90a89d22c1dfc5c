"""Backbones: images in, features out."""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from longtail.errors import LongtailError, first_few


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; the shortcut subsamples and pads with zero channels (option A)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.padding = (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        if self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0) + 2 * (self.padding,))
        out += x
        return F.relu(out, inplace=True)


class CifarResNet(nn.Module):
    """The ResNet of He et al. for 32x32 images: 3 stages of 5 basic blocks (ResNet-32).

    `[N, 3, S, S]` -> `[N, 64]` with the default width; with a linear head 464,154 / 470,004
    parameters for 10 / 100 classes.

    Source: He et al., Deep Residual Learning (CVPR 2016), section 4.2, shortcuts of option A.
    """

    def __init__(self, *, width: int = 16) -> None:
        super().__init__()
        self.num_features = 4 * width
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        stages: list[nn.Module] = []
        inputs = width
        for stage in range(3):
            outputs = width * 2**stage
            for block in range(5):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(BasicBlock(inputs, outputs, stride=stride))
                inputs = outputs
        self.blocks = nn.Sequential(*stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        features: Tensor = self.blocks(x)
        return features.mean(dim=(2, 3))

    def group_matcher(self, coarse: bool = True) -> Callable[[str], int]:
        """Number the layer groups as timm's models do: the stem is 0, then the three stages."""
        in_a_stage = len(self.blocks) // 3

        def group(name: str) -> int:
            part, _, rest = name.partition(".")
            return 1 + int(rest.split(".")[0]) // in_a_stage if part == "blocks" else 0

        return group


CIFAR_RESNETS: dict[str, Callable[[], nn.Module]] = {
    "cifar_resnet32": CifarResNet,
    "cifar_resnet32_nf64": partial(CifarResNet, width=64),  # 7.4 M parameters
}


class CosineLinear(nn.Module):
    """`scale` times the cosine of feature and class weight, `[N, D]` -> `[N, C]`; no bias."""

    def __init__(self, features: int, classes: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(classes, features), dim=1))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


class HiddenHead(nn.Sequential):
    """A hidden layer with dropout, then a linear one: `[N, D]` -> `[N, C]`."""

    def __init__(self, features: int, classes: int, *, hidden: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, classes)
        )


class TwoLevelHead(nn.Module):
    """A hidden head a level, side by side: `[N, D]` -> `[N, C + S]`, super-classes last."""

    def __init__(
        self, features: int, classes: int, super_classes: int, *, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.sub = HiddenHead(features, classes, hidden=hidden, dropout=dropout)
        self.super = HiddenHead(features, super_classes, hidden=hidden, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.sub(x), self.super(x)], dim=1)


class Network(nn.Module):
    """A backbone and its stage-1 head: normalised images `[N, 3, S, S]` -> logits `[N, C]`."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.backbone(x)
        # In bfloat16 logits of 100 classes tie, and a tie goes to the class that comes first.
        with torch.autocast(x.device.type, enabled=False):
            logits: Tensor = self.head(features.float())
        return logits


def build_backbone(name: str, *, pretrained: str | None = None) -> nn.Module:
    """Build a backbone without a classifier; `feature_dimension` tells its `D`.

    Args:
        name: a name of `CIFAR_RESNETS`, or any timm model name.
        pretrained: None for random weights, `hub` for timm's, or a local safetensors file.

    Raises:
        LongtailError: the name is unknown, or the weights cannot be had or do not fit.
    """
    if name in CIFAR_RESNETS:
        backbone: nn.Module = CIFAR_RESNETS[name]()
        if pretrained == "hub":
            raise _no_weights(name)
        return _with_weights(backbone, pretrained) if pretrained else backbone
    import timm

    try:
        if pretrained == "hub":
            return timm.create_model(name, pretrained=True, num_classes=0)
        backbone = timm.create_model(name, num_classes=0)
    except (RuntimeError, ValueError) as error:
        raise _unknown_model(name, error) from None
    except OSError as error:
        raise LongtailError(
            f"weights of {name} cannot be downloaded ({error}); download them elsewhere and give "
            "the safetensors file as represent.pretrained, or null for random weights"
        ) from None
    return _with_weights(backbone, pretrained) if pretrained else backbone


def feature_dimension(backbone: nn.Module) -> int:
    """Return the dimension `D` of what the backbone gives.

    Some of timm's models widen their `num_features` in a last layer that belongs to the features.
    """
    return int(getattr(backbone, "head_hidden_size", None) or backbone.num_features)  # type: ignore[arg-type]


def freeze(backbone: nn.Module, *, groups: int) -> None:
    """Freeze the first `groups` layer groups, and let all others train.

    The groups are timm's: the stem and the stages, or the blocks of a transformer. Call `rest`
    after every `train()`, so that the BatchNorm statistics of frozen layers do not change.

    Raises:
        LongtailError: the backbone has fewer groups.
    """
    names = _layer_groups(backbone) if groups else []
    if groups > len(names):
        raise LongtailError(
            f"represent.frozen_groups is {groups}, but the backbone has {len(names)} layer groups; "
            "set it to at most that, or to all"
        )
    resting = {name for group in names[:groups] for name in group}
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name not in resting)


def rest(backbone: nn.Module) -> None:
    """Put modules into `eval()` whose parameters, those of their parts included, are all frozen."""
    for module in backbone.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def layer_group_count(backbone: nn.Module) -> int:
    """Return how many groups `freeze` knows."""
    return len(_layer_groups(backbone))


def normalize(
    images: Tensor, *, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """Turn uint8 `[N, S, S, 3]` into float32 `[N, 3, S, S]`, `(x / 255 - mean) / std` a channel."""
    scale, shift = _scale_and_shift(tuple(mean), tuple(std), images.device)
    # The permuted view of a dense NHWC tensor is channels_last, the layout that convolutions want.
    return (images * scale - shift).permute(0, 3, 1, 2)


@lru_cache
def _scale_and_shift(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Put the constants on the device once: copying them in every step would be waiting for it."""
    with torch.inference_mode(False):  # what is kept has to serve training too
        means, deviations = torch.tensor(mean), torch.tensor(std)
        return (1 / (255 * deviations)).to(device), (means / deviations).to(device)


def multiply_adds(backbone: nn.Module, *, image_size: int) -> int:
    """Count the multiply-adds of one image through the backbone."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        _run_once(backbone, image_size)
    return int(counter.get_total_flops()) // 2


def require_image_size(backbone: nn.Module, *, name: str, image_size: int) -> None:
    """Try the backbone on one image.

    Raises:
        LongtailError: it cannot take images of that size.
    """
    try:
        _run_once(backbone, image_size)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise LongtailError(
            f"represent.image_size is {image_size}, which the backbone {name} cannot take "
            f"({error}); set the size that it is made for, or take another backbone"
        ) from error


def _run_once(backbone: nn.Module, image_size: int) -> None:
    """Pass one black image through the backbone and change nothing in it."""
    training = backbone.training
    with torch.no_grad():
        backbone.eval()(torch.zeros(1, 3, image_size, image_size))
    backbone.train(training)


def _layer_groups(backbone: nn.Module) -> list[list[str]]:
    from timm.models import group_parameters

    matcher: Any = backbone.group_matcher
    groups = group_parameters(backbone, matcher(coarse=True))
    return [groups[number] for number in sorted(groups)]


def _with_weights(backbone: nn.Module, file: str) -> nn.Module:
    if not Path(file).is_file():
        raise LongtailError(f"represent.pretrained: {file} does not exist")
    try:
        weights = load_file(file)
    except SafetensorError as error:
        raise LongtailError(
            f"represent.pretrained: {file} is no safetensors file, or a part of one ({error}); "
            "fetch it again, or convert it with safetensors.torch.save_file"
        ) from None
    own = backbone.state_dict()
    missing = sorted(own.keys() - weights.keys())
    if missing:
        raise LongtailError(f"{file} lacks {missing[0]} and {len(missing) - 1} more weights")
    for name, tensor in own.items():
        if weights[name].shape != tensor.shape:
            raise LongtailError(
                f"{file} has {name} of shape {[*weights[name].shape]}, the backbone of shape "
                f"{[*tensor.shape]}; give weights of the same represent.backbone"
            )
    backbone.load_state_dict({name: weights[name] for name in own})
    return backbone


def _unknown_model(name: str, error: Exception) -> Exception:
    """Say what timm does not know: a model, or its weights; another error stays what it is."""
    import difflib

    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(name, [*CIFAR_RESNETS, *timm.list_models()], n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "see timm.list_models()"
        return LongtailError(f"represent.backbone: no model is called {name!r}; {hint}")
    weights = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in weights:
        known = f"name {first_few(weights)}, or" if weights else "it has none: name"
        return LongtailError(
            f"represent.backbone: {architecture} has no weights called {tag!r}; {known} "
            f"{architecture} alone"
        )
    if not weights:
        return _no_weights(name)
    return error


def _no_weights(name: str) -> LongtailError:
    return LongtailError(
        f"represent.pretrained is hub, but {name} has no weights there; give a local safetensors "
        "file, or null for random weights"
    )
