"""The summary of a run from what its steps noted."""

from datetime import UTC, datetime, timedelta

import pytest

from components import ALWAYS, STEPS
from components.summing import markdown, summarize

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def record(*, minutes: float = 1.0, gpus: int = 0, ago: float = 10.0, **changes):
    return {
        "started": (NOW - timedelta(minutes=ago)).isoformat(timespec="seconds"),
        "finished": True,
        "seconds": 60 * minutes,
        "gpus": gpus,
        "peak_memory_bytes": 2_500_000_000,
        "peak_gpu_bytes": None,
        **changes,
    }


def summary(records, *, state="SUCCEEDED", error=""):
    return summarize(records, run="r1", state=state, error=error, now=NOW)


def whats(content):
    return {row["step"]: row["what"] for row in content["steps"]}


def test_minutes_are_those_since_the_first_step_and_gpu_minutes_count_devices():
    records = {step: record(minutes=2, gpus=4 * (step == "represent"), ago=30) for step in STEPS}
    content = summary(records)
    assert content["minutes"] == 30
    assert content["gpu_minutes"] == 8
    assert "30.0 minutes, 8 GPU minutes" in content["text"].replace("8.0", "8")


def test_steps_without_a_record_were_cached():
    content = summary({step: record() for step in ALWAYS})
    assert {step for step, what in whats(content).items() if what == "cached"} == (
        set(STEPS) - ALWAYS
    )
    assert "nothing had changed" in content["text"]


def test_one_step_that_ran_is_a_change():
    content = summary({step: record() for step in (*ALWAYS, "gate")})
    assert "nothing had changed" not in content["text"]


def test_after_a_failure_earlier_steps_were_cached_and_later_ones_not_reached():
    failed = record(finished=False, error="val_loss is not finite")
    content = summary({"fingerprint": record(), "represent": failed}, state="FAILED")
    what = whats(content)
    assert (what["ingest"], what["represent"], what["embed"]) == ("cached", "failed", "not reached")
    assert content["error"] == "val_loss is not finite" and content["error"] in content["text"]


def test_a_killed_step_has_ended_without_a_reason_of_its_own():
    killed = record(finished=False)
    del killed["seconds"], killed["peak_memory_bytes"]
    content = summary({"represent": killed}, state="FAILED", error="OOMKilled")
    assert whats(content)["represent"] == "ended"
    assert content["error"] == "OOMKilled"


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (
            {"outcome": "promote", "name": "m", "version": "3", "aliases": "champion"},
            "verdict promote, m version 3 (champion)",
        ),
        (
            {"outcome": "reject", "name": "m", "version": "none", "aliases": "none"},
            "verdict reject, no version",
        ),
    ],
)
def test_the_verdict_is_said(result, said):
    content = summary({"register": record(result=result)})
    assert content["registration"] == result and said in content["text"]


def test_without_a_state_it_says_what_to_set():
    content = summary({})
    assert content["minutes"] is None and content["steps"] == []
    assert "resources.state" in content["text"]


def test_an_error_of_many_lines_is_one_line_in_the_text_and_whole_on_the_page():
    error = "2 rules are broken\n  # min_train_per_class: `a_b`"
    content = summary({"validate": record(finished=False, error=error)}, state="FAILED")
    assert "\n" not in content["text"] and "2 rules are broken;" in content["text"]
    heading, _, *rest = markdown(content).splitlines()
    assert heading.startswith("# ") and content["run"] in heading
    assert rest[:2] == ["    2 rules are broken", "      # min_train_per_class: `a_b`"]


def test_the_page_has_a_row_for_every_step():
    page = markdown(summary({step: record() for step in STEPS}))
    assert all(f"| {step} | ran |" in page for step in STEPS)
    assert "2.5 GB" in page
