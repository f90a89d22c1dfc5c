"""The smoke test of a registered model: does the registered artifact give the evaluated logits?

What the registry hands out is loaded in a fresh process that refuses pickles. On the images that
`evaluate` put aside for this test its logits must be those of the evaluation.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mlflow.artifacts

from longtail.artifacts import Evaluation
from longtail.errors import LongtailError, masked
from longtail.files import file_digest
from longtail.io import registry
from longtail.io.connection import Tracker, Unreachable, store_failure
from longtail.io.tracking import EVALUATION, fetch

HELD = "held_digest"  # tag of a version: digest of the images and logits that it is checked by
MINUTES = 10


@dataclass(frozen=True)
class Smoke:
    """What was found: `difference` is relative to the largest evaluated logit."""

    images: int
    difference: float
    tolerance: float

    def __str__(self) -> str:
        return (
            f"{self.images} held images, largest difference of a logit {self.difference:.1e} of "
            f"the largest logit, tolerance {self.tolerance:.1e}"
        )


def check(tracker: Tracker, version: registry.Version, *, tolerance: float) -> Smoke:
    """Check a version against its evaluated logits `z`: `max|z' - z| <= tolerance max|z|`.

    The maxima are over the classes that the model knows; the others have to be left out in both.

    Raises:
        Unreachable: the artifact could not be fetched, and trying again may help.
        LongtailError: it gives other logits, does not load, or has no images to be checked with.
    """
    title = f"{version.name} version {version.version}"
    if HELD not in version.tags or not version.run_id:
        raise LongtailError(
            f"{title} has no held images to be checked by: it was not registered by this version "
            f"of longtail; {_anew(version)}"
        )
    with tempfile.TemporaryDirectory() as scratch:
        held = fetch(
            tracker,
            run_id=version.run_id,
            artifact=f"{EVALUATION}/{Evaluation(Path()).held.name}",
            into=Path(scratch),
        )
        if file_digest(held) != version.tags[HELD]:
            raise LongtailError(
                f"{title}: its held images were changed after it was registered (their digest is "
                f"not that of its tag {HELD}); {_anew(version)}"
            )
        found = _compared(version, _fetched(version, into=Path(scratch, "model")), held)
    result = Smoke(int(found["images"]), found["difference"], tolerance)
    # Written so that a difference that is no number fails too.
    if not result.difference <= tolerance:
        raise LongtailError(
            f"{title}: what the registry hands out is not what was evaluated ({result}); no alias "
            "was moved. If it was evaluated on other hardware, raise register.smoke_tolerance; "
            f"else {_anew(version)}"
        )
    registry.retag(tracker, version, {"smoke_test": str(result)})
    return result


def _anew(version: registry.Version) -> str:
    """Say how a version is made again: `register` finds what is there and leaves it as it is."""
    return (
        "to register it anew, delete the version and its run in MLflow (`mlflow runs delete "
        f"--run-id {version.run_id}`), then `dvc repro --force --single-item register`"
    )


def _uri(version: registry.Version) -> str:
    return f"models:/{version.name}/{version.version}"


def _fetched(version: registry.Version, *, into: Path) -> Path:
    """Download the model as a consumer would, by its address in the registry."""
    uri = _uri(version)
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(into)))
    except Exception as error:  # whatever it is, it says nothing about the model
        reason = f"{error} {error.__context__ or ''}".replace("\n", " ")
        raise store_failure(f"{uri} cannot be fetched, {masked(reason)}") from error


def _compared(version: registry.Version, model: Path, held: Path) -> dict[str, float]:
    """Let a fresh process load the model and compare its logits with the evaluated ones."""
    out = held.with_name("smoke.json")
    command = [sys.executable, "-m", "longtail.io.smoke_worker", str(model), str(held)]
    try:
        done = subprocess.run(
            [*command, version.tags["chosen"], str(out)],
            env={**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
            capture_output=True,
            text=True,
            timeout=60 * MINUTES,
        )
    except subprocess.TimeoutExpired:
        raise Unreachable(
            f"{_uri(version)} was not loaded within {MINUTES} minutes; no alias was moved"
        ) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise LongtailError(
            f"{_uri(version)} cannot be loaded without pickles in a fresh process: "
            f"{masked(lines[-1])}; no alias was moved. {_anew(version)}"
        )
    found: dict[str, float] = json.loads(out.read_text(encoding="utf-8"))
    return found
