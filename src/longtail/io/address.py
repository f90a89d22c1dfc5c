"""Where an object store is: `s3://bucket/prefix`."""

from longtail.errors import LongtailError


def split_address(uri: str) -> tuple[str, str]:
    """Return the bucket, and what the keys below the address start with: `prefix/`, or nothing.

    Raises:
        LongtailError: it names no bucket.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise LongtailError(f"No bucket in {uri}; write s3://bucket/prefix")
    prefix = prefix.rstrip("/")
    return bucket, f"{prefix}/" if prefix else ""
