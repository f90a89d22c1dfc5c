"""What `longtail doctor` says of the services around the flow."""

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import boto3
import psycopg2
import pytest

from longtail.doctor import examine
from tests.steps.postgres import PASSWORD, Postgres
from tests.steps.s3_server import BUCKET, S3Server


def finding(tmp_path: Path, name: str, params: str = "{}") -> tuple[bool, str]:
    (tmp_path / "params.yaml").write_text(params)
    found = {finding.name: finding for finding in examine(tmp_path / "params.yaml")}[name]
    return found.ok, found.text


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The URI of an empty database of a server that is there for these tests."""
    server = Postgres("mlflow")
    yield server.uri("mlflow")
    server.stop()


def test_a_postgresql_database_is_looked_into(postgresql: str, tmp_path: Path) -> None:
    params = f"register: {{tracking_uri: '{postgresql}'}}"
    address = postgresql.replace("+psycopg2", "")
    with closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
        assert finding(tmp_path, "MLflow", params)[1].endswith("is empty; `register` will fill it")
        cursor.execute("CREATE TABLE model_versions AS SELECT generate_series(1, 2)")
        connection.commit()
    ok, text = finding(tmp_path, "MLflow", params)
    assert ok and text.endswith("holds 2 model versions") and PASSWORD not in text


@pytest.mark.parametrize(
    ("uri", "advice"),
    [
        ("postgresql+psycopg2://u:secret@127.0.0.1:9/x", "check that it runs"),
        ("postgresql+none://u:secret@127.0.0.1:9/x", r"postgresql\+psycopg2://user"),
        ("nonsense", r"postgresql\+psycopg2://user"),
    ],
)
def test_a_database_that_does_not_answer_says_what_to_do(
    tmp_path: Path, uri: str, advice: str
) -> None:
    ok, text = finding(tmp_path, "MLflow", f"register: {{tracking_uri: '{uri}'}}")
    assert not ok and "secret" not in text
    assert re.search(advice, text)


@pytest.mark.parametrize(
    "greeting",
    [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut"],
    ids=["nothing", "SSH", "half an answer"],
)
def test_a_port_of_something_else_is_no_mlflow(tmp_path: Path, greeting: bytes) -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 12)
            connection.sendall(greeting)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve, daemon=True)  # it waits for ever if nobody asks
        thread.start()
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        ok, text = finding(tmp_path, "MLflow", f"register: {{tracking_uri: '{uri}'}}")
        thread.join(10)
    assert not ok and uri in text and "correct register.tracking_uri" in text


def test_a_public_bucket_needs_no_credentials(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put({"a/1.png": b"picture"})
    s3.client.put_bucket_acl(Bucket=BUCKET, ACL="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # has the credentials
    source = f"source: {{kind: folder, root: 's3://{BUCKET}'}}"
    params = f"ingest: {{{source}, s3: {{endpoint_url: '{s3.endpoint}'}}}}"
    assert finding(tmp_path, "S3", params) == (True, f"s3://{BUCKET} can be read")


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Something that answers 401 to everything, as a cluster does that wants a token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        def log_message(self, format: str, *args: object) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


RESOURCES = """
resources:
  cpu: {{image: "longtail@sha256:1"}}
  gpu: {{image: "longtail-gpu@sha256:2"}}
  image_store: s3://{bucket}/images
  environment: {{AWS_ENDPOINT_URL: "{endpoint}"}}
"""


@pytest.mark.usefixtures("endpoint")
def test_a_cluster_that_is_set_up_is_ok_and_its_stores_are_looked_for(
    s3: S3Server, tmp_path: Path
) -> None:
    ok, text = finding(tmp_path, "cluster", RESOURCES.format(bucket=BUCKET, endpoint=s3.endpoint))
    assert ok and text.endswith(f"answers, s3://{BUCKET}/images can be read")
    ok, text = finding(
        tmp_path, "cluster", RESOURCES.format(bucket="nowhere", endpoint=s3.endpoint)
    )
    assert not ok and text.startswith("s3://nowhere/images: ")


@pytest.mark.usefixtures("endpoint")
def test_images_of_a_cluster_want_digests(tmp_path: Path) -> None:
    ok, text = finding(tmp_path, "cluster")
    assert not ok and text.startswith("longtail:cpu, longtail:gpu: ")


def test_a_cluster_is_looked_for_only_where_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    assert finding(tmp_path, "cluster") == (True, "not used: KF_PIPELINES_ENDPOINT is not set")
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://127.0.0.1:9")
    ok, text = finding(tmp_path, "cluster")
    assert not ok and "correct KF_PIPELINES_ENDPOINT" in text
