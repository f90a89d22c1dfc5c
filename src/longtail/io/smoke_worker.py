"""The fresh process of the smoke test: `python -m longtail.io.smoke_worker URI HELD VARIANT OUT`.

It imports nothing that the model was made with: only MLflow, torch and safetensors, as a consumer.
"""

import json
import os
import sys
from pathlib import Path

import mlflow.pytorch
import torch
from safetensors.torch import load_file


def main(uri: str, held: str, variant: str, out: str) -> None:
    """Write the largest difference of a logit, relative to the largest evaluated one."""
    if os.environ.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION") != "false":
        raise SystemExit("pickles are not refused")
    evaluated = load_file(held)
    with torch.inference_mode():
        given = mlflow.pytorch.load_model(uri)(evaluated["pixels"])
    logits = given[0] if isinstance(given, tuple | list) else given  # super-classes come second
    expected = evaluated[variant]
    if logits.shape != expected.shape:
        raise SystemExit(f"logits are {list(logits.shape)}, evaluated {list(expected.shape)}")
    difference = (logits.double() - expected.double()).abs().max() / expected.abs().max()
    result = {"images": len(expected), "difference": float(difference)}
    Path(out).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
