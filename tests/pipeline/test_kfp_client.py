"""Submitting, scheduling and following runs through the real client, over HTTP."""

import json
import threading
from pathlib import Path

import pytest
from kfp import dsl
from kfp.compiler import Compiler

from longtail.errors import LongtailError
from pipelines.client import newest_run, schedule, status, submit, wait
from pipelines.endpoint import connect
from pipelines.package import read_package
from tests.pipeline.kfp_api import KfpApi, serve
from tests.pipeline.kfp_description import find_description
from tests.pipeline.kfp_nodes import nodes

IMAGE = "registry.example/longtail@sha256:" + "0" * 64
NIGHTLY = "0 0 3 * * *"


@pytest.fixture
def api():
    with serve() as server:
        yield server
    assert server.wrong == []


@pytest.fixture(autouse=True)
def no_settings(monkeypatch, tmp_path):
    for name in ("ENDPOINT", "UI_ENDPOINT", "SA_TOKEN_PATH"):
        monkeypatch.delenv(f"KF_PIPELINES_{name}", raising=False)


def compiled(out: Path, *, image: str = IMAGE, description: str = "") -> Path:
    """A flow with a step that always runs, two that may be cached, and a branch."""

    @dsl.component(base_image=image, install_kfp_package=False)
    def look(code_rev: str) -> str:
        return code_rev

    @dsl.component(base_image=image, install_kfp_package=False)
    def work(found: str) -> str:
        return found

    @dsl.component(base_image=image, install_kfp_package=False)
    def tell():
        pass

    @dsl.pipeline(name="flow", description=description)
    def flow(code_rev: str, seed: int = 0):
        with dsl.ExitHandler(tell(), name="all"):
            source = look(code_rev=code_rev).set_caching_options(False)
            images = work(found=source.output).set_display_name("ingest")
            split = work(found=images.output).set_display_name("split")
            with dsl.If(split.output == "promote"):
                work(found=split.output).set_display_name("register")

    Compiler().compile(flow, str(out))
    return out


@pytest.fixture
def package(tmp_path):
    return read_package(compiled(tmp_path / "flow.yaml"))


def submitted(api: KfpApi, package, **changes) -> str:
    options = {"experiment": "longtail", "create_experiment": True, "arguments": {"code_rev": "1"}}
    return submit(connect(api.endpoint), package, **{**options, **changes})


def scheduled(api: KfpApi, package, **changes) -> str:
    options = {"experiment": "longtail", "create_experiment": True, "arguments": {"code_rev": "1"}}
    options |= {"name": "nightly", "cron": NIGHTLY}
    return schedule(connect(api.endpoint), package, **{**options, **changes})


def test_the_published_description_is_at_hand():
    if find_description() is None:
        pytest.skip("requests were not checked: set KFP_API_DESCRIPTION to KFP's Swagger file")


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "complaint"),
    [
        ("GET", "runz", {}, None, "not described"),
        ("GET", "runs", {"pagesize": "1"}, None, "unknown query pagesize"),
        ("GET", "runs", {"page_size": "many"}, None, "no number"),
        ("POST", "runs", {}, None, "needs body"),
        ("POST", "runs", {}, {"display_nam": "x"}, "display_nam"),
        ("POST", "recurringruns", {}, {"mode": "ON"}, "mode"),
        ("POST", "recurringruns", {}, {"trigger": {"cron_schedule": {"cron": 1}}}, "cron"),
    ],
)
def test_a_wrong_request_would_be_noticed(method, path, query, body, complaint):
    description = find_description()
    if description is None:
        pytest.skip("no description of KFP's API at hand")
    found = description.wrong_with_request(method, f"/apis/v2beta1/{path}", query, body, set())
    assert complaint in "; ".join(found)


def test_submit_uploads_a_version_and_starts_a_run_of_it(api, package):
    run_id = submitted(api, package, arguments={"code_rev": "abc", "seed": 3}, name="first")
    run = api.held["runs"][run_id]
    assert run["display_name"] == "first"
    assert run["runtime_config"]["parameters"] == {"code_rev": "abc", "seed": 3}
    assert api.held["experiments"][run["experiment_id"]]["display_name"] == "longtail"
    assert api.specification(run_id) == package.spec
    endpoint = connect(api.endpoint + "/")
    assert endpoint.run_link(run_id) == f"{api.endpoint}/#/runs/details/{run_id}"
    assert newest_run(endpoint, experiment="longtail") == run_id


def test_the_same_package_is_one_version_and_another_is_another(api, package, tmp_path):
    submitted(api, package)
    submitted(api, package)
    assert len(api.held["versions"]) == 1 and len(api.held["runs"]) == 2
    other = read_package(compiled(tmp_path / "other.yaml", description="changed"))
    submitted(api, other)
    assert len(api.held["versions"]) == 2
    assert len(api.held["pipelines"]) == len(api.held["experiments"]) == 1


def test_an_image_by_tag_is_refused_unless_asked_for(tmp_path):
    path = compiled(tmp_path / "flow.yaml", image="registry.example/longtail:1.0")
    with pytest.raises(LongtailError, match=r"longtail:1\.0.*--allow-tag"):
        read_package(path)
    assert read_package(path, allow_tag=True).images == ["registry.example/longtail:1.0"]


@pytest.mark.parametrize("content", [None, "", "a: 1", "- [", "x"])
def test_what_is_no_pipeline_is_refused(tmp_path, content):
    path = tmp_path / "flow.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(LongtailError, match="no compiled pipeline"):
        read_package(path)


def test_arguments_are_those_of_the_pipeline(api, package):
    with pytest.raises(LongtailError, match="no parameter sede; did you mean `seed`"):
        submitted(api, package, arguments={"code_rev": "1", "sede": 1})
    with pytest.raises(LongtailError, match="needs a value for code_rev"):
        submitted(api, package, arguments={})
    assert not api.held["runs"]


def test_an_unknown_experiment_names_the_nearest(api, package):
    with pytest.raises(LongtailError, match="Unknown experiment longtail; there are none"):
        submitted(api, package, create_experiment=False)
    api.add_experiment("longtail")
    with pytest.raises(LongtailError, match="Unknown experiment longtial; did you mean `longtail`"):
        submitted(api, package, experiment="longtial", create_experiment=False)
    submitted(api, package, create_experiment=False)
    assert len(api.held["experiments"]) == 1


def test_without_an_endpoint_it_says_how_to_have_one():
    with pytest.raises(LongtailError, match="--endpoint or set KF_PIPELINES_ENDPOINT"):
        connect(None)
    with pytest.raises(LongtailError, match="http://"):
        connect("kfp.example:8080")
    with pytest.raises(LongtailError, match=r"127\.0\.0\.1:9 does not answer"):
        connect("http://127.0.0.1:9")


def test_settings_come_from_the_variables_of_kfp(api, monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", api.endpoint)
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kfp.example/pipeline/")
    assert connect(None).run_link("r") == "https://kfp.example/pipeline/#/runs/details/r"


def test_a_token_is_read_from_its_file(api, package, monkeypatch, tmp_path):
    api.token = "secret"
    with pytest.raises(LongtailError, match=r"\(401\).*no user identity.*SA_TOKEN_PATH"):
        submitted(api, package)
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(LongtailError, match="token: No such file"):
        submitted(api, package)
    (tmp_path / "token").write_text("secret\n")
    submitted(api, package)


def test_a_token_that_is_renewed_while_a_run_is_waited_for(api, package, monkeypatch, tmp_path):
    file, api.token = tmp_path / "token", "token-1"
    file.write_text("token-1\n")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(file))
    run_id, told = submitted(api, package), []

    def tell(now):
        told.append(now.state)
        if len(told) > 1:
            return
        api.token = "token-2"
        file.write_text("")
        threading.Timer(0.2, file.write_text, ["token-2\n"]).start()
        api.become(run_id, "SUCCEEDED", nodes(package.spec))

    api.become(run_id, "RUNNING", nodes(package.spec))
    endpoint = connect(api.endpoint)
    wait(endpoint, run_id, timeout_seconds=60, poll_seconds=0.05, tell=tell)
    assert told == ["RUNNING", "SUCCEEDED"]


def test_many_users_need_a_namespace_and_rights_in_it(api, package):
    api.multi_user, api.allowed = True, {"ours"}
    with pytest.raises(LongtailError, match="--namespace"):
        connect(api.endpoint)
    options = {"experiment": "longtail", "arguments": {"code_rev": "1"}, "create_experiment": True}
    with pytest.raises(LongtailError, match=r"\(403\).*namespace theirs"):
        submit(connect(api.endpoint, namespace="theirs"), package, **options)
    submit(connect(api.endpoint, namespace="ours"), package, **options)
    assert {item["namespace"] for item in api.held["experiments"].values()} == {"ours"}


def test_a_login_page_is_not_taken_for_the_api(api):
    api.page = b"<html>Sign in</html>"
    with pytest.raises(LongtailError, match="a login stands before it"):
        connect(api.endpoint)


def test_another_server_is_not_taken_for_the_api(api):
    with pytest.raises(LongtailError, match="no KFP v2 API"):
        connect(f"{api.endpoint}/elsewhere")


def test_a_schedule_repeats_the_run_and_is_there_once(api, package):
    first = scheduled(api, package)
    made = api.held["recurringruns"][first]
    assert made["trigger"]["cron_schedule"]["cron"] == NIGHTLY
    assert (made["mode"], made["no_catchup"], int(made["max_concurrency"])) == ("ENABLE", True, 1)
    assert made["runtime_config"]["parameters"] == {"code_rev": "1"}
    with pytest.raises(LongtailError, match=f"schedule nightly already.*{first}.*--replace"):
        scheduled(api, package)
    second = scheduled(api, package, cron="0 0 4 * * *", replace=True)
    assert list(api.held["recurringruns"]) == [second]


@pytest.mark.parametrize("cron", ["0 3 * * *", "", "nightly"])
def test_a_cron_of_five_fields_is_refused(api, package, cron):
    with pytest.raises(LongtailError, match="six fields"):
        scheduled(api, package, cron=cron)


def test_a_run_on_which_nothing_changed_says_so(api, package):
    run_id = submitted(api, package)
    api.become(
        run_id,
        "SUCCEEDED",
        nodes(package.spec, cached={"work", "work-2", "tell"}, untouched={"condition-2"}),
    )
    found = status(connect(api.endpoint), run_id)
    assert found.nothing_changed
    states = {step.name: step.state for step in found.steps}
    assert states == {
        "look": "ran",
        "ingest": "cached",
        "split": "cached",
        "tell": "cached",
        "register": "not run",
    }
    lines = found.lines()
    assert lines[0] == f"flow {package.version}  succeeded  {api.endpoint}/#/runs/details/{run_id}"
    assert lines[-1] == "Nothing changed: all 3 steps were cached; look always run."


def test_a_run_that_computed_something_says_what(api, package):
    run_id = submitted(api, package)
    api.become(run_id, "SUCCEEDED", nodes(package.spec, cached={"work", "tell"}))
    found = status(connect(api.endpoint), run_id)
    assert not found.nothing_changed
    assert found.lines()[-1] == "Computed anew: split, register."
    assert next(step for step in found.steps if step.name == "split").seconds == 7


def test_a_run_that_failed_says_where_and_why(api, package):
    run_id = submitted(api, package)
    halted = nodes(package.spec, states={"work": "FAILED"}, untouched={"work-2", "condition-2"})
    api.become(run_id, "FAILED", halted, error={"code": 13, "message": "out of memory"})
    found = status(connect(api.endpoint), run_id)
    states = {step.name: step.state for step in found.steps}
    assert (states["look"], states["ingest"], states["split"]) == ("ran", "failed", "not run")
    assert "out of memory" in found.lines()[-1]


def test_a_run_under_way_shows_what_runs_and_what_waits(api, package):
    run_id = submitted(api, package)
    under_way = nodes(package.spec, states={"work": "RUNNING"}, untouched={"work-2", "condition-2"})
    api.become(run_id, "RUNNING", under_way)
    found = status(connect(api.endpoint), run_id)
    states = {step.name: step.state for step in found.steps}
    assert (states["ingest"], states["split"]) == ("running", "waiting") and not found.finished
    api.become(run_id, "RUNNING", nodes(package.spec, states={"work": "DRIVING"}))
    steps = status(connect(api.endpoint), run_id).steps
    assert next(step for step in steps if step.name == "ingest").state == "running"


def test_a_run_that_is_not_there(api):
    with pytest.raises(LongtailError, match="no run nowhere"):
        status(connect(api.endpoint), "nowhere")
    api.add_experiment("longtail")
    with pytest.raises(LongtailError, match="no runs yet"):
        newest_run(connect(api.endpoint), experiment="longtail")


@pytest.mark.parametrize("end", ["SUCCEEDED", "FAILED", "CANCELED"])
def test_waiting_ends_with_the_run_whatever_the_network_does(api, package, end):
    run_id = submitted(api, package)
    endpoint, told = connect(api.endpoint), []

    def tell(now):
        told.append(now.state)
        api.broken = 2  # the next looks fail
        api.become(run_id, end, nodes(package.spec))

    api.become(run_id, "RUNNING", nodes(package.spec))
    found = wait(endpoint, run_id, timeout_seconds=60, poll_seconds=0.01, tell=tell)
    assert told == ["RUNNING", end] and found.state == end


def test_waiting_too_long_ends_the_waiting_alone(api, package):
    run_id = submitted(api, package)
    with pytest.raises(LongtailError, match=f"goes on.*{run_id}"):
        wait(
            connect(api.endpoint), run_id, timeout_seconds=0, poll_seconds=0, tell=lambda now: None
        )
    assert not any("terminate" in call for call in api.calls)


def test_nothing_is_asked_twice_in_vain(api, package):
    submitted(api, package)
    assert json.dumps(api.calls).count("upload") == 1
