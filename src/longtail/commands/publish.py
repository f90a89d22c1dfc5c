"""`longtail publish`: images into an object store."""

from pathlib import Path
from typing import Annotated

import typer

from longtail.commands.steps import Images, Out

Url = Annotated[str, typer.Option(help="Where the shards go: s3://bucket/prefix.")]


def publish(url: Url, out: Out, images: Images = Path("data/images")) -> None:
    """Upload the images once.

    Give the output to steps instead of `images`: they fetch only the images that they read and keep
    them in LONGTAIL_SHARD_CACHE, at most LONGTAIL_SHARD_CACHE_BYTES.
    """
    from longtail.io.publishing import publish as upload

    upload(images, url=url, out=out)
