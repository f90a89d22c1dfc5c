"""What training and studies share: the tasks up to the validation, and those of one model.

Called in the body of a pipeline. What a task is given is a pipeline's parameter, another task's
output or a field of a loop's item, which KFP types as nothing in common: hence `Any`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kfp.dsl import PipelineTask

from components import steps
from longtail.config.resources import ResourcesConfig
from pipelines.nodes import equip_stage1
from pipelines.pods import equip, with_one_device


@dataclass(frozen=True)
class Data:
    """Outputs of the tasks up to the validation."""

    images: Any
    split: Any
    validation: Any


@dataclass(frozen=True)
class Model:
    """Outputs of the tasks from stage 1 to the evaluation."""

    representation: Any
    classifier: Any
    heads: Any
    evaluation: Any


def prepare(
    params: Mapping[str, Any],
    resources: ResourcesConfig,
    *,
    code_rev: Any,
    data_rev: Any,
    split_remote: Any,
    image_store: Any,
    after: tuple[PipelineTask, ...] = (),
) -> Data:
    """Ingest, split and validate; the source is looked at in every run."""
    source = steps.fingerprint(params=params["ingest"], code_rev=code_rev).after(*after)
    equip(source, resources, transient=True).set_caching_options(False)
    images = steps.ingest(
        params=params["ingest"], source=source.output, image_store=image_store, code_rev=code_rev
    )
    equip(images, resources, transient=True)
    chosen = steps.split(
        params=params["split"],
        data_rev=data_rev,
        remote=split_remote,
        code_rev=code_rev,
        images=images.output,
    )
    equip(chosen, resources, transient=True)
    split = chosen.outputs["split"]
    valid = steps.validate(
        params=params["validate"], code_rev=code_rev, images=images.output, split=split
    )
    equip(valid, resources, transient=bool(resources.image_store))
    return Data(images.output, split, valid.outputs["validation"])


def train(
    params: Mapping[str, Any], resources: ResourcesConfig, *, code_rev: Any, data: Data
) -> Model:
    """Train both stages and evaluate what comes of them."""
    inputs = {"images": data.images, "split": data.split}
    backbone = steps.represent(
        params=params["represent"],
        processes=resources.gpu.processes,
        code_rev=code_rev,
        validation=data.validation,
        **inputs,
    )
    equip_stage1(backbone, resources)
    trained = {"code_rev": code_rev, "representation": backbone.output}
    features = steps.embed(params=params["embed"], **trained, **inputs)
    equip(features, with_one_device(resources), gpu=True, transient=True)
    head = steps.classify(params=params["classify"], features=features.output, **trained)
    equip(head, resources)
    heads = steps.tau_norm(
        params=params["tau_norm"], features=features.output, classifier=head.output, **trained
    )
    equip(heads, resources)
    measured = steps.evaluate(
        params=params["evaluate"],
        classifier=head.output,
        heads=heads.output,
        **trained,
        **inputs,
    )
    equip(measured, with_one_device(resources), gpu=True, transient=True)
    return Model(backbone.output, head.output, heads.output, measured.outputs["evaluation"])
