"""Trained backbones as they are used after stage 1: frozen, images in, features out."""

from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from longtail.artifacts import Representation
from longtail.backbones.building import build_backbone, feature_dimension
from longtail.backbones.images import normalize
from longtail.files import read_json

ENSEMBLE = "ensemble"  # the backbone of a representation that was joined from others


class FeatureExtractor:
    """A trained backbone on the device that runs it.

    Args:
        test_time_flip: average the features of an image and of its mirror image.
    """

    def __init__(self, representation: Representation, *, test_time_flip: bool = False) -> None:
        backbone, self.description = load_backbone(representation, test_time_flip=test_time_flip)
        self._device = inference_device()
        self._backbone = backbone.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Return the features of uint8 images, `[N, S, S, 3]` -> float32 `[N, D]` on the CPU."""
        mean, std = self.description["mean"], self.description["std"]
        features: Tensor = self._backbone(normalize(images.to(self._device), mean=mean, std=std))
        return features.float().cpu()


class MirrorAveraged(nn.Module):
    """Mean of the features of an image and of its mirror image, `[N, 3, S, S]` -> `[N, D]`.

    Under a linear head that is the mean of both images' logits: the field's test-time flip.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        mean: Tensor = (self.backbone(x) + self.backbone(x.flip(3))) / 2
        return mean


class EnsembleBackbone(nn.Module):
    """Features of several backbones side by side, `[N, 3, S, S]` -> `[N, D_1 + D_2 + ...]`."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.num_features = sum(feature_dimension(member) for member in members)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([member(x) for member in self.members], dim=1)


def load_backbone(
    representation: Representation, *, test_time_flip: bool = False
) -> tuple[nn.Module, dict[str, Any]]:
    """Load the trained backbone, frozen and in `eval()`, and the description beside it."""
    description = read_json(representation.description)
    backbone: nn.Module
    if description["backbone"] == ENSEMBLE:
        backbone = EnsembleBackbone([build_backbone(name) for name in description["members"]])
    else:
        backbone = build_backbone(description["backbone"])
    backbone.load_state_dict(load_file(representation.backbone))
    if test_time_flip:
        backbone = MirrorAveraged(backbone)
    return backbone.eval().requires_grad_(False), description


def inference_device() -> torch.device:
    """Return the GPU, if there is one, with convolutions as exact as those of a CPU.

    A model that was evaluated on one is registered and served on the other.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda")
