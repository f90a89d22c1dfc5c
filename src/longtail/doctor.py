"""Checks of the flow's environment: every line is ok, or says what to do."""

import os
import platform
import shutil
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from longtail.config.ingest import IngestConfig, S3Config
from longtail.config.params import SECTIONS, load_section
from longtail.config.promotion import RegisterConfig
from longtail.config.resources import ResourcesConfig
from longtail.errors import LongtailError
from longtail.io import probes
from longtail.io.database import sqlite_file
from longtail.io.probes import Problem

PACKAGES = ("torch", "torchvision", "timm", "dvc", "mlflow", "great-expectations")
MIN_FREE_GIGABYTES = 5.0


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    ok: bool
    text: str


def examine(params: Path) -> list[Finding]:
    """Run every check; none of them stops the others."""
    checks: dict[str, Callable[[], str]] = {
        "Python": _python,
        "packages": _packages,
        "tools": _tools,
        "parameters": lambda: _parameters(params),
        "GPU": _gpu,
        "disk": lambda: _disk(Path.cwd()),
        "S3": lambda: _s3(load_section(params, "ingest", IngestConfig)),
        "MLflow": lambda: _mlflow(load_section(params, "register", RegisterConfig).tracking_uri),
        "cluster": lambda: _cluster(load_section(params, "resources", ResourcesConfig)),
    }
    return [_run(name, check) for name, check in checks.items()]


def report(findings: list[Finding]) -> bool:
    """Print the findings and return whether all are ok."""
    for finding in findings:
        print(f"{'ok ' if finding.ok else 'FIX'}  {finding.name:<10}  {finding.text}")
    return all(finding.ok for finding in findings)


def _run(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (Problem, LongtailError) as problem:
        return Finding(name, False, str(problem))


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _packages() -> str:
    found, missing = [], []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        raise Problem(f"not installed: {', '.join(missing)}; run `make install`")
    return ", ".join(found)


def _tools() -> str:
    if shutil.which("git") is None:
        raise Problem("git is not on the PATH; install it, the flow records the code revision")
    if not Path("dvc.yaml").is_file() or not Path(".dvc").is_dir():
        raise Problem(f"{Path.cwd()} has no dvc.yaml and .dvc; go to a clone of the repository")
    return "git, and a DVC project here"


def _parameters(params: Path) -> str:
    for name, model in SECTIONS.items():
        load_section(params, name, model)
    return f"{params} is valid"


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none: training runs on the CPU, which the demo is made for"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    free, total = torch.cuda.mem_get_info()
    return f"{', '.join(names)}; {free / 1e9:.1f} of {total / 1e9:.1f} GB free on the first"


def _disk(directory: Path) -> str:
    free = shutil.disk_usage(directory).free / 1e9
    if free < MIN_FREE_GIGABYTES:
        raise Problem(
            f"{free:.1f} GB free in {directory}, {MIN_FREE_GIGABYTES:.0f} GB wanted: make room, or "
            "move DVC's cache with `dvc cache dir --local PATH`"
        )
    return f"{free:.0f} GB free in {directory}"


def _s3(ingest: IngestConfig) -> str:
    root = getattr(ingest.source, "root", "")
    if not root.startswith("s3://"):
        return "not used: the source of `ingest` is local"
    if not probes.objects(root, ingest.s3):
        raise Problem(f"{root} is reachable and empty; correct ingest.source.root")
    return f"{root} can be read"


def _mlflow(tracking_uri: str) -> str:
    file = sqlite_file(tracking_uri)
    if file is not None:
        return probes.sqlite(file)
    parts = urllib.parse.urlsplit(tracking_uri)
    if parts.scheme not in ("http", "https"):
        return probes.database(tracking_uri)
    address = parts.netloc.rpartition("@")[2]  # a password is neither sent nor shown
    url = f"{parts.scheme}://{address}{parts.path.rstrip('/')}"
    probes.server(
        f"{url}/health",
        fix="start the server, or correct register.tracking_uri (sqlite:///mlflow.db needs none)",
    )
    return f"{url} answers"


def _cluster(resources: ResourcesConfig) -> str:
    """What a pipeline needs before its first pod starts; pods may reach more than this machine."""
    endpoint = os.environ.get("KF_PIPELINES_ENDPOINT", "").rstrip("/")
    if not endpoint:
        return "not used: KF_PIPELINES_ENDPOINT is not set"
    probes.server(f"{endpoint}/apis/v2beta1/healthz", fix="correct KF_PIPELINES_ENDPOINT")
    tags = {pod.image for pod in (resources.cpu, resources.gpu) if "@sha256:" not in pod.image}
    if tags:
        raise Problem(
            f"{', '.join(sorted(tags))}: an image that changes behind its tag gives results of the "
            "old one; set resources.cpu.image and resources.gpu.image to name@sha256:..."
        )
    s3 = S3Config(endpoint_url=resources.environment.get("AWS_ENDPOINT_URL"))
    places = (resources.image_store, resources.state, resources.split_remote)
    used = [place for place in places if place.startswith("s3://")]
    for place in used:
        probes.objects(place, s3)
    return ", ".join([f"{endpoint} answers", *(f"{place} can be read" for place in used)])
