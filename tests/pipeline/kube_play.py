"""Workloads of the built manifests as pods that `podman kube play` of version 4.3 runs."""

import base64
import copy
import json
from typing import Any

from tests.pipeline.containers import Podman

Manifest = dict[str, Any]


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Return the one manifest of a kind and name."""
    [found] = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return found


def pod_with_claims(workload: Manifest, *, hosts: dict[str, str]) -> list[Manifest]:
    """Return the pod of a Deployment, StatefulSet, Job or CronJob, and the volumes it needs.

    The template stays as it is, but for what this podman does not know: empty directories become
    volumes of the pod's user, `hosts` (name -> address) take the place of a cluster's names, ports
    and probes, which would be those of this machine, are left out, and a pod runs once.
    """
    spec = workload["spec"]
    if workload["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    pod = copy.deepcopy(spec["template"]["spec"])
    name = workload["metadata"]["name"]
    volumes = pod.setdefault("volumes", [])
    volumes += [
        {"name": claim["metadata"]["name"], "emptyDir": {}}
        for claim in spec.get("volumeClaimTemplates", [])
    ]
    claims = []
    for volume in volumes:
        if volume.pop("emptyDir", None) is not None:
            claims.append(_claim(f"{name}-{volume['name']}", pod["securityContext"]))
            volume["persistentVolumeClaim"] = {"claimName": claims[-1]["metadata"]["name"]}
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        for unknown in ("ports", "startupProbe", "livenessProbe", "readinessProbe"):
            container.pop(unknown, None)
    pod["restartPolicy"] = "Never"
    pod["hostAliases"] = [{"ip": ip, "hostnames": [host]} for host, ip in hosts.items()]
    metadata = {"name": name, "labels": spec["template"]["metadata"]["labels"]}
    return [*claims, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}]


def make_secret(podman: Podman, name: str, values: dict[str, str]) -> None:
    """Make a Secret, in the form in which this podman keeps them."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    podman("secret", "create", name, "-", input=json.dumps(encoded))


def _claim(name: str, owner: Manifest) -> Manifest:
    annotations = {
        "volume.podman.io/uid": str(owner["runAsUser"]),
        "volume.podman.io/gid": str(owner["runAsGroup"]),
    }
    size = {"requests": {"storage": "1Gi"}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": size},
    }
