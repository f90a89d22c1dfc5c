"""A small server of the Kubernetes API calls that launch a TrainJob; its nodes are processes.

It does what Kubeflow Trainer does with a runtime that has `backoffLimit: 0`: every node runs the
job's command with torchrun's variables, and the job has failed as soon as one of them has.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema

from tests.steps.local_servers import free_port

NAMESPACE = "kubeflow"
JOBS = f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{NAMESPACE}/trainjobs"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


@dataclass
class Job:
    """A TrainJob and the processes that are its nodes; `logs` are theirs."""

    manifest: dict[str, Any]
    nodes: list[subprocess.Popen[bytes]]
    logs: list[Path]
    leaving: bool = False
    stopped: bool = False

    def ended(self) -> str | None:
        codes = [node.poll() for node in self.nodes]
        if any(codes):
            self.stop()
            return "Failed"
        return "Complete" if None not in codes else None

    def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            for node in self.nodes:
                node.terminate()


@dataclass
class KubernetesApi:
    """What the server holds and how it behaves; `account` is what a pod has mounted."""

    root: Path
    schema: dict[str, Any] | None = None  # every TrainJob is checked against it
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    address: str = ""
    token: str = "token-1"
    broken: int = 0  # requests that will be answered with 503
    forbidden: bool = False
    jobs: dict[str, Job] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    @property
    def account(self) -> Path:
        return self.root / "account"

    @property
    def created(self) -> int:
        return self.calls.count("POST 201")

    @property
    def left(self) -> list[str]:
        """Names of the jobs that nobody has deleted."""
        return [name for name, job in self.jobs.items() if not job.leaving]

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        self._forget()
        if self.broken:
            self.broken -= 1
            return 503, {"message": "etcd is away"}
        if self.forbidden:
            return 403, {"message": "trainjobs is forbidden: User cannot create resource"}
        name = path.removeprefix(f"{JOBS}/")
        if (method, path) == ("POST", JOBS):
            return self._create(body)
        if path == PODS:
            selector = query["labelSelector"].removeprefix("jobset.sigs.k8s.io/jobset-name=")
            return 200, {"items": self._pods(selector)}
        if path.startswith(PODS):
            job, _, index = path.split("/")[-2].rpartition("-node-0-")
            lines = self.jobs[job].logs[int(index)].read_text().splitlines()
            return 200, "\n".join(lines[-int(query["tailLines"]) :])
        if name not in self.jobs:
            return 404, {"message": f"trainjobs {name} not found"}
        if method == "DELETE":
            assert query == {"propagationPolicy": "Foreground"}
            self.jobs[name].leaving = True
            self.jobs[name].stop()
        return 200, self._shown(self.jobs[name])

    def _create(self, manifest: dict[str, Any]) -> tuple[int, Any]:
        name, trainer = manifest["metadata"]["name"], manifest["spec"]["trainer"]
        if name in self.jobs:
            return 409, {"message": f"trainjobs {name} already exists"}
        if self.schema:
            jsonschema.validate(manifest, self.schema)
        given = {entry["name"]: self._value(entry) for entry in trainer["env"]}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        torch = {
            "PET_NNODES": str(trainer["numNodes"]),
            "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"]),
            "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": str(free_port()),
        }
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("LONGTAIL_", "AWS_"))}
        nodes, logs = [], []
        for rank in range(trainer["numNodes"]):
            logs.append(self.root / f"{name}-{len(self.calls)}-{rank}.log")
            variables = {**clean, "PATH": path, **given, **torch, "PET_NODE_RANK": str(rank)}
            with logs[-1].open("wb") as log:
                command = [*trainer["command"], *trainer["args"]]
                nodes.append(subprocess.Popen(command, env=variables, stdout=log, stderr=log))
        self.jobs[name] = Job(manifest, nodes, logs)
        return 201, manifest

    def _value(self, entry: dict[str, Any]) -> str:
        if "value" in entry:
            return str(entry["value"])
        reference = entry["valueFrom"]["secretKeyRef"]
        return self.secrets[reference["name"]][reference["key"]]

    def _shown(self, job: Job) -> dict[str, Any]:
        metadata = dict(job.manifest["metadata"])
        if job.leaving:
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        conditions = [{"type": "Suspended", "status": "False", "message": "resumed"}]
        if ended := job.ended():
            conditions.append({"type": ended, "status": "True", "message": "jobset says so"})
        return {**job.manifest, "metadata": metadata, "status": {"conditions": conditions}}

    def _pods(self, name: str) -> list[dict[str, Any]]:
        phases = {None: "Running", 0: "Succeeded"}
        return [
            {
                "metadata": {
                    "name": f"{name}-node-0-{index}",
                    "labels": {"batch.kubernetes.io/job-completion-index": str(index)},
                },
                "status": {"phase": phases.get(node.poll(), "Failed")},
            }
            for index, node in reversed(list(enumerate(self.jobs[name].nodes)))
        ]

    def _forget(self) -> None:
        for name, job in list(self.jobs.items()):
            if job.leaving and None not in [node.poll() for node in job.nodes]:
                del self.jobs[name]


@contextmanager
def serve(api: KubernetesApi) -> Iterator[KubernetesApi]:
    """Run the server on a free port of this machine."""
    api.account.mkdir(parents=True)
    for name, content in (("namespace", NAMESPACE), ("token", api.token), ("ca.crt", "")):
        (api.account / name).write_text(content)

    class Handler(_Handler):
        held = api

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield api
        server.shutdown()
        thread.join()
    for job in api.jobs.values():
        job.stop()


class _Handler(BaseHTTPRequestHandler):
    held: KubernetesApi

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        content = self.rfile.read(int(self.headers["Content-Length"] or 0))
        status, answer = 401, {"message": "Unauthorized"}
        if self.headers["Authorization"] == f"Bearer {self.held.token}":
            body = json.loads(content) if content else None
            query = dict(parse_qsl(address.query))
            status, answer = self.held.answer(self.command, address.path, query, body)
        self.held.calls.append(f"{self.command} {status}")
        text = answer if isinstance(answer, str) else json.dumps(answer)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""
