"""Layer groups that rest while the others train."""

from typing import Any

from torch import nn

from longtail.errors import LongtailError


def freeze(backbone: nn.Module, *, groups: int) -> None:
    """Freeze the first `groups` layer groups, and let all others train.

    The groups are timm's: the stem and the stages, or the blocks of a transformer. Call `rest`
    after every `train()`, so that the BatchNorm statistics of frozen layers do not change.

    Raises:
        LongtailError: the backbone has fewer groups.
    """
    names = _layer_groups(backbone) if groups else []
    if groups > len(names):
        raise LongtailError(
            f"represent.frozen_groups is {groups}, but the backbone has {len(names)} layer groups; "
            "set it to at most that, or to all"
        )
    resting = {name for group in names[:groups] for name in group}
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name not in resting)


def rest(backbone: nn.Module) -> None:
    """Put modules into `eval()` whose parameters, those of their parts included, are all frozen."""
    for module in backbone.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def layer_group_count(backbone: nn.Module) -> int:
    """Return how many groups `freeze` knows."""
    return len(_layer_groups(backbone))


def _layer_groups(backbone: nn.Module) -> list[list[str]]:
    from timm.models import group_parameters

    matcher: Any = backbone.group_matcher
    groups = group_parameters(backbone, matcher(coarse=True))
    return [groups[number] for number in sorted(groups)]
