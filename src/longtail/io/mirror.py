"""A local directory whose files outlive the pod: fetched at the start, kept as they change."""

import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longtail.errors import LongtailError
from longtail.io.state import LocalState, State, open_state

log = logging.getLogger(__name__)


@contextmanager
def mirrored(uri: str, name: str, *, seconds: float = 5.0) -> Iterator[Path]:
    """Yield a local directory that holds what was kept under `name`, and goes on being kept.

    In a local state it is that directory itself. Else a thread looks every `seconds` for files that
    were replaced and uploads them; at the end, also by an exception, what is in the directory is
    what is kept: files that the body removed are removed there, too.

    Files are expected to be replaced as a whole; those whose name starts with a dot are not kept.
    What cannot be kept, or removed at the end, is a warning: the body's work is worth more.
    """
    state = open_state(uri)
    if isinstance(state, LocalState):
        yield state.root / name
        return
    with tempfile.TemporaryDirectory() as scratch:
        mirror = _Mirror(state, name, Path(scratch) / "files")
        mirror.fetch()
        stop = threading.Event()
        worker = threading.Thread(target=mirror.keep_until, args=(stop, seconds), daemon=True)
        worker.start()
        try:
            yield mirror.directory
        finally:
            stop.set()
            worker.join()
            mirror.finish()


class _Mirror:
    def __init__(self, state: State, name: str, directory: Path) -> None:
        self.directory = directory
        self._state, self._name = state, name
        self._kept: dict[str, tuple[int, int]] = {}

    def fetch(self) -> None:
        self.directory.mkdir()
        for name in self._state.names(f"{self._name}/"):
            file = name.removeprefix(f"{self._name}/")
            self._state.fetch(name, self.directory / file)
            self._kept[file] = _version(self.directory / file)

    def keep_until(self, stop: threading.Event, seconds: float) -> None:
        while not stop.wait(seconds):
            try:
                self._keep()
            except FileNotFoundError:
                continue  # the body has just removed it
            except LongtailError as error:
                log.warning("the checkpoint was not kept, trying again: %s", error)

    def finish(self) -> None:
        try:
            self._keep()
            for file in self._kept.keys() - self._files().keys():
                self._state.remove(f"{self._name}/{file}")
        except LongtailError as error:
            log.warning("%s in the state is not what this run left: %s", self._name, error)

    def _keep(self) -> None:
        for file, version in self._files().items():
            if self._kept.get(file) != version:
                self._upload(file)

    def _upload(self, file: str) -> None:
        # A link holds on to this version while the body goes on to replace the file.
        held = self.directory.parent / f"held-{file}"
        os.link(self.directory / file, held)
        try:
            self._state.store(f"{self._name}/{file}", held)
            self._kept[file] = _version(held)
        finally:
            held.unlink()

    def _files(self) -> dict[str, tuple[int, int]]:
        if not self.directory.is_dir():
            return {}
        files = (p for p in self.directory.iterdir() if not p.name.startswith("."))
        return {path.name: _version(path) for path in files}


def _version(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_ino, facts.st_mtime_ns
