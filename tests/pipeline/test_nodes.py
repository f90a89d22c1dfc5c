"""Stage 1 on several nodes: the TrainJob's manifest, and what becomes of it."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest
import yaml

from components import trainjob
from components.cluster import Cluster, own_cluster
from components.training import torchrun, train
from longtail.artifacts import Split
from longtail.config.resources import ResourcesConfig
from longtail.config.section import parse
from longtail.config.split import SplitConfig
from longtail.errors import LongtailError
from longtail.files import file_digest, write_json
from longtail.io.publishing import publish
from longtail.steps.split import split
from pipelines import nodes
from tests.pipeline.built_manifests import published_schemas
from tests.pipeline.kfp_graph import equipped
from tests.pipeline.kubernetes_api import JOBS, KubernetesApi, serve
from tests.steps.artifact_fixtures import digests
from tests.steps.ingest_fixtures import run_ingest
from tests.steps.represent_fixtures import config
from tests.steps.tiny_source import write_tiny_source

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(os.environ.get("LONGTAIL_CRDS", ROOT.parent / "shared" / "schemas"))
STORE = {"state": "s3://bucket/state", "image_store": "s3://bucket/images"}
SCHEMA = published_schemas(SCHEMAS).get(("trainer.kubeflow.org/v1alpha1", "TrainJob"))
FULL = {
    **STORE,
    "gpu": {
        "image": "registry/longtail@sha256:0",
        "nodes": 3,
        "accelerators": 4,
        "node_selector": {"pool": "gpus"},
        "tolerations": [{"key": "spot"}],
        "labels": {"kueue.x-k8s.io/queue-name": "longtail"},
    },
    "shard_cache": {"claim": "shards"},
    "environment": {"AWS_ENDPOINT_URL": "http://store:9000"},
    "secrets": {"store": {"user": "AWS_ACCESS_KEY_ID"}},
}


def resources(**changes: Any) -> ResourcesConfig:
    return parse(ResourcesConfig, {**STORE, "gpu": {"nodes": 2}, **changes}, where="resources")


@pytest.mark.skipif(SCHEMA is None, reason=f"no TrainJob schema in {SCHEMAS}: set LONGTAIL_CRDS")
@pytest.mark.parametrize("given", [{}, FULL], ids=["least", "full"])
def test_the_manifest_is_valid_by_the_published_schema(given):
    jsonschema.validate(nodes.trainjob(resources(**given)), SCHEMA)


def test_the_manifest_fits_to_the_runtime():
    """Trainer refuses patches of jobs and containers that the runtime has not."""
    runtime = yaml.safe_load((ROOT / "k8s/components/trainer/runtime.yaml").read_text())
    manifest = nodes.trainjob(resources(**FULL))["spec"]
    assert manifest["runtimeRef"] == {"kind": runtime["kind"], "name": runtime["metadata"]["name"]}
    [job] = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    [entry] = manifest["runtimePatches"]
    [patch] = entry["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod, patched = job["template"]["spec"]["template"]["spec"], patch["template"]["spec"]
    assert patch["name"] == job["name"]
    [container] = patched["template"]["spec"]["containers"]
    assert container["name"] == pod["containers"][0]["name"]
    assert not {"cache"} & {volume["name"] for volume in pod["volumes"]}


def test_the_launcher_holds_no_device_and_the_nodes_hold_all():
    graph = equipped(**FULL)
    assert "accelerator" not in graph.container("represent")["resources"]
    task = graph.tasks["represent"].spec
    constant = task["inputs"]["parameters"]["processes"]["runtimeValue"]["constant"]
    assert constant == 12.0
    variables = graph.variables("represent")
    assert variables["LONGTAIL_GPUS"] == "12"
    trainer = json.loads(variables["LONGTAIL_TRAINJOB"])["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (3, 4)
    assert trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == "4"
    assert "LONGTAIL_TRAINJOB" not in equipped(gpu={"accelerators": 4}).variables("represent")
    assert graph.container("embed")["resources"]["accelerator"]["resourceCount"] == "1"


@pytest.mark.parametrize("missing", STORE)
def test_several_nodes_want_an_object_store(missing):
    with pytest.raises(LongtailError, match=f"{missing} is .*s3://bucket/prefix"):
        resources(**{missing: "/shared/folder"})


@pytest.fixture
def api(tmp_path: Path) -> Iterator[KubernetesApi]:
    with serve(KubernetesApi(tmp_path / "kubernetes", schema=SCHEMA)) as server:
        yield server


def job(script: str, *, count: int = 2) -> dict[str, Any]:
    manifest = nodes.trainjob(resources(gpu={"nodes": count}))
    manifest["metadata"]["name"] = "longtail-1"
    manifest["spec"]["trainer"] |= {"command": ["sh", "-c"], "args": [script]}
    return manifest


@pytest.fixture
def run(api: KubernetesApi) -> Callable[..., list[str]]:
    def done(script: str, tell: Callable[[str], None] | None = None) -> list[str]:
        told: list[str] = []
        cluster = Cluster(api.address, api.account)
        trainjob.run(cluster, job(script), seconds=0.05, tell=tell or told.append)
        return told

    return done


def test_a_job_that_completes_is_told_of_and_taken_away(api, run):
    told = run("echo rank $PET_NODE_RANK; sleep 0.5")
    assert "longtail-1: Running, Running: rank 0" in told
    assert len(set(told)) == len(told), "only news"
    assert not api.left


def test_a_failed_job_says_which_node_and_its_last_lines_and_stays(api, run):
    with pytest.raises(LongtailError) as failed:
        run("seq 90; [ $PET_NODE_RANK = 0 ] && exec sleep 60; echo diverged >&2; exit 3")
    message = str(failed.value)
    assert message.startswith("longtail-1 failed: jobset says so")
    assert "longtail-1-node-0-1, last lines:\n32\n" in message
    assert "90\ndiverged" in message
    assert api.left == ["longtail-1"]


def test_another_try_makes_a_failed_job_anew_after_its_nodes_have_gone(api, run, tmp_path):
    script = f"trap 'kill $!; sleep 0.3; touch {tmp_path}/gone; exit 1' TERM; "
    script += f"[ -e {tmp_path}/gone ] && exit 0; [ $PET_NODE_RANK = 1 ] && exit 1; sleep 60 & wait"
    with pytest.raises(LongtailError):
        run(script)
    run(script)
    assert api.created == 2
    assert not api.left


def test_another_try_goes_on_with_a_job_under_way(api, run, tmp_path):
    script = f"echo >> {tmp_path}/started; sleep 1"
    Cluster(api.address, api.account).call("POST", JOBS, json=job(script))
    run(script)
    assert (tmp_path / "started").read_text().count("\n") == 2, "one each node"
    assert not api.left


def test_a_job_that_somebody_deletes_is_an_error(api, run):
    def deleted(line: str) -> None:
        api.jobs["longtail-1"].leaving = True
        api.jobs["longtail-1"].stop()

    with pytest.raises(LongtailError, match="longtail-1 was deleted while it ran"):
        run("exec sleep 60", deleted)


def test_giving_up_deletes_the_job(api, run):
    def given_up(line: str) -> None:
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        run("exec sleep 60", given_up)
    processes = api.jobs["longtail-1"].nodes
    assert [node.wait(10) for node in processes] == [-signal.SIGTERM] * 2


def test_a_passing_outage_and_a_new_token_do_not_end_the_wait(api, run):
    def disturbed(line: str) -> None:
        api.broken, api.token = 1, "token-2"
        (api.account / "token").write_text("token-2\n")

    run("sleep 0.5", disturbed)
    assert "GET 503" in api.calls
    assert not api.left


def test_a_refusal_names_reason_and_remedy(api, run):
    api.forbidden = True
    with pytest.raises(LongtailError, match=r"403.*cannot create.*k8s/components/trainer"):
        run("true")


def test_outside_of_a_cluster_nothing_is_launched(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(LongtailError, match=r"set resources\.gpu\.nodes: 1"):
        own_cluster()


@pytest.fixture
def inputs(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Published images, a split and its seal, and the variables of a pod."""
    monkeypatch.setenv("LONGTAIL_STATE", STORE["state"])
    monkeypatch.setenv("LONGTAIL_RUN", tmp_path.name)
    monkeypatch.setenv("LONGTAIL_SHARD_CACHE", str(tmp_path / "cache"))
    source = write_tiny_source(tmp_path / "in", sizes={"train": 12, "val": 4, "test": 6})
    local = run_ingest(tmp_path, source).root
    publish(local, url=STORE["image_store"], out=tmp_path / "published")
    law = {"law": "given", "val": {"take_from": "source"}, "test": {"take_from": "source"}}
    split(parse(SplitConfig, law, where="split"), images=local, out=tmp_path / "split")
    tables, seal = Split(tmp_path / "split"), tmp_path / "passed.json"
    write_json(seal, {"split": file_digest(tables.profile)})
    return {
        "images": tmp_path / "published",
        **{"train": tables.train, "val": tables.val, "profile": tables.profile},
        "validation": seal,
    }


@pytest.fixture
def launch(api: KubernetesApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`train` in a pod of the server's cluster that is to launch a TrainJob."""
    plain = {name: os.environ.get(name, "") for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")}
    keys = {"id": "AWS_ACCESS_KEY_ID", "key": "AWS_SECRET_ACCESS_KEY"}
    api.secrets = {"store": {"id": "key", "key": "secret"}}
    manifest = nodes.trainjob(resources(environment=plain, secrets={"store": keys}))
    cache = {"name": "LONGTAIL_SHARD_CACHE", "value": str(tmp_path / "cache-of-nodes")}
    manifest["spec"]["trainer"]["env"].append(cache)  # the image's is /scratch
    monkeypatch.setenv("LONGTAIL_TRAINJOB", json.dumps(manifest))
    monkeypatch.setattr("components.nodes.own_cluster", partial(Cluster, api.address, api.account))
    monkeypatch.setattr("components.nodes.SECONDS_BETWEEN_LOOKS", 0.2)
    before = signal.getsignal(signal.SIGTERM)
    yield partial(train, config(), processes=2)
    signal.signal(signal.SIGTERM, before)


def objects(prefix: str) -> list[str]:
    listed = boto3.client("s3").list_objects_v2(Bucket="bucket", Prefix=f"state/{prefix}")
    return [item["Key"] for item in listed.get("Contents", ())]


def test_two_nodes_train_what_two_processes_of_a_pod_train(inputs, launch, api, tmp_path):
    torchrun(
        config(),
        placed=("--standalone", "--nproc-per-node", "2"),
        paths={**inputs, "out": tmp_path / "pod"},
        key="of-the-pod",
    )
    launch(paths={**inputs, "out": tmp_path / "nodes"})
    assert digests(tmp_path / "nodes") == digests(tmp_path / "pod")
    assert not api.left
    assert not objects("checkpoints/")
    launch(paths={**inputs, "out": tmp_path / "retry"})
    assert digests(tmp_path / "retry") == digests(tmp_path / "pod")
    assert api.created == 1, "a retry takes what is there"


def test_what_ends_training_on_the_nodes_is_said_by_the_step(inputs, launch, tmp_path):
    write_json(inputs["validation"], {"split": "another"})
    with pytest.raises(LongtailError, match="is the seal of another split than"):
        launch(paths={**inputs, "out": tmp_path / "out"})
    assert not (tmp_path / "out").exists()


def test_sigterm_takes_the_job_away_and_the_next_pod_goes_on(inputs, launch, api, tmp_path):
    over = threading.Event()

    def end_after_an_epoch() -> None:
        deadline = time.monotonic() + 300
        while not over.wait(0.05) and time.monotonic() < deadline:
            if objects("checkpoints/"):
                if not over.is_set():  # or the signal would end pytest
                    os.kill(os.getpid(), signal.SIGTERM)
                return

    long = partial(launch.func, config(epochs=20), processes=2)
    thread = threading.Thread(target=end_after_an_epoch, daemon=True)
    thread.start()
    try:
        with pytest.raises(SystemExit):
            long(paths={**inputs, "out": tmp_path / "first"})
    finally:
        over.set()
        thread.join()
    [name] = api.jobs
    long(paths={**inputs, "out": tmp_path / "second"})
    assert api.created == 2
    last = max(api.root.glob(f"{name}-*-0.log"), key=lambda path: path.stat().st_mtime)
    assert "going on from epoch" in last.read_text()


def test_images_that_are_not_published_are_refused(launch, inputs, tmp_path):
    (inputs["images"] / "shards.json").unlink()
    with pytest.raises(LongtailError, match=r"resources\.image_store"):
        launch(paths={**inputs, "out": tmp_path / "out"})
