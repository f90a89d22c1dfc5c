"""KFP's local output: all of it into a file, the course of the run as single lines to people."""

import contextlib
import io
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_STARTS = re.compile(r"Executing task '([\w-]+?)(?:-\d+)?'")
_CACHED = re.compile(r"Task ([\w-]+?)(?:-\d+)? cache hit \(key=(\w+)\)")
_ENDS = re.compile(r"Task '([\w-]+?)(?:-\d+)?' finished with status (\w+)")
_ERROR = re.compile(r"^\s*(longtail: .*)")


class Narrator(io.TextIOBase):
    """Stands in for standard output while the local runner works.

    `cached`: task -> start of the key of its entry in the cache.
    """

    def __init__(self, log: Path, tell: Callable[[str], None]) -> None:
        self.cached: dict[str, str] = {}
        self._log, self._line = log.open("w", encoding="utf-8"), ""
        self._tell, self._people = tell, sys.stdout

    def write(self, text: str) -> int:
        """Keep the text in the log; tell people of each whole line that matters to them."""
        self._log.write(text)
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            with contextlib.redirect_stdout(self._people):
                self._narrate(_COLOUR.sub("", line))
        return len(text)

    def _narrate(self, line: str) -> None:
        if found := _STARTS.search(line):
            self._tell(f"{found[1]} ...")
        elif found := _CACHED.search(line):
            self.cached[found[1]] = found[2]
            self._tell(f"{found[1]}: cached")
        elif found := _ERROR.search(line):
            self._tell(found[1])
        elif (found := _ENDS.search(line)) and found[2] != "SUCCESS":
            self._tell(f"{found[1]}: failed")

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(self._log)
        self._stack.enter_context(contextlib.redirect_stdout(self))
        # KFP says of a cache hit through whatever handlers there are.
        logger, handler = logging.getLogger(), logging.StreamHandler(self)
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        self._stack.callback(logger.setLevel, level)
        self._stack.callback(logger.removeHandler, handler)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()
