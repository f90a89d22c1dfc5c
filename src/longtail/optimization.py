"""Optimizers and number formats of training."""

import torch
from torch import nn


def build_optimizer(
    network: nn.Module,
    *,
    name: str,
    learning_rate: float,
    weight_decay: float,
    decay_norms_and_biases: bool,
) -> torch.optim.Optimizer:
    """Build SGD (momentum 0.9, no Nesterov) or AdamW over the trainable parameters.

    Without `decay_norms_and_biases`, tensors of one dimension form a group of their own that is
    not decayed.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [{"params": parameters, "weight_decay": weight_decay}]
    if not decay_norms_and_biases:
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9)
    return torch.optim.AdamW(groups, lr=learning_rate)


def working_precision(name: str, device: torch.device) -> torch.dtype:
    """Choose the number format of autocast for `auto`, `fp32` or `bf16`.

    `auto` is bf16 on GPUs and CPUs that multiply in bf16; elsewhere bf16 is emulated and ten times
    slower than fp32.
    """
    if name == "auto":
        name = "bf16" if _multiplies_in_bf16(device) else "fp32"
    return torch.bfloat16 if name == "bf16" else torch.float32


def _multiplies_in_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
