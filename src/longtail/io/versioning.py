"""Versions of a split in a DVC remote, made and fetched without Git.

DVC runs as a program in a directory of its own, so that a pod needs neither a checkout nor Git's
credentials: what identifies a version is the pointer, the few lines of `split.dvc`, of which only
the md5 matters.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longtail.artifacts import Images, Split
from longtail.errors import LongtailError
from longtail.files import file_digest, read_json, whole_directory

_MD5 = re.compile(r"(?:\A|\bmd5:)\s*([0-9a-f]{32}(?:\.dir)?)\s*$", re.MULTILINE)
_CONFIG = """[core]
    remote = store
    no_scm = true
    analytics = false
    check_update = false
['remote "store"']
    url = "{url}"
    verify = true
"""


def version(split: Path, *, remote: str, endpoint_url: str | None = None) -> str:
    """Put a split into a DVC remote; return the pointer, which is the text of `split.dvc`.

    Args:
        split: directory with `artifacts.Split`; it stays as it is.
        remote: `s3://bucket/prefix` or a local directory.
        endpoint_url: S3 endpoint; default: AWS_ENDPOINT_URL, else AWS itself. Credentials come from
            boto3's usual places.

    Raises:
        LongtailError: there is no such split, or the remote refuses or stays silent.
    """
    if not Split(split).profile.is_file():
        raise LongtailError(f"{split} holds no split; make one with `longtail split`")
    with _workspace(remote, endpoint_url) as workspace:
        shutil.copytree(split, workspace / "split")
        run_dvc(workspace, "add", "split")
        _transfer(workspace, "push", remote)
        return (workspace / "split.dvc").read_text(encoding="utf-8")


def pull(pointer: str, *, remote: str, out: Path, endpoint_url: str | None = None) -> None:
    """Fetch the version that `pointer` (or only its md5) names and write it as `out`.

    The content is checked against the md5. Knobs and errors are those of `version`; an md5 that the
    remote does not hold is an error too.
    """
    with _workspace(remote, endpoint_url) as workspace:
        outs = f"outs:\n- md5: {pointed_md5(pointer)}\n  hash: md5\n  path: split\n"
        (workspace / "split.dvc").write_text(outs, encoding="utf-8")
        _transfer(workspace, "pull", remote)
        if not Split(workspace / "split").profile.is_file():
            raise LongtailError(f"{pointed_md5(pointer)} in {remote} is a directory, but no split")
        with whole_directory(out) as partial:
            shutil.copytree(workspace / "split", partial, dirs_exist_ok=True)


def pointed_md5(pointer: str) -> str:
    """Return `<32 hex digits>.dir`, by which DVC knows the directory that a pointer names."""
    found = _MD5.findall(pointer)
    if len(found) != 1:
        raise LongtailError(
            f"{pointer[:80]!r} points to no split: give the content of split.dvc or its md5, which "
            "is 32 hex digits and `.dir`"
        )
    return f"{found[0].removesuffix('.dir')}.dir"


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


def check_belongs(split: Path, *, images: Path) -> None:
    """Raise LongtailError unless `split` was made from the manifest of `images`."""
    wanted, found = (
        read_json(Split(split).profile)["manifest"],
        file_digest(Images(images).manifest),
    )
    if wanted != found:
        raise LongtailError(
            f"The split was made from another manifest ({wanted[:12]}) than that of {images} "
            f"({found[:12]}), so that its rows name other images. Ingest the images that it was "
            "made from, or make a split of these"
        )


def run_dvc(directory: Path, *arguments: str) -> str:
    """Run DVC in `directory`; return its output, raise LongtailError with it if it fails."""
    with tempfile.TemporaryDirectory() as own:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=directory,
            env={**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": own},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        reasons = [line[7:] for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise LongtailError(
            f"dvc {' '.join(arguments)} failed: {'; '.join(reasons).rstrip(' :') or done.stderr}"
        )
    return done.stdout


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@contextmanager
def _workspace(remote: str, endpoint_url: str | None) -> Iterator[Path]:
    """Yield a temporary directory in which DVC knows the remote."""
    if not remote:
        raise LongtailError("No DVC remote to keep splits in; name one, as s3://bucket/prefix")
    is_s3 = remote.startswith("s3://")
    if "://" in remote and not is_s3:
        raise LongtailError(f"Unknown kind of remote: {remote}. Use s3://bucket/prefix")
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name)
        (workspace / ".dvc").mkdir()
        config = _CONFIG.format(url=remote if is_s3 else Path(remote).resolve())
        endpoint = endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
        if is_s3 and endpoint:
            config += f'    endpointurl = "{endpoint}"\n'
        (workspace / ".dvc" / "config").write_text(config, encoding="utf-8")
        yield workspace


def _transfer(workspace: Path, direction: str, remote: str) -> None:
    try:
        run_dvc(workspace, direction, "split.dvc")
    except LongtailError as error:
        raise LongtailError(
            f"{remote}: {error}. Check the remote and that it holds this version, the endpoint "
            "(AWS_ENDPOINT_URL) and the credentials (AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, "
            "or AWS_PROFILE)"
        ) from None
