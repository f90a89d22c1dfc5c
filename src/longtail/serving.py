"""The model that is registered: preprocessing, backbone and the chosen head in one."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from longtail.heads import TENSORS, Head
from longtail.models import normalize


class ServedModel(nn.Module):
    """uint8 RGB images `[N, S, S, 3]` -> logits `[N, C]`, in float32.

    The caller decodes and resizes (see `longtail.imaging.decode`); normalisation is in here, so
    that a consumer cannot get it wrong.
    """

    def __init__(
        self, backbone: nn.Module, head: Head, *, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.mean = (mean[0], mean[1], mean[2])
        self.std = (std[0], std[1], std[2])
        self._head = head
        # Buffers, not plain attributes: they move and are saved with the model.
        for name in TENSORS:
            self.register_buffer(name, getattr(head, name))

    def forward(self, images: Tensor) -> Tensor:
        features = self.backbone(normalize(images, mean=self.mean, std=self.std))
        head = replace(self._head, **{name: getattr(self, name) for name in TENSORS})
        return head.logits(features)


def example_images(image_size: int) -> Tensor:
    """Return two black images `[2, S, S, 3]` to trace a model with.

    Two, because tracing takes a batch of one for a constant: the program would refuse any other.
    """
    return torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
