"""ResNet-32, the network of the field's CIFAR tables."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn


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
