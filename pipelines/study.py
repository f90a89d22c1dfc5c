"""A grid of flows as one pipeline: images, split and validation once, then every cell by itself."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.study import compare, outcome
from longtail.config.params import LEARNING
from longtail.config.resources import ResourcesConfig
from longtail.config.study import StudyConfig
from longtail.errors import LongtailError
from longtail.study.grid import Cell, cells, matching, read_study
from pipelines.compiling import compiled
from pipelines.flow import prepare, train
from pipelines.parameters import plain, read_resources
from pipelines.pods import equip

NAME = "longtail-study"
SHARED = ("ingest", "split", "validate")


def compiled_study(file: Path, params: Path, *, only: Sequence[str] = (), parallelism: int) -> str:
    """Return the pipeline of a study file as YAML.

    Args:
        params: parameter file whose section `resources` says what the pods get.
        only: names of cells, `*` for any text; default: all cells.
        parallelism: cells at a time.

    Raises:
        LongtailError: a file is missing or wrong, or the cells need more than one split.
    """
    return compiled(build(file, read_resources(params), only=only, parallelism=parallelism))


def build(
    file: Path, resources: ResourcesConfig, *, only: Sequence[str], parallelism: int
) -> BaseComponent:
    """Return the pipeline; its parameters are those of training, with `cells` for what differs."""
    config = read_study(file)
    grid = matching(cells(config), only)
    shared = _shared(file, grid)
    items = [_item(index, cell) for index, cell in enumerate(grid)]
    described = _described(file.stem, config, grid)

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
        data = prepare(
            {"ingest": ingest, "split": split, "validate": validate},
            resources,
            code_rev=code_rev,
            data_rev=data_rev,
            split_remote=split_remote,
            image_store=image_store,
        )
        with dsl.ParallelFor(grid, name="cells", parallelism=parallelism) as cell:
            own = {name: getattr(cell, name) for name in LEARNING}
            model = train(own, resources, code_rev=code_rev, data=data)
            kept = outcome(
                cell=cell.cell,
                representation=model.representation,
                heads=model.heads,
                evaluation=model.evaluation,
                code_rev=code_rev,
            )
            equip(kept, resources)
        outcomes = dsl.Collected(kept.output)
        equip(compare(study=described, code_rev=code_rev, outcomes=outcomes), resources)

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
    return {"cell": place, **{name: plain(cell.params[name]) for name in LEARNING}}


def _shared(file: Path, grid: Sequence[Cell]) -> dict[str, dict[str, Any]]:
    """Return the sections that all cells have to have in common."""
    for name in SHARED:
        other = next((c for c in grid if c.params[name] != grid[0].params[name]), None)
        if other is not None:
            raise LongtailError(
                f"{file}: `{other.name}` and `{grid[0].name}` differ in section {name}, but on "
                "Kubeflow the cells of a study share images, split and validation. Name the cells "
                "of one, as in --only 'IF 100 / *', or take `longtail study run`"
            )
    return {name: plain(grid[0].params[name]) for name in SHARED}
