"""Real S3 servers over HTTP, behind a proxy that counts requests and can break them."""

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import pytest

from tests.steps import radosgw

BUCKET = "images"


@dataclass(frozen=True)
class Request:
    """What the proxy saw; `path` without the query."""

    method: str
    path: str


@dataclass
class S3Server:
    """A server with an empty bucket.

    `fault` may answer a request in the server's place: a status code, or `cut` for an answer that
    ends in the middle. `sent` counts the bytes of all answers' bodies.
    """

    endpoint: str
    client: Any
    requests: list[Request] = field(default_factory=list)
    sent: int = 0
    fault: Callable[[Request], int | str | None] = lambda request: None

    @property
    def objects_read(self) -> list[str]:
        """Keys of all GET requests for objects, in order."""
        prefix = f"/{BUCKET}/"
        return [
            request.path.removeprefix(prefix)
            for request in self.requests
            if request.method == "GET"
            and request.path.startswith(prefix)
            and request.path != prefix
        ]

    def put(self, objects: dict[str, bytes]) -> None:
        def one(item: tuple[str, bytes]) -> None:
            self.client.put_object(Bucket=BUCKET, Key=item[0], Body=item[1])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, objects.items()))


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The address of a server that checks no keys."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real object store."""
    if missing := radosgw.missing_programs():
        packages = "radosgw ceph-mon ceph-osd ceph-common"
        pytest.skip(f"no Ceph: {', '.join(missing)} not found; apt-get install {packages}")
    try:
        gateway = radosgw.Radosgw(tmp_path_factory.mktemp("ceph"))
    except RuntimeError as error:
        pytest.skip(f"Ceph does not come up on this machine: {error}")
    yield gateway.endpoint
    gateway.stop()


# Not the servers themselves: a fixture with parameters is made anew whenever the parameter changes.
@pytest.fixture(scope="session", params=["moto", "radosgw"])
def s3_backend(request: pytest.FixtureRequest) -> str:
    """The address of a server of each kind."""
    return str(request.getfixturevalue("moto" if request.param == "moto" else "ceph"))


@pytest.fixture
def s3(s3_backend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Server]:
    """The server behind its proxy, with a bucket that is removed afterwards."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", radosgw.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", radosgw.SECRET_KEY)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    client = boto3.client("s3", endpoint_url=s3_backend, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    with _proxy(s3_backend, client) as server:
        yield server
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        keys = [{"Key": item["Key"]} for item in page.get("Contents", ())]
        if keys:
            client.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of an empty bucket of the server that the variables of AWS lead to."""
    name = "bucket"
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    s3 = boto3.Session("key", "secret", region_name="us-east-1").resource("s3", endpoint_url=moto)
    s3.create_bucket(Bucket=name)
    yield name
    with contextlib.suppress(s3.meta.client.exceptions.NoSuchBucket):  # a test may delete it
        s3.Bucket(name).objects.delete()
        s3.Bucket(name).delete()


@contextmanager
def _proxy(backend: str, client: Any) -> Iterator[S3Server]:
    server = S3Server("", client)

    class Handler(_ProxyHandler):
        target = urlsplit(backend).netloc
        log = server

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        server.endpoint = f"http://127.0.0.1:{proxy.server_port}"
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        yield server
        proxy.shutdown()
        thread.join()


_OWN_HEADERS = ("content-length", "transfer-encoding", "connection")


class _ProxyHandler(BaseHTTPRequestHandler):
    """Passes reading requests on with the headers they came with, which are signed."""

    protocol_version = "HTTP/1.1"
    target: str
    log: S3Server

    def do_GET(self) -> None:
        request = Request(self.command, unquote(urlsplit(self.path).path))
        self.log.requests.append(request)
        fault = self.log.fault(request)
        if isinstance(fault, int):
            self._answer(fault, [], b"")
            return
        backend = http.client.HTTPConnection(self.target)
        backend.request(self.command, self.path, headers=dict(self.headers))
        answer = backend.getresponse()
        body = answer.read()
        backend.close()
        self.log.sent += len(body)
        headers = [pair for pair in answer.getheaders() if pair[0].lower() not in _OWN_HEADERS]
        size = int(answer.headers.get("Content-Length") or len(body))
        self._answer(answer.status, headers, body, size=size, cut=fault == "cut")

    do_HEAD = do_GET

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
        *,
        size: int | None = None,
        cut: bool = False,
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""
