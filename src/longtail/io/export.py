"""The served model as MLflow stores it: an exported program with what is needed to serve it.

A model's directory has two flavors. `pytorch` is the bare program, pixels to logits. Through
`python_function` it answers requests (`longtail.io.pyfunc`), by code that travels with it: who
serves it needs MLflow, torch, pandas and Pillow, but not this package, and no pickle is read.
"""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version as installed
from pathlib import Path

import mlflow.pyfunc
import mlflow.pytorch
import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, Object, Property

from longtail.files import write_json
from longtail.io.pyfunc import FACTS
from longtail.predictor import Facts
from longtail.serving import ServedModel, example_images

PACKAGE = Path(__file__).parents[1]
# The package that travels with a model: files that import only each other.
SERVED = (
    "__init__.py",
    "image_input.py",
    "imaging.py",
    "predictor.py",
    "prior_shift.py",
    "io/__init__.py",
    "io/pyfunc.py",
)
REQUIREMENTS = ("mlflow", "numpy", "pandas", "pillow", "torch")


def log_model(model: ServedModel, *, facts: Facts, files: Sequence[Path]) -> None:
    """Log a served model to the active run, with `files` and `model.json` beside it."""
    Model.log(
        artifact_path=None,
        name="model",
        flavor=sys.modules[__name__],
        model=model,
        facts=facts,
        files=files,
    )


def save_model(
    path: str,
    *,
    model: ServedModel,
    facts: Facts,
    files: Sequence[Path],
    mlflow_model: Model | None = None,
) -> None:
    """Write a model's directory; `Model.log` calls this, as it does for MLflow's own flavors."""
    written = mlflow_model or Model()
    size = facts.image_size
    pixels = TensorSpec(np.dtype(np.uint8), (-1, size, size, 3))
    logits = TensorSpec(np.dtype(np.float32), (-1, len(facts.classes)))
    with tempfile.TemporaryDirectory() as scratch:
        write_json(Path(scratch) / FACTS.name, asdict(facts))
        code = _code(Path(scratch))
        mlflow.pytorch.save_model(
            model.cpu().eval(),
            path,
            mlflow_model=written,
            signature=ModelSignature(Schema([pixels]), Schema([logits])),
            input_example=example_images(size).numpy(),
            # Given, because finding them out takes ten seconds.
            pip_requirements=[f"{package}=={installed(package)}" for package in REQUIREMENTS],
            serialization_format="pt2",
            code_paths=[str(code)],
            extra_files=[str(file) for file in (*files, Path(scratch) / FACTS.name)],
        )
    _answer_requests(written, package=code.name, facts=facts)
    written.save(str(Path(path) / "MLmodel"))


def _answer_requests(written: Model, *, package: str, facts: Facts) -> None:
    """Replace the generic flavor, which would return logits, by ours."""
    mlflow.pyfunc.add_to_model(
        written,
        loader_module=f"{package}.io.pyfunc",
        data="data",
        code="code",
        conda_env="conda.yaml",
        python_env="python_env.yaml",
    )
    params = [
        ParamSpec("top_k", DataType.integer, default=5),
        ParamSpec("prior", DataType.double, default=[], shape=(-1,)),
    ]
    # Of the inputs MLflow's signatures can say only one kind; `pyfunc` checks them itself.
    written.signature = ModelSignature(outputs=_outputs(facts), params=ParamSchema(params))


def _outputs(facts: Facts) -> Schema:
    top = Object(
        [
            Property("label", DataType.long),
            Property("class_name", DataType.string),
            Property("probability", DataType.double),
        ]
    )
    columns: dict[str, DataType | Array] = {
        "label": DataType.long,
        "class_name": DataType.string,
        "probability": DataType.double,
        "group": DataType.string,
        "top_k": Array(top),
        "error": DataType.string,
    }
    if facts.super_of:
        columns |= {
            "super_label": DataType.long,
            "super_name": DataType.string,
            "super_probability": DataType.double,
            "levels_agree": DataType.boolean,
        }
    return Schema([ColSpec(kind, name, required=False) for name, kind in columns.items()])


def _code(scratch: Path) -> Path:
    """Copy the served package.

    Its name holds its digest, so that models of several versions of it can live in one process.
    """
    content = b"".join((PACKAGE / name).read_bytes() for name in SERVED)
    copy = scratch / f"longtail_served_{hashlib.sha256(content).hexdigest()[:12]}"
    for name in SERVED:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PACKAGE / name, copy / name)
    return copy
