"""The network of stage 1: a backbone and the head that it is trained with."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
