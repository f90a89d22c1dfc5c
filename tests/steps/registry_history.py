"""A registry with a history, made once: registering takes seconds."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from longtail.config.promotion import RegisterConfig
from longtail.files import read_json, write_json
from longtail.io.connection import connect
from tests.made_once import made_once
from tests.steps.registry_fixtures import Workspace, write_evaluation, write_models

A, B, C = (15, 10, 5), (16, 12, 9), (18, 14, 11)  # each better than the one before


@dataclass(frozen=True)
class History:
    """A registry at three moments, and what registering gave; registering takes seconds."""

    root: Path
    records: dict[str, dict[str, Any]]
    models: tuple[Path, Path]

    def database(self, moment: str) -> Path:
        """Copy of the database that was `empty`, had `a`, or had `b` promoted over `a`."""
        return self.root / f"{moment}.db"


@pytest.fixture(scope="session")
def past(tmp_path_factory: pytest.TempPathFactory) -> History:
    root = made_once(tmp_path_factory, "history", _make)
    records = {name: read_json(root / f"{name}.json") for name in ("a", "b")}
    return History(root, records, (root / "models/representation", root / "models/tau_norm"))


def _make(root: Path) -> None:
    config = RegisterConfig(tracking_uri=f"sqlite:///{root / 'mlflow.db'}")
    with connect(config.tracking_uri):
        shutil.copy(root / "mlflow.db", root / "empty.db")
    models = write_models(root / "models")
    for name, right in (("a", A), ("b", B)):
        work = Workspace(root, config, write_evaluation(root / name, right=right), *models)
        write_json(root / f"{name}.json", work.flow())
        shutil.copy(root / "mlflow.db", root / f"{name}.db")


@pytest.fixture
def at(
    past: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Workspace]:
    """Return a function that gives a workspace of its own, as it was at a moment of the history."""
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)

    def workspace(moment: str) -> Workspace:
        shutil.copy(past.database(moment), tmp_path / "mlflow.db")
        config = RegisterConfig(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
        evaluation = past.root / ("b" if moment == "b" else "a")
        work = Workspace(tmp_path, config, evaluation, *past.models)
        work.run_champion()
        work.run_gate()
        return work

    return workspace


def client(work: Workspace) -> MlflowClient:
    return MlflowClient(work.config.tracking_uri, work.config.tracking_uri)


def aliases(work: Workspace) -> dict[str, str]:
    registered = client(work).get_registered_model("longtail").aliases
    return {alias: str(version) for alias, version in registered.items()}


def versions(work: Workspace) -> list[str]:
    return sorted(str(v.version) for v in client(work).search_model_versions("name = 'longtail'"))


def runs(work: Workspace) -> list[Run]:
    """Runs of candidates; the history of promotions is a run beside them."""
    experiment = client(work).get_experiment_by_name("longtail")
    assert experiment is not None
    found = client(work).search_runs([experiment.experiment_id])
    return [run for run in found if "history_of" not in run.data.tags]


def switch_to(work: Workspace, right: tuple[int, int, int]) -> None:
    """Give the workspace the evaluation of another candidate, as other parameters would."""
    work.evaluation = write_evaluation(work.root / f"candidate-{right}", right=right)
