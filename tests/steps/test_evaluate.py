"""Evaluate on a small flow: the numbers by another route, examples, and refusals."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from longtail.artifacts import EXAMPLES_SCHEMA, Evaluation, Representation, TauNorm
from longtail.config.promotion import EvaluateConfig
from longtail.config.split import GroupsConfig
from longtail.errors import LongtailError
from longtail.extraction import load_backbone
from longtail.files import read_json, write_json
from longtail.io.head_files import load_heads, save_heads
from longtail.report.content import warnings_of
from longtail.report.table import table_columns, variant_table
from longtail.steps.evaluate import evaluate
from tests.steps.evaluation_fixtures import MEAN, STD, Flow, make_flow

GROUPS = ("many", "medium", "few")
HOSTILE = '$^</text><script>alert("&")</script>'


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Flow:
    return make_flow(
        tmp_path_factory.mktemp("flow"),
        train=[120, 60, 50, 40, 30, 25],
        test=[20, 20, 20, 20, 3, 0],
        group_names=GROUPS,
        hostile_name=HOSTILE,
    )


@pytest.fixture(scope="module")
def evaluation(flow: Flow, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    out = tmp_path_factory.mktemp("evaluation") / "out"
    evaluate(EvaluateConfig(batch_size=32), **flow.inputs, out=out)
    return Evaluation(out)


@pytest.fixture(scope="module")
def report(evaluation: Evaluation) -> dict[str, Any]:
    content: dict[str, Any] = read_json(evaluation.report)
    return content


def test_predictions_are_those_of_the_model_applied_directly(
    flow: Flow, evaluation: Evaluation
) -> None:
    backbone, _ = load_backbone(Representation(flow.inputs["representation"]))
    x = (torch.from_numpy(flow.pixels).float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    with torch.no_grad():
        features = backbone(x.permute(0, 3, 1, 2))
    table = pq.read_table(evaluation.predictions)
    np.testing.assert_array_equal(table["label"], flow.labels)
    for name, head in load_heads(TauNorm(flow.inputs["tau_norm"]).heads).items():
        probabilities = head.logits(features).softmax(dim=1)
        np.testing.assert_array_equal(table[f"{name}_prediction"], probabilities.argmax(dim=1))
        np.testing.assert_allclose(
            table[f"{name}_confidence"], probabilities.max(dim=1).values, atol=1e-4
        )
        top = np.asarray(table[f"{name}_rank"]) == 0
        np.testing.assert_array_equal(top, probabilities.argmax(dim=1).numpy() == flow.labels)


def test_a_few_images_and_their_logits_are_kept_for_whoever_checks_the_model(
    flow: Flow, evaluation: Evaluation
) -> None:
    held = load_file(evaluation.held)
    index = held["index"].numpy()
    assert len(set(index)) == 32 and set(flow.labels[index]) == set(flow.labels)
    np.testing.assert_array_equal(held["pixels"], flow.pixels[index])
    table = pq.read_table(evaluation.predictions).to_pandas()
    for name in load_heads(TauNorm(flow.inputs["tau_norm"]).heads):
        confidences, predictions = held[name].softmax(dim=1).max(dim=1)
        np.testing.assert_array_equal(table[f"{name}_prediction"].to_numpy()[index], predictions)
        np.testing.assert_allclose(table[f"{name}_confidence"][index], confidences, atol=1e-5)


def test_report_follows_from_the_predictions(
    flow: Flow, evaluation: Evaluation, report: dict[str, Any]
) -> None:
    table = pq.read_table(evaluation.predictions)
    hits = np.asarray(table["stage2_prediction"]) == flow.labels
    groups = report["variants"]["stage2"]["groups"]
    medium = (flow.labels > 0) & (flow.labels < 6)
    assert groups["all"]["accuracy"] == pytest.approx(hits.mean())
    assert groups["medium"]["accuracy"] == pytest.approx(hits[medium].mean())
    assert groups["medium"]["images"] == medium.sum()
    assert groups["many"]["accuracy"] == pytest.approx(hits[flow.labels == 0].mean())
    low, high = groups["all"]["balanced_accuracy_interval"]
    assert low < groups["all"]["balanced_accuracy"] < high


def test_the_small_metrics_are_those_of_the_report(
    evaluation: Evaluation, report: dict[str, Any]
) -> None:
    metrics = read_json(evaluation.metrics)
    assert set(metrics) == {"stage1", "stage1_tau", "stage2"}
    groups = report["variants"]["stage2"]["groups"]
    assert metrics["stage2"]["accuracy"] == groups["all"]["accuracy"]
    assert metrics["stage2"]["medium"] == groups["medium"]["accuracy"]
    assert metrics["stage2"]["few"] is None


def test_what_has_no_images_is_unknown_and_said_so(report: dict[str, Any]) -> None:
    stage2 = report["variants"]["stage2"]
    assert stage2["groups"]["few"]["images"] == 0
    assert stage2["groups"]["few"]["accuracy"] is None
    assert stage2["per_class"][5]["accuracy"] is None
    assert "group few" in report["warnings"][0]
    assert "class-5" in report["warnings"][1]
    assert "class-4 (3)" in report["warnings"][2]


def test_a_well_filled_test_split_warns_of_nothing() -> None:
    classes = [{"name": "a", "group": "many", "train": 200, "test": 5}]
    assert warnings_of(classes, {"all": [0], "many": [0]}) == []


def test_the_table_has_a_row_a_variant_and_a_cell_a_group(report: dict[str, Any]) -> None:
    rows = variant_table(report)
    assert [row.title for row in rows] == ["Stage 1", "Stage 1 + tau", "Stage 2", "Stage 2 + tau"]
    assert [row.chosen for row in rows] == [False, False, True, False]
    assert table_columns(report) == ["all", *GROUPS]
    accuracy = 100 * report["variants"]["stage1"]["groups"]["many"]["accuracy"]
    low, high = report["variants"]["stage1"]["groups"]["many"]["accuracy_interval"]
    assert rows[0].cells[1] == f"{accuracy:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    assert rows[0].cells[3] == rows[3].cells[0]  # both unknown: an empty group, no such variant
    assert rows[3].not_applicable == "rows of ncm are class means"


def test_the_same_inputs_make_the_same_bytes(
    flow: Flow, evaluation: Evaluation, tmp_path: Path
) -> None:
    again = tmp_path / "elsewhere"
    config = EvaluateConfig(batch_size=32)
    evaluate(config, **flow.inputs, out=again)
    assert _contents(again) == _contents(evaluation.root)


def test_tables_for_dvc_plots(evaluation: Evaluation, report: dict[str, Any]) -> None:
    curve = read_json(evaluation.plots / "tau_curve.json")
    assert [point["tau"] for point in curve] == pytest.approx(np.linspace(0, 2, 21))
    assert curve[3]["stage1"] == pytest.approx(0.6 - 0.004 * 16)
    assert curve[3]["stage2"] is None
    by_count = read_json(evaluation.plots / "accuracy_by_count.json")
    assert [row["train_images"] for row in by_count] == [120, 60, 50, 40, 30, 25]
    assert by_count[0]["stage2"] == report["variants"]["stage2"]["per_class"][0]["accuracy"]
    assert by_count[5]["stage2"] is None
    confusion = (evaluation.plots / "confusion.csv").read_text().splitlines()
    assert confusion[0] == "actual,predicted"
    assert len(confusion) == 1 + report["test"]["images"]


def test_examples_are_test_images_of_the_classes_they_stand_for(
    flow: Flow, evaluation: Evaluation
) -> None:
    table = pq.read_table(evaluation.examples)
    assert table.schema == EXAMPLES_SCHEMA
    predictions = pq.read_table(evaluation.predictions).to_pandas().set_index("index")
    for row in table.to_pylist():
        picture = np.asarray(Image.open(BytesIO(row["image"])).convert("RGB"))
        np.testing.assert_array_equal(picture, flow.pixels[row["index"]])
        said = predictions.loc[row["index"]]
        assert (row["label"], row["prediction"]) == (said["label"], said["stage2_prediction"])
        assert row["confidence"] == pytest.approx(said["stage2_confidence"])
        if row["kind"] == "lookalike":
            assert row["label"] != row["shown_with"]
        else:
            assert row["label"] == row["shown_with"]
            assert (row["kind"] == "right") == (row["label"] == row["prediction"])
    shown = table.to_pandas().query("kind != 'lookalike'").groupby("shown_with").size()
    assert set(shown.index) == {0, 1, 2, 3, 4} - {_middle_class(evaluation)}
    assert shown.to_dict() == {label: min(4, 3 if label == 4 else 20) for label in shown.index}


def _middle_class(evaluation: Evaluation) -> int:
    """Of five classes with test images two are the best and two the worst."""
    per_class = read_json(evaluation.report)["variants"]["stage2"]["per_class"][:5]
    return int(np.argsort([entry["accuracy"] for entry in per_class], kind="stable")[2])


def test_examples_can_be_left_out(flow: Flow, tmp_path: Path) -> None:
    evaluate(EvaluateConfig(examples=0), **flow.inputs, out=tmp_path / "out")
    assert pq.read_table(Evaluation(tmp_path / "out").examples).num_rows == 0


@pytest.mark.parametrize("name", ["all", "calibration_error"])
def test_a_group_cannot_take_the_name_of_a_metric(name: str) -> None:
    with pytest.raises(ValueError, match=f"cannot be called {name}"):
        GroupsConfig(scheme="edges", edges={name: 50, "rest": 0})


def _refused(flow: Flow, out: Path, match: str, **other: Path) -> None:
    with pytest.raises(LongtailError, match=match):
        evaluate(EvaluateConfig(), **(flow.inputs | other), out=out)
    assert not out.exists()


def test_a_model_of_another_split_is_refused(flow: Flow, tmp_path: Path) -> None:
    other = tmp_path / "profile.json"
    write_json(other, read_json(flow.inputs["profile"]) | {"seed": 1})
    _refused(flow, tmp_path / "out", "trained on another split", profile=other)


def test_a_test_table_that_lost_rows_is_refused(flow: Flow, tmp_path: Path) -> None:
    shorter = tmp_path / "test.parquet"
    pq.write_table(pq.read_table(flow.inputs["test"]).slice(1), shorter)
    _refused(flow, tmp_path / "out", "has 82 images, the profile of its split 83", test=shorter)


def test_a_diverged_head_is_refused_by_name(flow: Flow, tmp_path: Path) -> None:
    broken = TauNorm(tmp_path / "tau_norm")
    broken.root.mkdir()
    heads = load_heads(TauNorm(flow.inputs["tau_norm"]).heads)
    heads["stage2"].weight[0] = torch.nan
    save_heads(broken.heads, heads)
    for name in ("choice", "curve"):
        write_json(
            getattr(broken, name), read_json(getattr(TauNorm(flow.inputs["tau_norm"]), name))
        )
    _refused(flow, tmp_path / "out", "variant stage2 .* not finite", tau_norm=broken.root)


def _contents(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
