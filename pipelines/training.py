"""The whole flow as one pipeline."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components import steps
from longtail.config.resources import ResourcesConfig
from pipelines.nodes import equip_stage1
from pipelines.pods import equip

NAME = "longtail-training"


def build(sections: Mapping[str, dict[str, Any]], resources: ResourcesConfig) -> BaseComponent:
    """Return the pipeline; `sections` are the defaults of its parameters, one dict each.

    Its other parameters: `code_rev` (what identifies code and image, so that no result of other
    code is found in the cache), `git_commit`, `data_rev` (md5 of a version of the split in the DVC
    remote that is used instead of a new one; empty: a new one), `split_remote` and `image_store`
    (see the section resources).
    """
    on_cpu = partial(equip, resources=resources)
    on_gpu = partial(equip, resources=resources, gpu=True)

    @dsl.pipeline(name=NAME, description="From labelled images to a gated, registered model.")
    def training(
        code_rev: str = "",
        git_commit: str = "",
        data_rev: str = "",
        split_remote: str = resources.split_remote,
        image_store: str = resources.image_store,
        ingest: dict = sections["ingest"],
        split: dict = sections["split"],
        validate: dict = sections["validate"],
        represent: dict = sections["represent"],
        embed: dict = sections["embed"],
        classify: dict = sections["classify"],
        tau_norm: dict = sections["tau_norm"],
        evaluate: dict = sections["evaluate"],
        gate: dict = sections["gate"],
        report: dict = sections["report"],
        register: dict = sections["register"],
    ) -> None:
        at_the_end = on_cpu(steps.summary()).set_caching_options(False)
        with dsl.ExitHandler(at_the_end, name="flow"):
            checked = steps.parameters(
                ingest=ingest,
                split=split,
                validate=validate,
                represent=represent,
                embed=embed,
                classify=classify,
                tau_norm=tau_norm,
                evaluate=evaluate,
                gate=gate,
                report=report,
                register=register,
                code_rev=code_rev,
                git_commit=git_commit,
            )
            on_cpu(checked)
            source = steps.fingerprint(params=ingest, code_rev=code_rev).after(checked)
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
            backbone = steps.represent(
                params=represent,
                processes=resources.gpu.processes,
                code_rev=code_rev,
                validation=valid.outputs["validation"],
                **data,
            )
            equip_stage1(backbone, resources)
            features = steps.embed(
                params=embed, code_rev=code_rev, representation=backbone.output, **data
            )
            on_gpu(features, transient=True)
            head = steps.classify(
                params=classify,
                code_rev=code_rev,
                features=features.output,
                representation=backbone.output,
            )
            on_cpu(head)
            heads = steps.tau_norm(
                params=tau_norm,
                code_rev=code_rev,
                features=features.output,
                representation=backbone.output,
                classifier=head.output,
            )
            on_cpu(heads)
            measured = steps.evaluate(
                params=evaluate,
                code_rev=code_rev,
                representation=backbone.output,
                classifier=head.output,
                heads=heads.output,
                **data,
            )
            on_gpu(measured, transient=True)
            evaluation = measured.outputs["evaluation"]
            found = steps.incumbent(params=register, code_rev=code_rev, evaluation=evaluation)
            on_cpu(found, transient=True).set_caching_options(False)
            rival = steps.champion(
                params=register,
                identity=found.output,
                code_rev=code_rev,
                evaluation=evaluation,
            )
            on_cpu(rival, transient=True)
            judged = steps.gate(
                params=gate, code_rev=code_rev, evaluation=evaluation, champion=rival.output
            )
            on_cpu(judged)
            readable = steps.report(
                params=report,
                code_rev=code_rev,
                provenance=checked.output,
                evaluation=evaluation,
                champion=rival.output,
                verdict=judged.outputs["verdict"],
                validation=valid.outputs["validation"],
                split=chosen.outputs["split"],
                representation=backbone.output,
                classifier=head.output,
                heads=heads.output,
            )
            on_cpu(readable)

            def registered(name: str) -> None:
                task = steps.register(
                    params=register,
                    code_rev=code_rev,
                    provenance=checked.output,
                    verdict=judged.outputs["verdict"],
                    report=readable.outputs["report"],
                    evaluation=evaluation,
                    representation=backbone.output,
                    heads=heads.output,
                    split=chosen.outputs["split"],
                )
                on_cpu(task, transient=True).set_caching_options(False).set_display_name(name)

            # If with Else: a lone If on a named output is never true in a local run.
            with dsl.If(judged.outputs["Output"] == "reject", name="rejected"):
                registered("record the rejection")
            with dsl.Else(name="accepted"):
                registered("register")

    return training
