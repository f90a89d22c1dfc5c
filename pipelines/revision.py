"""What identifies the code that a pipeline runs."""

import hashlib
from pathlib import Path

import components
import longtail
from longtail.provenance import git_state


def code_revision(*images: str) -> str:
    """Return a digest of the packages that the steps run, with the digests of their images.

    It is what a cached result depends on: other code, or the same code in another image, is
    another revision.

    Args:
        images: references with a digest (`name@sha256:...`), or image ids; tags say nothing.
    """
    digest = hashlib.sha256()
    for package in (longtail, components):
        root = Path(str(package.__file__)).parent
        for file in sorted(root.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{root.name}/{file.relative_to(root).as_posix()}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    pinned = sorted({image.rpartition("sha256:")[2] for image in images if "sha256:" in image})
    return "-".join(part[:16] for part in (digest.hexdigest(), *pinned))


def git_revision() -> str:
    """Return the commit, `-dirty` behind it if tracked files differ; empty outside of Git."""
    commit, dirty = git_state()
    return f"{commit}{'-dirty' if dirty else ''}" if commit else ""
