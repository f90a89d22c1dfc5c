"""The smoke test of a registered model: does the registered artifact give the evaluated logits?

The artifact is loaded from the registry in a fresh process that refuses pickles. On the images that
`evaluate` put aside for this test its logits must be those of the evaluation.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from longtail.artifacts import Evaluation
from longtail.errors import LongtailError, masked
from longtail.files import file_digest
from longtail.io import registry
from longtail.io.connection import HTTP_RETRIES, Tracker, Unreachable, store_failure
from longtail.io.smoke_worker import NOT_FETCHED
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
        found = _run(tracker, version, held, scratch=Path(scratch))
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


def _run(
    tracker: Tracker, version: registry.Version, held: Path, *, scratch: Path
) -> dict[str, float]:
    out = scratch / "smoke.json"
    uri = f"models:/{version.name}/{version.version}"
    command = [sys.executable, "-m", "longtail.io.smoke_worker", uri, str(held)]
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": tracker.uri,  # not an argument: it may hold a password
        "MLFLOW_REGISTRY_URI": tracker.uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        HTTP_RETRIES: os.environ.get(HTTP_RETRIES, "5"),
    }
    environment.pop("MLFLOW_RUN_ID", None)
    try:
        done = subprocess.run(
            [*command, version.tags["chosen"], str(out)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60 * MINUTES,
        )
    except subprocess.TimeoutExpired:
        raise Unreachable(
            f"{uri} was not loaded within {MINUTES} minutes; no alias was moved"
        ) from None
    lines = done.stderr.strip().splitlines() or ["no output"]
    if done.returncode == NOT_FETCHED:
        raise store_failure(f"{uri} cannot be fetched, {masked(lines[-1])}")
    if done.returncode:
        raise LongtailError(
            f"{uri} cannot be loaded without pickles in a fresh process: {masked(lines[-1])}; no "
            f"alias was moved. {_anew(version)}"
        )
    found: dict[str, float] = json.loads(out.read_text(encoding="utf-8"))
    return found
