"""The connection to a Kubeflow Pipelines endpoint, and its refusals in plain words."""

import contextlib
import io
import json
import os
import ssl
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp
import kfp_server_api
import urllib3

from longtail.errors import LongtailError

_PERMISSION = (
    "Put a token that may use it into a file (kubectl create token NAME -n NAMESPACE "
    "--audience pipelines.kubeflow.org --duration 24h) and name the file in "
    "KF_PIPELINES_SA_TOKEN_PATH; rights are given in the namespace that --namespace names"
)


class NoAnswer(LongtailError):
    """The endpoint is silent or broken for the moment; asking again may help."""


@dataclass(frozen=True)
class Endpoint:
    """A connection. `namespace` is null where all users share one; `ui` is where links start."""

    client: kfp.Client
    namespace: str | None
    ui: str

    def run_link(self, run_id: str) -> str:
        """Address of the page of a run."""
        return f"{self.ui}/#/runs/details/{run_id}"

    def schedule_link(self, schedule_id: str) -> str:
        """Address of the page of a schedule."""
        return f"{self.ui}/#/recurringrun/details/{schedule_id}"


def connect(host: str | None, *, namespace: str | None = None) -> Endpoint:
    """Return a connection to `host`, or to KF_PIPELINES_ENDPOINT.

    A token is read from the file that KF_PIPELINES_SA_TOKEN_PATH names, where that is set, and read
    again for every request: runs take longer than tokens last. Links start at
    KF_PIPELINES_UI_ENDPOINT, else at the endpoint.

    Raises:
        LongtailError: there is no endpoint, no answer, no permission, or no namespace although the
            endpoint has many users.
    """
    host = (host or os.environ.get("KF_PIPELINES_ENDPOINT", "")).rstrip("/")
    if not host:
        raise LongtailError(
            "No KFP endpoint: give --endpoint or set KF_PIPELINES_ENDPOINT. Without an address of "
            "its own: kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80, and then "
            "http://localhost:8080"
        )
    if not host.startswith(("http://", "https://")):
        raise LongtailError(f"{host} is no endpoint: write it with http:// or https://")
    token = _token()
    if _many_users(host, token) and not namespace:
        raise LongtailError(f"{host} has many users: name your profile with --namespace")
    with in_plain_words(host), warnings.catch_warnings(action="ignore"):
        client = kfp.Client(
            host,
            namespace=namespace or "kubeflow",  # the client's word for none
            credentials=_TokenFile() if token else None,
            ssl_ca_cert=os.environ.get("SSL_CERT_FILE"),
        )
    return Endpoint(client, namespace, os.environ.get("KF_PIPELINES_UI_ENDPOINT", host).rstrip("/"))


@contextlib.contextmanager
def in_plain_words(host: str, *, missing: str | None = None) -> Iterator[None]:
    """Turn failures of API calls into LongtailError, and keep the client from printing.

    Args:
        missing: what to say where the API has not found something.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except kfp_server_api.ApiException as error:
        raise _refusal(host, int(error.status or 0), _message(error), missing) from None
    except (urllib3.exceptions.HTTPError, TimeoutError) as error:
        raise NoAnswer(f"{host} does not answer: {error}") from None


def _refusal(host: str, status: int, message: str, missing: str | None) -> LongtailError:
    if status in (401, 403):
        return LongtailError(f"{host} refuses ({status}): {message}. {_PERMISSION}")
    if status == 404 and missing:
        return LongtailError(f"{host}: {missing}")
    if status in (0, 429) or status >= 500:
        return NoAnswer(f"{host} fails ({status}): {message}")
    return LongtailError(f"{host} answers {status}: {message}")


def _message(error: kfp_server_api.ApiException) -> str:
    """Return the API's own sentence, which may stand in JSON, else the HTTP reason."""
    try:
        content = json.loads(error.body)
        return str(content.get("message") or content["error"])
    except (TypeError, ValueError, KeyError, AttributeError):
        return str(error.reason)


def _token() -> str | None:
    path = os.environ.get("KF_PIPELINES_SA_TOKEN_PATH")
    if not path:
        return None
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise LongtailError(f"KF_PIPELINES_SA_TOKEN_PATH={path}: {error.strerror}") from None
    if not token:  # for a moment, while kubectl writes a new one
        raise NoAnswer(f"KF_PIPELINES_SA_TOKEN_PATH={path} is empty; put a token into it")
    return token


class _TokenFile:
    def refresh_api_key_hook(self, config: kfp_server_api.Configuration) -> None:
        """Give a request the token of now; see kfp's `TokenCredentialsBase`."""
        config.api_key["authorization"] = _token()


def _many_users(host: str, token: str | None) -> bool:
    """Ask whether users have namespaces of their own, which also shows what is wrong if anything.

    The client would ask too, but five times, and forget the reason.
    """
    request = urllib.request.Request(f"{host}/apis/v2beta1/healthz")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            content: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        missing = "there is no KFP v2 API. Give the address of ml-pipeline or of its user interface"
        raise _refusal(host, error.code, str(error.reason), missing) from None
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        hint = ". Name its CA in SSL_CERT_FILE" if isinstance(reason, ssl.SSLError) else ""
        raise NoAnswer(f"{host} does not answer: {reason}{hint}") from None
    except ValueError:
        raise LongtailError(
            f"{host} answers with a page, not with the API: a login stands before it. {_PERMISSION}"
        ) from None
    return bool(content.get("multi_user"))
