"""A small copy of the repository in which the real flow runs under the real DVC, in seconds."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
NEEDED = (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml")
QUICK = {
    "represent.epochs": 6,  # time to be killed in
    "represent.warmup_epochs": 1,
    "classify.epochs": 3,
    "validate.image_checks": 20,
    "gate.min_balanced_accuracy": 0.0,
    "gate.min_group_accuracy": {},
    "gate.max_calibration_error": 1.0,
}


def make_workspace(directory: Path, changes: Mapping[str, Any]) -> Path:
    """Copy what a clone has into `directory`, change dotted parameters, commit all of it."""
    for name in NEEDED:
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    shutil.copytree(ROOT / "src", directory / "src", ignore=shutil.ignore_patterns("__pycache__"))
    change_params(directory, changes)
    run(directory, "git", "init", "--quiet")
    run(directory, "git", "add", ".")
    run(directory, "git", "commit", "--quiet", "--message", "workspace")
    return directory


def change_params(directory: Path, changes: Mapping[str, Any]) -> None:
    """Set dotted parameters, such as `represent.epochs`, in `params.yaml`."""
    path = directory / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for dotted, value in changes.items():
        *sections, key = dotted.split(".")
        place = params
        for section in sections:
            place = place[section]
        place[key] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def run(directory: Path, *command: str) -> str:
    """Run a command as in an activated environment; return its output, raise if it fails."""
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{' '.join(command)} exits {done.returncode}:\n{done.stdout}"
    return done.stdout


def environment() -> dict[str, str]:
    identity = {"NAME": "Test", "EMAIL": "test@example.org"}
    git = {f"GIT_{who}_{k}": v for who in ("AUTHOR", "COMMITTER") for k, v in identity.items()}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, **git, "PATH": path, "DVC_NO_ANALYTICS": "1"}
