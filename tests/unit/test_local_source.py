"""Directories with things in them that are no images."""

import os
from pathlib import Path

import pytest

from longtail.errors import LongtailError
from longtail.imaging import BadImage
from longtail.io.storage import LocalStorage


def test_a_pipe_is_no_image_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(BadImage, match="a pipe"):
        LocalStorage(str(tmp_path)).read("pipe.png")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_directory_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "class"
    closed.mkdir(mode=0o700)
    for above in [tmp_path, *list(tmp_path.parents)[:2]]:
        above.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(LongtailError, match=f"{closed}/? cannot be read: Permission denied"):
            list(LocalStorage(str(tmp_path)).entries())
    finally:
        os.seteuid(0)
