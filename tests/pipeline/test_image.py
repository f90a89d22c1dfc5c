"""The image, built for real: what is in it, the whole flow in its containers, and the manifests."""

import base64
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
import yaml

from longtail.files import read_json
from tests.pipeline import containers
from tests.pipeline.containers import CPU, POSTGRES, ROOT, Podman
from tests.pipeline.kube_play import Manifest, find, make_secret, pod_with_claims
from tests.pipeline.test_manifests import build, kustomize_reason
from tests.pipeline.workspace import QUICK, environment, make_workspace
from tests.steps.s3_server import s3_backend  # noqa: F401 (a fixture)

pytestmark = pytest.mark.skipif(
    containers.why_not() is not None, reason=f"no containers here: {containers.why_not()}"
)

REVISION = "0123456789abcdef0123456789abcdef01234567"
LOCKED_DOWN = ("--rm", "--network=none", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all")
START_SECONDS = 300
PASSWORD = "p%w'd \"x:/@"  # what would break an address, a shell or an ini file


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    podman = Podman(tmp_path_factory.mktemp("podman"))
    try:
        podman.make_base()
        containers.build_image(podman, target="cpu", revision=REVISION)
        yield podman
    finally:
        podman.close()


def in_container(podman: Podman, *command: str, options: tuple[str, ...] = ()) -> str:
    return podman("run", *LOCKED_DOWN, *options, CPU, *command)


def test_labels_and_user(podman):
    [image] = json.loads(podman("image", "inspect", CPU))
    assert image["Labels"]["org.opencontainers.image.revision"] == REVISION
    assert image["Config"]["User"] == "10001:10001"
    assert set(image["Config"]["Volumes"]) == {"/scratch"}
    assert image["Size"] < 3.2e9


def test_no_compiler_is_left(podman):
    compilers = "gcc g++ cc c++ cpp clang ld as make nvcc ptxas rustc go"
    script = f"for name in {compilers}; do command -v $name && exit 1; done; true"
    assert in_container(podman, "sh", "-c", script) == ""


def test_only_scratch_can_be_written_and_caches_lie_there(podman):
    script = """
import matplotlib, os, pathlib, tempfile
pathlib.Path(tempfile.mkdtemp(), "file").write_text("")
refused = 0
for place in ("/", "/tmp", "/opt/longtail", "/var", "/home"):
    try:
        pathlib.Path(place, "file").write_text("")
    except OSError:
        refused += 1
print(refused, os.getuid(), tempfile.gettempdir(), matplotlib.get_cachedir(), pathlib.Path.home())
"""
    said = in_container(podman, "python", "-c", script).split()
    assert said == ["5", "10001", "/scratch", "/scratch/.cache/matplotlib", "/scratch"]


def test_packages_are_the_locked_ones_without_those_of_kfp_s_client(podman):
    script = (
        "import importlib.metadata as m; "
        "print(*{f'{d.name}=={d.version}' for d in m.distributions()}, sep='\\n')"
    )
    printed = in_container(podman, "python", "-c", script)
    found = {line.lower().replace("_", "-").replace(".", "-") for line in printed.split()}
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {
        line.lower().replace(".", "-") for line in re.findall(r"^[\w.-]+==[^ ;\\]+", lock, re.M)
    }
    assert {line for line in found if not line.startswith("longtail==")} <= locked
    names = {line.partition("==")[0] for line in found}
    assert {"kfp", "torch", "timm", "mlflow", "dvc", "great-expectations"} <= names
    assert not {"kfp-server-api", "kubernetes", "triton", "pytest", "uv"} & names


def test_torch_computes_without_the_weight_of_cuda(podman):
    script = """
import pathlib, torch, torchvision
network = torchvision.models.resnet18(num_classes=3)
network(torch.rand(2, 3, 32, 32)).sum().backward()
torchvision.ops.nms(torch.rand(3, 4), torch.rand(3), 0.5)
try:
    torch.zeros(1, device="cuda")
except RuntimeError as error:
    print(error)
cuda = pathlib.Path(torch.__file__).parents[1] / "nvidia"
print(sum(path.stat().st_size for path in cuda.rglob("*")))
"""
    *_, refusal, size = in_container(podman, "python", "-c", script).splitlines()
    assert "NVIDIA driver" in refusal
    assert int(size) < 30e6


def test_packages_import_from_the_wheel(podman):
    script = (
        "import components, longtail, pipelines; print(components.__path__, pipelines.__path__)"
    )
    assert in_container(podman, "python", "-c", script).count("/opt/longtail/lib/") == 2
    assert "Usage: longtail" in in_container(podman, "python", "-m", "longtail", "--help")


def test_the_whole_flow_runs_in_containers(podman, tmp_path):
    """The embedded digits: each step in a container of its own, with a read-only root."""
    place = make_workspace(tmp_path, {**QUICK, "resources": {"cpu": {"image": CPU}}})
    command = [sys.executable, "-m", "longtail", "pipeline", "run", "--containers"]
    with podman.service() as address:
        surroundings = {**environment(), "DOCKER_HOST": address, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=place, env=surroundings, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = (place / "data/pipeline/state/runs").glob("*/summary.json")
    summary = read_json(path)
    print(json.dumps(summary, indent=1))


@dataclass(frozen=True)
class Cluster:
    """MLflow and PostgreSQL from overlay `dev`, each in a pod with an address of its own."""

    podman: Podman
    manifests: list[Manifest]
    hosts: dict[str, str]

    def play(self, kind: str, name: str, *options: str) -> None:
        config = [m for m in self.manifests if m["kind"] == "ConfigMap"]
        pod = pod_with_claims(find(self.manifests, kind, name), hosts=self.hosts)
        # A pod's ConfigMaps and claims become volumes, which are there from its last time.
        self.podman("pod", "rm", "--force", "--time=0", name, check=False)
        for volume in self.podman("volume", "ls", "--quiet").split():
            if volume != "postgres-data":
                self.podman("volume", "rm", volume, check=False)
        text = yaml.safe_dump_all([*config, *pod]) + "\n"
        self.podman("kube", "play", *options, "-", input=text)

    def run_job(self, name: str) -> None:
        """Run a CronJob's pod to its end; raise with its log if it fails."""
        self.play("CronJob", name, "--network=host")
        [container] = find(self.manifests, "CronJob", name)["spec"]["jobTemplate"]["spec"][
            "template"
        ]["spec"]["containers"]
        status = self.podman("wait", f"{name}-{container['name']}").strip()
        assert status == "0", self.podman.logs(f"{name}-{container['name']}")

    def start_mlflow(self) -> None:
        self.play("Deployment", "mlflow", *self.network("mlflow"))
        wait_for(
            lambda: self.get("/health") == (200, "OK"), lambda: self.podman.logs("mlflow-mlflow")
        )

    def network(self, name: str) -> tuple[str, str]:
        return ("--network=longtail", f"--ip={self.hosts[name]}")

    def get(
        self,
        path: str,
        *,
        host: str = "mlflow:5000",
        user: str = "",
        content: Any = None,
    ) -> tuple[int, str]:
        """Return status and body; `user` is name:password, `content` is posted."""
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"http://{self.hosts['mlflow']}:5000{path}", data=data)
        request.add_header("Host", host)
        request.add_header("Content-Type", "application/json")
        if user:
            token = base64.b64encode(user.encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def wait_for(ready: Callable[[], bool], log: Callable[[], str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.5)
    pytest.fail(f"not up in {START_SECONDS} s:\n{log()}")


@pytest.fixture
def cluster(podman: Podman, s3_backend: str) -> Iterator[Cluster]:  # noqa: F811
    if reason := kustomize_reason():
        pytest.skip(reason)
    containers.build_postgres(podman)
    text = yaml.safe_dump_all(build(ROOT / "k8s" / "overlays" / "dev"))
    text = re.sub(r"registry\.example\.org/longtail:cpu", CPU, text)
    text = re.sub(r"docker\.io/library/postgres:\d+", POSTGRES, text)
    text = text.replace("http://object-store:8333", s3_backend)
    manifests = list(yaml.safe_load_all(text))
    subnet = json.loads(
        podman("network", "create", "longtail") and podman("network", "inspect", "longtail")
    )[0]["subnets"][0]["subnet"]
    start = subnet.rpartition(".")[0]
    cluster = Cluster(podman, manifests, {"postgres": f"{start}.10", "mlflow": f"{start}.11"})
    make_secret(podman, "postgres", {"password": "superuser"})
    make_secret(podman, "mlflow-database", {"password": PASSWORD})
    make_secret(podman, "mlflow", {"admin-password": PASSWORD, "flask-secret-key": "f" * 32})
    make_secret(
        podman, "object-store", {"access-key-id": "TESTACCESS", "secret-access-key": "TESTSECRET"}
    )
    yield cluster
    for name in cluster.hosts:
        podman("pod", "rm", "--force", "--time=0", name, check=False)


@pytest.mark.parametrize("s3_backend", ["moto"], indirect=True)
def test_mlflow_and_its_database_from_the_manifests(cluster, s3_backend):  # noqa: F811
    client = boto3.client(
        "s3",
        endpoint_url=s3_backend,
        aws_access_key_id="TESTACCESS",
        aws_secret_access_key="TESTSECRET",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="longtail")
    cluster.play("StatefulSet", "postgres", *cluster.network("postgres"))
    ready = ("exec", "postgres-postgres", "pg_isready", "--host=127.0.0.1")
    wait_for(
        lambda: "accepting" in cluster.podman(*ready, check=False),
        lambda: cluster.podman.logs("postgres-postgres"),
    )
    cluster.start_mlflow()

    search, admin = "/api/2.0/mlflow/experiments/search?max_results=9", f"admin:{PASSWORD}"
    assert cluster.get(search, host="elsewhere:5000", user=admin)[0] == 403
    assert cluster.get(search)[0] == 401
    assert cluster.get(search, user="admin:wrong")[0] == 401
    assert cluster.get(search, user=admin)[0] == 200

    users, runner = "/api/2.0/mlflow/users/create", {"username": "runner", "password": "r" * 20}
    assert cluster.get(users, user=admin, content=runner)[0] == 200
    make, login = "/api/2.0/mlflow/experiments/create", f"runner:{'r' * 20}"
    status, body = cluster.get(make, user=login, content={"name": "kept"})
    assert status == 200
    identity = json.loads(body)["experiment_id"]
    shown = json.loads(
        cluster.get(f"/api/2.0/mlflow/experiments/get?experiment_id={identity}", user=login)[1]
    )
    assert shown["experiment"]["artifact_location"] == f"s3://longtail/mlflow/{identity}"

    cluster.run_job("postgres-backup")
    assert cluster.get(make, user=login, content={"name": "lost"})[0] == 200
    cluster.podman("pod", "rm", "--force", "--time=0", "mlflow")
    cluster.run_job("postgres-restore")
    cluster.start_mlflow()  # and its upgrade finds the tables as they should be
    names = {e["name"] for e in json.loads(cluster.get(search, user=login)[1])["experiments"]}
    assert names == {"Default", "kept"}
