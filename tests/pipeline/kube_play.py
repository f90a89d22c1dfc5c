"""Workloads of the built manifests as pods of podman 4.3, which knows less than a cluster."""

import base64
import contextlib
import copy
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.pipeline.containers import Podman

Manifest = dict[str, Any]

START_SECONDS = 300


class Cluster:
    """MLflow and PostgreSQL in pods with addresses of their own; jobs on this machine's network."""

    def __init__(self, podman: Podman, manifests: list[Manifest]) -> None:
        self._podman, self._manifests = podman, manifests
        podman("network", "create", "longtail")
        [network] = json.loads(podman("network", "inspect", "longtail"))
        start = network["subnets"][0]["subnet"].rpartition(".")[0]
        self._hosts = {"postgres": f"{start}.10", "mlflow": f"{start}.11"}

    def start_postgres(self) -> None:
        self._play("StatefulSet", "postgres", *self._network("postgres"))
        ready = ("exec", "postgres-postgres", "pg_isready", "--host=127.0.0.1")
        self._wait(lambda: "accepting" in self._podman(*ready, check=False), "postgres")

    def query(self, database: str, sql: str) -> set[str]:
        """Return the rows that MLflow's role gets in PostgreSQL's pod."""
        psql = ("psql", "--host=127.0.0.1", "--username=mlflow", "-At", database, "-c", sql)
        return set(self._podman("exec", "postgres-postgres", *psql).splitlines())

    def upgrade_mlflow(self) -> None:
        """Start MLflow's pod; fail unless its init container, which upgrades the tables, ends well.

        Podman runs init containers to their end before it says that a pod has started.
        """
        self._play("Deployment", "mlflow", *self._network("mlflow"))

    def start_mlflow(self) -> None:
        self.upgrade_mlflow()
        self._wait(lambda: self.ask("/health") == (200, "OK"), "mlflow")

    def stop(self, name: str) -> None:
        """Remove a pod and the volumes that are not the database's."""
        self._podman("pod", "rm", "--force", "--time=0", name, check=False)
        for volume in self._podman("volume", "ls", "--quiet").split():
            if volume != "postgres-data":
                self._podman("volume", "rm", volume, check=False)

    def run_job(self, name: str) -> None:
        """Run a CronJob's pod to its end; fail with what it printed if it fails."""
        template = find(self._manifests, "CronJob", name)["spec"]["jobTemplate"]["spec"]["template"]
        [container] = template["spec"]["containers"]
        try:
            self._play("CronJob", name, "--network=host")
            assert self._podman("wait", f"{name}-{container['name']}").strip() == "0"
        except (RuntimeError, AssertionError) as error:
            pytest.fail(f"{error}\n{self._podman.logs(name)}")

    def ask(
        self, path: str, *, host: str = "mlflow:5000", user: str = "", content: Any = None
    ) -> tuple[int, str]:
        """Return MLflow's status and body; `user` is name:password, `content` is posted."""
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"http://{self._hosts['mlflow']}:5000{path}", data=data)
        request.add_header("Host", host)
        request.add_header("Content-Type", "application/json")
        if user:
            token = base64.b64encode(user.encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def _network(self, name: str) -> tuple[str, str]:
        return ("--network=longtail", f"--ip={self._hosts[name]}")

    def _play(self, kind: str, name: str, *options: str) -> None:
        self.stop(name)
        config = [m for m in self._manifests if m["kind"] == "ConfigMap"]
        pod = pod_with_claims(find(self._manifests, kind, name), hosts=self._hosts)
        self._podman("kube", "play", *options, "-", input=yaml.safe_dump_all([*config, *pod]))

    def _wait(self, ready: Callable[[], bool], pod: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if ready():
                    return
            time.sleep(0.5)
        pytest.fail(f"{pod} is not up in {START_SECONDS} s:\n{self._podman.logs(pod)}")


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Return the one manifest of a kind and name."""
    [found] = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return found


def pod_with_claims(workload: Manifest, *, hosts: dict[str, str]) -> list[Manifest]:
    """Return the pod of a Deployment, StatefulSet or CronJob, and the volumes it needs.

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
    templates = spec.get("volumeClaimTemplates", [])
    volumes += [{"name": claim["metadata"]["name"], "emptyDir": {}} for claim in templates]
    claims = []
    for volume in volumes:
        if volume.pop("emptyDir", None) is not None:
            claims.append(_claim(f"{name}-{volume['name']}", pod["securityContext"]))
            volume["persistentVolumeClaim"] = {"claimName": claims[-1]["metadata"]["name"]}
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        for unknown in ("ports", "startupProbe", "livenessProbe", "readinessProbe"):
            container.pop(unknown, None)
        for variable in container.get("env", []):  # names do not hold on the machine's own network
            if variable["name"] == "PGHOST":
                variable["value"] = hosts[variable["value"]]
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
