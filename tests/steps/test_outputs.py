"""What the command of a step does where its output cannot go."""

import shlex
from pathlib import Path

import pytest

from longtail import cli
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
        ("split --images data/photos --out data", "data/photos"),
        ("fingerprint --out params.yaml", "params.yaml"),
        ("ensemble --member data/photos/a --member data/photos/b --out data", "data/photos/a"),
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
