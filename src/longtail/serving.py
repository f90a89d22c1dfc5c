"""The model that is registered: preprocessing, backbone and the chosen head in one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from longtail.heads import Head
from longtail.models import normalize


class ServedModel(nn.Module):
    """uint8 RGB images `[N, S, S, 3]` -> logits `[N, C]`, in float32.

    The caller decodes and resizes (see `longtail.imaging.decode`); normalisation is in here, so
    that a consumer cannot get it wrong.
    """

    weight: Tensor
    bias: Tensor | None
    center: Tensor | None
    absent: Tensor | None

    def __init__(
        self, backbone: nn.Module, head: Head, *, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.kind = head.kind
        self.scale = head.scale
        self.normalize = head.normalize
        self.mean = (mean[0], mean[1], mean[2])
        self.std = (std[0], std[1], std[2])
        # Buffers, not plain attributes: they move and are saved with the model.
        self.register_buffer("weight", head.weight)
        self.register_buffer("bias", head.bias)
        self.register_buffer("center", head.center)
        self.register_buffer("absent", head.absent)

    def forward(self, images: Tensor) -> Tensor:
        features = self.backbone(normalize(images, mean=self.mean, std=self.std))
        head = Head(
            kind=self.kind,
            weight=self.weight,
            bias=self.bias,
            scale=self.scale,
            center=self.center,
            normalize=self.normalize,
            absent=self.absent,
        )
        return head.logits(features)


def example_images(image_size: int) -> Tensor:
    """Return two black images `[2, S, S, 3]` to trace a model with.

    Two, because tracing takes a batch of one for a constant: the program would refuse any other.
    """
    return torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
