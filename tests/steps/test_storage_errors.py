"""What a user is told when a bucket cannot be reached or read, and what heals by itself."""

from pathlib import Path

import pytest

from longtail.config.ingest import S3Config
from longtail.errors import LongtailError
from longtail.io.storage import open_storage
from longtail.sources.collection import Storage
from tests.steps.s3_server import BUCKET, Request, S3Server

ROOT = f"s3://{BUCKET}/data"
only_where_keys_are_checked = pytest.mark.parametrize("s3_backend", ["radosgw"], indirect=True)


def bucket(endpoint: str | None, tmp_path: Path, *, root: str = ROOT) -> Storage:
    config = S3Config(endpoint_url=endpoint, region="us-east-1", max_attempts=2)
    return open_storage(root, s3=config, cache=tmp_path / "cache")


def test_an_answer_that_breaks_off_is_asked_for_again(s3: S3Server, tmp_path: Path) -> None:
    s3.put({"data/x": b"0123456789"})
    faults = iter(["cut"])
    s3.fault = lambda request: next(faults, None)
    assert bucket(s3.endpoint, tmp_path).read("x") == b"0123456789"
    assert s3.objects_read == ["data/x", "data/x"]


def test_an_answer_that_always_breaks_off_blames_no_image(s3: S3Server, tmp_path: Path) -> None:
    s3.put({"data/x": b"0123456789"})
    s3.fault = lambda request: "cut"
    with pytest.raises(LongtailError, match=r"s3://images/data.*2 attempts.*start again"):
        bucket(s3.endpoint, tmp_path).read("x")


def test_an_overloaded_server_is_not_a_question_of_rights(s3: S3Server, tmp_path: Path) -> None:
    s3.put({"data/x": b"x"})

    def overloaded(request: Request) -> int:
        return 503

    s3.fault = overloaded
    with pytest.raises(LongtailError, match=r"2 attempts.*ingest\.s3\.concurrency"):
        bucket(s3.endpoint, tmp_path).read("x")


@only_where_keys_are_checked
def test_requests_without_keys_say_that_they_were_anonymous(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(LongtailError, match=r"AccessDenied.*anonymous.*AWS_ACCESS_KEY_ID"):
        list(bucket(s3.endpoint, tmp_path).entries())


def test_a_table_in_a_missing_bucket_names_bucket_and_file(s3: S3Server, tmp_path: Path) -> None:
    storage = bucket(s3.endpoint, tmp_path, root="s3://no-such-bucket/data")
    with pytest.raises(LongtailError, match=r"no-such-bucket/data/t\.csv.*Check the bucket"):
        storage.local_file("t.csv")


def test_an_endpoint_without_scheme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LongtailError, match=r"localhost:9000.*ingest\.s3\.endpoint_url"):
        bucket("localhost:9000", tmp_path)


def test_half_of_the_credentials_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(LongtailError, match="AWS_SECRET_ACCESS_KEY"):
        bucket("http://127.0.0.1:1", tmp_path)


def test_an_unknown_profile_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(LongtailError, match=r"nobody.*AWS_PROFILE"):
        bucket(None, tmp_path)
