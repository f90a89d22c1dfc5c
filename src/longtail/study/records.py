"""What a study keeps of a cell's run: its parameters, its log, and why it failed."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from longtail.files import content_digest
from longtail.study.grid import Cell


class CellRecords:
    """Files of one cell in the store, named after its parameters.

    Attributes:
        content: the parameters, as `params` (JSON) holds them.
        failure: JSON with the `error`; gone once the cell is tried again.
    """

    def __init__(self, cell: Cell, store: Path) -> None:
        self.content: dict[str, Any] = {
            name: section.model_dump(mode="json") for name, section in cell.params.items()
        }
        self.log = store / "cells" / f"{content_digest(self.content)[:16]}.log"
        self.params = self.log.with_suffix(".params.json")
        self.failure = self.log.with_suffix(".json")

    @contextmanager
    def writing(self) -> Iterator[IO[bytes]]:
        """Yield the log, empty; a process that inherits it is the cell's until it ends."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as output:
            fcntl.flock(output, fcntl.LOCK_SH)
            yield output

    def being_written(self) -> bool:
        """Whether a process of the cell runs; one that died holds no lock."""
        try:
            with self.log.open("r+b") as log:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def lines(self) -> list[str]:
        """Return the lines of the log so far."""
        if not self.log.is_file():
            return []
        return self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
