"""The fresh process of the smoke test: `python -m longtail.io.smoke_worker MODEL HELD VARIANT OUT`.

It imports nothing that the model was made with: only MLflow, torch and safetensors, as a consumer.
"""

import json
import os
import sys
from pathlib import Path

import mlflow.pytorch
import torch
from safetensors.torch import load_file
from torch import Tensor

LOWEST = -1e20  # below it are the logits of classes without training images, in fact -1e30


def main(model: str, held: str, variant: str, out: str) -> None:
    """Write the largest difference of a logit, relative to the largest evaluated one."""
    if os.environ.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION") != "false":
        raise SystemExit("pickles are not refused")
    evaluated = load_file(held)
    with torch.inference_mode():
        given = mlflow.pytorch.load_model(model)(evaluated["pixels"])
    logits = given[0] if isinstance(given, tuple | list) else given  # super-classes come second
    expected = evaluated[variant]
    if logits.shape != expected.shape:
        raise SystemExit(f"logits are {list(logits.shape)}, evaluated {list(expected.shape)}")
    result = {"images": len(expected), "difference": difference(logits, expected)}
    Path(out).write_text(json.dumps(result), encoding="utf-8")


def difference(logits: Tensor, expected: Tensor) -> float:
    """Return `max|z' - z| / max|z|` over the classes that a model knows.

    One that is left out in only one of the two makes it infinite.

    Args:
        logits: `[N, C]`, where classes that are left out have less than `LOWEST`.
        expected: likewise.
    """
    left_out = expected < LOWEST
    if not left_out.equal(logits < LOWEST):
        return float("inf")
    known = expected[~left_out].double()
    return float((logits[~left_out].double() - known).abs().max() / known.abs().max())


if __name__ == "__main__":
    main(*sys.argv[1:])
