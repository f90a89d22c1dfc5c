"""Outputs appear whole or not at all, also where several processes write the same one."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from longtail.errors import LongtailError
from longtail.files import require_writable, whole_directory, whole_file


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_of_two_writers_of_a_directory_the_last_one_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with whole_directory(out) as slow:
        (slow / "slow").touch()
        with whole_directory(out) as fast:
            (fast / "fast").touch()
        assert names(out) == ["fast"]
    assert names(out) == ["slow"] and names(tmp_path) == ["out"]


def test_of_two_writers_of_a_file_the_last_one_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with whole_file(out) as slow:
        slow.write_text("slow")
        with whole_file(out) as fast:
            fast.write_text("fast")
        assert out.read_text() == "fast"
    assert out.read_text() == "slow" and names(tmp_path) == ["out"]


def test_writers_that_end_at_once_leave_one_whole_directory(tmp_path: Path) -> None:
    def write(number: int) -> None:
        with whole_directory(tmp_path / "out") as directory:
            for name in "ab":
                (directory / name).write_text(str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(200)))
    first, second = ((tmp_path / "out" / name).read_text() for name in "ab")
    assert first == second and names(tmp_path) == ["out"]


def test_a_writer_at_work_loses_nothing_however_old_its_work_is(tmp_path: Path) -> None:
    with whole_file(tmp_path / "out") as slow:
        slow.write_text("slow")
        os.utime(slow.parent, (0, 0))
        with whole_file(tmp_path / "out") as fast:
            fast.write_text("fast")
    assert (tmp_path / "out").read_text() == "slow"


@pytest.mark.parametrize("kind", ["whole_file", "whole_directory"])
def test_what_a_killed_writer_left_is_removed_by_the_next(kind: str, tmp_path: Path) -> None:
    write = f"with files.{kind}(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    code = f"import os, pathlib, sys\nfrom longtail import files\n{write}"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=False)
    [left] = tmp_path.iterdir()
    os.utime(left, (0, 0))
    with whole_directory(tmp_path / "out"):
        pass
    assert names(tmp_path) == ["out"]


def test_a_body_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    with whole_directory(tmp_path / "out") as directory:
        (directory / "old").touch()
    with pytest.raises(KeyError), whole_directory(tmp_path / "out") as directory:
        (directory / "new").touch()
        raise KeyError
    assert names(tmp_path / "out") == ["old"] and names(tmp_path) == ["out"]


def test_an_output_can_be_read_by_others_as_far_as_the_umask_says(tmp_path: Path) -> None:
    with whole_directory(tmp_path / "out") as directory:
        (directory / "plain").mkdir()
    with whole_file(tmp_path / "file") as file:
        (tmp_path / "plain").touch()
        file.write_text("content")
    for made, plain in (("out", "out/plain"), ("file", "plain")):
        assert (tmp_path / made).stat().st_mode == (tmp_path / plain).stat().st_mode


def test_the_working_directory_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for out in (".", "..", str(tmp_path)):
        with pytest.raises(LongtailError, match="own"), whole_directory(Path(out)):
            pytest.fail("the body was run")


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_to_a_directory_stays_and_its_target_is_replaced(
    dangling: bool, tmp_path: Path
) -> None:
    target, link = tmp_path / "disk" / "images", tmp_path / "out"
    if not dangling:
        target.mkdir(parents=True)
        (target / "old").touch()
    link.symlink_to(target)
    with whole_directory(link) as directory:
        (directory / "new").touch()
    assert link.is_symlink() and names(target) == ["new"] and names(target.parent) == ["images"]


def test_a_link_to_a_file_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "cached").write_text("old")
    (tmp_path / "out").symlink_to("cached")
    with whole_file(tmp_path / "out") as file:
        file.write_text("new")
    assert (tmp_path / "cached").read_text() == "old" and (tmp_path / "out").read_text() == "new"


def test_an_output_of_the_wrong_kind_is_refused_before_the_body(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("directory")
    with pytest.raises(LongtailError, match="file is a file"), whole_directory(tmp_path / "file"):
        pytest.fail("the body was run")
    for name in ("directory", "link"):
        with pytest.raises(LongtailError, match="is a directory"), whole_file(tmp_path / name):
            pytest.fail("the body was run")


def test_at_no_time_is_there_half_of_an_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill while the old output is removed finds the new one in its place."""
    out = tmp_path / "out"
    with whole_directory(out) as directory:
        (directory / "old").touch()
    found: list[list[str]] = []
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: found.append(names(out)))
    with whole_directory(out) as directory:
        (directory / "new").touch()
    assert found and all(content == ["new"] for content in found)


def test_a_mount_point_is_refused_before_the_work() -> None:
    with pytest.raises(LongtailError, match=r"/proc is a mount point.* /proc/out"):
        require_writable(Path("/proc"))


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    if os.getuid() == 0:
        os.setreuid(65534, -1)  # the user for whom rights are looked at
    try:
        with pytest.raises(LongtailError, match=f"{locked} cannot be written"):
            require_writable(locked / "out")
    finally:
        if os.geteuid() == 0:
            os.setreuid(0, -1)
