"""The served model as MLflow stores it: an exported program, never a pickle."""

from collections.abc import Sequence
from importlib.metadata import version as installed
from pathlib import Path

import mlflow.pytorch
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from torch import nn

from longtail.serving import example_images


def log_model(model: nn.Module, *, image_size: int, classes: int, files: Sequence[Path]) -> None:
    """Log a served model to the active run as an exported program, with `files` beside it.

    The signature is uint8 `[-1, S, S, 3]` -> float32 `[-1, C]`.
    """
    inputs = TensorSpec(np.dtype(np.uint8), (-1, image_size, image_size, 3))
    outputs = TensorSpec(np.dtype(np.float32), (-1, classes))
    mlflow.pytorch.log_model(
        model.cpu().eval(),
        name="model",
        signature=ModelSignature(Schema([inputs]), Schema([outputs])),
        input_example=example_images(image_size).numpy(),
        # Given, because finding them out takes ten seconds.
        pip_requirements=[f"{package}=={installed(package)}" for package in ("torch", "numpy")],
        serialization_format="pt2",
        extra_files=[str(file) for file in files],
    )
