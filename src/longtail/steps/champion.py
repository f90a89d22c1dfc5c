"""champion: what the registry holds now, an input of `gate` from outside of the repository.

It always runs, and its output changes only if the gate has something else to judge against. Once a
candidate is promoted it is the champion itself; the output then still states the version that it
replaced, so that running the flow again finds nothing to do.
"""

import tempfile
from pathlib import Path
from typing import Any

from longtail.artifacts import Champion, Evaluation
from longtail.config.promotion import RegisterConfig
from longtail.files import file_digest, read_json, whole_directory, write_json
from longtail.io.database import sqlite_file


def champion(config: RegisterConfig, *, evaluation: Path, out: Path) -> None:
    """Write the champion that the candidate in `evaluation` has to beat, and its predictions.

    No database, no model and no champion are all `{"champion": null}`.

    Raises:
        LongtailError: the registry cannot be reached, or holds other predictions than it states.
    """
    with whole_directory(out) as partial:
        database = sqlite_file(config.tracking_uri)
        # Nothing was ever registered: not worth the seconds that MLflow takes to import.
        absent = database is not None and not database.is_file()
        identity = None if absent else _look_up(config, Evaluation(evaluation), Champion(partial))
        write_json(Champion(partial).identity, {"champion": identity})


def _look_up(
    config: RegisterConfig, evaluation: Evaluation, out: Champion
) -> dict[str, Any] | None:
    from longtail.io import registry
    from longtail.io.connection import connect

    candidate = registry.Candidate(
        digest=file_digest(evaluation.predictions), chosen=read_json(evaluation.report)["chosen"]
    )
    with connect(config.tracking_uri) as tracker:
        version = registry.incumbent(tracker, config.model_name, candidate=candidate)
        if version is None:
            return None
        with tempfile.TemporaryDirectory() as scratch:
            fetched = registry.fetch_predictions(
                tracker, version, name=evaluation.predictions.name, into=Path(scratch)
            )
            if fetched is not None:
                out.predictions.write_bytes(fetched.read_bytes())
        return registry.identity(version)
