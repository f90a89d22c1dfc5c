"""Where a registered model comes from, as files of its run: enough to make it again.

`provenance/params.yaml` has every parameter, `dvc.lock` what DVC knew of the data and of each
stage, `uncommitted.patch` the uncommitted changes of the code, `environment.json` the versions of
packages and the machine. What was unknown has no file.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mlflow.exceptions import MlflowException

from longtail.errors import LongtailError, masked
from longtail.files import read_json, write_json
from longtail.io import registry
from longtail.io.connection import Tracker
from longtail.io.tracking import log_files

DIRECTORY = "provenance"
PARAMS, LOCK, PATCH, ENVIRONMENT = (
    "params.yaml",
    "dvc.lock",
    "uncommitted.patch",
    "environment.json",
)
UNKNOWN = "unknown"
TAGS = (
    "git_commit",
    "git_dirty",
    "split_md5",
    "split_remote",
    "image",
    "gpu_image",
    "pipeline_run",
)


@dataclass(frozen=True)
class Origin:
    """What the registry says of a version's making; None is unknown."""

    version: registry.Version
    git_commit: str | None
    git_dirty: bool
    split_md5: str | None
    split_remote: str | None
    image: str | None
    params: dict[str, Any]
    environment: dict[str, Any]
    patch: str | None
    lock: str | None

    @property
    def changes_lost(self) -> bool:
        """Whether the code was not as in the commit, and how is not known."""
        return self.git_dirty and self.patch is None


def tags(provenance: dict[str, Any]) -> dict[str, str]:
    """Return what a version and its run are tagged with; what is unknown is said to be."""
    return {key: UNKNOWN if provenance[key] is None else str(provenance[key]) for key in TAGS}


def log(provenance: dict[str, Any]) -> None:
    """Store the files of a provenance (`longtail.provenance`) with the active run."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        params = yaml.safe_dump(provenance["params"], sort_keys=True, allow_unicode=True)
        (root / PARAMS).write_text(masked(params), encoding="utf-8")
        write_json(root / ENVIRONMENT, provenance["environment"])
        for name, key in ((PATCH, "git_patch"), (LOCK, "dvc_lock")):
            if provenance[key] is not None:  # an empty patch says that there were no changes
                (root / name).write_bytes(provenance[key].encode())  # CRLF must stay
        log_files({root: DIRECTORY})


def read(tracker: Tracker, version: registry.Version, *, into: Path) -> Origin:
    """Fetch the files of a version's provenance into a directory and read them.

    Raises:
        LongtailError: it has none.
    """
    run_id = version.run_id or ""
    stored = _stored(tracker, run_id) if run_id else set()
    if PARAMS not in stored:
        raise LongtailError(
            f"{version.name} version {version.version} has no parameters stored with its run, so "
            "it cannot be made again; it was not registered by this version of longtail"
        )
    root = Path(tracker.client.download_artifacts(run_id, DIRECTORY, str(into)))

    def tag(key: str) -> str | None:
        value = version.tags.get(key, UNKNOWN)
        return None if value == UNKNOWN else value

    return Origin(
        version=version,
        git_commit=tag("git_commit"),
        git_dirty=tag("git_dirty") == str(True),
        split_md5=tag("split_md5"),
        split_remote=tag("split_remote"),
        image=tag("image"),
        params=yaml.safe_load((root / PARAMS).read_text(encoding="utf-8")),
        environment=read_json(root / ENVIRONMENT),
        patch=(root / PATCH).read_bytes().decode() if PATCH in stored else None,
        lock=(root / LOCK).read_bytes().decode() if LOCK in stored else None,
    )


def _stored(tracker: Tracker, run_id: str) -> set[str]:
    try:
        files = tracker.client.list_artifacts(run_id, DIRECTORY)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return set()
    return {Path(file.path).name for file in files}
