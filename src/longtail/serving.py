"""The model that is registered: preprocessing, backbone and the chosen head in one."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from longtail.heads import TENSORS, Head


class ServedModel(nn.Module):
    """uint8 RGB images `[N, S, S, 3]` -> logits `[N, C]`, in float32.

    The caller decodes and resizes (see `longtail.imaging.decode`); normalisation is in here, so
    that a consumer cannot get it wrong. With a head `above` for super-classes the output is a pair:
    their logits `[N, K]` come second.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        head: Head,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        above: Head | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = _HeadModule(head)
        self.above = None if above is None else _HeadModule(above)
        # As `normalize` does, but in buffers: constants could not move to another device.
        self.register_buffer("scale", 1 / (255 * torch.tensor(std)))
        self.register_buffer("shift", torch.tensor(mean) / torch.tensor(std))

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        features = self.backbone((images * self.scale - self.shift).permute(0, 3, 1, 2))
        logits: Tensor = self.head(features)
        return logits if self.above is None else (logits, self.above(features))


class _HeadModule(nn.Module):
    """A head whose tensors move and are saved with the model."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self._head = head
        for name in TENSORS:
            self.register_buffer(name, getattr(head, name))

    def forward(self, features: Tensor) -> Tensor:
        head = replace(self._head, **{name: getattr(self, name) for name in TENSORS})
        return head.logits(features)


def assumed_prior(class_counts: Sequence[int], *, balanced: bool) -> list[float]:
    """Return the class distribution that a model's probabilities assume, `[C]`.

    It is that of the training images; if the training was balanced, all classes that have images
    have equal shares.
    """
    counts = torch.tensor(class_counts, dtype=torch.float64)
    shares = (counts > 0).double() if balanced else counts
    return [float(share) for share in shares / shares.sum()]


def example_images(image_size: int) -> Tensor:
    """Return two black images `[2, S, S, 3]` to trace a model with.

    Two, because tracing takes a batch of one for a constant: the program would refuse any other.
    """
    return torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
