"""Classifier heads in files: tensors as safetensors, all else as JSON in its metadata."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from longtail.errors import LongtailError
from longtail.heads import SETTINGS, TENSORS, Head


def save_heads(path: Path, heads: dict[str, Head]) -> None:
    """Write heads to one safetensors file: `<name>.weight` and so on, and a JSON metadata.

    The file is byte-identical for equal heads.
    """
    tensors = {
        f"{name}.{part}": tensor.detach().cpu().contiguous().clone()
        for name, head in heads.items()
        for part in TENSORS
        if (tensor := getattr(head, part)) is not None
    }
    settings = {
        name: {setting: getattr(head, setting) for setting in SETTINGS}
        for name, head in heads.items()
    }
    # One metadata entry only: safetensors writes several in an order that changes from run to run.
    save_file(tensors, path, metadata={"heads": json.dumps(settings)})


def load_heads(path: Path) -> dict[str, Head]:
    """Read what `save_heads` wrote, in the order in which it was given.

    Raises:
        LongtailError: the file is missing, or is not one of heads.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            settings = json.loads((file.metadata() or {})["heads"])
        return {
            name: Head(
                **{
                    part: tensors[f"{name}.{part}"]
                    for part in TENSORS
                    if f"{name}.{part}" in tensors
                },
                **{**head, "parts": tuple(head["parts"])},
            )
            for name, head in settings.items()
        }
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise LongtailError(
            f"{path} is not a file of classifier heads ({type(error).__name__}: {error}); "
            "run the step that writes it again"
        ) from None
