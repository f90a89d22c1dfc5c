"""Checks of what surrounds the flow: every line is ok, or says what to do."""

import platform
import shutil
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from longtail.config.ingest import IngestConfig, S3Config
from longtail.config.params import SECTIONS, load_section
from longtail.config.promotion import RegisterConfig
from longtail.errors import LongtailError
from longtail.io.database import sqlite_file

PACKAGES = ("torch", "torchvision", "timm", "dvc", "mlflow", "great-expectations")
MIN_FREE_GIGABYTES = 5.0
TIMEOUT_SECONDS = 5


class Problem(Exception):
    """What a check found wrong, with the next act."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    ok: bool
    text: str


def examine(params: Path) -> list[Finding]:
    """Run every check; none of them stops the others."""
    checks: dict[str, Callable[[], str]] = {
        "Python": _python,
        "packages": _packages,
        "tools": _tools,
        "parameters": lambda: _parameters(params),
        "GPU": _gpu,
        "disk": lambda: _disk(Path.cwd()),
        "S3": lambda: _s3(load_section(params, "ingest", IngestConfig)),
        "MLflow": lambda: _mlflow(load_section(params, "register", RegisterConfig).tracking_uri),
    }
    return [_run(name, check) for name, check in checks.items()]


def report(findings: list[Finding]) -> bool:
    """Print the findings and return whether all are ok."""
    for finding in findings:
        print(f"{'ok ' if finding.ok else 'FIX'}  {finding.name:<10}  {finding.text}")
    return all(finding.ok for finding in findings)


def _run(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (Problem, LongtailError) as problem:
        return Finding(name, False, str(problem))


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _packages() -> str:
    found, missing = [], []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        raise Problem(f"not installed: {', '.join(missing)}; run `make install`")
    return ", ".join(found)


def _tools() -> str:
    if shutil.which("git") is None:
        raise Problem("git is not on the PATH; install it, the flow records the code revision")
    if not Path("dvc.yaml").is_file() or not Path(".dvc").is_dir():
        raise Problem(f"{Path.cwd()} has no dvc.yaml and .dvc; go to a clone of the repository")
    return "git, and a DVC project here"


def _parameters(params: Path) -> str:
    for name, model in SECTIONS.items():
        load_section(params, name, model)
    return f"{params} is valid"


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none: training runs on the CPU, which the demo is made for"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    free, total = torch.cuda.mem_get_info()
    return f"{', '.join(names)}; {free / 1e9:.1f} of {total / 1e9:.1f} GB free on the first"


def _disk(directory: Path) -> str:
    free = shutil.disk_usage(directory).free / 1e9
    if free < MIN_FREE_GIGABYTES:
        raise Problem(
            f"{free:.1f} GB free in {directory}, {MIN_FREE_GIGABYTES:.0f} GB wanted: make room, or "
            "move DVC's cache with `dvc cache dir --local PATH`"
        )
    return f"{free:.0f} GB free in {directory}"


def _s3(ingest: IngestConfig) -> str:
    root = getattr(ingest.source, "root", "")
    if not root.startswith("s3://"):
        return "not used: the source of `ingest` is local"
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    return _list_one_object(bucket, prefix, ingest.s3)


def _list_one_object(bucket: str, prefix: str, s3: S3Config) -> str:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    patience = Config(
        connect_timeout=TIMEOUT_SECONDS,
        read_timeout=TIMEOUT_SECONDS,
        retries={"total_max_attempts": 1},
    )
    try:
        client = boto3.client(
            "s3", endpoint_url=s3.endpoint_url, region_name=s3.region, config=patience
        )
        answer = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except (BotoCoreError, ClientError) as error:
        raise Problem(
            f"s3://{bucket}/{prefix}: {error}; check ingest.s3.endpoint_url, AWS_ENDPOINT_URL and "
            "the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or ~/.aws)"
        ) from None
    if not answer.get("KeyCount"):
        raise Problem(f"s3://{bucket}/{prefix} is reachable and empty; correct ingest.source.root")
    return f"s3://{bucket}/{prefix} can be read"


def _mlflow(tracking_uri: str) -> str:
    database = sqlite_file(tracking_uri)
    if database is not None:
        return _sqlite(database)
    parts = urllib.parse.urlsplit(tracking_uri)
    if parts.scheme in ("http", "https"):
        address = parts.netloc.rpartition("@")[2]  # a password is neither sent nor shown
        return _server(f"{parts.scheme}://{address}{parts.path.rstrip('/')}")
    return f"a {parts.scheme}: address is not examined, only sqlite:/// and http(s):// are"


def _sqlite(path: Path) -> str:
    if not path.exists():
        return f"{path} will be created by `register`"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            (versions,) = database.execute("SELECT count(*) FROM model_versions").fetchone()
    except sqlite3.Error as error:
        raise Problem(
            f"{path} is no MLflow database ({error}); move it away or correct register.tracking_uri"
        ) from None
    return f"{path} holds {versions} model version{'' if versions == 1 else 's'}"


def _server(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=TIMEOUT_SECONDS) as answer:
            answer.read()
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        raise Problem(
            f"{url} does not answer ({error}); start the server, or correct register.tracking_uri "
            "(sqlite:///mlflow.db needs none)"
        ) from None
    return f"{url} answers"
