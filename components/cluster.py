"""The Kubernetes API, by the rights of this pod's service account, without a client's package."""

import os
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from longtail.errors import LongtailError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PASSING = (429, 500, 502, 503, 504)


class Cluster:
    """Calls the API; what fails in passing is repeated for about four minutes.

    Args:
        address: of the API.
        account: directory of the service account's namespace, CA and token.
    """

    def __init__(self, address: str, account: Path = ACCOUNT) -> None:
        self.namespace = (account / "namespace").read_text(encoding="utf-8").strip()
        self._address, self._account = address, account
        self._session = requests.Session()
        retry = Retry(
            total=8,
            backoff_factor=1,
            status_forcelist=_PASSING,
            allowed_methods=None,  # creating twice is refused, deleting twice finds nothing
            raise_on_status=False,
        )
        self._session.mount(address, HTTPAdapter(max_retries=retry))

    def call(
        self, method: str, path: str, *, fine: tuple[int, ...] = (), **options: Any
    ) -> requests.Response:
        """Return the answer if it is a success, or its status is one of `fine`.

        Raises:
            LongtailError: the API refuses or stays silent.
        """
        # Read each time: the kubelet replaces the token, which lasts for an hour.
        token = (self._account / "token").read_text(encoding="utf-8").strip()
        try:
            answer = self._session.request(
                method,
                f"{self._address}{path}",
                headers={"Authorization": f"Bearer {token}"},
                verify=str(self._account / "ca.crt"),
                timeout=60,
                **options,
            )
        except requests.RequestException as error:
            raise LongtailError(f"the Kubernetes API does not answer: {error}") from error
        if not answer.ok and answer.status_code not in fine:
            raise LongtailError(
                f"the Kubernetes API refuses {method} {path} ({answer.status_code}): "
                f"{_reason(answer)}. Kubeflow Trainer and k8s/components/trainer have to be "
                "installed, and the run to use the service account longtail-runner"
            )
        return answer


def own_cluster() -> Cluster:
    """Return the cluster in which this pod runs.

    Raises:
        LongtailError: it runs in none.
    """
    if "KUBERNETES_SERVICE_HOST" not in os.environ or not ACCOUNT.is_dir():
        raise LongtailError(
            "training on several nodes is launched from a pod whose service account is mounted; "
            "elsewhere set resources.gpu.nodes: 1"
        )
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    return Cluster(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}")


def _reason(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
