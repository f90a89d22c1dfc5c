"""The whole flow as one pipeline."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components import steps
from longtail.config.resources import ResourcesConfig
from pipelines.flow import prepare, train
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
            given = {
                "ingest": ingest,
                "split": split,
                "validate": validate,
                "represent": represent,
                "embed": embed,
                "classify": classify,
                "tau_norm": tau_norm,
                "evaluate": evaluate,
                "gate": gate,
                "report": report,
                "register": register,
            }
            checked = steps.parameters(**given, code_rev=code_rev, git_commit=git_commit)
            on_cpu(checked)
            data = prepare(
                given,
                resources,
                code_rev=code_rev,
                data_rev=data_rev,
                split_remote=split_remote,
                image_store=image_store,
                after=(checked,),
            )
            model = train(given, resources, code_rev=code_rev, data=data)
            evaluation = model.evaluation
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
                validation=data.validation,
                split=data.split,
                representation=model.representation,
                classifier=model.classifier,
                heads=model.heads,
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
                    representation=model.representation,
                    heads=model.heads,
                    split=data.split,
                )
                on_cpu(task, transient=True).set_caching_options(False).set_display_name(name)

            # If with Else: a lone If on a named output is never true in a local run.
            with dsl.If(judged.outputs["Output"] == "reject", name="rejected"):
                registered("record the rejection")
            with dsl.Else(name="accepted"):
                registered("register")

    return training
