"""The image, built for real: what is in it, the whole flow in its containers, and the manifests."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import boto3
import pytest
import yaml

from longtail.files import read_json
from tests.pipeline import containers
from tests.pipeline.built_manifests import build, kustomize_reason
from tests.pipeline.containers import CPU, POSTGRES, ROOT, Podman
from tests.pipeline.kube_play import Cluster, make_secret
from tests.pipeline.workspace import QUICK, environment, make_workspace
from tests.steps.radosgw import ACCESS_KEY, SECRET_KEY

pytestmark = pytest.mark.skipif(
    containers.why_not() is not None, reason=f"no containers here: {containers.why_not()}"
)

REVISION = "0123456789abcdef0123456789abcdef01234567"
LOCKED_DOWN = ("--rm", "--network=none", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all")
PASSWORD = "p%w'd \"x:/@ 1234"  # what would break an address, a shell or an ini file


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
    assert {step["what"] for step in summary["steps"]} == {"ran"}
    assert summary["registration"]["outcome"] == "promote"
    assert "register" in {step["step"] for step in summary["steps"]}


@pytest.fixture
def cluster(podman: Podman, s3_backend: str) -> Iterator[Cluster]:
    if reason := kustomize_reason():
        pytest.skip(reason)
    containers.build_postgres(podman)
    keys = {"access-key-id": ACCESS_KEY, "secret-access-key": SECRET_KEY}
    client = boto3.client(
        "s3",
        endpoint_url=s3_backend,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )
    client.create_bucket(Bucket="longtail")
    make_secret(podman, "postgres", {"password": "superuser"})
    make_secret(podman, "mlflow-database", {"password": PASSWORD})
    make_secret(podman, "mlflow", {"admin-password": PASSWORD, "flask-secret-key": "f" * 32})
    make_secret(podman, "object-store", keys)
    text = yaml.safe_dump_all(build(ROOT / "k8s" / "overlays" / "dev"))
    text = text.replace("registry.example.org/longtail:cpu", CPU)
    text = re.sub(r"docker\.io/library/postgres:\d+", POSTGRES, text)
    text = text.replace("http://object-store:8333", s3_backend)
    yield Cluster(podman, list(yaml.safe_load_all(text)))


@pytest.mark.parametrize("s3_backend", ["moto"], indirect=True)
def test_mlflow_and_its_database_from_the_manifests(cluster):
    cluster.start_postgres()
    cluster.start_mlflow()

    search, admin = "/api/2.0/mlflow/experiments/search?max_results=9", f"admin:{PASSWORD}"
    assert cluster.ask(search, host="elsewhere:5000", user=admin)[0] == 403
    assert cluster.ask(search)[0] == 401
    assert cluster.ask(search, user="admin:wrong")[0] == 401
    assert cluster.ask(search, user=admin)[0] == 200

    users, runner = "/api/2.0/mlflow/users/create", {"username": "runner", "password": "r" * 20}
    assert cluster.ask(users, user=admin, content=runner)[0] == 200
    create, user = "/api/2.0/mlflow/experiments/create", f"runner:{'r' * 20}"
    status, made = cluster.ask(create, user=user, content={"name": "kept"})
    assert status == 200
    identity = json.loads(made)["experiment_id"]
    found = cluster.ask(f"/api/2.0/mlflow/experiments/get?experiment_id={identity}", user=user)[1]
    location = json.loads(found)["experiment"]["artifact_location"]
    assert location == f"s3://longtail/mlflow/{identity}"

    cluster.run_job("postgres-backup")
    assert cluster.ask(create, user=user, content={"name": "lost"})[0] == 200
    cluster.stop("mlflow")
    cluster.run_job("postgres-restore")
    cluster.upgrade_mlflow()  # which finds the tables as they should be
    assert cluster.query("mlflow", "select name from experiments") == {"Default", "kept"}
    assert "runner" in cluster.query("mlflow_auth", "select username from users")
