"""Stage 1 on several nodes: the section `resources`, put into Kubeflow Trainer's words."""

import json
from typing import Any

from kfp.dsl import PipelineTask

from longtail.config.resources import CACHE, ResourcesConfig
from pipelines.pods import equip, variables

RUNTIME = "longtail-torch"  # k8s/components/trainer, as are the names of its job and container
_NODE, _MANAGER = "node", "longtail/represent"


def equip_stage1(task: PipelineTask, resources: ResourcesConfig) -> PipelineTask:
    """Give `represent` its pod: one that trains, or one that has a TrainJob train.

    The second holds no device while it waits. What it launches is a variable of the pod and no
    input, since KFP finds cached results by the inputs, and no result depends on nodes' labels.
    """
    gpu = resources.gpu
    if gpu.nodes == 1:
        return equip(task, resources, gpu=True, transient=True)
    pod = resources.cpu.model_copy(
        update={"timeout_minutes": gpu.timeout_minutes, "retries": gpu.retries}
    )
    equip(task, resources.model_copy(update={"cpu": pod}), transient=True)
    task.set_env_variable("LONGTAIL_GPUS", str(gpu.nodes * gpu.accelerators))
    return task.set_env_variable("LONGTAIL_TRAINJOB", json.dumps(trainjob(resources)))


def trainjob(resources: ResourcesConfig) -> dict[str, Any]:
    """Return the manifest of a TrainJob but for its name, and the argument that is its name too.

    Trainer gives the nodes torchrun's variables (PET_NNODES, PET_MASTER_ADDR, ...). The deadline
    ends nodes whose launcher was killed before it could delete them.
    """
    gpu = resources.gpu
    memory = {"memory": gpu.memory}
    devices = {gpu.accelerator: str(gpu.accelerators)} if gpu.accelerators else {}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"labels": gpu.labels},
        "spec": {
            "runtimeRef": {"kind": "TrainingRuntime", "name": RUNTIME},
            "activeDeadlineSeconds": gpu.timeout_minutes * 60,
            "trainer": {
                "image": gpu.image,
                "command": ["python", "-m", "components.node"],
                "numNodes": gpu.nodes,
                "numProcPerNode": max(1, gpu.accelerators),
                "resourcesPerNode": {
                    "requests": {"cpu": gpu.cpu, **memory, **devices},
                    "limits": {**memory, **devices},
                },
                "env": _environment(resources),
            },
            "runtimePatches": _patches(resources),
        },
    }


def _environment(resources: ResourcesConfig) -> list[dict[str, Any]]:
    plain = variables(resources.gpu, resources)
    secret = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": of, "key": key}}}
        for of, keys in resources.secrets.items()
        for key, name in keys.items()
    ]
    return [{"name": name, "value": value} for name, value in plain.items() if value] + secret


def _patches(resources: ResourcesConfig) -> list[dict[str, Any]]:
    """Return where the nodes may run, and the claim of the shard cache, if any of it is set."""
    gpu, claim = resources.gpu, resources.shard_cache.claim
    pod: dict[str, Any] = {}
    if gpu.node_selector:
        pod["nodeSelector"] = gpu.node_selector
    if gpu.tolerations:
        pod["tolerations"] = [entry.model_dump(exclude_none=True) for entry in gpu.tolerations]
    if claim:
        pod["volumes"] = [{"name": "cache", "persistentVolumeClaim": {"claimName": claim}}]
        mounts = [{"name": "cache", "mountPath": CACHE}]
        pod["containers"] = [{"name": _NODE, "volumeMounts": mounts}]
    job = {"name": _NODE, "template": {"spec": {"template": {"spec": pod}}}}
    spec = {"template": {"spec": {"replicatedJobs": [job]}}}
    return [{"manager": _MANAGER, "trainingRuntimeSpec": spec}] if pod else []
