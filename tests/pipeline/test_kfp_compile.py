"""The compiled pipeline: current, the same graph as `dvc.yaml`, and what its pods get."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from components import ALWAYS, STEPS
from longtail.config.params import FLOW, SECTIONS, load_section
from longtail.config.resources import PodConfig
from longtail.config.section import Section, parse
from longtail.errors import LongtailError
from pipelines.compiling import compiled_training
from pipelines.parameters import plain, read_resources
from tests.pipeline.dvc_stages import STAGES, upstream
from tests.pipeline.kfp_graph import PARAMS, Graph, equipped

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "pipelines" / "training.yaml"
# Tasks that have no stage: what they do, `dvc repro` has from its own means.
OF_KUBEFLOW_ALONE = {"parameters", "summary"}
GPU_STEPS = ("represent", "embed", "evaluate")


@pytest.fixture(scope="module")
def golden() -> Graph:
    return Graph(GOLDEN.read_text())


def step_of(task: str) -> str:
    """The step that a task runs: looking for the champion is a part of fetching it."""
    name = plain_name(task)
    return "champion" if name == "incumbent" else name


def plain_name(task: str) -> str:
    """A task's name without the number that a second one of the same component gets."""
    return re.sub(r"-\d+$", "", task).replace("-", "_")


def test_the_compiled_pipeline_in_the_tree_is_current():
    assert GOLDEN.read_text() == compiled_training(PARAMS), "run `longtail pipeline compile`"


def test_edges_are_those_of_dvc(golden):
    made_by = {out: name for name, entry in STAGES.items() for out in entry["outs"]}
    of_dvc = {
        (maker, stage)
        for stage, entry in STAGES.items()
        for dep in entry.get("deps", [])
        for out, maker in made_by.items()
        if dep == out or dep.startswith(f"{out}/")
    }
    of_kubeflow = {
        (step_of(producer), step_of(task.name))
        for task in golden.tasks.values()
        for producer, _ in task.inputs.values()
        if producer and not OF_KUBEFLOW_ALONE & {producer, task.name}
    }
    assert {edge for edge in of_kubeflow if edge[0] != edge[1]} == of_dvc


def test_every_stage_is_a_task_and_the_other_way_round(golden):
    assert {step_of(task) for task in golden.tasks} - OF_KUBEFLOW_ALONE == set(STAGES)
    assert {plain_name(task) for task in golden.tasks} == {*STEPS, "summary"}


def test_a_task_gets_the_section_of_its_stage(golden):
    for task in golden.tasks.values():
        if task.name not in OF_KUBEFLOW_ALONE:
            assert task.inputs["params"] == ("", STAGES[step_of(task.name)]["params"][0])
    given = golden.tasks["parameters"].inputs
    assert {name for name, source in given.items() if source == ("", name)} >= set(FLOW)


def test_parameters_are_the_config_models_with_the_values_of_the_parameter_file(golden):
    structs = {
        name: entry["defaultValue"]
        for name, entry in golden.parameters.items()
        if entry["parameterType"] == "STRUCT"
    }
    assert set(structs) == set(FLOW)
    for name, values in structs.items():
        section = load_section(PARAMS, name, FLOW[name])
        assert parse(FLOW[name], values, where=name) == section
        assert set(values) <= set(FLOW[name].model_fields)


def test_training_waits_for_validation_and_everything_for_the_parameters(golden):
    assert golden.tasks["represent"].inputs["validation"] == ("validate", "validation")
    assert golden.tasks["fingerprint"].spec["dependentTasks"] == ["parameters"]
    assert "fingerprint" in upstream("represent")


def test_only_what_looks_outside_or_acts_there_is_never_cached(golden):
    uncached = {plain_name(task.name) for task in golden.tasks.values() if not task.cached}
    assert uncached == {*ALWAYS, "summary"}


def test_what_the_cached_steps_get_from_those_that_always_run_are_values(golden):
    """An artifact has a new address in every run, by which a result in the cache is not found."""
    for task in golden.tasks.values():
        artifacts = task.spec.get("inputs", {}).get("artifacts", {})
        producers = {task.inputs[name][0] for name in artifacts}
        assert not producers & ALWAYS


def test_every_task_knows_the_code_revision(golden):
    for task in golden.tasks.values():
        if task.name != "summary":
            assert task.inputs["code_rev"] == ("", "code_rev")


def test_steps_with_passing_failures_are_tried_again_with_growing_pauses(golden):
    retried = {step_of(task.name) for task in golden.tasks.values() if task.retries}
    deterministic = {"parameters", "validate", "classify", "tau_norm", "gate", "report", "summary"}
    assert retried == {step_of(task) for task in golden.tasks} - deterministic
    assert equipped(image_store="s3://b/images").tasks["validate"].retries, "it reads the store"
    policy = golden.tasks["represent"].spec["retryPolicy"]
    assert (policy["backoffDuration"], policy["backoffFactor"]) == ("30s", 2.0)


def test_a_rejected_candidate_takes_another_branch(golden):
    tasks = [task for task in golden.tasks.values() if plain_name(task.name) == "register"]
    names = {task.spec["taskInfo"]["name"] for task in tasks}
    assert names == {"register", "record the rejection"}


def test_gpu_steps_get_the_gpu_section_and_the_others_do_not():
    gpu = {
        "image": "registry.example/longtail@sha256:1",
        "cpu": "8",
        "memory": "32Gi",
        "accelerators": 4,
        "shared_memory": "8Gi",
        "scratch": "200Gi",
        "scratch_class": "fast",
        "node_selector": {"gpu": "a100"},
        "tolerations": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}],
        "labels": {"kueue.x-k8s.io/queue-name": "gpus"},
        "timeout_minutes": 60,
        "retries": 5,
    }
    graph = equipped(gpu=gpu)
    for step in GPU_STEPS:
        resources, pod = graph.container(step)["resources"], graph.pod(step)
        assert graph.container(step)["image"] == gpu["image"]
        devices = "4" if step == "represent" else "1"  # the others use no more
        assert resources["accelerator"]["resourceCount"] == devices
        assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
        assert resources["resourceMemoryLimit"] == resources["resourceMemoryRequest"] == "32Gi"
        assert resources["resourceCpuRequest"] == "8"
        assert pod["nodeSelector"]["labels"] == {"gpu": "a100"}
        assert pod["tolerations"] == [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
        ]
        assert pod["podMetadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "gpus"}
        assert pod["activeDeadlineSeconds"] == "3600"
        [scratch] = pod["genericEphemeralVolume"]
        assert (scratch["mountPath"], scratch["storageClassName"]) == ("/scratch", "fast")
        [memory] = [mount for mount in pod["emptyDirMounts"] if mount.get("medium") == "Memory"]
        assert (memory["mountPath"], memory["sizeLimit"]) == ("/dev/shm", "8Gi")
        assert graph.variables(step)["LONGTAIL_GPUS"] == devices
        assert graph.tasks[step].retries == 5
    for step in ("split", "gate", "summary"):
        assert "accelerator" not in graph.container(step)["resources"]
        assert "tolerations" not in graph.pod(step)
        assert graph.container(step)["image"] == PodConfig().image


def test_quantities_that_kubernetes_has_are_compiled():
    gpu = {"cpu": "1500m", "memory": "1572864Ki", "scratch": "1Ti", "shared_memory": "512M"}
    graph = equipped(gpu=gpu, cpu={"cpu": "1.5", "memory": "2000000000"})
    assert graph.container("embed")["resources"]["resourceCpuRequest"] == "1500m"
    assert graph.container("embed")["resources"]["resourceMemoryLimit"] == "1572864Ki"
    assert graph.container("split")["resources"]["resourceCpuRequest"] == "1.5"


def test_a_toleration_with_a_value_is_for_taints_of_that_value():
    """As Kubernetes has it, which refuses a value beside Exists."""
    spot = {"key": "cloud.google.com/gke-spot", "value": "true"}
    graph = equipped(gpu={"tolerations": [spot, {"key": "gpu"}, {"operator": "Exists"}]})
    assert graph.pod("represent")["tolerations"] == [
        {**spot, "operator": "Equal"},
        {"key": "gpu", "operator": "Exists"},
        {"operator": "Exists"},
    ]


def test_every_pod_knows_both_images_and_is_not_root():
    images = {"cpu": {"image": "longtail@sha256:1"}, "gpu": {"image": "longtail@sha256:2"}}
    graph = equipped(**images)
    for step in graph.tasks:
        variables = graph.variables(step)
        own = images["gpu" if step in GPU_STEPS else "cpu"]["image"]
        assert variables["LONGTAIL_IMAGE"] == own
        assert variables["LONGTAIL_GPU_IMAGE"] == "longtail@sha256:2"
        assert graph.pod(step)["securityContext"] == {"runAsNonRoot": True}


def test_a_process_trains_on_each_device():
    task = equipped(gpu={"accelerators": 4}).tasks["represent"].spec
    constant = task["inputs"]["parameters"]["processes"]["runtimeValue"]["constant"]
    assert constant == 4.0


def test_the_state_may_be_on_the_claim_that_pods_mount():
    graph = equipped(state="/cache/state", shard_cache={"claim": "shards"})
    assert graph.variables("represent")["LONGTAIL_STATE"] == "/cache/state"
    [claim] = graph.pod("represent")["pvcMount"]
    assert claim["mountPath"] == "/cache"


def test_state_secrets_and_variables_reach_every_pod():
    graph = equipped(
        state="s3://bucket/longtail",
        environment={"AWS_ENDPOINT_URL": "http://store:9000"},
        secrets={"store": {"user": "AWS_ACCESS_KEY_ID", "password": "AWS_SECRET_ACCESS_KEY"}},
        shard_cache={"claim": "shards", "gigabytes": 2},
    )
    for step in graph.tasks:
        variables, pod = graph.variables(step), graph.pod(step)
        assert variables["LONGTAIL_STATE"] == "s3://bucket/longtail"
        assert variables["AWS_ENDPOINT_URL"] == "http://store:9000"
        assert variables["LONGTAIL_SHARD_CACHE"] == "/cache/shards"
        assert variables["LONGTAIL_SHARD_CACHE_BYTES"] == "2000000000"
        [run] = pod["fieldPathAsEnv"]
        assert run == {"name": "LONGTAIL_RUN", "fieldPath": "metadata.labels['pipeline/runid']"}
        [secret] = pod["secretAsEnv"]
        assert {entry["envVar"] for entry in secret["keyToEnv"]} == {
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
        }
        [claim] = pod["pvcMount"]
        assert claim["mountPath"] == "/cache"
    assert "AWS_SECRET_ACCESS_KEY" not in yaml.safe_dump(graph.executors), "by reference alone"


def tolerating(**toleration: str) -> dict[str, Any]:
    return {"gpu": {"tolerations": [toleration]}}


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        ({"cpu": {"accelerators": 1}}, "gpu.accelerators"),
        ({"gpu": {"memory": "32 GB"}}, "gpu.memory"),
        ({"gpu": {"memory": "1.5Gi"}}, "gpu.memory"),
        ({"gpu": {"memory": "500m"}}, "gpu.memory"),
        ({"gpu": {"scratch": "4ki"}}, "gpu.scratch"),
        ({"cpu": {"cpu": "2Gi"}}, "cpu.cpu"),
        ({"cpu": {"cpu": "1.5m"}}, "cpu.cpu"),
        (tolerating(operator="Exists", key="spot", value="true"), "'true' says nothing; set Equal"),
        (tolerating(value="true"), "there is no key"),
        ({"state": "bucket/prefix"}, "state"),
        ({"state": "/mnt/state"}, "state is '/mnt/state', which pods cannot keep; give s3://"),
        ({"state": "/cache/state"}, "shard_cache.claim"),
        ({"state": "gs://bucket/prefix"}, "give s3://bucket/prefix"),
        ({"gpu": {"node_selectors": {}}}, "did you mean `node_selector`"),
    ],
)
def test_resources_that_no_cluster_understands_are_refused(resources, reason, tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"resources": resources}))
    with pytest.raises(LongtailError, match=reason):
        read_resources(tmp_path / "params.yaml")


def test_a_null_that_is_not_the_default_is_refused_and_not_lost():
    class Example(Section):
        limit: int | None = 3

    assert plain(Example()) == {"limit": 3}
    with pytest.raises(LongtailError, match="null"):
        plain(Example(limit=None))


def sections_in(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
        for entry in annotation.model_fields.values():
            yield from sections_in(entry.annotation)
    for inner in get_args(annotation):
        yield from sections_in(inner)


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_null_is_the_default_wherever_it_is_allowed(name):
    """So every parameter file can be passed to Kubeflow, which knows no null."""
    for model in sections_in(SECTIONS[name]):
        for key, entry in model.model_fields.items():
            if type(None) in get_args(entry.annotation) and not entry.is_required():
                assert entry.default is None, f"{model.__name__}.{key}"
