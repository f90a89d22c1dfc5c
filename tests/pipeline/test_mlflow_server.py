"""The same steps against a real MLflow server: registry and artifacts through HTTP."""

from collections.abc import Iterator

import numpy as np
import pytest

from longtail.config.promotion import RegisterConfig
from longtail.errors import LongtailError
from tests.pipeline.mlflow_server import MlflowServer
from tests.steps.registry_fixtures import (
    SIZE,
    Workspace,
    predict_as_consumer,
    write_evaluation,
    write_models,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("server")
    started = MlflowServer(
        root,
        *("--backend-store-uri", f"sqlite:///{root / 'mlflow.db'}"),
        *("--artifacts-destination", str(root / "artifacts")),
        variables={},
    )
    yield started.url
    started.kill()


@pytest.fixture(scope="module")
def work(server: str, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("work")
    evaluation = write_evaluation(root / "a", right=(15, 10, 5))
    return Workspace(
        root, RegisterConfig(tracking_uri=server), evaluation, *write_models(root / "models")
    )


def test_a_champion_is_loaded_through_the_server(work, tmp_path):
    assert work.run_champion() is None
    work.run_gate()
    first = work.run_register()
    assert first["version"] == "1" and first["aliases"] == ["challenger", "champion"]

    pixels = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    answers = predict_as_consumer(work.config.tracking_uri, pixels, tmp_path)
    assert answers["direct"].shape == (5, 3)
    assert answers["labels"].tolist() == answers["direct"].argmax(axis=1).tolist()


def test_a_name_that_the_server_refuses_is_an_error_for_the_user(work):
    work.config = work.config.model_copy(update={"model_name": "long/tail"})
    with pytest.raises(LongtailError, match=r"127\.0\.0\.1.*failed"):
        work.run_champion()
