"""Where a model comes from: code revision, data version and every parameter."""

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from longtail.config.params import FLOW, load_section
from longtail.errors import LongtailError
from longtail.files import write_json


@contextmanager
def provenance_file(*, params: Path, split: Path) -> Iterator[Path]:
    """Yield a temporary JSON file that `register` reads: the content of `provenance`."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "provenance.json"
        write_json(path, provenance(params=params, split=split))
        yield path


def provenance(*, params: Path, split: Path) -> dict[str, Any]:
    """Return `git_commit`, `git_dirty` (null outside of Git), `split_md5` and `params`.

    `params` holds every section with its defaults filled in.
    """
    commit, dirty = git_state()
    return {
        "git_commit": commit,
        "git_dirty": dirty,
        "split_md5": dvc_directory_md5(split),
        "params": {
            name: load_section(params, name, model).model_dump(mode="json")
            for name, model in FLOW.items()
        },
    }


def git_state() -> tuple[str | None, bool | None]:
    """Return the commit and whether tracked files differ from it; None twice outside of Git."""
    commit = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain", "--untracked-files=no")
    return commit, None if status is None else bool(status)


def dvc_directory_md5(root: Path) -> str:
    """Return the md5 that `dvc.lock` has for a directory, without DVC.

    DVC hashes the JSON list of `{md5, relpath}` of all files, sorted by path, and appends `.dir`.
    """
    files = sorted(
        (path.relative_to(root).parts, path) for path in root.rglob("*") if path.is_file()
    )
    if not files:
        raise LongtailError(f"{root} holds no files; run `dvc repro split` first")
    entries = [
        {"md5": _md5(path.read_bytes()), "relpath": "/".join(parts)} for parts, path in files
    ]
    return _md5(json.dumps(entries, sort_keys=True).encode()) + ".dir"


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
