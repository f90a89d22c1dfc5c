"""What each task's pod gets: the section `resources`, put into KFP's words."""

from kfp import kubernetes
from kfp.dsl import PipelineTask

from longtail.config.resources import CACHE, PodConfig, ResourcesConfig

SCRATCH = "/scratch"
_RUN_LABEL = "metadata.labels['pipeline/runid']"


def equip(
    task: PipelineTask, resources: ResourcesConfig, *, gpu: bool = False, transient: bool = False
) -> PipelineTask:
    """Give a task its image, resources, volumes, place, time and variables.

    Args:
        gpu: it is one of the steps that a GPU makes faster.
        transient: its failures may be passing (network, preemption), so it is tried again.
    """
    pod = resources.gpu if gpu else resources.cpu
    task.set_container_image(pod.image)
    task.set_cpu_request(pod.cpu)
    task.set_memory_request(pod.memory).set_memory_limit(pod.memory)
    if pod.accelerators:
        task.set_accelerator_type(pod.accelerator).set_accelerator_limit(pod.accelerators)
    if transient and pod.retries:
        task.set_retry(
            pod.retries,
            backoff_duration=f"{resources.backoff_seconds}s",
            backoff_factor=2.0,
            backoff_max_duration="1800s",
        )
    kubernetes.set_timeout(task, pod.timeout_minutes * 60)
    kubernetes.set_security_context(task, run_as_non_root=True)
    _place(task, pod)
    _volumes(task, pod, resources)
    _variables(task, pod, resources)
    return task


def with_one_device(resources: ResourcesConfig) -> ResourcesConfig:
    """Return the resources for steps that use one device, however many train stage 1."""
    gpu = resources.gpu.model_copy(update={"accelerators": min(1, resources.gpu.accelerators)})
    return resources.model_copy(update={"gpu": gpu})


def _place(task: PipelineTask, pod: PodConfig) -> None:
    for key, value in pod.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in pod.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump(exclude_none=True))
    for key, value in pod.labels.items():
        kubernetes.add_pod_label(task, key, value)


def _volumes(task: PipelineTask, pod: PodConfig, resources: ResourcesConfig) -> None:
    if pod.scratch_class:
        kubernetes.add_ephemeral_volume(
            task,
            volume_name="scratch",
            mount_path=SCRATCH,
            access_modes=["ReadWriteOnce"],
            size=pod.scratch,
            storage_class_name=pod.scratch_class,
        )
    else:
        kubernetes.empty_dir_mount(
            task, volume_name="scratch", mount_path=SCRATCH, size_limit=pod.scratch
        )
    kubernetes.empty_dir_mount(task, volume_name="temporary", mount_path="/tmp")
    if pod.shared_memory:
        kubernetes.empty_dir_mount(
            task,
            volume_name="shared-memory",
            mount_path="/dev/shm",
            medium="Memory",
            size_limit=pod.shared_memory,
        )
    if resources.shard_cache.claim:
        kubernetes.mount_pvc(task, resources.shard_cache.claim, mount_path=CACHE)


def variables(pod: PodConfig, resources: ResourcesConfig) -> dict[str, str]:
    """Return the variables of a pod that are no secret, and the same in every run."""
    cache = resources.shard_cache
    return {
        "LONGTAIL_IMAGE": pod.image,
        "LONGTAIL_GPU_IMAGE": resources.gpu.image,
        "LONGTAIL_GPUS": str(pod.accelerators),
        "LONGTAIL_STATE": resources.state,
        "LONGTAIL_SHARD_CACHE": f"{CACHE if cache.claim else SCRATCH}/shards",
        "LONGTAIL_SHARD_CACHE_BYTES": str(int(cache.gigabytes * 1e9)),
        **resources.environment,
    }


def _variables(task: PipelineTask, pod: PodConfig, resources: ResourcesConfig) -> None:
    for name, value in variables(pod, resources).items():
        if value:
            task.set_env_variable(name, value)
    # Not an input, which would make every run's steps different from those in the cache.
    kubernetes.use_field_path_as_env(task, "LONGTAIL_RUN", _RUN_LABEL)
    for secret, keys in resources.secrets.items():
        kubernetes.use_secret_as_env(task, secret, keys)
