"""Places that a pipeline's parameters name, of which some are on no pod."""

import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from longtail.config.resources import CACHE
from longtail.errors import LongtailError, masked
from pipelines.package import Package

# MLflow's address that each pod has a place of its own for: a path, or its own ports.
_PATH = re.compile(r"sqlite|file:|[^:]*/|mlruns$", re.I)
_ITSELF = re.compile(r"localhost|127\.[\d.]+|0\.0\.0\.0|::1?")


def check_places(package: Package) -> None:
    """Raise LongtailError if pods would look for what only this machine has.

    A path below a claim that the pods mount is fine, and so is torchvision's root, into which a pod
    downloads.
    """
    sections = _sections(package)
    uri = str(sections.get("register", {}).get("tracking_uri", ""))
    if _PATH.match(uri) or _ITSELF.fullmatch(_host(uri)):
        raise LongtailError(
            f"register.tracking_uri is {masked(uri)}, of which a pod has its own, and the "
            "registry would end with it; set the address of a server that pods reach, as "
            "http://mlflow.longtail:5000"
        )
    source = sections.get("ingest", {}).get("source", {})
    if source.get("kind") != "torchvision" and _is_local(source.get("root", "s3://"), package):
        raise LongtailError(
            f"ingest.source.root is {source['root']}, a path of this machine that no pod has; copy "
            "the images into a bucket and set s3://bucket/prefix"
        )
    cells = package.parameters.get("grid", {}).get("defaultValue", ())  # of a study
    for training in (sections, *cells):
        weights = training.get("represent", {}).get("pretrained", "hub")
        if weights != "hub" and _is_local(weights, package):
            raise LongtailError(
                f"represent.pretrained is {weights}, a file of this machine that no pod has; set "
                f"hub, or put it on the claim of resources.shard_cache, which pods have at {CACHE}"
            )


def _host(uri: str) -> str:
    try:
        return urlsplit(uri).hostname or ""
    except ValueError as error:
        raise LongtailError(
            f"register.tracking_uri is {masked(uri)}, which is no address ({error}); set "
            "that of a server that pods reach, as http://mlflow.longtail:5000"
        ) from None


def _sections(package: Package) -> dict[str, dict[str, Any]]:
    return {
        name: definition["defaultValue"]
        for name, definition in package.parameters.items()
        if definition.get("parameterType") == "STRUCT" and "defaultValue" in definition
    }


def _is_local(place: str, package: Package) -> bool:
    if "://" in place:
        return False
    return not any(PurePosixPath(place).is_relative_to(mount) for mount in package.claim_mounts)
