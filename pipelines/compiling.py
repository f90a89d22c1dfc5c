"""A pipeline as a file."""

import tempfile
from itertools import dropwhile
from pathlib import Path

from kfp.compiler import Compiler
from kfp.dsl.base_component import BaseComponent

from pipelines import training
from pipelines.parameters import read_parameters, read_resources


def compiled_training(params: Path) -> str:
    """Return the pipeline of a parameter file as YAML.

    Raises:
        LongtailError: the file is missing or wrong.
    """
    return compiled(training.build(read_parameters(params), read_resources(params)))


def compiled(pipeline: BaseComponent) -> str:
    """Return a pipeline as YAML; the same pipeline gives the same text.

    KFP's comment at the top, which lists the parameters in another order each time, is left out.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "pipeline.yaml"
        Compiler().compile(pipeline, str(file))
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(dropwhile(lambda line: line.startswith("#"), lines))
