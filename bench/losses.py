"""What each loss adds to a training step of ResNet-32 with 1,000 classes, relative to the step."""

import time
from collections.abc import Callable

import torch
from torch import nn

from longtail.backbones.building import build_backbone
from longtail.losses.table import LOSSES, build_loss
from longtail.network import Network

CLASSES, BATCH, REPEATS = 1000, 128, 30


def run() -> dict[str, float]:
    """Return (time of the loss - time of cross-entropy) / time of a step, forward and backward."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.linspace(1280, 5, CLASSES).long()
    logits = torch.randn(BATCH, CLASSES, generator=generator).requires_grad_()
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    losses = {name: build_loss(name, class_counts=counts) for name in LOSSES}

    def cost(name: str) -> Callable[[], None]:
        return lambda: torch.autograd.backward(losses[name](logits, labels).mean())

    step = _fastest(_step(labels), repeats=5)
    plain = _fastest(cost("cross_entropy"), repeats=REPEATS)
    return {
        f"{name}_added_to_a_step": (_fastest(cost(name), repeats=REPEATS) - plain) / step
        for name in LOSSES
        if name != "cross_entropy"
    }


def _step(labels: torch.Tensor) -> Callable[[], None]:
    network = Network(build_backbone("cifar_resnet32"), nn.Linear(64, CLASSES))
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    images = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(nn.functional.cross_entropy(network(images), labels))
        optimizer.step()

    return step


def _fastest(work: Callable[[], None], *, repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
