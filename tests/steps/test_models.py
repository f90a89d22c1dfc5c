"""The champion changed by hand: refusals, overrides, rollbacks, and two at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import mlflow
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from longtail.artifacts import Evaluation
from longtail.cli import app
from longtail.config.promotion import GateConfig
from longtail.errors import LongtailError
from longtail.files import write_json
from longtail.io import catalogue, history, promotion
from longtail.io.connection import connect
from longtail.io.history import MAX_REASON, NONE
from longtail.io.promotion import Act
from longtail.io.smoke import HELD
from longtail.io.tracking import experiment
from longtail.steps.compare import compare
from longtail.steps.promote import promote, rollback
from tests.steps.promotion_race import race
from tests.steps.registry_fixtures import THRESHOLDS, Workspace, write_evaluation
from tests.steps.registry_history import aliases, at, client, past, versions

__all__ = ["at", "past"]  # fixtures

SETTLERS = 6
ANN = {"who": "ann@desk", "why": None, "override": None}
CUT_OFF = history.Entry(
    action="promote",
    version="1",
    replaced="2",
    previous="2",
    who="ann@desk",
    when="2026-01-01T00:00:00+00:00",
    why="cut off",
    verdict="promote",
    override=True,
)


def entries(work: Workspace) -> list[history.Entry]:
    with connect(work.config.tracking_uri) as tracker:
        return catalogue.changes(tracker, "longtail")[0]


def tags(work: Workspace, version: str) -> dict[str, str]:
    return dict(client(work).get_model_version("longtail", version).tags)


def command(work: Workspace, *arguments: str) -> str:
    """Output of `longtail models ...`, as a user gives it."""
    params = work.root / "params.yaml"
    write_json(params, {"register": work.config.model_dump()})
    done = CliRunner().invoke(app, ["models", *arguments, "--params", str(params)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_what_the_gate_judged_against_another_champion_needs_an_override(at):
    work = at("b")
    with pytest.raises(LongtailError, match=r"compared .* with no version, but .* version 2 now"):
        promote(work.config, "1", **ANN)
    change = promote(work.config, "1", **ANN | {"override": "version 2 is slow"})
    assert change.entry.override and change.entry.verdict == "promote"
    assert aliases(work) == {"challenger": "2", "champion": "1", "previous-champion": "2"}
    assert entries(work)[-1].why == "version 2 is slow"
    assert tags(work, "1")["champion_by"] == "ann@desk"
    assert tags(work, "1")["champion_because"] == "version 2 is slow"
    assert tags(work, "1")["champion_by_override"] == "true"


def test_what_the_gate_rejected_is_refused_and_an_override_is_recorded(at, past):
    work = at("b")
    work.evaluation = past.root / "a"
    assert work.flow()["outcome"] == "reject"  # version 1, judged again
    with pytest.raises(LongtailError, match=r"gate rejected longtail version 1 .*--override"):
        promote(work.config, "1", **ANN)
    assert aliases(work)["champion"] == "2" and len(entries(work)) == 2
    promote(work.config, "1", **ANN | {"override": "the law demands it", "why": "see ticket 7"})
    last = entries(work)[-1]
    assert last.why == "the law demands it; see ticket 7"
    assert (last.version, last.replaced, last.verdict, last.override) == ("1", "2", "reject", True)
    assert "reject overridden" in command(work, "history")


def test_what_the_gate_held_needs_a_reason(at):
    work = at("empty")
    work.thresholds = GateConfig()
    assert work.flow()["outcome"] == "hold"
    with pytest.raises(LongtailError, match=r"could not decide .*--why"):
        promote(work.config, "challenger", **ANN)
    change = promote(work.config, "challenger", **ANN | {"why": "seen on my own images"})
    assert (change.entry.verdict, change.entry.override) == ("hold", False)
    assert aliases(work) == {"challenger": "1", "champion": "1"}
    assert promote(work.config, "1", **ANN) is None


def test_a_rollback_restores_and_is_not_undone_by_the_same_verdict(at):
    work = at("b")
    change = rollback(work.config, who="bob@desk", why="complaints")
    assert (change.entry.version, change.entry.replaced) == ("1", "2")
    assert aliases(work) == {"challenger": "2", "champion": "1"}
    assert tags(work, "2")["rolled_back_because"] == "complaints"
    assert work.run_register()["aliases"] == ["challenger"]  # the verdict was to promote
    assert aliases(work)["champion"] == "1"
    with pytest.raises(LongtailError, match=r"rolled back by bob@desk at .*: complaints"):
        promote(work.config, "2", **ANN)
    with pytest.raises(LongtailError, match="no previous-champion, so there is nothing"):
        rollback(work.config, who="bob@desk", why="more complaints")
    promote(work.config, "2", **ANN | {"override": "fixed elsewhere"})
    assert aliases(work)["previous-champion"] == "1"


def test_two_rollbacks_go_back_two_versions(at):
    work = at("b")
    promote(work.config, "1", **ANN | {"override": "a"})  # 1, 2, 1
    promote(work.config, "2", **ANN | {"override": "b"})  # 1, 2, 1, 2
    assert rollback(work.config, who="bob", why="c").entry.version == "1"
    assert aliases(work)["previous-champion"] == "2"
    assert [entry.version for entry in entries(work)] == ["1", "2", "1", "2", "1"]


def test_an_artifact_that_gives_other_logits_gets_no_alias(at, tmp_path):
    work = at("empty")
    work.evaluation = write_evaluation(tmp_path / "other", right=(15, 10, 5))
    held = load_file(Evaluation(work.evaluation).held)
    largest = held["stage2"].abs().max()
    save_file(held | {"stage2": held["stage2"] + 0.01 * largest}, Evaluation(work.evaluation).held)
    with pytest.raises(LongtailError, match=r"6 held images.* \d\.\de-0[23] .*tolerance 1\.0e-03"):
        work.flow()
    assert versions(work) == ["1"] and aliases(work) == {}
    work.config = work.config.model_copy(update={"smoke_tolerance": 0.02})
    assert work.flow()["aliases"] == ["challenger", "champion"]
    assert "largest difference" in tags(work, "1")["smoke_test"]


def test_held_images_that_were_changed_after_registering_are_noticed(at):
    work = at("empty")
    work.thresholds = GateConfig()
    run_id = work.flow()["run_id"]
    stored = work.root / "mlruns" / run_id / "artifacts" / "evaluation" / "held.safetensors"
    held = load_file(stored)
    save_file(held | {"stage2": held["stage2"] * 2}, stored)
    with pytest.raises(LongtailError, match=f"were changed after .*delete --run-id {run_id}"):
        promote(work.config, "1", **ANN | {"why": "because"})
    # What the message says to do helps.
    client(work).delete_model_version("longtail", "1")
    client(work).delete_run(run_id)
    assert work.flow()["outcome"] == "hold"
    assert promote(work.config, "challenger", **ANN | {"why": "because"})


def test_a_pickled_model_is_not_even_loaded(at, past):
    work = at("a")
    before = aliases(work)
    marker = work.root / "unpickled"
    with connect(work.config.tracking_uri) as tracker:
        run = tracker.client.get_run(past.records["a"]["run_id"])
        with mlflow.start_run(experiment_id=run.info.experiment_id) as other:
            model = torch.nn.Linear(1, 1)
            model.trap = Trap(str(marker))
            logged = mlflow.pytorch.log_model(
                model, name="model", serialization_format="pickle", pip_requirements=["torch"]
            )
            mlflow.log_artifact(str(work.evaluation / "held.safetensors"), "evaluation")
        own = tags(work, "1")
        wanted = {key: own[key] for key in (HELD, "chosen", "verdict")}
        tracker.client.create_model_version(
            "longtail", logged.model_uri, run_id=other.info.run_id, tags=wanted
        )
    with pytest.raises(LongtailError, match=r"longtail/2 cannot be loaded without pickles"):
        promote(work.config, "2", **ANN | {"override": "I trust it"})
    assert aliases(work) == before and not marker.exists()


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def test_a_version_of_other_makers_has_nothing_to_be_checked_by(at):
    work = at("a")
    client(work).create_model_version("longtail", str(work.root))
    with pytest.raises(LongtailError, match="never judged by the gate"):
        promote(work.config, "2", **ANN)
    with pytest.raises(LongtailError, match="no held images to be checked by"):
        promote(work.config, "2", **ANN | {"override": "it is fine"})


@pytest.mark.parametrize("first", [True, False], ids=["first ever", "with a history"])
def test_of_several_promotions_at_once_one_wins_and_the_others_are_told(at, first, tmp_path):
    work = at("b")
    for alias in ("champion", "previous-champion"):
        client(work).delete_registered_model_alias("longtail", alias)
    before = entries(work)
    if first:  # as in a registry that longtail has never promoted in
        known = client(work).get_experiment_by_name("promotions of longtail")
        client(work).rename_experiment(known.experiment_id, "another name")
        before = []
    racing = ("1", "2", "1", "2")
    said = race(work.config.tracking_uri, racing, expected=NONE, barrier=tmp_path / "barrier")
    assert said.count("won") == 1
    winner = racing[said.index("won")]
    after = entries(work)
    assert [entry.version for entry in after[len(before) :]] == [winner]
    assert after[-1].done and aliases(work)["champion"] == winner
    for number, words in zip(racing, said, strict=True):
        if number != winner:
            assert words.startswith("lost:") and "process did that" in words


def test_a_promotion_killed_before_its_aliases_is_finished_by_whoever_comes_next(at):
    work = at("b")
    with connect(work.config.tracking_uri) as tracker:
        log = history.find(tracker, "longtail")
        assert log.claim(CUT_OFF, number=3) is not None
        assert log.claim(CUT_OFF, number=3) is None  # the number is taken, by whatever words
    assert aliases(work)["champion"] == "2"
    version = client(work).get_model_version("longtail", "2")
    with (
        connect(work.config.tracking_uri) as tracker,
        pytest.raises(LongtailError, match=r"version 1 now .*ann@desk did that .*cut off"),
    ):
        log = history.find(tracker, "longtail")
        promotion.promote(tracker, version, expected="2", act=Act("bob", "?"), history=log)
    assert aliases(work) == {"challenger": "2", "champion": "1", "previous-champion": "2"}
    assert all(entry.done for entry in entries(work))


def test_aliases_that_were_set_too_late_give_way_to_the_newest(at, monkeypatch):
    """While one finishes a promotion, others finish it too and make the next one."""
    work = at("b")
    set_aliases = promotion._set_aliases
    with connect(work.config.tracking_uri) as tracker:
        log = history.find(tracker, "longtail")
        assert log.claim(CUT_OFF, number=3) is not None

        def late(*arguments) -> None:
            monkeypatch.setattr(promotion, "_set_aliases", set_aliases)
            version = client(work).get_model_version("longtail", "2")
            promotion.promote(tracker, version, expected="1", act=Act("bob", "?"), history=log)
            set_aliases(*arguments)

        monkeypatch.setattr(promotion, "_set_aliases", late)
        promotion.settle(tracker, "longtail", log)
    assert [entry.version for entry in entries(work)] == ["1", "2", "1", "2"]
    assert aliases(work) == {"challenger": "2", "champion": "2", "previous-champion": "1"}


def test_several_that_find_an_unfinished_promotion_at_once_all_see_it_finished(at):
    work = at("b")
    together = Barrier(SETTLERS)
    with connect(work.config.tracking_uri) as tracker, ThreadPoolExecutor(SETTLERS) as pool:
        log = history.find(tracker, "longtail")
        unfinished = replace(log.entries()[-1], version="1", replaced=NONE, previous="2")

        def settle(_: int) -> None:
            together.wait()
            promotion.settle(tracker, "longtail", log)

        for number in range(3, 9):
            for alias in ("champion", "previous-champion"):
                client(work).delete_registered_model_alias("longtail", alias)
            assert log.claim(unfinished, number=number) is not None
            list(pool.map(settle, range(SETTLERS)))
            assert aliases(work) == {"challenger": "2", "champion": "1", "previous-champion": "2"}


def test_an_alias_moved_by_hand_is_respected_and_pointed_out(at):
    work = at("b")
    client(work).set_registered_model_alias("longtail", "champion", "1")
    assert "moved by other means" in command(work, "history")
    assert aliases(work)["champion"] == "1"
    change = promote(work.config, "2", **ANN | {"override": "back again"})
    assert change.entry.replaced == "1" and aliases(work)["champion"] == "2"


def test_a_reason_too_long_to_keep_whole_is_refused(at):
    with pytest.raises(LongtailError, match=f"at most {MAX_REASON} are kept"):
        rollback(at("b").config, who="ann", why="x" * (MAX_REASON + 1))


def test_a_long_reason_in_another_script_comes_back_whole(at):
    work, why = at("b"), "\u043f" * MAX_REASON
    rollback(work.config, who="ann", why=why)
    assert entries(work)[-1].why == why


def test_an_entry_that_mlflow_would_cut_is_refused_and_changes_nothing(at):
    work = at("b")
    with pytest.raises(LongtailError, match="shorten --why or --by"):
        rollback(work.config, who="a" * 10_000, why="because")
    assert aliases(work)["champion"] == "2" and len(entries(work)) == 2


@pytest.mark.parametrize("reason", ["", " \t"])
def test_a_reason_without_words_is_none_and_changes_nothing(at, reason):
    work = at("b")
    for option in ("why", "override"):
        with pytest.raises(LongtailError, match=f"--{option} is empty: give a reason"):
            promote(work.config, "1", **ANN | {option: reason})
    with pytest.raises(LongtailError, match="--why is empty"):
        rollback(work.config, who="ann@desk", why=reason)
    assert aliases(work)["champion"] == "2" and len(entries(work)) == 2


def test_a_deleted_history_says_how_to_restore_it(at):
    work = at("b")
    with connect(work.config.tracking_uri) as tracker:
        run_id = history.find(tracker, "longtail").run_id
    client(work).delete_run(run_id)
    with pytest.raises(LongtailError, match=f"mlflow runs restore --run-id {run_id}"):
        rollback(work.config, who="ann", why="because")


def test_differences_of_two_versions_from_their_stored_predictions(at):
    work = at("b")
    found = compare(work.config, "previous-champion", "champion", confidence=0.95)
    assert (found.first, found.second, found.images) == ("1", "2", 60)
    assert {row.name: row.difference for row in found.groups} == pytest.approx(
        {"many": 1 / 20, "medium": 2 / 20, "few": 4 / 20}
    )
    assert [row.name for row in found.classes] == ["class-2", "class-1", "class-0"]
    balanced = found.overall[1]
    assert balanced.difference == pytest.approx(7 / 60)
    assert balanced.interval[0] < 7 / 60 < balanced.interval[1]


def test_versions_of_different_test_splits_are_not_compared(at, tmp_path):
    work = at("a")
    work.evaluation = write_evaluation(tmp_path / "c", right=(15, 10, 5), first_id=7)
    work.thresholds = THRESHOLDS
    assert work.flow()["outcome"] == "hold"  # no champion on the same images
    words = (
        r"version 1 was evaluated on another test split.*parameters of version 1 on the split of"
    )
    with pytest.raises(LongtailError, match=words):
        compare(work.config, "1", "2", confidence=0.95)
    change = promote(work.config, "challenger", **ANN | {"why": "the split is new"})  # as gate says
    assert change.entry.version == "2" and not change.entry.override
    assert work.flow()["outcome"] == "hold" and aliases(work)["champion"] == "2"


def test_the_commands_print_tables_and_json(at):
    work = at("b")
    listed = json.loads(command(work, "list", "--json"))
    assert [one["version"] for one in listed] == ["2", "1"]
    assert listed[0]["aliases"] == ["challenger", "champion"]
    assert listed[1]["accuracy"]["few"] == {"accuracy": 0.25, "balanced_accuracy": 0.25}
    assert list(listed[0]["accuracy"]) == ["all", "many", "medium", "few"]
    table = command(work, "list")
    assert "previous-champion" in table and "promote" in table
    shown = command(work, "show", "champion")
    for words in ("version 2", "judged against version 1", "c0ffee", "run-7", "held images"):
        assert words in shown
    found = json.loads(command(work, "diff", "1", "2", "--json"))
    assert [row["name"] for row in found["groups"]] == ["many", "medium", "few"]
    assert "few" in command(work, "diff", "1", "2")
    lines = command(work, "history")
    assert "promote to version 1 from no version" in lines
    assert "promote to version 2 from version 1" in lines
    assert "champion of longtail is version 1" in command(work, "rollback", "--why", "a test")


def test_unknown_versions_and_models_say_what_there_is(at):
    work = at("a")
    with pytest.raises(LongtailError, match=r"no version or alias `7`; it has 1, and the aliases"):
        promote(work.config, "7", **ANN)
    elsewhere = work.config.model_copy(update={"model_name": "nothing"})
    with pytest.raises(LongtailError, match="it has no versions yet"):
        promote(elsewhere, "1", **ANN)
    assert command(work, "list", "--model", "nothing").startswith("nothing has no versions yet")


def test_a_version_whose_run_was_deleted_for_good_is_still_described(at):
    work = at("a")
    # As `mlflow gc` leaves it, which here would delete the artifacts that all tests share.
    client(work).set_model_version_tag("longtail", "1", "judged_in_run", "f" * 32)
    shown = json.loads(command(work, "show", "1", "--json"))
    assert shown["verdict"] == "promote" and shown["checks"] == [] and shown["parameters"] == {}


def test_of_two_that_make_an_experiment_at_once_both_get_it(at, monkeypatch):
    with connect(at("a").config.tracking_uri) as tracker:
        first = experiment(tracker, "new")
        look = tracker.client.get_experiment_by_name
        unseen = iter([None])  # it is made between looking and making
        monkeypatch.setattr(
            tracker.client, "get_experiment_by_name", lambda name: next(unseen, look(name))
        )
        assert experiment(tracker, "new") == first


def test_the_history_starts_with_what_the_pipeline_promoted(at):
    first, second = entries(at("b"))
    assert (first.version, first.replaced, first.previous) == ("1", NONE, NONE)
    assert (second.version, second.replaced, second.previous) == ("2", "1", "1")
    assert first.why == "the gate's verdict: promote" and "@" in first.who
