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


@pytest.mark.parametrize(
    "margin", [{"max_group_loss": {"few": 0.02}}, {"max_class_loss": 0.3}], ids=str
)
def test_a_margin_over_a_champion_is_no_floor_for_the_first_model(tmp_path, margin):
    write_evaluation(tmp_path / "candidate", right=(0, 0, 0))
    verdict = judge(tmp_path, without_champion="promote", **margin)
    assert verdict["outcome"] == "hold"
    assert "a loss has no meaning without a champion" in reasons(verdict)


@pytest.mark.parametrize("choice", ["promote", "hold"])
def test_the_first_model_is_promoted_only_if_that_is_asked_for(tmp_path, choice):
    write_evaluation(tmp_path / "candidate", right=(20, 10, 5))
    verdict = judge(tmp_path, without_champion=choice, **FLOOR)
    assert verdict["outcome"] == choice
    assert verdict["champion"] is None
    assert "without_champion" in reasons(verdict)


def test_a_failed_floor_rejects_and_says_by_how_much(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(20, 10, 5))
    verdict = judge(tmp_path, min_group_accuracy={"few": 0.5}, without_champion="promote")
    assert verdict["outcome"] == "reject"
    assert "few accuracy 0.2500 [0.1119, 0.4687] is below 0.5000" in reasons(verdict)


def test_an_empty_group_holds(tmp_path):
    write_evaluation(
        tmp_path / "candidate",
        right=(20, 20, 20),
        groups=("many", "many", "medium"),
    )
    verdict = judge(tmp_path, min_group_accuracy={"few": 0.1}, without_champion="promote")
    assert verdict["outcome"] == "hold"
    assert [check["passed"] for check in verdict["checks"]] == [None, True]


def test_a_floor_that_the_interval_straddles_holds(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(20, 10, 5))
    for floor, outcome in ((0.11, "promote"), (0.2, "hold"), (0.3, "hold"), (0.47, "reject")):
        verdict = judge(tmp_path, min_group_accuracy={"few": floor}, without_champion="promote")
        assert verdict["outcome"] == outcome
        low, high = verdict["checks"][0]["interval"]
        assert (low, high) == pytest.approx((0.1119, 0.4687), abs=1e-4)


def test_numbers_come_from_the_predictions_and_not_from_the_report(tmp_path):
    evaluation = Evaluation(write_evaluation(tmp_path / "candidate", right=(20, 10, 5)))
    report = read_json(evaluation.report)
    for metrics in report["variants"]["stage2"]["groups"].values():
        metrics |= {"accuracy": 1.0, "balanced_accuracy": 1.0, "calibration_error": 0.0}
    write_json(evaluation.report, report)
    verdict = judge(tmp_path, min_balanced_accuracy=0.2, max_calibration_error=1.0)
    balanced, calibration = verdict["checks"][:2]
    assert balanced["value"] == pytest.approx(35 / 60)
    assert calibration["value"] == pytest.approx(abs(35 / 60 - 0.5))


def test_a_better_model_replaces_the_champion_and_a_worse_one_does_not(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(18, 12, 9))
    worse = write_evaluation(tmp_path / "worse", right=(17, 10, 5))
    better = write_evaluation(tmp_path / "better", right=(20, 16, 12))
    verdict = judge(tmp_path, champion=worse, **FLOOR)
    assert verdict["outcome"] == "promote" and verdict["confidence"] == 0.95
    assert verdict["champion"]["version"] == "4"
    gain = verdict["checks"][-1]
    assert gain["value"] == pytest.approx(7 / 60) and gain["interval"][0] > 0
    assert "0.6500 against the champion's 0.5333 is a difference of +0.1167 [" in gain["reason"]
    assert judge(tmp_path, champion=better, **FLOOR)["outcome"] == "reject"


def test_a_difference_that_could_be_luck_holds(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(18, 12, 9))
    for name, right in (("same", (18, 12, 9)), ("less", (18, 12, 7)), ("more", (19, 12, 10))):
        verdict = judge(tmp_path, champion=write_evaluation(tmp_path / name, right=right), **FLOOR)
        assert verdict["outcome"] == "hold"
        assert "straddles +0.0000: inconclusive" in reasons(verdict)


def test_the_confidence_decides_how_sure_it_must_be(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(18, 12, 9))
    champion = write_evaluation(tmp_path / "less", right=(18, 12, 6))
    outcomes = [
        judge(tmp_path, champion=champion, confidence=level, **FLOOR)["outcome"]
        for level in (0.5, 0.9, 0.95)
    ]
    # Three images gained and none lost: McNemar's one-sided p is 0.042.
    assert outcomes == ["promote", "promote", "hold"]


def test_a_gain_at_the_cost_of_a_group_is_rejected(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(10, 20, 20))
    champion = write_evaluation(tmp_path / "champion-was", right=(20, 5, 5))
    verdict = judge(tmp_path, champion=champion, max_group_loss={"many": 0.1})
    assert verdict["outcome"] == "reject"
    failed = [c for c in verdict["checks"] if c["passed"] is False]
    assert [c["name"] for c in failed] == ["many against the champion"]
    assert failed[0]["value"] == -0.5 and failed[0]["bound"] == -0.1
    assert "many accuracy 0.5000 against the champion's 1.0000" in failed[0]["reason"]


def test_a_group_too_small_to_decide_anything_holds_and_says_what_it_takes(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(20, 20, 20))
    champion = write_evaluation(tmp_path / "champion-was", right=(10, 10, 20))
    verdict = judge(tmp_path, champion=champion, max_group_loss={"few": 0.02})
    (few,) = [c for c in verdict["checks"] if c["name"] == "few against the champion"]
    assert few["passed"] is None and verdict["outcome"] == "hold"
    assert "20 test images are too few to decide this" in few["reason"]
    assert "it takes at least 189" in few["reason"]


def test_a_class_that_falls_is_rejected_by_name(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(20, 20, 3))
    champion = write_evaluation(tmp_path / "champion-was", right=(5, 5, 17))
    asked = {"max_class_loss": 0.2, "min_class_images": 20}
    verdict = judge(tmp_path, champion=champion, **asked)
    gain, worst = verdict["checks"]
    assert gain["passed"] is True and verdict["outcome"] == "reject"
    assert worst["value"] == pytest.approx(-14 / 20) and worst["passed"] is False
    assert worst["reason"].startswith("class-2, the worst of 3 classes with at least 20")
    asked["min_class_images"] = 21
    verdict = judge(tmp_path, champion=champion, **asked)
    assert verdict["outcome"] == "hold"
    assert "no class has 21 test images, the most is 20" in reasons(verdict)


def test_super_classes_are_a_level_of_their_own(tmp_path):
    # A wrong answer is the next class: within the first super-class it is right there.
    levels = {"names": ["round", "straight"], "of": [0, 0, 1]}
    write_evaluation(tmp_path / "candidate", right=(8, 20, 20), super_classes=levels)
    champion = write_evaluation(tmp_path / "champion-was", right=(20, 5, 5))
    asked = {"max_super_class_loss": 0.2, "min_class_images": 20}
    verdict = judge(tmp_path, champion=champion, **asked)
    worst = verdict["checks"][-1]
    assert worst["name"] == "worst super-class against the champion"
    assert worst["passed"] is True and verdict["outcome"] == "promote"
    judged = judge(tmp_path, champion=champion, max_class_loss=0.2, min_class_images=20)
    assert judged["outcome"] == "reject"


def test_super_classes_that_are_not_there_are_an_error(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(20, 20, 20))
    with pytest.raises(LongtailError, match=r"max_super_class_loss is set, but .* set it to null"):
        judge(tmp_path, max_super_class_loss=0.1)


def test_the_order_of_the_champions_rows_does_not_matter(tmp_path):
    import pandas as pd

    write_evaluation(tmp_path / "candidate", right=(18, 12, 9))
    champion = write_evaluation(tmp_path / "champion-was", right=(20, 12, 4))
    straight = judge(tmp_path, champion=champion, **FLOOR)
    predictions = Evaluation(champion).predictions
    pd.read_parquet(predictions).sample(frac=1, random_state=0).to_parquet(predictions)
    assert judge(tmp_path, champion=champion, **FLOOR)["checks"] == straight["checks"]


def test_a_champion_of_another_test_split_is_refused_and_holds(tmp_path):
    write_evaluation(tmp_path / "candidate", right=(20, 20, 20))
    other = write_evaluation(tmp_path / "other", right=(1, 1, 1), first_id=1)
    verdict = judge(tmp_path, champion=other, **FLOOR)
    assert verdict["outcome"] == "hold"
    assert "another test split" in reasons(verdict) and "version 4" in reasons(verdict)
    assert "a comparison is refused" in reasons(verdict)
    assert "longtail models promote challenger --why" in reasons(verdict)


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
