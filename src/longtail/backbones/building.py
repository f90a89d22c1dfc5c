"""From a name to a backbone, with weights if there are any."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from longtail.backbones.cifar_resnet import CIFAR_RESNETS
from longtail.errors import LongtailError, first_few


def build_backbone(name: str, *, pretrained: str | None = None) -> nn.Module:
    """Build a backbone without a classifier; `feature_dimension` tells its `D`.

    Args:
        name: a name of `CIFAR_RESNETS`, or any timm model name.
        pretrained: None for random weights, `hub` for timm's, or a local safetensors file.

    Raises:
        LongtailError: the name is unknown, or the weights cannot be had or do not fit.
    """
    if name in CIFAR_RESNETS:
        backbone: nn.Module = CIFAR_RESNETS[name]()
        if pretrained == "hub":
            raise _no_weights(name)
        return _with_weights(backbone, pretrained) if pretrained else backbone
    import timm

    try:
        if pretrained == "hub":
            return timm.create_model(name, pretrained=True, num_classes=0)
        backbone = timm.create_model(name, num_classes=0)
    except (RuntimeError, ValueError) as error:
        raise _unknown_model(name, error) from None
    except OSError as error:
        raise LongtailError(
            f"weights of {name} cannot be downloaded ({error}); download them elsewhere and give "
            "the safetensors file as represent.pretrained, or null for random weights"
        ) from None
    return _with_weights(backbone, pretrained) if pretrained else backbone


def feature_dimension(backbone: nn.Module) -> int:
    """Return the dimension `D` of what the backbone gives.

    Some of timm's models widen their `num_features` in a last layer that belongs to the features.
    """
    return int(getattr(backbone, "head_hidden_size", None) or backbone.num_features)  # type: ignore[arg-type]


def _with_weights(backbone: nn.Module, file: str) -> nn.Module:
    if not Path(file).is_file():
        raise LongtailError(f"represent.pretrained: {file} does not exist")
    try:
        weights = load_file(file)
    except SafetensorError as error:
        raise LongtailError(
            f"represent.pretrained: {file} is no safetensors file, or a part of one ({error}); "
            "fetch it again, or convert it with safetensors.torch.save_file"
        ) from None
    own = backbone.state_dict()
    missing = sorted(own.keys() - weights.keys())
    if missing:
        raise LongtailError(f"{file} lacks {missing[0]} and {len(missing) - 1} more weights")
    for name, tensor in own.items():
        if weights[name].shape != tensor.shape:
            raise LongtailError(
                f"{file} has {name} of shape {[*weights[name].shape]}, the backbone of shape "
                f"{[*tensor.shape]}; give weights of the same represent.backbone"
            )
    backbone.load_state_dict({name: weights[name] for name in own})
    return backbone


def _unknown_model(name: str, error: Exception) -> Exception:
    """Say what timm does not know: a model, or its weights; another error stays what it is."""
    import difflib

    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(name, [*CIFAR_RESNETS, *timm.list_models()], n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "see timm.list_models()"
        return LongtailError(f"represent.backbone: no model is called {name!r}; {hint}")
    weights = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in weights:
        known = f"name {first_few(weights)}, or" if weights else "it has none: name"
        return LongtailError(
            f"represent.backbone: {architecture} has no weights called {tag!r}; {known} "
            f"{architecture} alone"
        )
    if not weights:
        return _no_weights(name)
    return error


def _no_weights(name: str) -> LongtailError:
    return LongtailError(
        f"represent.pretrained is hub, but {name} has no weights there; give a local safetensors "
        "file, or null for random weights"
    )
