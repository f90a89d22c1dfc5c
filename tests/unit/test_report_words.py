"""Verdicts, sizes and times in words."""

from typing import Any

import pytest

from longtail.config.represent import RepresentConfig
from longtail.config.section import parse
from longtail.report.words import count, duration, group_sentence, size, training, verdict_summary


@pytest.mark.parametrize(
    ("passed", "sentence"),
    [
        ([True, True], "All 2 checks passed."),
        ([True], "The one check passed."),
        ([True, False, None], "1 of 3 checks failed: check 1."),
        ([None, True], "None failed, but 1 of 2 checks could not be decided: check 0."),
        ([], "Nothing was checked, so nothing is shown."),
    ],
)
def test_the_verdict_says_what_it_follows_from(passed: list[bool | None], sentence: str) -> None:
    checks = [{"name": f"check {i}", "passed": value} for i, value in enumerate(passed)]
    assert verdict_summary({"checks": checks}) == sentence


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (size(None), "–"),  # noqa: RUF001
        (size(1023), "1023 B"),
        (size(1024), "1.0 KiB"),
        (size(3 * 1024**3), "3.0 GiB"),
        (size(5000 * 1024**4), "5000.0 TiB"),
        (duration(4.24), "4.2 s"),
        (duration(125), "2.1 min"),
        (duration(7200), "2.0 h"),
        (count(900), "900"),
        (count(470_004), "470 k"),
        (count(68_900_000), "68.9 M"),
        (count(4_230_000_000), "4.23 G"),
    ],
)
def test_numbers_are_written_for_people(written: str, value: str) -> None:
    assert written == value


def test_training_is_told_of_one_model_and_of_an_ensemble() -> None:
    one = {
        "best_epoch": 7,
        "epochs": 9,
        "backbone": "resnet18",
        "loss": "balanced_softmax",
        "sampler": "square_root",
        "departures": ["loss: balanced_softmax", "sampler: square_root"],
    }
    assert training(one, {"method": "crt"}) == (
        "Stage 1 trained resnet18 with balanced softmax and square-root sampling for 9 epochs and "
        "kept epoch 8; stage 2 is cRT on its frozen features."
    )
    deferred = {"deferred_sampler": "class_balanced", "loss": {"name": "focal"}, "epochs": 9}
    config = parse(
        RepresentConfig, deferred | {"reweighting": {"scheme": "effective_number"}}, where="test"
    )
    also = one | {"loss": "focal", "sampler": "instance", "departures": config.departures}
    assert training(also, {"method": "crt"}).startswith(
        "Stage 1 trained resnet18 with focal, instance sampling, deferred_sampler: class_balanced "
        "and reweighting: effective_number for 9 epochs"
    )
    joined = {"best_epoch": None, "members": ["a", "b"], "average": "logits"}
    assert training(joined, {"method": "max_norm"}) == (
        "Stage 1 joins a, b and averages their logits; stage 2 is max norm on its frozen features."
    )


def test_the_rarest_group_is_compared_with_stage_1_where_both_are_known() -> None:
    def report(now: float | None, chosen: str = "stage2") -> dict[str, Any]:
        variants = {"stage1": 0.1, "stage2": now}
        return {
            "chosen": chosen,
            "group_names": ["many", "few"],
            "variants": {k: {"groups": {"few": {"accuracy": v}}} for k, v in variants.items()},
        }

    assert group_sentence(report(0.25)) == (
        "Accuracy on the group few: 25.0 %, +15.0 points against stage 1."
    )
    assert group_sentence(report(None)) is None
    assert group_sentence(report(0.1, chosen="stage1")) is None
