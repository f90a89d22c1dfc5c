"""What the steps get from a cluster: images, CPUs, GPUs, memory, volumes, nodes, time, retries."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from longtail.config.section import Count, Positive, Section

# Of Kubernetes' quantities those that KFP compiles: 500m, 2, 1.5; and 4Gi, 200M, 1536Mi.
Cpus = Annotated[str, Field(pattern=r"^([0-9]+(\.[0-9]+)?|[0-9]+m)$")]
Bytes = Annotated[str, Field(pattern=r"^[0-9]+(Ki|[MGTPE]i?)?$")]
CACHE = "/cache"  # where pods mount shard_cache.claim
Uri = Annotated[str, Field(pattern=r"^([a-z0-9]+://.+|/.+|)$")]


class Toleration(Section):
    """A taint of nodes on which a step may run all the same."""

    key: str | None = Field(default=None, description="Key of the taint; default: any.")
    operator: Literal["Equal", "Exists"] = Field(
        default="Exists", description="How `value` is compared; Equal if a value is given."
    )
    value: str | None = Field(default=None, description="Value of the taint, for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint; default: any."
    )

    @model_validator(mode="before")
    @classmethod
    def _a_value_is_compared(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("value") is not None:
            return {"operator": "Equal", **given}
        return given

    @model_validator(mode="after")
    def _as_kubernetes_takes_it(self) -> "Toleration":
        if self.operator == "Exists" and self.value is not None:
            raise ValueError(
                f"operator is Exists, so that value {self.value!r} says nothing; set Equal, or "
                "leave value out"
            )
        if self.operator == "Equal" and self.key is None:
            raise ValueError("operator is Equal, but there is no key; give the taint's")
        return self


class PodConfig(Section):
    """What one kind of step asks of a node."""

    image: str = Field(
        default="longtail:cpu",
        description="Container image; `submit` wants a digest: name@sha256:...",
    )
    cpu: Cpus = Field(default="2", description="Requested CPUs.")
    memory: Bytes = Field(default="4Gi", description="Requested memory, which is the limit too.")
    accelerator: str = Field(default="nvidia.com/gpu", description="Resource name of the device.")
    accelerators: int = Field(
        default=0,
        ge=0,
        description="Devices per pod that trains, with a process on each; others get 1.",
    )
    nodes: Count = Field(
        default=1, description="Pods that train stage 1 together; several need Kubeflow Trainer."
    )
    shared_memory: Bytes | None = Field(
        default=None, description="/dev/shm as a volume in memory; counts towards `memory`."
    )
    scratch: Bytes = Field(
        default="10Gi", description="Volume at /scratch, HOME of the image; ends with the pod."
    )
    scratch_class: str | None = Field(
        default=None,
        description="Storage class of that volume, which must be writable to UID 10001 from "
        "the start; default: the node's own disk.",
    )
    node_selector: dict[str, str] = Field(default={}, description="Labels a node must have.")
    tolerations: list[Toleration] = Field(default=[], description="Taints to run on all the same.")
    labels: dict[str, str] = Field(
        default={}, description="Labels of the pod, e.g. {kueue.x-k8s.io/queue-name: gpus}."
    )
    timeout_minutes: Count = Field(default=120, description="The pod is ended after this.")
    retries: int = Field(
        default=3, ge=0, description="How often a step is retried whose failure may be temporary."
    )

    @property
    def processes(self) -> int:
        """How many processes train stage 1: one per device, on all nodes."""
        return self.nodes * max(1, self.accelerators)


class GpuPodConfig(PodConfig):
    """What a step that a GPU makes faster asks of a node."""

    image: str = Field(
        default="longtail:gpu",
        description="Container image; `submit` wants a digest: name@sha256:...",
    )
    memory: Bytes = Field(default="8Gi", description="Requested memory, which is the limit too.")
    timeout_minutes: Count = Field(default=1440, description="The pod is ended after this.")


class ShardCache(Section):
    """Where pods keep the image shards that they fetched from the store."""

    claim: str | None = Field(
        default=None,
        description="Volume claim that pods share, writable to UID 10001; default: each pod caches "
        "for itself.",
    )
    gigabytes: Positive = Field(default=5.0, description="Limit; shards not read for longest go.")


class ResourcesConfig(Section):
    """The cluster's side of the pipeline; no step's result depends on it.

    CPU steps get `cpu`; represent, embed and evaluate get `gpu`, the last two with one device.
    """

    cpu: PodConfig = Field(default=PodConfig(), description="Steps without a GPU.")
    gpu: GpuPodConfig = Field(
        default=GpuPodConfig(),
        description="Steps that a GPU makes faster; without `accelerators` they run on CPUs.",
    )
    backoff_seconds: Count = Field(
        default=30, description="Pause before a retry, doubled each time."
    )
    state: Uri = Field(
        default="",
        description="Where checkpoints and run records are kept: s3://bucket/prefix, or with "
        "shard_cache.claim a directory below /cache. Without it a preempted training starts anew.",
    )
    image_store: Uri = Field(
        default="",
        description="s3://bucket/prefix of the image shards; steps fetch what they need from it; "
        "empty: all images are handed from step to step.",
    )
    split_remote: Uri = Field(
        default="", description="DVC remote that stores every split as a version; empty: none."
    )
    shard_cache: ShardCache = Field(default=ShardCache(), description="Cache of the image store.")
    environment: dict[str, str] = Field(
        default={}, description="Variables of all steps, e.g. {AWS_ENDPOINT_URL: http://...}."
    )
    secrets: dict[str, dict[str, str]] = Field(
        default={}, description="Secret -> its key -> the variable that gets the value."
    )

    @model_validator(mode="after")
    def _devices_only_for_gpu_steps(self) -> "ResourcesConfig":
        if self.cpu.accelerators or self.cpu.nodes > 1:
            raise ValueError(
                "cpu.accelerators must be 0 and cpu.nodes 1; set gpu.accelerators and gpu.nodes"
            )
        return self

    @model_validator(mode="after")
    def _the_state_outlives_pods(self) -> "ResourcesConfig":
        on_claim = self.shard_cache.claim and self.state.startswith(f"{CACHE}/")
        if self.state and not self.state.startswith("s3://") and not on_claim:
            raise ValueError(
                f"state is {self.state!r}, which pods cannot keep; give s3://bucket/prefix, or a "
                f"directory below {CACHE}, where they mount shard_cache.claim"
            )
        return self

    @model_validator(mode="after")
    def _several_nodes_meet_in_the_object_store(self) -> "ResourcesConfig":
        for name in ("state", "image_store") if self.gpu.nodes > 1 else ():
            if not getattr(self, name).startswith("s3://"):
                raise ValueError(
                    f"gpu.nodes is {self.gpu.nodes}, but {name} is {getattr(self, name)!r}; give "
                    "s3://bucket/prefix, where all nodes find it, or set gpu.nodes: 1"
                )
        return self
