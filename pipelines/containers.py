"""What the local runner needs to know to run the steps in containers."""

import os
from pathlib import Path
from typing import Any

from kfp import local

from longtail.errors import LongtailError

Sections = dict[str, dict[str, Any]]


def container_runner(variables: dict[str, str], mounts: list[Path]) -> local.DockerRunner:
    """Return a runner whose containers write as this user and read `mounts` under their own path.

    The root file system is read-only but for the artifacts' directory, /tmp and /scratch.
    """
    from docker.types import Mount

    writable = {"/scratch": "mode=1777", "/tmp": "mode=1777"}
    # Containers inherit nothing, but a limit of threads that is set here is meant for them too.
    threads = {k: v for k, v in os.environ.items() if k == "OMP_NUM_THREADS"}
    return local.DockerRunner(
        environment=variables | threads,
        user=f"{os.getuid()}:{os.getgid()}",
        network_mode="host",
        read_only=True,
        tmpfs=writable,
        mounts=[Mount(str(path), str(path), type="bind", read_only=True) for path in mounts],
    )


def image_id(image: str) -> str:
    """Return the digest that identifies an image of the container service.

    Raises:
        LongtailError: no service answers, or it has no such image.
    """
    import docker
    from docker.errors import DockerException, ImageNotFound

    try:
        return str(docker.from_env().images.get(image).id)
    except ImageNotFound:
        raise LongtailError(
            f"There is no image {image}; build it (see Containerfile), or set resources.cpu.image"
        ) from None
    except DockerException as error:
        raise LongtailError(
            f"No container service answers: {error}. Start Docker, or Podman with `podman system "
            "service` and its socket in DOCKER_HOST"
        ) from error


def mounted(sections: Sections, root: Path) -> tuple[Sections, list[Path]]:
    """Return sections whose local paths hold in a container, and what is to be mounted for them.

    A local source is mounted where it is; a database of MLflow in the working directory becomes one
    under `root`, since a container's own files end with it.
    """
    source, register = dict(sections["ingest"]["source"]), dict(sections["register"])
    mounts = []
    if "root" in source and "://" not in source["root"]:
        source["root"] = str(Path(source["root"]).resolve())
        mounts = [Path(source["root"])]
    if register["tracking_uri"].startswith("sqlite:///"):
        register["tracking_uri"] = f"sqlite:///{root / 'mlflow.db'}"
    ingest = {**sections["ingest"], "source": source}
    return {**sections, "ingest": ingest, "register": register}, mounts
