"""Servers that every worker starts once; imported into test modules, each would have its own."""

from tests.steps.s3_server import ceph, moto, s3, s3_backend

__all__ = ["ceph", "moto", "s3", "s3_backend"]
