"""Where a model comes from: code revision, data version and every parameter."""

import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from longtail.config.params import load_flow
from longtail.files import write_json
from longtail.io.versioning import dvc_directory_md5

# The user's settings of `git diff` would make it something that Git cannot apply, or nothing.
_PATCH = (
    *("diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--no-relative"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)
PACKAGES = ("longtail", "mlflow", "numpy", "pillow", "pyarrow", "timm", "torch", "torchvision")


@contextmanager
def provenance_file(content: dict[str, Any]) -> Iterator[Path]:
    """Yield a temporary JSON file for a step, with the result of one of the next two functions."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "provenance.json"
        write_json(path, content)
        yield path


def provenance(*, params: Path, split: Path) -> dict[str, Any]:
    """Return what `report` says of a model's making; what is not known is null.

    `git_commit`, `git_dirty`, `split_md5` and `params` (every section with its defaults filled in).
    """
    commit, dirty = git_state()
    return {
        "git_commit": commit,
        "git_dirty": dirty,
        "split_md5": dvc_directory_md5(split),
        "params": {
            name: section.model_dump(mode="json") for name, section in load_flow(params).items()
        },
    }


def full_provenance(*, params: Path, split: Path) -> dict[str, Any]:
    """Return what `register` stores, enough to make the model again; what is not known is null.

    Beside `provenance` and the `surroundings` that is `git_patch` (changes of tracked files since
    the commit, without those of `params` and dvc.lock, which are here as a whole; null too if a
    changed text is not in UTF-8), `dvc_lock` (its text) and `split_remote` (null: DVC's own
    configuration knows it).
    """
    lock = Path("dvc.lock")
    whole = [f":(top,exclude){path}" for path in (_in_tree(params), _in_tree(lock)) if path]
    return {
        **surroundings(),
        **provenance(params=params, split=split),
        "git_patch": _git(*_PATCH, "HEAD", "--", ":/", *whole),
        "dvc_lock": lock.read_text(encoding="utf-8") if lock.is_file() else None,
        "split_remote": None,
    }


def surroundings() -> dict[str, Any]:
    """Return what is known without a checkout; what only a checkout knows is null.

    `image` (LONGTAIL_IMAGE: the container's image with its digest), `gpu_image` (that of the steps
    that a GPU makes faster, LONGTAIL_GPU_IMAGE), `pipeline_run` (LONGTAIL_RUN) and `environment`:
    versions of packages and the machine, which decide the last digits.
    """
    return {
        "git_patch": None,
        "dvc_lock": None,
        "image": os.environ.get("LONGTAIL_IMAGE"),
        "gpu_image": os.environ.get("LONGTAIL_GPU_IMAGE"),
        "pipeline_run": os.environ.get("LONGTAIL_RUN"),
        "environment": {
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "gpu": _gpu(),
            **{package: _installed(package) for package in PACKAGES},
        },
    }


def git_state() -> tuple[str | None, bool | None]:
    """Return the commit and whether tracked files differ from it; None twice outside of Git."""
    commit = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain", "--untracked-files=no")
    return commit, None if status is None else bool(status)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=True)
        output = done.stdout.decode()  # line ends as they are: a patch must keep them
    except (OSError, subprocess.CalledProcessError, UnicodeDecodeError):
        return None
    return output if arguments[0] == "diff" else output.strip()


def _in_tree(path: Path) -> str | None:
    """Return a path relative to the working tree's root; None if it lies elsewhere."""
    root = _git("rev-parse", "--show-toplevel")
    if root is None or not path.resolve().is_relative_to(Path(root).resolve()):
        return None
    return path.resolve().relative_to(Path(root).resolve()).as_posix()


def _gpu() -> str:
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "none"


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
