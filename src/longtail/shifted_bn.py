"""BatchNorm's statistics on class-balanced images, once stage 1 has ended."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from longtail.backbones.images import normalize
from longtail.batches import Batching
from longtail.data import ImageStore
from longtail.randomness import Use, generator_at
from longtail.sampling import draw, sampling_probabilities
from longtail.training import Outcome, Trainer


def shift_statistics(
    trainer: Trainer, outcome: Outcome, train: ImageStore, val: ImageStore
) -> Outcome:
    """Measure the best weights' BatchNorm statistics again, on class-balanced images.

    Weights and BatchNorm's affine parameters stay. Each layer takes the mean over as many plain
    images as one epoch has; rank 0's statistics count.

    Source: Zhong et al., MiSLAS (CVPR 2021), section 3.3: shifted batch normalisation.
    """
    trainer.network.load_state_dict(outcome.weights)
    norms = [m for m in trainer.network.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average of all batches
    trainer.network.train()
    how = trainer.recipe.batching
    with torch.no_grad():
        for images in train.stream(_balanced_batches(train.labels, how)):
            pixels = images.to(trainer.world.device)
            trainer.network(normalize(pixels, mean=how.mean, std=how.std))
    trainer.world.synchronize_buffers(trainer.network)
    numbers = trainer.evaluate(trainer.network, val)
    weights = {k: v.detach().cpu().clone() for k, v in trainer.network.state_dict().items()}
    history = [dict(entry) for entry in outcome.history]
    history[outcome.best_epoch] |= numbers
    return Outcome(outcome.best_epoch, weights, history)


def _balanced_batches(labels: Tensor, how: Batching) -> Sequence[Tensor]:
    """Draw as many images as there are, every class equally likely."""
    balanced = draw(
        labels,
        sampling_probabilities(torch.bincount(labels), q=0.0),
        draws=len(labels),
        generator=generator_at(how.seed, Use.SHIFT),
    )
    batches = torch.split(balanced, how.batch_size)
    if len(batches) > 1 and len(batches[-1]) < 2:  # one image has no variance
        batches = batches[:-1]
    return batches
