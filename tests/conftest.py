"""Servers that every worker starts once, and the buckets on them; imported into test modules, each
would have its own.

And for every test: no credentials of the tests before it.
"""

import boto3
import pytest

from tests.steps.s3_server import bucket, ceph, moto, s3, s3_backend

__all__ = ["bucket", "ceph", "moto", "s3", "s3_backend"]


@pytest.fixture(autouse=True)
def no_credentials_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3's default session keeps the first credentials that it finds; without this a test would
    send those of an earlier test.
    """
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
