"""The compiled pipeline on this machine: its steps in processes, or in containers."""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from kfp import local
from kfp.components import load_component_from_text

import components
from longtail.config.resources import GpuPodConfig, PodConfig, ResourcesConfig
from longtail.errors import LongtailError
from longtail.files import read_json
from pipelines.compiling import compiled
from pipelines.narration import Narrator
from pipelines.parameters import read_parameters, read_resources
from pipelines.revision import code_revision, git_revision
from pipelines.training import NAME, build

# Step -> its output that people read, and the page in it.
PAGES = {"validate": ("validation", "docs/index.html"), "report": ("report", "index.html")}
_IMAGES = ("LONGTAIL_IMAGE", "LONGTAIL_GPU_IMAGE")


def run(
    params: Path,
    *,
    root: Path,
    caching: bool,
    containers: bool,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Run the pipeline of a parameter file; return its summary and, as `pages`, its HTML files.

    Cluster resources, the image store and the DVC remote are left out, and no step is tried again;
    before `resources.environment` come this process's own variables. Artifacts, cache, checkpoints
    and the log lie under `root`.

    Args:
        caching: use the results of earlier runs on the same inputs.
        containers: run the steps in containers (Docker, or Podman through DOCKER_HOST).
        tell: takes one line at a time about what happens.

    Raises:
        LongtailError: the parameters are wrong, a step failed, or there is no container service.
    """
    root = root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    sections, images = read_parameters(params), read_resources(params)
    name = datetime.now().strftime("%Y%m%d-%H%M%S")
    state = root / "state"
    shared = {k: v for k, v in images.environment.items() if k not in os.environ}
    variables = {**shared, "LONGTAIL_STATE": str(state), "LONGTAIL_RUN": name}
    runner: local.SubprocessRunner | local.DockerRunner = local.SubprocessRunner(use_venv=False)
    revision = code_revision()
    if containers:
        from pipelines.containers import container_runner, image_id, mounted

        sections, read, write = mounted(sections, root)
        image = image_id(images.cpu.image)
        variables |= dict.fromkeys(_IMAGES, image)
        runner = container_runner(variables, read=read, write=write)
        revision = code_revision(image)
    pipeline = compiled(build(sections, _resources(images.cpu.image)))
    local.init(runner, pipeline_root=str(root), enable_caching=caching)
    log = root / f"{name}.log"
    with _environment(variables), Narrator(log, tell) as narrator:
        try:
            load_component_from_text(pipeline)(code_rev=revision, git_commit=git_revision())
            failed = False
        except (RuntimeError, ValueError):  # KFP misses the output of a container that failed
            failed = True
    found = state / "runs" / name / "summary.json"
    if not found.is_file():
        raise LongtailError(f"the run ended without a summary, which failed too\nAll output: {log}")
    summary: dict[str, Any] = read_json(found)
    if failed:
        raise LongtailError(f"{summary['error'] or 'the run failed'}\nAll output: {log}")
    return summary | {"pages": _pages(root, narrator), "log": str(log)}


def _resources(image: str) -> ResourcesConfig:
    # What a pod alone has: here the image may be none, and the cache is this user's.
    unset = dict.fromkeys([*_IMAGES, "LONGTAIL_SHARD_CACHE"], "")
    return ResourcesConfig(
        cpu=PodConfig(image=image, retries=0),
        gpu=GpuPodConfig(image=image, retries=0),
        environment=unset,
    )


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set what the steps' processes inherit; `components` may be no installed package yet."""
    before = dict(os.environ)
    packages = str(Path(str(components.__file__)).parents[1])
    path = os.pathsep.join(filter(None, [packages, before.get("PYTHONPATH")]))
    os.environ.update({**variables, "PYTHONPATH": path})
    try:
        with warnings.catch_warnings():
            # Of settings that only a cluster has, and of images without "python" in their name.
            warnings.filterwarnings("ignore", module=r"kfp\.local")
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _pages(root: Path, narrator: Narrator) -> list[str]:
    """Return the HTML files of a run, wherever the cache has them from."""
    directory = max(root.glob(f"{NAME}-*"), key=lambda path: path.name)
    pages = []
    for step, (output, page) in PAGES.items():
        artifact = directory / step / output
        if step in narrator.cached:
            [entry] = (root / ".kfp_cache").glob(f"{narrator.cached[step]}*.json")
            artifact = Path(read_json(entry)[output]["uri"])
        pages.append(str(artifact / page))
    return pages
