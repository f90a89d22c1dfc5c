"""Directories with things in them that are no images."""

import os
import tempfile
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
def test_a_directory_that_cannot_be_read_is_named() -> None:
    with tempfile.TemporaryDirectory() as root:  # other users can reach no tmp_path of pytest's
        Path(root).chmod(0o755)
        closed = Path(root) / "class"
        closed.mkdir(mode=0o700)
        os.seteuid(65534)
        try:
            with pytest.raises(LongtailError, match=f"{closed}/? cannot be read: Permission"):
                list(LocalStorage(root).entries())
        finally:
            os.seteuid(0)
