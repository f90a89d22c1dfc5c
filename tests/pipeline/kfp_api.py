"""A small server that speaks the calls of KFP's v2beta1 API which the client uses."""

import email
import email.policy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

from tests.pipeline.kfp_description import Description, find_description

PREFIX = "/apis/v2beta1/"


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message


class KfpApi:
    """What the server holds, by id, and how it behaves.

    Every request and every answer is checked against the published description, if that is at
    hand; `wrong` collects what does not conform.
    """

    def __init__(self, description: Description | None) -> None:
        self.endpoint = ""
        self.description = description
        self.wrong: list[str] = []
        self.calls: list[str] = []
        self.held: dict[str, dict[str, dict[str, Any]]] = {
            kind: {} for kind in ("experiments", "pipelines", "versions", "runs", "recurringruns")
        }
        self.multi_user = False
        self.token: str | None = None  # wanted of every request but healthz
        self.allowed: set[str | None] | None = None  # namespaces; None: all
        self.page: bytes | None = None  # what a login answers in the API's place
        self.broken = 0  # requests that will be answered with 503

    def specification(self, run_id: str) -> dict[str, Any]:
        reference = self.held["runs"][run_id]["pipeline_version_reference"]
        spec = self.held["versions"][reference["pipeline_version_id"]]["pipeline_spec"]
        return dict(spec.get("pipeline_spec", spec))

    def become(self, run_id: str, state: str, nodes: list[dict[str, Any]], **fields: Any) -> None:
        """Set what has become of a run."""
        self.held["runs"][run_id] |= {"state": state, "run_details": {"task_details": nodes}}
        self.held["runs"][run_id] |= fields

    def add_experiment(self, name: str) -> str:
        return str(
            self._keep("experiments", "experiment_id", {"display_name": name})["experiment_id"]
        )

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        """Return the body of the answer, or raise Refused."""
        words = path.removeprefix(PREFIX).split("/")
        match method, words:
            case "GET", ["healthz"]:
                return {"multi_user": self.multi_user}
            case "GET", ["experiments" | "pipelines" | "runs" | "recurringruns" as kind]:
                self._permit(self._namespace(query))
                return self._listed(kind, list(self.held[kind].values()), query)
            case "GET", ["pipelines", pipeline, "versions"]:
                versions = self.held["versions"].values()
                mine = [v for v in versions if v["pipeline_id"] == pipeline]
                return self._listed("pipeline_versions", mine, query)
            case "GET", ["pipelines", _, "versions", version]:
                return self._found("versions", version)
            case "GET", ["runs", run]:
                return self._found("runs", run)
            case "POST", ["pipelines", "upload_version"]:
                return self._upload(query, body)
            case "POST", ["experiments" | "pipelines" | "runs" | "recurringruns" as kind]:
                self._permit(self._namespace(body))
                singular = {"recurringruns": "recurring_run"}.get(kind, kind.removesuffix("s"))
                return self._keep(kind, f"{singular}_id", body)
            case "DELETE", ["recurringruns", schedule]:
                self._found("recurringruns", schedule)
                del self.held["recurringruns"][schedule]
                return {}
        raise Refused(404, f"{method} {path} is not served")

    def _namespace(self, given: dict[str, Any]) -> str | None:
        """Runs have that of their experiment."""
        if "experiment_id" in given:
            given = self._found("experiments", given["experiment_id"])
        return given.get("namespace")

    def _permit(self, namespace: str | None) -> None:
        if self.allowed is not None and namespace not in self.allowed:
            raise Refused(403, f"User may not list in namespace {namespace}")

    def _listed(self, kind: str, items: list[Any], query: dict[str, str]) -> dict[str, Any]:
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", ()):
            assert predicate["operation"] == 1, "EQUALS"
            wanted = predicate["stringValue"]
            items = [item for item in items if item.get(predicate["key"]) == wanted]
        if query.get("experiment_id"):
            items = [i for i in items if i["experiment_id"] == query["experiment_id"]]
        if query.get("sort_by") == "created_at desc":
            items = items[::-1]
        size = int(query.get("page_size") or 10)
        listed = {"recurringruns": "recurringRuns"}.get(kind, kind)
        return {listed: items[:size], "total_size": len(items)} if items else {}

    def _found(self, kind: str, key: str) -> Any:
        if key not in self.held[kind]:
            raise Refused(404, f"{kind} {key} not found")
        return self.held[kind][key]

    def _upload(self, query: dict[str, str], form: dict[str, bytes]) -> dict[str, Any]:
        self._found("pipelines", query["pipelineid"])
        documents = list(yaml.safe_load_all(form["uploadfile"]))
        joined = {"pipeline_spec": documents[0], "platform_spec": documents[-1]}
        version = {
            "pipeline_id": query["pipelineid"],
            "display_name": query["name"],
            "pipeline_spec": documents[0] if len(documents) == 1 else joined,
        }
        return self._keep("versions", "pipeline_version_id", version)

    def _keep(self, kind: str, id_field: str, item: dict[str, Any]) -> dict[str, Any]:
        key = f"{kind}-{len(self.held[kind]) + 1}"
        self.held[kind][key] = {**item, id_field: key}
        return self.held[kind][key]


@contextmanager
def serve() -> Iterator[KfpApi]:
    """Run the server on a free port of this machine."""
    api = KfpApi(find_description())

    class Handler(_Handler):
        held = api

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield api
        server.shutdown()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    held: KfpApi

    def do_GET(self) -> None:
        api, address = self.held, urlsplit(self.path)
        query = dict(parse_qsl(address.query))  # empty values are as absent ones
        body, form = self._body()
        api.calls.append(f"{self.command} {address.path.removeprefix(PREFIX)}")
        if api.page is not None:
            self._send(200, api.page, "text/html")
            return
        try:
            if not address.path.startswith(PREFIX):
                raise Refused(404, "not found")
            self._let_in(address.path)
            if api.description:
                self._complain(
                    api.description.wrong_with_request(
                        self.command, address.path, query, None if form else body, set(form)
                    )
                )
            answer = api.answer(self.command, address.path, query, form or body)
            if api.description:
                self._complain(
                    api.description.wrong_with_answer(self.command, address.path, answer)
                )
            status = 200
        except Refused as refused:
            status, answer = refused.status, {"code": 2, "message": refused.message}
        self._send(status, json.dumps(answer).encode(), "application/json")

    do_POST = do_DELETE = do_GET

    def _let_in(self, path: str) -> None:
        api = self.held
        if api.broken:
            api.broken -= 1
            raise Refused(503, "no healthy upstream")
        wanted = f"Bearer {api.token}"
        if api.token and not path.endswith("healthz") and self.headers["Authorization"] != wanted:
            raise Refused(401, "Request header error: there is no user identity")

    def _complain(self, complaints: list[str]) -> None:
        self.held.wrong += complaints
        if complaints:
            raise Refused(400, "; ".join(complaints))

    def _body(self) -> tuple[Any, dict[str, bytes]]:
        """Return parsed JSON or None, and the fields of a multipart form."""
        content = self.rfile.read(int(self.headers["Content-Length"] or 0))
        kind = self.headers["Content-Type"] or ""
        if kind.startswith("multipart/form-data"):
            message = email.message_from_bytes(
                f"Content-Type: {kind}\r\n\r\n".encode() + content, policy=email.policy.HTTP
            )
            parts = {p.get_param("name", header="content-disposition"): p for p in message.walk()}
            return None, {n: p.get_payload(decode=True) for n, p in parts.items() if n}
        return (json.loads(content) if content else None), {}

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""
