"""Move dumps of the databases between a directory and the object store.

`python dump_store.py store DIRECTORY` uploads its `*.dump` files under the time of now (UTC) and
removes what is older than the newest `KEEP` times; `fetch DIRECTORY` downloads those of the time
`BACKUP`, or of the newest if it is empty. A time counts if it has the dumps of both databases. The
place is `BACKUPS`, as `s3://bucket/prefix`, where objects of any other name are left alone; boto3
finds endpoint and credentials in its own variables. A variable `OTHER_<name>`, from the Secret
`backup-store`, takes the place of `<name>`.
"""

import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3

DUMPS = {"mlflow.dump", "mlflow_auth.dump"}
TIME = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ"
OTHER = "OTHER_"


def store(client: Any, bucket: str, prefix: str, directory: Path, *, keep: int) -> None:
    files = sorted(directory.glob("*.dump"))
    if not files:
        sys.exit(f"{directory} holds no dump; see the log of the container `dump`")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    for file in files:
        client.upload_file(str(file), bucket, f"{prefix}/{now}/{file.name}")
        print(f"stored {prefix}/{now}/{file.name}, {file.stat().st_size:,} bytes")
    stored = backups(client, bucket, prefix)
    oldest = min(sorted(whole(stored))[-keep:], default="")
    for old in sorted(time for time in stored if time < oldest):
        for key in stored[old]:
            client.delete_object(Bucket=bucket, Key=key)
        print(f"removed {prefix}/{old}")


def fetch(client: Any, bucket: str, prefix: str, directory: Path, *, wanted: str) -> None:
    stored = backups(client, bucket, prefix)
    times = whole(stored)
    time = wanted or max(times, default="")
    if time not in times:
        sys.exit(f"no whole backup {time!r} in s3://{bucket}/{prefix}; there are {sorted(times)}")
    for key in stored[time]:
        client.download_file(bucket, key, str(directory / Path(key).name))
        print(f"fetched {key}")


def backups(client: Any, bucket: str, prefix: str) -> dict[str, list[str]]:
    """Return the keys of every stored time, and none that `store` did not write."""
    ours = re.compile(rf"{re.escape(prefix)}/({TIME})/(?:{'|'.join(map(re.escape, DUMPS))})")
    found: dict[str, list[str]] = {}
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    for page in pages:
        for entry in page.get("Contents", []):
            if match := ours.fullmatch(entry["Key"]):
                found.setdefault(match[1], []).append(entry["Key"])
    return found


def whole(stored: dict[str, list[str]]) -> set[str]:
    """Return the times of which no upload is missing, as after a pod that was ended midway."""
    return {time for time, keys in stored.items() if {Path(key).name for key in keys} >= DUMPS}


def main() -> None:
    others = {k.removeprefix(OTHER): v for k, v in os.environ.items() if k.startswith(OTHER)}
    os.environ.update(others)
    action, directory = sys.argv[1], Path(sys.argv[2])
    bucket, _, prefix = os.environ["BACKUPS"].removeprefix("s3://").partition("/")
    client = boto3.client("s3")
    if action == "store":
        store(client, bucket, prefix, directory, keep=int(os.environ["KEEP"]))
    else:
        fetch(client, bucket, prefix, directory, wanted=os.environ["BACKUP"])


if __name__ == "__main__":
    main()
