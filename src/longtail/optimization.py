"""Optimizers and number formats of training."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def build_optimizer(
    network: nn.Module,
    *,
    name: str,
    learning_rate: float,
    weight_decay: float,
    decay_norms_and_biases: bool,
    undecayed: frozenset[str] = frozenset(),
) -> torch.optim.Optimizer:
    """Build SGD (momentum 0.9, no Nesterov), Adam or AdamW over all parameters.

    Frozen ones are in it too, so that they can join later; without a gradient they do not move.

    Args:
        decay_norms_and_biases: if not, tensors of one dimension are not decayed.
        undecayed: names of further parameters that are not decayed.
    """

    def decays(parameter: str, tensor: Tensor) -> bool:
        return parameter not in undecayed and (decay_norms_and_biases or tensor.ndim > 1)

    named = list(network.named_parameters())
    groups = [
        {"params": [p for n, p in named if decays(n, p)], "weight_decay": weight_decay},
        {"params": [p for n, p in named if not decays(n, p)], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    # Fused: one operation for all tensors, of which a small network has about a hundred.
    if name == "sgd":
        sgd = torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, fused=True)
        # The fused step fails if some tensors have a momentum and others, which rested, not yet.
        for _, parameter in named:
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return kind(groups, lr=learning_rate, fused=True)


def ascend(network: nn.Module, *, rho: float) -> Callable[[], None]:
    """Move the weights by `rho g / ||g||`, `g` the gradient of all; the result moves them back.

    Sharpness-aware minimisation takes the gradient there and applies it here.

    Source: Foret et al., Sharpness-Aware Minimization (ICLR 2021), algorithm 1.
    """
    moved: list[Tensor] = [p for p in network.parameters() if p.grad is not None]
    before = [p.detach().clone() for p in moved]
    gradients = [p.grad for p in moved if p.grad is not None]
    factor = rho / nn.utils.get_total_norm(gradients).clamp(min=1e-12)
    with torch.no_grad():
        torch._foreach_add_(moved, torch._foreach_mul(gradients, factor))

    def descend() -> None:
        with torch.no_grad():
            torch._foreach_copy_(moved, before)

    return descend


@contextmanager
def still_statistics(network: nn.Module) -> Iterator[None]:
    """Keep BatchNorm's running statistics as they are during a second pass over a batch."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def working_precision(name: str, device: torch.device) -> torch.dtype:
    """Choose the number format of autocast for `auto`, `fp32` or `bf16`.

    `auto` is bf16 on GPUs and CPUs that multiply matrices in bf16. AVX512 alone trains slower in
    bf16 than in fp32 (docs/performance.md), and where bf16 is emulated it takes ten times as long.
    """
    if name == "auto":
        name = "bf16" if _multiplies_in_bf16(device) else "fp32"
    return torch.bfloat16 if name == "bf16" else torch.float32


def _multiplies_in_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_amx_tile_supported())
