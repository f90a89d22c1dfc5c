"""The gate on files: what is promoted, held and rejected, and why."""

from pathlib import Path
from typing import Any

import pytest

from longtail.artifacts import Champion, Evaluation, Gate
from longtail.config.promotion import GateConfig
from longtail.errors import LongtailError
from longtail.files import file_digest, read_json, write_json
from longtail.steps.gate import gate
from tests.steps.registry_fixtures import write_evaluation

FLOOR = {"min_balanced_accuracy": 0.2}


def judge(
    tmp_path: Path, *, champion: Path | None = None, chosen: str = "stage2", **thresholds: Any
) -> dict[str, Any]:
    """Judge the candidate in `tmp_path/candidate` against an evaluation, or against none."""
    known = Champion(tmp_path / "champion")
    known.root.mkdir(exist_ok=True)
    identity = None
    if champion is not None:
        predictions = Evaluation(champion).predictions
        known.predictions.write_bytes(predictions.read_bytes())
        digest = file_digest(predictions)
        identity = {"name": "longtail", "version": "4", "digest": digest, "chosen": chosen}
    write_json(known.identity, {"champion": identity})
    gate(
        GateConfig(**thresholds),
        evaluation=tmp_path / "candidate",
        champion=known.root,
        out=tmp_path / "gate",
    )
    return read_json(Gate(tmp_path / "gate").verdict)


def reasons(verdict: dict[str, Any]) -> str:
    return "\n".join(check["reason"] for check in verdict["checks"])


def test_without_thresholds_nothing_is_blessed_not_even_a_better_model(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(20, 20, 20))
    worse = write_evaluation(tmp_path / "worse", right=(1, 1, 1))
    assert judge(tmp_path, without_champion="promote")["outcome"] == "hold"
    verdict = judge(tmp_path, champion=worse)
    assert verdict["outcome"] == "hold"
    assert "no thresholds, no blessing" in reasons(verdict)


@pytest.mark.parametrize("choice", ["promote", "hold"])
def test_the_first_model_is_promoted_only_if_that_is_asked_for(tmp_path, choice):
    write_evaluation(tmp_path / "candidate", right=(20, 10, 5))
    verdict = judge(tmp_path, without_champion=choice, **FLOOR)
    assert verdict["outcome"] == choice
    assert verdict["champion"] is None
    assert "without_champion" in reasons(verdict)


def test_a_failed_floor_rejects_and_says_by_how_much(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(20, 10, 5))
    verdict = judge(tmp_path, min_group_accuracy={"few": 0.3}, without_champion="promote")
    assert verdict["outcome"] == "reject"
    assert "few accuracy 0.2500 is below 0.3000" in reasons(verdict)


def test_an_empty_group_holds(tmp_path):
    write_evaluation(
        tmp_path / "candidate",
        right=(20, 20, 20),
        groups=("many", "many", "medium"),
    )
    verdict = judge(tmp_path, min_group_accuracy={"few": 0.1}, without_champion="promote")
    assert verdict["outcome"] == "hold"
    assert [check["passed"] for check in verdict["checks"]] == [None, True]


def test_a_better_model_replaces_the_champion_and_a_worse_one_does_not(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(18, 12, 9))
    worse = write_evaluation(tmp_path / "worse", right=(20, 12, 4))
    better = write_evaluation(tmp_path / "better", right=(18, 13, 9))
    verdict = judge(tmp_path, champion=worse, **FLOOR)
    assert verdict["outcome"] == "promote"
    assert verdict["champion"]["version"] == "4"
    assert judge(tmp_path, champion=better, **FLOOR)["outcome"] == "reject"


def test_a_gain_at_the_cost_of_a_group_is_rejected(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(14, 20, 20))
    champion = write_evaluation(tmp_path / "champion-was", right=(20, 10, 10))
    verdict = judge(tmp_path, champion=champion, max_group_loss={"many": 0.1})
    assert verdict["outcome"] == "reject"
    assert [c["name"] for c in verdict["checks"] if c["passed"] is False] == ["many loss"]


def test_the_order_of_the_champions_rows_does_not_matter(tmp_path):
    import pandas as pd

    write_evaluation(tmp_path / "candidate", right=(18, 12, 9))
    champion = write_evaluation(tmp_path / "champion-was", right=(20, 12, 4))
    straight = judge(tmp_path, champion=champion, **FLOOR)
    predictions = Evaluation(champion).predictions
    pd.read_parquet(predictions).sample(frac=1, random_state=0).to_parquet(predictions)
    assert judge(tmp_path, champion=champion, **FLOOR)["checks"] == straight["checks"]


def test_a_champion_of_another_test_split_holds(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(20, 20, 20))
    other = write_evaluation(tmp_path / "other", right=(1, 1, 1), first_id=1)
    verdict = judge(tmp_path, champion=other, **FLOOR)
    assert verdict["outcome"] == "hold"
    assert "another test split" in reasons(verdict) and "version 4" in reasons(verdict)


def test_a_champion_without_predictions_holds(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(20, 20, 20))
    identity = {"name": "longtail", "version": "7", "digest": None, "chosen": None}
    write_json(Champion(tmp_path / "champion").identity, {"champion": identity})
    gate(
        GateConfig(**FLOOR),
        evaluation=tmp_path / "candidate",
        champion=tmp_path / "champion",
        out=tmp_path / "gate",
    )
    verdict = read_json(Gate(tmp_path / "gate").verdict)
    assert verdict["outcome"] == "hold"
    assert "version 7, has no stored predictions" in reasons(verdict)


@pytest.mark.parametrize("key", ["min_group_accuracy", "max_group_loss"])
def test_a_misspelt_group_is_an_error_with_the_nearest_name(tmp_path, key):
    write_evaluation(tmp_path / "candidate", right=(20, 20, 20))
    with pytest.raises(LongtailError, match=rf"gate\.{key} .*`meduim`.*did you mean `medium`"):
        judge(tmp_path, **{key: {"meduim": 0.1}})
    assert not (tmp_path / "gate").exists()


def test_the_verdict_is_the_same_bytes_every_time(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(18, 12, 9))
    champion = write_evaluation(tmp_path / "champion-was", right=(20, 12, 4))
    digests = set()
    for _ in range(2):
        judge(tmp_path, champion=champion, max_group_loss={"many": 0.2, "few": 0.0}, **FLOOR)
        digests.add(file_digest(Gate(tmp_path / "gate").verdict))
    assert len(digests) == 1
