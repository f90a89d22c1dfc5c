"""What surrounds a step in its pod: its parameters, and the record of what it did.

Variables of the pod, since inputs would be part of what KFP finds cached results by:

- `LONGTAIL_STATE`: directory or `s3://` prefix that outlives the pod; without it nothing is noted;
- `LONGTAIL_RUN`: the run to which the pod belongs;
- `LONGTAIL_GPUS`: devices of the pod.
"""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from longtail.config.params import SECTIONS
from longtail.config.section import parse
from longtail.cost import recorded as measured
from longtail.errors import LongtailError, file_errors_explained
from longtail.files import read_json, write_json
from longtail.io.state import open_state

SUMMARY = "summary"  # what the exit handler keeps beside the records of the steps

log = logging.getLogger(__name__)


def section(name: str, params: dict[str, Any]) -> Any:
    """Return a section from a pipeline's parameter, whose integers arrive as floats."""
    return parse(SECTIONS[name], params, where=f"pipeline parameter `{name}`")


def state() -> str:
    """Return where files outlive the pod, or an empty string."""
    return os.environ.get("LONGTAIL_STATE", "")


def run_id() -> str:
    """Return the run to which this pod belongs."""
    return os.environ.get("LONGTAIL_RUN", "unknown")


@contextmanager
def recorded(step: str) -> Iterator[dict[str, Any]]:
    """Note what the body did as `runs/<run>/<step>.json` in the state, if there is one.

    The record holds `started` (UTC), `finished` (whether it did), `seconds`, `gpus`, the cost as
    `longtail.cost.recorded` measures it, `error` if there was one, and what the body puts into the
    dictionary that it gets. A `LongtailError` is printed alone and ends the process with status 1.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    check_volumes()
    record: dict[str, Any] = {
        "step": step,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "finished": False,
        "gpus": int(os.environ.get("LONGTAIL_GPUS", "0")),
    }
    keep(step, record)  # a pod that is killed leaves this much
    began = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            cost = Path(scratch) / f"{step}.json"
            with file_errors_explained(), measured(step, into=Path(scratch)):
                yield record
            if cost.is_file():  # not if it could not be written, which is only a warning
                record |= read_json(cost)
        record["finished"] = True
    except BaseException as error:
        record["error"] = str(error) or type(error).__name__
        if isinstance(error, LongtailError):
            sys.exit(f"longtail: {error}")
        raise
    finally:
        record["seconds"] = round(time.perf_counter() - began, 3)
        keep(step, record)


def check_volumes() -> None:
    """End the process with status 1 if a volume of this pod cannot be written."""
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        return
    cache = os.environ.get("LONGTAIL_SHARD_CACHE")
    places = {Path.home(), *([Path(cache).parent] if cache else [])}
    for place in sorted(places):
        if place.is_dir() and not os.access(place, os.W_OK):
            sys.exit(
                f"longtail: UID {os.getuid()} cannot write the volume at {place}. Kubeflow gives "
                "volumes no owner: the storage class of resources.gpu.scratch_class, or the claim "
                "of resources.shard_cache, must be writable to this UID (see k8s/README.md)"
            )


def keep(name: str, content: Any) -> None:
    """Write `runs/<run>/<name>.json` in the state, if there is one; a step does not fail by it."""
    if not state():
        return
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "record.json"
        try:
            write_json(file, content)
            open_state(state()).store(f"runs/{run_id()}/{name}.json", file)
        except (LongtailError, OSError) as error:
            log.warning("what %s did was not noted: %s", name, error)


def records() -> dict[str, dict[str, Any]]:
    """Return what was noted of this run, by step; nothing if the state cannot be read."""
    if not state():
        return {}
    found = {}
    try:
        noted = open_state(state())
        with tempfile.TemporaryDirectory() as scratch:
            for name in noted.names(f"runs/{run_id()}/"):
                file = Path(scratch) / "record.json"
                noted.fetch(name, file)
                found[name.rpartition("/")[2].removesuffix(".json")] = read_json(file)
    except (LongtailError, OSError) as error:
        log.warning("what the steps noted cannot be read: %s", error)
        return {}
    # Of an attempt before, if Kubeflow retries the run under its old name.
    found.pop(SUMMARY, None)
    return found


@contextmanager
def costs() -> Iterator[Path]:
    """Yield a directory with the cost records of this run's steps as far as they have ended."""
    with tempfile.TemporaryDirectory() as scratch:
        for step, record in records().items():
            if record["finished"]:
                write_json(Path(scratch) / f"{step}.json", record)
        yield Path(scratch)
