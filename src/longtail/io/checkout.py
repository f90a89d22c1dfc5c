"""A checkout of an earlier commit with its data, in which the flow runs again.

Git and DVC run as programs. Nothing is written to the repository that it comes from, nor to its
DVC cache, which is only read.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from longtail.config.params import LEARNING
from longtail.errors import LongtailError
from longtail.io import versioning

IMAGES, SPLIT = Path("data/images"), Path("data/split")
# What follows from images and split, up to what a version is judged by. The registry's side of the
# flow (champion, gate, register) would look at today's registry.
STAGES = ("validate", *LEARNING)
_CACHE_REMOTE = "their-cache"


@dataclass(frozen=True)
class Checkout:
    """A clone of `repository` in `root`."""

    root: Path
    repository: Path

    def apply(self, patch: str) -> None:
        """Apply the uncommitted changes that the code had."""
        if patch:
            _git(self.root, "apply", "--whitespace=nowarn", "-", text=patch)

    def set_parameters(self, params: dict[str, Any]) -> None:
        """Write all parameters; relative paths in them are those of the repository."""
        absolute = _absolute(params, self.repository)
        text = yaml.safe_dump(absolute, sort_keys=False, allow_unicode=True)
        (self.root / "params.yaml").write_text(text, encoding="utf-8")

    def fetch_data(self, lock: str | None) -> bool:
        """Fetch images and split as `dvc.lock` names them; False if DVC no longer has them.

        They come from the repository's DVC cache, else from the remote of its configuration.
        """
        if lock is None:
            return False
        (self.root / "dvc.lock").write_text(lock, encoding="utf-8")
        cache = versioning.run_dvc(self.repository, "cache", "dir").strip()
        versioning.run_dvc(self.root, "remote", "add", "--local", _CACHE_REMOTE, cache)
        for remote in (["--remote", _CACHE_REMOTE], []):
            try:
                versioning.run_dvc(self.root, "pull", *remote, str(IMAGES), str(SPLIT))
            except LongtailError:
                continue
            return True
        return False

    def fetch_split(self, md5: str, *, remote: str) -> None:
        """Fetch the split that a pipeline has put into a DVC remote; the images are there.

        Raises:
            LongtailError: the remote does not have it, or it is of other images.
        """
        versioning.pull(md5, remote=remote, out=self.root / SPLIT)
        versioning.check_belongs(self.root / SPLIT, images=self.root / IMAGES)

    def run(self, *stages: str, single: bool) -> None:
        """Run stages of the flow with the checkout's own code; their output goes to the terminal.

        Args:
            single: each by itself, in the order given, without what comes before it.

        Raises:
            LongtailError: a stage failed.
        """
        bins = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        with tempfile.TemporaryDirectory() as site:
            environment = {
                **os.environ,
                "PATH": bins,
                "PYTHONPATH": str(self.root / "src"),  # before the package that is installed
                "DVC_NO_ANALYTICS": "1",
                "DVC_SITE_CACHE_DIR": site,
            }
            environment.pop("MLFLOW_RUN_ID", None)
            command = [sys.executable, "-m", "dvc", "repro", *(["--single-item"] * single)]
            done = subprocess.run([*command, *stages], cwd=self.root, env=environment)
        if done.returncode:
            raise LongtailError(
                f"a stage failed in {self.root}; DVC says above which, and it says why. The "
                "checkout stays there to look at"
            )


def clone(repository: Path, commit: str, into: Path) -> Checkout:
    """Clone the repository around a directory at a commit.

    Raises:
        LongtailError: it is no Git repository, lacks the commit, or `into` is not empty.
    """
    if into.exists() and any(into.iterdir()):
        raise LongtailError(f"{into} is not empty; name another directory with --into")
    root = Path(_git(repository, "rev-parse", "--show-toplevel").strip())
    try:
        _git(root, "cat-file", "-e", f"{commit}^{{commit}}")
    except LongtailError:
        raise LongtailError(
            f"{root} has no commit {commit}; fetch it (`git fetch --all`), or run this in a clone "
            "that has it"
        ) from None
    into.mkdir(parents=True, exist_ok=True)
    _git(root, "clone", "--quiet", "--shared", "--no-checkout", str(root), str(into.resolve()))
    _git(into, "checkout", "--quiet", "--detach", commit)
    return Checkout(into.resolve(), root)


def _git(directory: Path, *arguments: str, text: str = "") -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=directory, input=text.encode(), capture_output=True
        )
    except OSError as error:
        raise LongtailError(f"git cannot be run: {error}; install it") from None
    if done.returncode:
        raise LongtailError(
            f"git {' '.join(arguments)} in {directory}: {_text(done.stderr).strip()}"
        )
    return _text(done.stdout)


def _text(output: bytes) -> str:
    return output.decode(errors="replace")


def _absolute(params: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make relative paths absolute: those that are files or directories of the repository."""

    def changed(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {name: changed(inner, name) for name, inner in value.items()}
        if key in _PATHS and isinstance(value, str) and (base / value).exists():
            return str(base / value)
        return value

    return {name: changed(section, name) for name, section in params.items()}


_PATHS: Sequence[str] = ("root", "pretrained")
