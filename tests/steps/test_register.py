"""Champion, gate and register against a real MLflow database."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from longtail.artifacts import Champion, Evaluation, Representation, TauNorm
from longtail.backbones.images import normalize
from longtail.config.promotion import EvaluateConfig, GateConfig, RegisterConfig
from longtail.errors import LongtailError
from longtail.extraction import load_backbone
from longtail.files import file_digest, read_json, write_json
from longtail.io.connection import connect
from longtail.io.head_files import load_heads
from longtail.steps.evaluate import evaluate
from tests.steps.evaluation_fixtures import make_flow
from tests.steps.registry_fixtures import (
    THRESHOLDS,
    Workspace,
    predict_as_consumer,
    write_evaluation,
)
from tests.steps.registry_history import (
    A,
    C,
    aliases,
    at,
    client,
    past,
    runs,
    switch_to,
    versions,
)

__all__ = ["at", "past"]  # fixtures


def test_the_first_candidate_becomes_challenger_and_champion(at, past):
    work, record = at("a"), past.records["a"]
    assert record["version"] == "1" and record["name"] == "longtail"
    assert record["outcome"] == "promote" and record["aliases"] == ["challenger", "champion"]
    assert aliases(work) == {"challenger": "1", "champion": "1"}
    tags = client(work).get_model_version("longtail", "1").tags
    assert tags["predictions_digest"] == file_digest(work.evaluation / "predictions.parquet")
    assert tags["incumbent_version"] == "none" and tags["chosen"] == "stage2"
    assert tags["git_commit"] == "c0ffee" and tags["verdict"] == "promote"
    assert tags["split_md5"] == "0123456789abcdef0123456789abcdef.dir"


def test_the_run_holds_parameters_metrics_evidence_and_the_split(at, past):
    work = at("a")
    run = client(work).get_run(past.records["a"]["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["represent.epochs"] == "3"
    assert run.data.params["represent.augment.auto"] == "None"
    assert run.data.metrics["stage2/few/accuracy"] == 5 / 20
    assert run.data.metrics["stage2/all/balanced_accuracy"] == pytest.approx(30 / 60)
    assert run.data.tags["verdict"] == "promote" and run.data.tags["git_commit"] == "c0ffee"
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.digest == "0123456789abcdef0123456789abcdef.dir"
    stored = {
        entry.path
        for directory in (
            "evaluation",
            "evaluation/plots",
            "gate",
            "report",
            "representation",
            "split",
            "tau_norm",
        )
        for entry in client(work).list_artifacts(run.info.run_id, directory)
    }
    for name in ("report.json", "metrics.json", "predictions.parquet"):
        assert f"evaluation/{name}" in stored
    assert {"report/index.html", "report/model_card.md"} <= stored
    assert {"evaluation/plots/curve.json", "gate/verdict.json", "split/profile.json"} <= stored
    assert {"representation/representation.json", "tau_norm/tau_norm.json"} <= stored


def test_the_registered_model_gives_what_was_evaluated_without_pickles(tmp_path):
    flow = make_flow(
        tmp_path, train=[200, 50, 8], test=[12, 12, 12], group_names=("many", "medium", "few")
    )
    evaluate(EvaluateConfig(), **flow.inputs, out=tmp_path / "evaluation")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    representation, tau_norm = flow.inputs["representation"], flow.inputs["tau_norm"]
    Workspace(
        tmp_path,
        RegisterConfig(tracking_uri=uri),
        tmp_path / "evaluation",
        representation,
        tau_norm,
        THRESHOLDS,
    ).flow()
    answers = predict_as_consumer(uri, flow.pixels, tmp_path)

    backbone, description = load_backbone(Representation(representation))
    head = load_heads(TauNorm(tau_norm).heads)["stage2"]
    images = normalize(
        torch.from_numpy(flow.pixels), mean=description["mean"], std=description["std"]
    )
    expected = head.logits(backbone(images)).numpy()
    evaluated = pd.read_parquet(Evaluation(tmp_path / "evaluation").predictions)
    assert np.abs(answers["direct"] - expected).max() < 1e-4
    assert answers["labels"].tolist() == evaluated["stage2_prediction"].tolist()


def test_the_version_carries_weights_and_class_names(at, past, tmp_path):
    work = at("a")
    with connect(work.config.tracking_uri):
        local = Path(
            mlflow.artifacts.download_artifacts("models:/longtail@champion", dst_path=str(tmp_path))
        )
    assert read_json(local / "extra_files" / "classes.json") == ["class-0", "class-1", "class-2"]
    heads = load_heads(local / "extra_files" / "head.safetensors")
    trained = load_heads(TauNorm(work.tau_norm).heads)["stage2"]
    assert list(heads) == ["stage2"] and torch.equal(heads["stage2"].weight, trained.weight)
    weights = local / "extra_files" / "backbone.safetensors"
    assert file_digest(weights) == file_digest(Representation(work.representation).backbone)
    assert (local / "data" / "model.pt2").is_file() and not list(local.rglob("*.pth"))


def test_artifacts_lie_beside_a_local_database(past):
    assert list(past.root.glob("mlruns/*/artifacts/evaluation/report.json"))


@pytest.mark.parametrize("moment", ["a", "b"])
def test_running_the_flow_again_after_a_promotion_changes_nothing(at, past, moment):
    work = at(moment)
    before = {"a": None, "b": {"version": "1", "chosen": "stage2"}}[moment]
    stated = work.run_champion()
    assert (stated and {key: stated[key] for key in ("version", "chosen")}) == before
    assert work.run_gate()["outcome"] == "promote"
    assert work.run_register() == past.records[moment]
    assert len(runs(work)) == len(versions(work)) == {"a": 1, "b": 2}[moment]


def test_a_better_candidate_replaces_the_champion_and_stays_judged_against_it(at, past):
    work = at("a")
    work.evaluation = past.root / "b"
    work.run_champion()
    before = work.gate_inputs()
    work = at("b")
    assert work.gate_inputs() == before
    stored = Champion(work.root / "champion").predictions
    assert file_digest(stored) == file_digest(past.root / "a" / "predictions.parquet")
    assert aliases(work) == {"challenger": "2", "champion": "2", "previous-champion": "1"}
    assert client(work).get_model_version("longtail", "2").tags["incumbent_version"] == "1"


def test_an_earlier_candidate_restored_is_judged_against_the_new_champion(at, past):
    work = at("b")
    work.evaluation = past.root / "a"
    record, seen = work.flow(), work.gate_inputs()
    assert record["outcome"] == "reject" and record["version"] is None
    assert aliases(work)["champion"] == "2"
    assert work.flow() == record and work.gate_inputs() == seen
    assert versions(work) == ["1", "2"]


def test_an_earlier_candidate_promoted_again_keeps_its_version_and_comes_to_rest(at, past):
    work = at("b")
    work.evaluation = past.root / "a"
    work.thresholds = THRESHOLDS.model_copy(update={"min_gain": -1.0})
    record, seen = work.flow(), work.gate_inputs()
    assert record["version"] == "1"
    assert aliases(work) == {"challenger": "1", "champion": "1", "previous-champion": "2"}
    assert work.flow() == record and work.gate_inputs() == seen
    assert versions(work) == ["1", "2"]


def test_a_held_candidate_is_challenger_only_and_its_version_is_promoted_later(at):
    work = at("empty")
    work.thresholds = GateConfig()
    held = work.flow()
    assert held["aliases"] == ["challenger"] and held["outcome"] == "hold"
    assert aliases(work) == {"challenger": "1"}
    work.thresholds = THRESHOLDS
    promoted = work.flow()
    assert promoted["version"] == "1" and promoted["run_id"] != held["run_id"]
    assert aliases(work) == {"challenger": "1", "champion": "1"}
    tags = client(work).get_model_version("longtail", "1").tags
    assert tags["verdict"] == "promote" and tags["judged_in_run"] == promoted["run_id"]


def test_a_rejected_candidate_leaves_its_run_and_no_version(at, caplog):
    work = at("empty")
    work.thresholds = GateConfig(min_balanced_accuracy=0.99)
    record = work.flow()
    assert record["version"] is None and record["aliases"] == []
    assert record["outcome"] == "reject" and "rejected: no version" in caplog.text
    run = client(work).get_run(record["run_id"])
    assert run.data.tags["verdict"] == "reject"
    assert client(work).search_registered_models() == []
    assert work.run_register() == record and len(runs(work)) == 1


def test_a_rejected_candidate_is_kept_on_request_without_an_alias(at):
    work = at("empty")
    work.thresholds = GateConfig(min_balanced_accuracy=0.99)
    work.flow()
    record = work.run_register(keep_rejected=True)
    assert record["version"] == "1" and record["aliases"] == [] and aliases(work) == {}
    assert client(work).get_model_version("longtail", "1").tags["verdict"] == "reject"


def test_a_challenger_that_is_rejected_later_is_none_any_more(at):
    work = at("empty")
    work.thresholds = GateConfig()
    assert work.flow()["aliases"] == ["challenger"]
    work.thresholds = GateConfig(min_balanced_accuracy=0.99)
    record = work.flow()
    assert (record["outcome"], record["version"], record["aliases"]) == ("reject", None, [])
    assert aliases(work) == {} and versions(work) == ["1"]


def test_a_rejected_version_leaves_another_challenger_alone(at, past):
    work = at("b")
    work.evaluation = past.root / "a"
    assert work.flow()["outcome"] == "reject"  # version 1
    assert aliases(work)["challenger"] == "2"


def test_a_version_says_how_good_it_is_and_where_it_comes_from(at):
    version = client(at("b")).get_model_version("longtail", "2")
    assert json.loads(version.tags["groups"]) == ["all", "many", "medium", "few"]
    assert float(version.tags["few/accuracy"]) == 9 / 20
    assert version.tags["pipeline_run"] == "run-7" and version.tags["image"] == "unknown"
    assert version.description.startswith("**promote**, judged first against version 1:")
    model = client(at("b")).get_logged_model(version.source.removeprefix("models:/"))
    assert {m.key: m.value for m in model.metrics}["stage2/few/accuracy"] == 9 / 20


def test_a_run_has_every_parameter_as_it_was(at, past, tmp_path):
    work = at("a")
    run_id = past.records["a"]["run_id"]
    stored = Path(client(work).download_artifacts(run_id, "provenance", str(tmp_path)))
    params = yaml.safe_load((stored / "params.yaml").read_text())
    assert params == {"represent": {"epochs": 3, "augment": {"auto": None}}}
    assert sorted(path.name for path in stored.iterdir()) == ["environment.json", "params.yaml"]


def test_an_mlflow_that_is_away_leaves_everything_and_the_command_to_finish(at):
    work = at("a")
    work.config = RegisterConfig(tracking_uri="http://127.0.0.1:9", patience=1)
    command = work.register_command()
    done = subprocess.run(command, cwd=work.root, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "does not answer" in done.stderr and "register is tried again in 1 s" in done.stderr
    assert "Nothing is lost" in done.stderr
    again = shlex.split(done.stderr.strip().splitlines()[-1])
    assert again == ["longtail", *command[3:]]


def test_the_same_predictions_with_another_chosen_variant_are_another_candidate(at):
    work = at("a")
    work.evaluation = write_evaluation(work.root / "other", right=A, chosen="stage1")
    champion = work.run_champion()
    assert champion is not None and champion["version"] == "1"
    assert champion["digest"] == file_digest(work.evaluation / "predictions.parquet")


def test_a_champion_that_changed_since_the_gate_stops_the_promotion(at):
    work = at("b")
    switch_to(work, C)
    work.run_champion()
    work.run_gate()
    client(work).set_registered_model_alias("longtail", "champion", "1")
    with pytest.raises(LongtailError, match=r"is version 1 now, but .* against version 2.*again"):
        work.run_register()
    assert versions(work) == ["1", "2"] and aliases(work)["champion"] == "1"


def test_a_rollback_by_hand_is_not_undone_by_running_the_flow(at):
    work = at("b")
    seen = work.gate_inputs()
    client(work).set_registered_model_alias("longtail", "champion", "1")
    work.run_champion()
    assert work.gate_inputs() == seen


def test_cut_off_between_version_and_aliases_it_goes_on_with_that_version(at, past):
    work = at("a")
    for alias in ("champion", "challenger"):
        client(work).delete_registered_model_alias("longtail", alias)
    assert work.flow() == past.records["a"]
    assert aliases(work) == {"challenger": "1", "champion": "1"} and len(runs(work)) == 1


def test_cut_off_between_run_and_version_it_goes_on_with_that_run(at, past):
    work = at("a")
    client(work).delete_registered_model("longtail")
    assert work.flow() == past.records["a"] and len(runs(work)) == 1


def test_a_run_that_was_killed_is_not_mistaken_for_a_finished_one(at, past):
    work = at("a")
    client(work).delete_registered_model("longtail")
    client(work).set_terminated(past.records["a"]["run_id"], "KILLED")
    again = work.flow()
    assert again["run_id"] != past.records["a"]["run_id"] and again["version"] == "1"


def test_a_verdict_on_other_predictions_is_refused(at):
    work = at("a")
    switch_to(work, C)
    with pytest.raises(LongtailError, match="run the step gate again"):
        work.run_register()
    assert not (work.root / "register").exists()


def test_a_verdict_on_another_variant_of_the_same_predictions_is_refused(at):
    work = at("a")
    work.evaluation = shutil.copytree(work.evaluation, work.root / "other")  # all tests share it
    report = Evaluation(work.evaluation).report
    write_json(report, read_json(report) | {"chosen": "stage1"})
    with pytest.raises(LongtailError, match=r"stage2 of .* stage1 of .*; run the step gate again"):
        work.run_register()
    assert not (work.root / "register").exists()


def test_a_run_given_from_outside_gets_everything_and_stays_open(at, monkeypatch):
    work = at("empty")
    experiment = client(work).create_experiment("theirs", str(work.root / "theirs"))
    outer = client(work).create_run(experiment).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", outer)
    record = work.flow()
    assert record["run_id"] == outer
    run = client(work).get_run(outer)
    assert run.info.status == "RUNNING" and "represent.epochs" in run.data.params
    assert os.environ["MLFLOW_RUN_ID"] == outer
    assert work.flow() == record and versions(work) == ["1"]


def test_a_champion_registered_by_other_means_holds(at):
    work = at("empty")
    client(work).create_registered_model("longtail")
    client(work).create_model_version("longtail", str(work.root))
    client(work).set_registered_model_alias("longtail", "champion", "1")
    identity = work.run_champion()
    assert identity == {"name": "longtail", "version": "1", "digest": None, "chosen": None}
    assert work.run_gate()["outcome"] == "hold"


def test_a_champion_whose_tags_name_predictions_that_no_run_has_holds(at):
    work = at("empty")
    client(work).create_registered_model("longtail")
    tags = {"predictions_digest": "0" * 64, "chosen": "stage2"}
    client(work).create_model_version("longtail", str(work.root), tags=tags)
    client(work).set_registered_model_alias("longtail", "champion", "1")
    assert work.run_champion()["digest"] is None
    assert work.run_gate()["outcome"] == "hold"


def test_stored_predictions_that_are_not_the_registered_ones_are_an_error(at):
    work = at("a")
    client(work).set_model_version_tag("longtail", "1", "predictions_digest", "0" * 64)
    switch_to(work, C)
    with pytest.raises(LongtailError, match=r"version 1 have another digest"):
        work.run_champion()


def test_no_database_is_no_champion_and_costs_no_import_of_mlflow(tmp_path):
    code = """
import sys
from pathlib import Path
from longtail.config.promotion import RegisterConfig
from longtail.steps.champion import champion
root = Path(sys.argv[1])
config = RegisterConfig(tracking_uri=f"sqlite:///{root / 'none.db'}")
champion(config, evaluation=root, out=root / "champion")
assert not {"mlflow", "torch"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert json.loads(Champion(tmp_path / "champion").identity.read_text()) == {"champion": None}
    assert [path.name for path in tmp_path.iterdir()] == ["champion"]


def test_an_unreachable_server_is_an_error_that_names_it_without_its_password(at, monkeypatch):
    work = at("a")
    shutil.rmtree(work.root / "champion")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    work.config = RegisterConfig(tracking_uri="http://me:secret@127.0.0.1:9")
    with pytest.raises(LongtailError, match=r"127\.0\.0\.1:9.*register\.tracking_uri") as caught:
        work.run_champion()
    assert "secret" not in str(caught.value)
    assert not (work.root / "champion").exists()


def test_a_file_that_is_no_database_is_an_error(at):
    work = at("a")
    (work.root / "mlflow.db").write_bytes(b"not a database, and long enough to be read as one" * 99)
    with pytest.raises(LongtailError, match=r"mlflow\.db cannot be used"):
        work.run_champion()


def test_processes_that_start_together_share_one_fresh_database(tmp_path):
    code = """
import sys
from longtail.io import tracking
from longtail.io.connection import connect
with connect(sys.argv[1]) as tracker:
    print(tracking.experiment(tracker, "longtail"))
"""
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert len(set(printed)) == 1
