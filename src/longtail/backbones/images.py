"""Images as backbones take them: normalised, of a size they know; and what one costs."""

from functools import lru_cache

import torch
from torch import Tensor, nn

from longtail.errors import LongtailError


def normalize(
    images: Tensor, *, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """Turn uint8 `[N, S, S, 3]` into float32 `[N, 3, S, S]`, `(x / 255 - mean) / std` a channel."""
    scale, shift = _scale_and_shift(tuple(mean), tuple(std), images.device)
    # The permuted view of a dense NHWC tensor is channels_last, the layout that convolutions want.
    return (images * scale - shift).permute(0, 3, 1, 2)


@lru_cache
def _scale_and_shift(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Put the constants on the device once: copying them in every step would be waiting for it."""
    with torch.inference_mode(False):  # what is kept has to serve training too
        means, deviations = torch.tensor(mean), torch.tensor(std)
        return (1 / (255 * deviations)).to(device), (means / deviations).to(device)


def multiply_adds(backbone: nn.Module, *, image_size: int) -> int:
    """Count the multiply-adds of one image through the backbone."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        _run_once(backbone, image_size)
    return int(counter.get_total_flops()) // 2


def require_image_size(backbone: nn.Module, *, name: str, image_size: int) -> None:
    """Try the backbone on one image.

    Raises:
        LongtailError: it cannot take images of that size.
    """
    try:
        _run_once(backbone, image_size)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise LongtailError(
            f"represent.image_size is {image_size}, which the backbone {name} cannot take "
            f"({error}); set the size that it is made for, or take another backbone"
        ) from error


def _run_once(backbone: nn.Module, image_size: int) -> None:
    """Pass one black image through the backbone and change nothing in it."""
    training = backbone.training
    with torch.no_grad():
        backbone.eval()(torch.zeros(1, 3, image_size, image_size))
    backbone.train(training)
