"""What the command of a step does where its output cannot go."""

import errno
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail import cli
from longtail.errors import LongtailError, file_errors_explained
from tests.steps.ingest_fixtures import png, write_tree


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with photos of two classes, and their fingerprint."""
    write_tree(tmp_path / "work/data/photos", {"a/1.png": png(1), "b/1.png": png(2)})
    source = "{source: {kind: folder, root: data/photos}}"
    (tmp_path / "work/params.yaml").write_text(f"ingest: {source}\n")
    monkeypatch.chdir(tmp_path / "work")
    assert ended(monkeypatch, "fingerprint --out source.json") == ""
    return tmp_path


def ended(monkeypatch: pytest.MonkeyPatch, command: str) -> str:
    """Run a command; return the line that it ends with, or nothing if it succeeds."""
    monkeypatch.setattr("sys.argv", shlex.split(f"longtail {command}"))
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return str(caught.value.code or "")


def files_below(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("ingest --source source.json --out .", "work"),
        ("ingest --source source.json --out ..", "work"),
        ("ingest --source source.json --out data", "data/photos"),
        ("ingest --source source.json --out data/photos", "data/photos"),
        ("ingest --source data/photos/a/1.png --out data/photos/a", "data/photos/a/1.png"),
        ("ingest --source source.json --out data/photos/b", "data/photos"),
        ("split --images data/photos --out data", "data/photos"),
        ("fingerprint --out params.yaml", "params.yaml"),
        ("ensemble --member data --member data/photos --out data/representation", "data/repres"),
        ("predict --model models:/m@champion --images x --out params.yaml", "params.yaml"),
        ("study report data/study.yaml --out data", "data/study.yaml"),
        ("search --images data/photos --out data", "data/photos"),
        ("publish --url s3://bucket/x --images data/photos --out data", "data/photos"),
    ],
)
def test_an_output_replaces_neither_inputs_nor_the_working_directory(
    workspace, monkeypatch, command, named
):
    before = files_below(workspace)
    text = ended(monkeypatch, command)
    assert named in text and "a directory of its own" in text and "\n" not in text
    assert files_below(workspace) == before


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("{kind: folder, root: data}", "source.json"),
        ("{kind: listing, root: data, table: photos.csv}", "source.json"),
        ("{kind: split_lists, root: ., lists: {train: data/train.txt}}", "source.json"),
        ("{kind: parquet, root: data}", "images"),
        ("{kind: parquet, root: data, files: {train: images/*.parquet}}", "images"),
    ],
)
def test_no_output_becomes_part_of_the_source(workspace, monkeypatch, source, out):
    Path("params.yaml").write_text(f"ingest: {{source: {source}}}\n")
    pq.write_table(pa.table({"image": [png(1)], "label": [0]}), "data/images.parquet")
    command = {
        "source.json": "fingerprint --out data/source.json",
        "images": "ingest --source source.json --out data/images",
    }[out]
    text = ended(monkeypatch, command)
    assert f"data/{out}" in text and "data/source/NAME" in text and "\n" not in text
    assert not Path("data", out).exists()


def test_images_beside_the_tables_of_a_parquet_source_are_no_part_of_it(workspace, monkeypatch):
    files = "files: {train: train-*.parquet, test: test.parquet}"
    Path("params.yaml").write_text(f"ingest: {{source: {{kind: parquet, root: data, {files}}}}}\n")
    for number, name in enumerate(("train-0", "test")):
        table = pa.table({"image": [png(number), png(number + 2)], "label": [0, 1]})
        pq.write_table(table, f"data/{name}.parquet")
    for _ in range(2):
        assert ended(monkeypatch, "fingerprint --out data/source.json") == ""
        assert ended(monkeypatch, "ingest --source data/source.json --out data/images") == ""


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("fingerprint --out data", "'data' is a directory"),
        ("ingest --source source.json --out params.yaml", "'params.yaml' is a file"),
        ("search --out params.yaml", "'params.yaml' is a file"),
        ("ensemble --member data --out params.yaml", "'params.yaml' is a file"),
        ("predict --model models:/a/1 --images data --out data", "'data' is a directory"),
        ("export-onnx --model models:/a/1 --out data", "'data' is a directory"),
    ],
)
def test_an_output_of_the_wrong_kind_is_refused(workspace, monkeypatch, capsys, command, said):
    before = files_below(workspace)
    assert ended(monkeypatch, command) == "2"
    assert said in capsys.readouterr().err
    assert files_below(workspace) == before


@pytest.mark.parametrize("out", ["params.yaml/x.json", "params.yaml/x/y.json"])
def test_a_file_in_the_way_of_an_output_is_named(workspace, monkeypatch, out):
    text = ended(monkeypatch, f"fingerprint --out {out}")
    assert "params.yaml" in text and "move it away" in text and "\n" not in text


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.EACCES, "Permission denied; give this user the right"),
        (errno.EPERM, "Operation not permitted; give this user the right"),
        (errno.EROFS, "Read-only file system; use a path on another disk"),
        (errno.ENOSPC, "No space left on device; make room"),
        (errno.EDQUOT, "Disk quota exceeded; make room"),
        (errno.EISDIR, "Is a directory; give the path of a file"),
    ],
)
def test_an_error_that_the_user_can_mend_is_one_line(code, advice):
    with pytest.raises(LongtailError) as caught, file_errors_explained():
        raise OSError(code, os.strerror(code), "place/file")
    assert str(caught.value).startswith(f"place/file: {advice}")
    with pytest.raises(LongtailError) as caught, file_errors_explained():
        raise OSError(code, os.strerror(code))  # of a write: it knows no name
    assert str(caught.value).startswith(advice)


# Run in a user namespace, whose root may mount a disk of 64 kB.
FULL_DISK = """
from pathlib import Path
import torch
from longtail.checkpoint import TrainingState, save_checkpoint
from longtail.errors import LongtailError, file_errors_explained
from longtail.heads import Head
from longtail.io.head_files import save_heads
large = torch.zeros(1000, 200)
for write in (
    lambda: save_checkpoint(Path("c"), key="", state=TrainingState(), tensors={"a": large}),
    lambda: save_heads(Path("heads"), {"stage1": Head("linear", large)}),
):
    try:
        with file_errors_explained():
            write()
    except LongtailError as error:
        print(error)
"""


def test_checkpoints_and_weights_that_a_disk_has_no_room_for_end_in_a_line(tmp_path):
    mount = f"mount -t tmpfs -o size=64k tmpfs {shlex.quote(str(tmp_path))}"
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*alone, mount]).returncode:
        pytest.skip("nothing can be mounted here")
    command = shlex.join([sys.executable, "-c", FULL_DISK])
    run = [*alone, f"{mount} && cd {shlex.quote(str(tmp_path))} && {command}"]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.stdout == 2 * "No space left on device; make room on that disk, or use another\n"


def test_another_error_of_the_system_keeps_its_traceback():
    with pytest.raises(OSError, match="Input/output error"), file_errors_explained():
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_finished_step_does_not_fail_for_its_cost_record(workspace, monkeypatch, caplog):
    Path("reports/cost/fingerprint.json").unlink()
    Path("reports/cost").rmdir()
    Path("reports/cost").touch()
    assert ended(monkeypatch, "fingerprint --out again.json") == ""
    assert Path("again.json").read_bytes() == Path("source.json").read_bytes()
    assert "what fingerprint cost was not noted" in caplog.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "source.json is no JSON"),
        (b"\xff", "source.json is no JSON"),
        (b"[]", "source.json is no fingerprint"),
    ],
)
def test_an_input_that_is_not_what_its_step_writes_is_named(workspace, monkeypatch, content, said):
    Path("source.json").write_bytes(content)
    text = ended(monkeypatch, "ingest --source source.json --out images")
    assert said in text and "write" in text and "\n" not in text
