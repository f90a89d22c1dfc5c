"""What the registry says of a model's making, read back."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest

from longtail.io import checkout, origin
from longtail.io.connection import connect
from longtail.provenance import full_provenance, provenance

PROVENANCE: dict[str, Any] = {
    "git_commit": "c0ffee",
    "git_dirty": False,
    "git_patch": None,
    "dvc_lock": None,
    "split_md5": "0123456789abcdef0123456789abcdef.dir",
    "split_remote": None,
    "image": None,
    "gpu_image": None,
    "pipeline_run": None,
    "params": {"represent": {"epochs": 3}},
    "environment": {"torch": "2.0"},
}


def registered(provenance: dict[str, Any], root: Path) -> origin.Origin:
    with connect(f"sqlite:///{root / 'mlflow.db'}") as tracker:
        client = tracker.client
        experiment = client.create_experiment("any", artifact_location=(root / "runs").as_uri())
        with mlflow.start_run(experiment_id=experiment) as run:
            origin.log(provenance)
        client.create_registered_model("any")
        tags = origin.tags(provenance)
        version = client.create_model_version("any", str(root), run.info.run_id, tags=tags)
        return origin.read(tracker, version, into=root)


@pytest.fixture(autouse=True)
def no_outer_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)


def test_what_is_known_comes_back_and_what_is_not_is_none(tmp_path):
    made = registered(PROVENANCE, tmp_path)
    assert (made.git_commit, made.split_md5) == ("c0ffee", PROVENANCE["split_md5"])
    assert (made.params, made.environment) == (PROVENANCE["params"], PROVENANCE["environment"])
    assert (
        made.split_remote is None
        and made.image is None
        and made.patch is None
        and made.lock is None
    )


@pytest.mark.parametrize(
    ("dirty", "patch", "lost"),
    [
        (True, None, True),  # submitted to a cluster
        (True, "", False),  # only the parameters were changed, which are stored as a whole
        (True, "--- a/file", False),
        (False, None, False),
        (None, None, False),  # outside of Git
    ],
)
def test_changes_beyond_the_commit_that_were_not_stored_are_known_to_be_lost(
    tmp_path, dirty, patch, lost
):
    made = registered(PROVENANCE | {"git_dirty": dirty, "git_patch": patch}, tmp_path)
    assert made.patch == patch and made.changes_lost is lost


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Git repository, the working directory, with one commit of `code.py` in it."""
    root = tmp_path / "repository"
    (root / "split").mkdir(parents=True)
    (root / "split" / "train.parquet").write_bytes(b"rows")
    (root / "params.yaml").write_text("{}")
    (root / "code.py").write_bytes(b"a = 1\r\nb = 2\r\n")
    monkeypatch.chdir(root)
    for key, value in {"AUTHOR_NAME": "ann", "AUTHOR_EMAIL": "ann@desk"}.items():
        monkeypatch.setenv(f"GIT_{key}", value)
        monkeypatch.setenv(f"GIT_{key.replace('AUTHOR', 'COMMITTER')}", value)
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "first"]):
        subprocess.run(["git", "-c", "core.autocrlf=false", *command], check=True)
    return root


def test_changed_lines_that_end_as_on_windows_are_the_same_in_a_checkout(repository, tmp_path):
    changed = "a = 1\r\nb = 3  # \u0439\r\n".encode()
    (repository / "code.py").write_bytes(changed)
    known = full_provenance(params=Path("params.yaml"), split=Path("split"))
    made = registered(PROVENANCE | {"git_patch": known["git_patch"]}, tmp_path)
    assert made.patch
    clone = checkout.clone(repository, known["git_commit"], tmp_path / "again")
    clone.apply(made.patch)
    assert (tmp_path / "again" / "code.py").read_bytes() == changed


@pytest.mark.parametrize(
    "setting",
    [
        "diff.noprefix=true",
        "diff.mnemonicPrefix=true",
        "diff.relative=true",
        "color.diff=always",
        "diff.external=true",  # the program that prints nothing
    ],
)
def test_the_patch_can_be_applied_whatever_the_users_settings(
    repository, tmp_path, monkeypatch, setting
):
    subprocess.run(["git", "config", *setting.split("=")], check=True)
    (repository / "code.py").write_bytes(b"a = 1\r\nb = 3\r\n")
    monkeypatch.chdir(repository / "split")
    known = full_provenance(params=Path("../params.yaml"), split=Path())
    clone = checkout.clone(repository, known["git_commit"], tmp_path / "again")
    clone.apply(known["git_patch"])
    assert (tmp_path / "again" / "code.py").read_bytes() == b"a = 1\r\nb = 3\r\n"


def test_changes_in_another_encoding_than_utf_8_are_known_to_be_lost(repository, tmp_path):
    (repository / "code.py").write_bytes("b = 3  # \u00e9\r\n".encode("latin-1"))
    known = full_provenance(params=Path("params.yaml"), split=Path("split"))
    lost = {key: known[key] for key in ("git_dirty", "git_patch")}
    assert registered(PROVENANCE | lost, tmp_path).changes_lost


def test_what_the_page_says_is_the_same_and_takes_no_patch_and_no_torch(repository):
    """Torch is asked for the GPU, which the page does not name."""
    where = {"params": Path("params.yaml"), "split": Path("split")}
    shown = provenance(**where)
    assert shown.items() <= full_provenance(**where).items()
    assert shown.keys() == {"git_commit", "git_dirty", "split_md5", "params"}
    code = (
        "import sys; from pathlib import Path\n"
        "import longtail.steps.report\n"
        "from longtail.provenance import provenance\n"
        "provenance(params=Path('params.yaml'), split=Path('split'))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
