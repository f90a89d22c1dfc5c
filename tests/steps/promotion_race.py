"""Processes that promote at the same moment."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_PROMOTE = """
import os, sys, time
from pathlib import Path
from longtail.errors import LongtailError
from longtail.io import history, promotion, registry
from longtail.io.connection import connect
uri, number, barrier, racers, expected = sys.argv[1:]
with connect(uri) as tracker:
    version = registry.require(tracker, "longtail", number)
    act = promotion.Act("process", "race")
    Path(barrier, str(os.getpid())).touch()
    deadline = time.monotonic() + 60
    while len(list(Path(barrier).iterdir())) < int(racers):
        if time.monotonic() > deadline:
            sys.exit("the other racers have not come")
        time.sleep(0.002)
    try:
        log = history.find_or_create(tracker, "longtail", experiment_name="longtail")
        done = promotion.promote(tracker, version, expected=expected, act=act, history=log)
        print("won" if done else "already")
    except LongtailError as error:
        print("lost:", error)
"""


def race(tracking_uri: str, versions: Sequence[str], *, expected: str, barrier: Path) -> list[str]:
    """Let one process a version promote it, all at once; return what each said.

    Args:
        expected: the champion that each believes to replace.
        barrier: a directory to make, in which they wait for each other.
    """
    barrier.mkdir()
    racers = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                _PROMOTE,
                tracking_uri,
                version,
                str(barrier),
                str(len(versions)),
                expected,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for version in versions
    ]
    said = [racer.communicate() for racer in racers]
    assert not any(racer.returncode for racer in racers), "".join(errors for _, errors in said)
    return [words.strip() for words, _ in said]
