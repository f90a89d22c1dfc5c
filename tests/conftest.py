"""Servers that every worker starts once; imported into test modules, each would have its own."""

import boto3
import pytest

from tests.steps.s3_server import ceph, moto, s3, s3_backend

__all__ = ["ceph", "moto", "s3", "s3_backend"]


@pytest.fixture(autouse=True)
def no_credentials_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 remembers the first credentials that a process had, which are not those of a server."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
