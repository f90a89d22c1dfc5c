"""What every artifact is: a directory with files of known names."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Artifact:
    """The directory `root`; a subclass names what lies in it."""

    root: Path


class file:
    """The path of a file or directory in an artifact: `manifest = file("manifest.parquet")`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, artifact: Artifact, _: type[Artifact]) -> Path:
        return artifact.root / self.name
