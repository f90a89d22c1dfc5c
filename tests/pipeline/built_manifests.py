"""What kustomize makes of k8s/, and the published schemas to hold it against."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

WORKLOADS = ("Deployment", "StatefulSet", "Job", "CronJob", "TrainingRuntime")


def kustomize_reason() -> str | None:
    """Return why nothing can be built here: no kubectl with kustomize 5."""
    if shutil.which("kubectl") is None:
        return "kubectl is not on the PATH"
    shown = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True)
    found = re.search(r"Kustomize Version: v(\d+)", shown.stdout)
    return None if found and int(found[1]) >= 5 else "kubectl has no kustomize 5"


@cache
def build(directory: Path) -> list[Manifest]:
    done = subprocess.run(
        ["kubectl", "kustomize", str(directory)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower(), done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    for manifest in manifests:
        spec = manifest.get("spec", {})
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        if manifest["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if manifest["kind"] == "TrainingRuntime":
            for job in spec["template"]["spec"]["replicatedJobs"]:
                yield name, job["template"]["spec"]["template"]["spec"]
        elif manifest["kind"] in WORKLOADS:
            yield name, spec["template"]["spec"]


def published_schemas(directory: Path) -> dict[tuple[str, str], Manifest]:
    """Return the schema of every custom kind, in which unknown fields are errors."""
    found: dict[tuple[str, str], Manifest] = {}
    for path in directory.glob("*.yaml"):
        for definition in yaml.load_all(path.read_bytes(), Loader=yaml.CSafeLoader):
            spec = (definition or {}).get("spec", {})
            for version in spec.get("versions", []):
                schema = version["schema"]["openAPIV3Schema"]
                found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = closed(schema)
    return found


def closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(part) for key, part in schema.items()}
    free = "additionalProperties" in inner or "x-kubernetes-preserve-unknown-fields" in inner
    if isinstance(inner.get("properties"), dict) and inner.get("type") == "object" and not free:
        inner["additionalProperties"] = False
    return inner
