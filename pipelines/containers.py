"""What the local runner needs to know to run the steps in containers."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kfp import local

from longtail.errors import LongtailError
from longtail.io.database import sqlite_file

# Containers inherit nothing, but these are meant for them too.
_INHERITED = ("AWS_", "MLFLOW_", "OMP_NUM_THREADS")
Sections = dict[str, dict[str, Any]]


def container_runner(
    variables: dict[str, str], *, read: Iterable[Path], write: Iterable[Path]
) -> local.DockerRunner:
    """Return a runner whose containers work as this user.

    The root file system is read-only but for the artifacts' directory, /tmp and /scratch.

    Args:
        variables: of the containers, beside this process's own for S3, MLflow and the number of
            threads; files that those name (a CA bundle, credentials) are mounted.
        read: what is mounted under its own path.
        write: the same, to be written.
    """
    from docker.types import Mount

    own = {k: v for k, v in os.environ.items() if k.startswith(_INHERITED)}
    named = [path for path in map(Path, own.values()) if path.is_absolute() and path.is_file()]
    places = {**dict.fromkeys([*read, *named], True), **dict.fromkeys(write, False)}
    writable = {"/scratch": "mode=1777", "/tmp": "mode=1777"}
    return local.DockerRunner(
        environment=own | variables,
        user=f"{os.getuid()}:{os.getgid()}",
        network_mode="host",
        read_only=True,
        tmpfs=writable,
        mounts=[Mount(str(p), str(p), type="bind", read_only=only) for p, only in places.items()],
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


def mounted(sections: Sections, root: Path) -> tuple[Sections, list[Path], list[Path]]:
    """Return sections whose local paths hold in a container, what it reads and what it writes.

    A local source and a file of weights are mounted where they are, and so is the directory of an
    MLflow database with an absolute path. A database in the working directory becomes one under
    `root`, since a container's own files end with it.
    """
    source, register = dict(sections["ingest"]["source"]), dict(sections["register"])
    stage1 = dict(sections["represent"])
    read, write = [], []
    if "root" in source and "://" not in source["root"]:
        source["root"] = str(Path(source["root"]).resolve())
        read = [Path(source["root"])]
    if stage1.get("pretrained", "hub") != "hub":
        stage1["pretrained"] = str(Path(stage1["pretrained"]).resolve())
        read.append(Path(stage1["pretrained"]))
    database = sqlite_file(register["tracking_uri"])
    if database is not None and database.is_absolute():
        database.parent.mkdir(parents=True, exist_ok=True)
        write = [] if database.is_relative_to(root) else [database.parent]  # root is mounted anyway
    elif database is not None:
        register["tracking_uri"] = f"sqlite:///{root / 'mlflow.db'}"
    ingest = {**sections["ingest"], "source": source}
    changed = {"ingest": ingest, "represent": stage1, "register": register}
    return {**sections, **changed}, read, write
