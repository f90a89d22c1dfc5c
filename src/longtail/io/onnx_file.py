"""A registered model as ONNX, checked against torch before the file is written."""

import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow.pytorch
import numpy as np
import torch
from torch import Tensor, nn

from longtail.errors import LongtailError
from longtail.files import whole_file
from longtail.heads import ABSENT
from longtail.io.pyfunc import FACTS, pickles_refused
from longtail.predictor import Facts, read_facts
from longtail.prior_shift import Floats
from longtail.serving import example_images

BATCHES = (1, 2, 5)  # sizes that the file is checked with
# Of the largest logit: float32 sums in another order, over some dozens of layers.
TOLERANCE = 1e-4
OUTPUTS = ("logits", "super_logits")


def export_onnx(model: Path, out: Path) -> float:
    """Write the program of a registered model as one ONNX file, for any number of images.

    Input `images`: uint8 `[N, S, S, 3]`. Output `logits`: float32 `[N, C]`, and `super_logits`
    `[N, K]` of a model with a head for super-classes. The names of the classes are in the file's
    metadata, as JSON by the keys of `model.json`.

    Returns:
        The largest difference from torch, relative to the largest logit, over random images.

    Raises:
        LongtailError: packages of ONNX are not installed, or the difference is above `TOLERANCE`.
    """
    try:
        import onnx
        import onnxruntime  # type: ignore[import-untyped]
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise LongtailError(
            f"ONNX needs packages that are not here ({error}); "
            "pip install onnx onnxruntime onnxscript"
        ) from None
    facts = read_facts(model / FACTS)
    with pickles_refused():
        program: nn.Module = mlflow.pytorch.load_model(str(model))
    with whole_file(out) as partial:
        exported = _exported(program, facts)
        onnx.helper.set_model_props(exported, _metadata(facts))
        onnx.save(exported, partial)
        session = onnxruntime.InferenceSession(partial, providers=["CPUExecutionProvider"])
        difference = _difference(program, session, facts)
        if not difference <= TOLERANCE:
            raise LongtailError(
                f"ONNX gives logits that differ from torch's by {difference:.2e} of the largest, "
                f"more than {TOLERANCE:.0e}; the model has an operator that ONNX computes "
                "otherwise: serve it with MLflow"
            )
    return difference


def _exported(program: nn.Module, facts: Facts) -> Any:
    """The program as an ONNX message; its batch is of any size."""
    example = example_images(facts.image_size)
    with warnings.catch_warnings():
        # An exported program has no training mode to be left, but torch looks for it.
        warnings.filterwarnings("ignore", "Exporting a model while it is in training mode")
        exported = torch.onnx.export(
            program,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: "batch"},),
            input_names=["images"],
            output_names=OUTPUTS[: len(_levels(program, example))],
            verbose=False,
        )
    assert exported is not None  # with dynamo there is one
    return exported.model_proto


def _metadata(facts: Facts) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in asdict(facts).items()}


def _difference(program: nn.Module, session: Any, facts: Facts) -> float:
    """Largest difference of any output, relative to its largest logit, over random images."""
    generator = torch.Generator().manual_seed(0)
    differences = [0.0]
    for count in BATCHES:
        shape = (count, facts.image_size, facts.image_size, 3)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        expected = _levels(program, images)
        found = session.run(None, {"images": images.numpy()})
        differences += [_relative(*pair) for pair in zip(expected, found, strict=True)]
    return float(np.max(differences))  # NaN if there is one, unlike the built-in max


@torch.inference_mode()
def _levels(program: nn.Module, images: Tensor) -> list[Floats]:
    out = program(images)
    return [level.numpy() for level in ((out,) if isinstance(out, Tensor) else out)]


def _relative(expected: Floats, found: Floats) -> float:
    """Difference over the classes that the model can predict; the others must stay out of reach."""
    real = expected > ABSENT / 2
    if (found[~real] > ABSENT / 2).any():
        return np.inf
    return float(np.abs(found - expected)[real].max() / np.abs(expected)[real].max())
