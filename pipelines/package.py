"""A compiled pipeline as it is sent to an endpoint."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from longtail.config.section import nearest
from longtail.errors import LongtailError, first_few

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


@dataclass(frozen=True)
class Package:
    """A compiled pipeline: its file, its parsed specification and the name of this version.

    `platform` is what the file has behind the specification: the pods' Kubernetes settings, if any.
    """

    path: Path
    spec: dict[str, Any]
    platform: list[dict[str, Any]]
    version: str

    @property
    def name(self) -> str:
        """Name of the pipeline, the same for all its versions."""
        return str(self.spec["pipelineInfo"]["name"])

    @property
    def images(self) -> list[str]:
        """Container images of the steps, each once, sorted."""
        executors = self.spec["deploymentSpec"]["executors"].values()
        return sorted({e["container"]["image"] for e in executors if "container" in e})

    @property
    def parameters(self) -> dict[str, Any]:
        """Name -> definition (`defaultValue`, `isOptional`)."""
        found: dict[str, Any] = self.spec["root"].get("inputDefinitions", {}).get("parameters", {})
        return found

    @property
    def claim_mounts(self) -> set[str]:
        """Where pods have volumes that are there before and after them."""
        pods = [
            pod
            for settings in self.platform
            for pod in settings["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
        ]
        return {claim["mountPath"] for pod in pods for claim in pod.get("pvcMount", ())}


def read_package(path: Path, *, allow_tag: bool = False) -> Package:
    """Read a compiled pipeline; the same content is the same version.

    Raises LongtailError for what is no pipeline, and, unless `allow_tag`, for an image that a tag
    names: KFP's cache goes by that name, and would take results of an older image for current ones.
    """
    try:
        content = path.read_bytes()
        spec, *platform = yaml.safe_load_all(content)
        package = Package(path, spec, platform, hashlib.sha256(content).hexdigest()[:12])
        tags = [image for image in package.images if not _DIGEST.search(image)]
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise LongtailError(
            f"{path} is no compiled pipeline ({error!r}); write one: `longtail pipeline compile`"
        ) from None
    if tags and not allow_tag:
        raise LongtailError(
            f"{first_few(tags)}: a tag may be moved to another image, and KFP would show results "
            "of the old one as cached. Compile with name@sha256:..., or give --allow-tag"
        )
    return package


def check_arguments(package: Package, arguments: Mapping[str, Any]) -> None:
    """Raise LongtailError for arguments that the pipeline has not, or cannot do without."""
    definitions = package.parameters
    for unknown in sorted(arguments.keys() - definitions.keys()):
        raise LongtailError(
            f"{package.path} has no parameter {unknown}{nearest(unknown, sorted(definitions))}"
        )
    needed = {
        name
        for name, definition in definitions.items()
        if "defaultValue" not in definition and not definition.get("isOptional")
    }
    if missing := sorted(needed - arguments.keys()):
        raise LongtailError(f"{package.path} needs a value for {first_few(missing)}")
