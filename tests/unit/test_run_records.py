"""What a step notes of itself, wherever it ends."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from components import running, summing
from components.summary import summary
from longtail.errors import LongtailError
from longtail.files import read_json


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTAIL_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LONGTAIL_RUN", "r1")
    monkeypatch.setenv("LONGTAIL_GPUS", "2")
    return tmp_path / "state"


@pytest.fixture
def hook() -> Iterator[SimpleNamespace]:
    """A webhook that takes one message."""
    received = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.handle_request, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/hook"
    yield SimpleNamespace(url=url, received=received, close=server.server_close)
    server.server_close()


def test_a_step_that_ends_well_leaves_its_cost_and_what_it_adds(state):
    with running.recorded("gate") as record:
        record["result"] = {"outcome": "hold"}
    noted = read_json(state / "runs/r1/gate.json")
    assert noted["finished"] is True and noted["gpus"] == 2
    assert noted["result"] == {"outcome": "hold"}
    assert noted["wall_seconds"] <= noted["seconds"]
    assert running.records() == {"gate": noted}


def test_while_a_step_runs_there_is_a_record_that_says_so(state):
    with running.recorded("gate"):
        assert read_json(state / "runs/r1/gate.json")["finished"] is False


def test_an_error_for_the_user_ends_the_pod_with_its_message_alone(state):
    with pytest.raises(SystemExit, match="longtail: few is no group"), running.recorded("gate"):
        raise LongtailError("few is no group")
    noted = read_json(state / "runs/r1/gate.json")
    assert noted["error"] == "few is no group" and noted["finished"] is False


def test_a_defect_keeps_its_traceback(state):
    with pytest.raises(ZeroDivisionError), running.recorded("gate"):
        1 / 0  # noqa: B018
    assert read_json(state / "runs/r1/gate.json")["error"] == "division by zero"


@pytest.mark.parametrize("place", ["gs://bucket", "/dev/null/state"])
def test_a_state_that_cannot_be_reached_costs_no_result(place, monkeypatch, caplog):
    monkeypatch.setenv("LONGTAIL_STATE", place)
    with running.recorded("gate"):
        pass
    assert "was not noted" in caplog.text


def test_a_state_that_cannot_be_read_keeps_no_failure_from_the_webhook(
    monkeypatch, tmp_path, hook, caplog
):
    monkeypatch.setenv("LONGTAIL_STATE", "gs://bucket")
    monkeypatch.setenv("LONGTAIL_WEBHOOK", hook.url)
    failed = SimpleNamespace(state="FAILED", error_message="ingest failed")
    summary.python_func(failed, SimpleNamespace(path=str(tmp_path / "page.md")))
    [message] = hook.received
    assert "ingest failed" in message["text"] and "resources.state" in message["text"]
    assert "cannot be read" in caplog.text and (tmp_path / "page.md").is_file()


def test_the_costs_of_steps_that_have_ended_are_there_for_the_report(state):
    with running.recorded("split"):
        pass
    with running.recorded("report"), running.costs() as costs:
        assert [path.name for path in costs.iterdir()] == ["split.json"]


def test_a_run_that_is_retried_does_not_take_its_first_summary_for_a_step(state):
    with running.recorded("gate"):
        pass
    running.keep(running.SUMMARY, {"run": "r1", "state": "FAILED"})
    assert list(running.records()) == ["gate"]
    with running.costs() as costs:
        assert [path.name for path in costs.iterdir()] == ["gate.json"]


def test_a_volume_that_cannot_be_written_is_named_before_the_step_starts(tmp_path, monkeypatch):
    """Kubernetes mounts new volumes as root's; the image's user is another."""
    volume = tmp_path / "cache"
    volume.mkdir(mode=0o555)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("LONGTAIL_SHARD_CACHE", str(volume / "shards"))
    monkeypatch.setenv("HOME", str(tmp_path / "absent"))
    if os.getuid() == 0:
        os.setreuid(65534, -1)  # the user for whom rights are looked at
    try:
        with pytest.raises(SystemExit, match=f"cannot write the volume at {volume}"):
            running.check_volumes()
    finally:
        if os.geteuid() == 0:
            os.setreuid(0, -1)


def test_integers_arrive_as_floats_and_become_integers_again():
    section = running.section("embed", {"train_views": 2.0, "seed": 7.0})
    assert (section.train_views, section.seed) == (2, 7)
    assert type(section.train_views) is int


def test_a_wrong_parameter_names_the_pipelines_parameter():
    with pytest.raises(LongtailError, match=r"pipeline parameter `embed`(.|\n)*train_view"):
        running.section("embed", {"train_view": 2.0})


def test_the_webhook_gets_the_summary_and_may_be_out_of_order(hook, caplog):
    summing.post(hook.url, {"text": "done"})
    hook.close()
    assert hook.received == [{"text": "done"}]
    summing.post(hook.url, {"text": "again"})
    assert "did not take the summary: URLError" in caplog.text


def test_a_webhook_that_is_wrong_is_not_repeated_in_the_log(caplog):
    for url in ("hooks.example/T00/xyzzy", "https://hooks example/xyzzy", "http://[xyzzy"):
        summing.post(url, {"text": "done"})
    assert caplog.text.count("did not take the summary") == 3 and "xyzzy" not in caplog.text
