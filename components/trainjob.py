"""A TrainJob from its creation to its end, followed from the pod that launched it."""

import time
from collections.abc import Callable
from typing import Any

from components.cluster import Cluster
from longtail.errors import LongtailError

_API = "/apis/trainer.kubeflow.org/v1alpha1"
_JOB, _INDEX = "jobset.sigs.k8s.io/jobset-name", "batch.kubernetes.io/job-completion-index"


def run(
    cluster: Cluster, manifest: dict[str, Any], *, seconds: float = 10.0, tell: Callable[..., None]
) -> None:
    """Create the job, or go on with the one of its name that is under way, and wait for its end.

    One that had ended before is made anew. A job that completes is deleted, and so is one whose
    wait is given up (SystemExit at SIGTERM); one that fails stays to be looked at.

    Args:
        seconds: between looks.
        tell: takes a line whenever something has changed.

    Raises:
        LongtailError: the job failed, with its nodes' last lines; or somebody deleted it; or the
            API refuses.
    """
    job = _TrainJob(cluster, manifest)
    try:
        job.start(seconds)
        told = ""
        while (ended := job.ended()) is None:
            if (news := job.progress()) != told:
                tell(told := news)
            time.sleep(seconds)
    except LongtailError:
        raise  # perhaps nothing is wrong with the job itself; another try finds it
    except BaseException:
        job.delete()
        raise
    if ended["type"] == "Failed":
        raise LongtailError(f"{job.name} failed: {ended['message']}\n{job.last_lines()}")
    job.delete()


class _TrainJob:
    def __init__(self, cluster: Cluster, manifest: dict[str, Any]) -> None:
        self.name = str(manifest["metadata"]["name"])
        self._cluster, self._manifest = cluster, manifest
        self._all = f"{_API}/namespaces/{cluster.namespace}/trainjobs"
        self._pods = f"/api/v1/namespaces/{cluster.namespace}/pods"

    def start(self, seconds: float) -> None:
        while True:
            # 409: there is one of this name.
            if self._cluster.call("POST", self._all, json=self._manifest, fine=(409,)).ok:
                return
            found = self._found()
            if found and not _is_leaving(found):
                if _ending(found) is None:
                    return
                self.delete()
            time.sleep(seconds)  # until the nodes of an earlier try have ended

    def ended(self) -> dict[str, Any] | None:
        found = self._found()
        if found is None or _is_leaving(found):
            raise LongtailError(f"{self.name} was deleted while it ran; run the step again")
        return _ending(found)

    def delete(self) -> None:
        # Foreground: the job is there until its pods are not.
        options = {"params": {"propagationPolicy": "Foreground"}}
        self._cluster.call("DELETE", f"{self._all}/{self.name}", fine=(404,), **options)

    def progress(self) -> str:
        pods = self._nodes()
        words = ", ".join(map(_word, pods)) or "no pods yet"
        line = self._log(pods[0], 1) if pods else ""
        return f"{self.name}: {words}{': ' if line else ''}{line}"

    def last_lines(self) -> str:
        pods = self._nodes()
        failed = [pod for pod in pods if pod["status"].get("phase") == "Failed"] or pods
        # Torchrun's own last words are some forty lines, after those that give the reason.
        return "\n".join(f"{_name(pod)}, last lines:\n{self._log(pod, 60)}" for pod in failed[:2])

    def _found(self) -> dict[str, Any] | None:
        answer = self._cluster.call("GET", f"{self._all}/{self.name}", fine=(404,))
        return dict(answer.json()) if answer.ok else None

    def _nodes(self) -> list[Any]:
        selector = {"labelSelector": f"{_JOB}={self.name}"}
        pods = self._cluster.call("GET", self._pods, params=selector).json()["items"]
        return sorted(pods, key=lambda pod: int(pod["metadata"]["labels"].get(_INDEX, 0)))

    def _log(self, pod: Any, lines: int) -> str:
        # 400 and 404: its container has not started, or is gone.
        answer = self._cluster.call(
            "GET", f"{self._pods}/{_name(pod)}/log", params={"tailLines": lines}, fine=(400, 404)
        )
        return answer.content.decode(errors="replace").strip() if answer.ok else ""


def _is_leaving(job: dict[str, Any]) -> bool:
    return "deletionTimestamp" in job["metadata"]


def _ending(job: dict[str, Any]) -> dict[str, Any] | None:
    conditions = job.get("status", {}).get("conditions", ())
    ends = (c for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True")
    return next(ends, None)


def _name(pod: Any) -> str:
    return str(pod["metadata"]["name"])


def _word(pod: Any) -> str:
    """Return the phase of a pod, or what it waits for."""
    waiting = [
        c["state"]["waiting"]["reason"]
        for c in pod["status"].get("containerStatuses", ())
        if c.get("state", {}).get("waiting", {}).get("reason")
    ]
    unplaced = [
        c["message"]
        for c in pod["status"].get("conditions", ())
        if c["type"] == "PodScheduled" and c["status"] == "False" and "message" in c
    ]
    return str([*waiting, *unplaced, pod["status"].get("phase", "Pending")][0])
