"""Addresses in object stores."""

from pathlib import Path

import pytest

from longtail.config.ingest import S3Config
from longtail.errors import LongtailError
from longtail.io import probes
from longtail.io.address import split_address
from longtail.io.publishing import publish
from longtail.io.state import open_state
from longtail.io.storage import open_storage


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://bucket/a/b", ("bucket", "a/b/")),
        ("s3://bucket/a/b//", ("bucket", "a/b/")),
    ],
)
def test_a_prefix_ends_with_one_slash_or_is_empty(uri: str, parts: tuple[str, str]) -> None:
    assert split_address(uri) == parts


def test_an_address_without_bucket_is_the_same_error_everywhere(tmp_path: Path) -> None:
    (tmp_path / "shard-0.arrow").touch()
    for used in (
        lambda uri: open_state(uri),
        lambda uri: open_storage(uri, s3=S3Config(), cache=tmp_path),
        lambda uri: publish(tmp_path, url=uri, out=tmp_path / "out"),
        lambda uri: probes.objects(uri, S3Config()),
    ):
        with pytest.raises((LongtailError, probes.Problem), match="No bucket in s3:///a; write"):
            used("s3:///a")
