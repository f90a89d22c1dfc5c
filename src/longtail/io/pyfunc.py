"""The registered model in MLflow's serving and in this package; travels with the model.

No MLmodel of ours holds a pickle: the program is checked to be free of them before it is loaded.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow.pytorch
import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from torch import Tensor, nn

from ..image_input import Pixels
from ..predictor import Predictor, read_facts
from ..prior_shift import Floats

COLUMN = "image"
FACTS = Path("extra_files") / "model.json"  # in a model's directory


class Served:
    """What MLflow calls for a request."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Answer a batch, one row an image; what is no image has a reason in the column `error`.

        Args:
            data: array `[N, H, W, 3]` of whole numbers 0..255, or a table, dictionary or list of
                encoded images as bytes or base64; of a table, the column `image`, or its only one.
            params: `top_k`, and `prior`: shares of classes to predict for, by label, or empty.

        Raises:
            MlflowException: the request as a whole cannot be answered.
        """
        asked = {key: value for key, value in (params or {}).items() if value is not None}
        given = {"top_k": 5, "prior": [], **asked}
        try:
            target = self._predictor.target(given["prior"]) if len(given["prior"]) else None
            images = _images(data)
            if given["top_k"] < 1:
                raise ValueError(f"top_k is {given['top_k']}, but must be 1 or more")
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        answers = self._predictor.answer(images, top_k=given["top_k"], target=target)
        # As objects, for a missing number is null and not NaN, which is no JSON.
        return pd.DataFrame(answers, columns=list(self._predictor.fields), dtype=object)


def load(root: Path) -> Predictor:
    """Load a model from its directory, on the GPU if there is one.

    MLFLOW_DEFAULT_PREDICTION_DEVICE names another device.
    """
    facts = read_facts(root / FACTS)
    with pickles_refused():
        program: nn.Module = mlflow.pytorch.load_model(str(root))
    example = torch.zeros(2, facts.image_size, facts.image_size, 3, dtype=torch.uint8)
    device = place(program, example=example)

    @torch.inference_mode()
    def forward(pixels: Pixels) -> tuple[Floats, ...]:
        out = program(torch.from_numpy(np.ascontiguousarray(pixels)).to(device))
        levels: tuple[Tensor, ...] = (out,) if isinstance(out, Tensor) else tuple(out)
        return tuple(level.float().cpu().numpy() for level in levels)

    return Predictor(forward, facts)


def place(program: nn.Module, *, example: Tensor) -> str:
    """Move a program to the device to predict on, or leave it on the CPU if it cannot run there."""
    best = "cuda" if torch.cuda.is_available() else "cpu"
    device = os.environ.get("MLFLOW_DEFAULT_PREDICTION_DEVICE", best)
    try:
        program.to(device)
        program(example.to(device))
    except RuntimeError:  # some programs hold constants that do not move
        program.to("cpu")
        return "cpu"
    return device


def _load_pyfunc(data_path: str) -> Served:
    """What MLflow calls to load the model; `data_path` is the program's directory in it."""
    return Served(load(Path(data_path).parent))


@contextmanager
def pickles_refused() -> Iterator[None]:
    """Let MLflow unpickle nothing in the body, whatever the environment says outside of it."""
    name = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _images(data: Any) -> list[Any]:
    """The images of a request, one by one."""
    if isinstance(data, pd.DataFrame):
        if COLUMN not in data.columns and len(data.columns) != 1:
            raise ValueError(f"no column {COLUMN!r} among {', '.join(map(str, data.columns))}")
        return list(data[COLUMN] if COLUMN in data.columns else data.iloc[:, 0])
    if isinstance(data, dict):
        if COLUMN not in data:
            raise ValueError(f"no key {COLUMN!r} among {', '.join(map(str, data))}")
        return list(data[COLUMN])
    if isinstance(data, np.ndarray) and data.ndim not in (1, 4):
        raise ValueError(f"a batch is [images, height, width, 3], not {list(data.shape)}")
    if isinstance(data, np.ndarray | list):
        return list(data)
    raise ValueError(f"a {type(data).__name__} is no batch of images")
