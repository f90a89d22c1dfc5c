"""The processes that train together: one, or as many as torchrun started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from longtail.errors import LongtailError


@dataclass(frozen=True)
class World:
    """This process among those of a run; `rank` 0 writes.

    `on_device` processes share the memory of `device`; on CPUs, all of a machine's do.
    """

    rank: int
    size: int
    device: torch.device
    on_device: int = 1

    def share(self, positions: Tensor) -> slice:
        """This rank's contiguous, disjoint part of a batch; all ranks together cover it."""
        count = len(positions)
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum(self, values: Tensor) -> Tensor:
        """Add a small CPU tensor over all ranks."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, values: Tensor) -> Tensor:
        """Concatenate CPU tensors of all ranks along the first dimension, in rank order."""
        if self.size == 1:
            return values
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, values)
        return torch.cat(parts)

    def synchronize_buffers(self, module: torch.nn.Module) -> None:
        """Give every rank the BatchNorm statistics of rank 0, which are the ones that are saved."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)


@contextmanager
def world() -> Iterator[World]:
    """Join the processes that torchrun started (NCCL on GPUs, gloo on CPUs), or be alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    device, on_device = torch.device("cpu"), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if torch.cuda.is_available():
        place, devices = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if place >= devices:
            raise LongtailError(
                f"torchrun started more processes than this machine has GPUs, {devices}; give it "
                f"--nproc-per-node={devices}"
            )
        device, on_device = torch.device("cuda", place), 1
        torch.cuda.set_device(device)
        torch.backends.cudnn.deterministic = True  # or a run that is made again ends elsewhere
    if size == 1:
        yield World(0, 1, device, on_device)
        return
    # What ranks tell each other beside gradients lies on the CPU: no step has to wait for the GPU.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(rank, size, device, on_device)
    finally:
        dist.destroy_process_group()
