"""What each artifact contains: the only place with file names and table schemas.

| artifact | written by | directory under `dvc repro` |
|---|---|---|
| `Images` | ingest | `data/images` |
| `Split` | split | `data/split` |
| `Validation` | validate | `reports/validation` |
| `Representation` | represent | `models/representation` |
| `Search` | search | `reports/search` (not part of the flow) |
| `Features` | embed | `data/features` |
| `Classifier` | classify | `models/classifier` |
| `TauNorm` | tau_norm | `models/tau_norm` |
| `Evaluation` | evaluate | `reports/evaluation` |
| `Champion` | champion | `data/champion` |
| `Gate` | gate | `reports/gate` |
| `Report` | report | `reports/report` |
| `Registration` | register | `reports/register` |
"""

from longtail.artifacts.data import (
    MANIFEST_SCHEMA,
    QUARANTINE_SCHEMA,
    SHARD_SCHEMA,
    SPLIT_SCHEMA,
    Images,
    Split,
    Validation,
)
from longtail.artifacts.judging import (
    ANSWERS_SCHEMA,
    EXAMPLES_SCHEMA,
    SUPER_ANSWERS_SCHEMA,
    Champion,
    Evaluation,
    Gate,
    Registration,
    Report,
)
from longtail.artifacts.training import (
    Classifier,
    Features,
    Representation,
    Search,
    TauNorm,
)

__all__ = [
    "ANSWERS_SCHEMA",
    "EXAMPLES_SCHEMA",
    "MANIFEST_SCHEMA",
    "QUARANTINE_SCHEMA",
    "SHARD_SCHEMA",
    "SPLIT_SCHEMA",
    "SUPER_ANSWERS_SCHEMA",
    "Champion",
    "Classifier",
    "Evaluation",
    "Features",
    "Gate",
    "Images",
    "Registration",
    "Report",
    "Representation",
    "Search",
    "Split",
    "TauNorm",
    "Validation",
]
