"""The part of ingest that runs in worker processes; apart so that they import little."""

import hashlib
from dataclasses import dataclass

from longtail.imaging import BadImage, ImageFacts, inspect, wrong_extension

# Path and bytes of each image, or the reason why there are none.
Task = list[tuple[str, bytes | str]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A good image: its SHA-256 in hex and what it is."""

    id: str
    facts: ImageFacts


def check(task: Task, *, max_pixels: int) -> list[Seen | str]:
    """Return for each image of a task what it is, or the reason why it is bad."""
    return [_check_one(path, content, max_pixels=max_pixels) for path, content in task]


def _check_one(path: str, content: bytes | str, *, max_pixels: int) -> Seen | str:
    if isinstance(content, str):
        return content
    try:
        facts = inspect(content, max_pixels=max_pixels)
    except BadImage as reason:
        return str(reason)
    mislabelled = wrong_extension(path, facts.format)
    return mislabelled or Seen(hashlib.sha256(content).hexdigest(), facts)
