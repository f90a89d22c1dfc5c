"""A grid of flows as one pipeline: images, split and validation once, then every cell by itself."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components import steps
from components.study import compare, outcome
from longtail.config.resources import ResourcesConfig
from longtail.config.study import StudyConfig
from longtail.errors import LongtailError
from longtail.study.grid import Cell, cells, read_study
from pipelines.compiling import compiled
from pipelines.nodes import equip_stage1
from pipelines.parameters import plain, read_resources
from pipelines.pods import equip

NAME = "longtail-study"
SHARED = ("ingest", "split", "validate")
OWN = ("represent", "embed", "classify", "tau_norm", "evaluate")


def compiled_study(file: Path, params: Path, *, parallelism: int) -> str:
    """Return the pipeline of a study file as YAML.

    Args:
        params: parameter file whose section `resources` says what the pods get.
        parallelism: cells at a time.

    Raises:
        LongtailError: a file is missing or wrong, or the cells need more than one split.
    """
    return compiled(build(file, read_resources(params), parallelism=parallelism))


def build(file: Path, resources: ResourcesConfig, *, parallelism: int) -> BaseComponent:
    """Return the pipeline; its parameters are those of training, with `cells` for what differs."""
    config = read_study(file)
    grid = cells(config)
    shared = _shared(file, grid)
    items = [_item(index, cell) for index, cell in enumerate(grid)]
    described = _described(file.stem, config, grid)
    on_cpu = partial(equip, resources=resources)
    on_gpu = partial(equip, resources=resources, gpu=True)

    @dsl.pipeline(name=f"{NAME}-{file.stem}", description="Methods compared over a grid.")
    def study(
        code_rev: str = "",
        data_rev: str = "",
        split_remote: str = resources.split_remote,
        image_store: str = resources.image_store,
        ingest: dict = shared["ingest"],
        split: dict = shared["split"],
        validate: dict = shared["validate"],
        grid: list = items,
    ) -> None:
        source = steps.fingerprint(params=ingest, code_rev=code_rev)
        on_cpu(source, transient=True).set_caching_options(False)
        images = steps.ingest(
            params=ingest, source=source.output, image_store=image_store, code_rev=code_rev
        )
        on_cpu(images, transient=True)
        chosen = steps.split(
            params=split,
            data_rev=data_rev,
            remote=split_remote,
            code_rev=code_rev,
            images=images.output,
        )
        on_cpu(chosen, transient=True)
        data = {"images": images.output, "split": chosen.outputs["split"]}
        valid = steps.validate(params=validate, code_rev=code_rev, **data)
        on_cpu(valid, transient=bool(resources.image_store))
        with dsl.ParallelFor(grid, name="cells", parallelism=parallelism) as cell:
            backbone = steps.represent(
                params=cell.represent,
                processes=resources.gpu.processes,
                code_rev=code_rev,
                validation=valid.outputs["validation"],
                **data,
            )
            equip_stage1(backbone, resources)
            features = steps.embed(
                params=cell.embed, code_rev=code_rev, representation=backbone.output, **data
            )
            on_gpu(features, transient=True)
            trained = {"code_rev": code_rev, "representation": backbone.output}
            head = steps.classify(params=cell.classify, features=features.output, **trained)
            on_cpu(head)
            heads = steps.tau_norm(
                params=cell.tau_norm, features=features.output, classifier=head.output, **trained
            )
            on_cpu(heads)
            measured = steps.evaluate(
                params=cell.evaluate,
                classifier=head.output,
                heads=heads.output,
                **trained,
                **data,
            )
            on_gpu(measured, transient=True)
            kept = outcome(
                cell=cell.cell,
                heads=heads.output,
                evaluation=measured.outputs["evaluation"],
                **trained,
            )
            on_cpu(kept)
        on_cpu(compare(study=described, code_rev=code_rev, outcomes=dsl.Collected(kept.output)))

    return study


def _described(name: str, config: StudyConfig, grid: Sequence[Cell]) -> str:
    """Return what `compare` has to know, as JSON.

    KFP would lose the nulls of a dict, and its order, which says what others are compared with.
    """
    content = {
        "name": name,
        "config": config.model_dump(mode="json") | {"base": config.base.name},
        "cells": [{"values": cell.values, "seed": cell.seed} for cell in grid],
        "split": grid[0].params["split"].model_dump(mode="json"),
    }
    return json.dumps(content)


def _item(index: int, cell: Cell) -> dict[str, Any]:
    place = {"index": index, "name": cell.row, "seed": cell.seed}
    return {"cell": place, **{name: plain(cell.params[name]) for name in OWN}}


def _shared(file: Path, grid: Sequence[Cell]) -> dict[str, dict[str, Any]]:
    """Return the sections that all cells have to have in common."""
    for name in SHARED:
        other = next((c for c in grid if c.params[name] != grid[0].params[name]), None)
        if other is not None:
            raise LongtailError(
                f"{file}: `{other.name}` and `{grid[0].name}` differ in section {name}, but on "
                "Kubeflow the cells of a study share images, split and validation. Make a file for "
                "each, or take `longtail study run`"
            )
    return {name: plain(grid[0].params[name]) for name in SHARED}
