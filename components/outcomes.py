"""What a cell of a study leaves for the comparison: small files, and its place in the grid."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longtail.artifacts import Evaluation, Representation, TauNorm
from longtail.config.params import LEARNING
from longtail.config.section import parse
from longtail.config.split import SplitConfig
from longtail.config.study import StudyConfig
from longtail.files import read_json, whole_directory, write_json
from longtail.report.study import write_study
from longtail.study.grid import Cell
from longtail.study.results import rows
from longtail.study.runner import State
from longtail.study.summary import summarise
from longtail.study.tasks import Task


def gather(
    out: Path, *, cell: dict[str, Any], representation: Path, heads: Path, evaluation: Path
) -> None:
    """Write `out`: what `compare` needs of a cell, so that its pod fetches no backbones.

    Args:
        cell: `index`, the place in the grid; KFP need not hand the cells over in order.
    """
    kept = {
        "represent": [Representation(representation).description],
        "tau_norm": [TauNorm(heads).choice],
        "evaluate": [Evaluation(evaluation).report, Evaluation(evaluation).predictions],
    }
    with whole_directory(out) as partial:
        write_json(partial / "cell.json", {"index": int(cell["index"])})
        for step, files in kept.items():
            (partial / step).mkdir()
            for file in files:
                shutil.copy(file, partial / step)


def compare(described: str, outcomes: Sequence[Path], *, out: Path) -> dict[str, Any]:
    """Write `study.json`, `study.md` and `index.html`; return the summary.

    Args:
        described: JSON with the `name` of the study, its `config`, the `values` and `seed` of its
            `cells` in order, and the section `split` that they share.
        outcomes: from `gather`, in any order.
    """
    content = json.loads(described)
    config = parse(StudyConfig, content["config"], where="study")
    split = parse(SplitConfig, content["split"], where="split of the study")
    places = {read_json(outcome / "cell.json")["index"]: outcome for outcome in outcomes}
    states = [
        _state(Cell(**content["cells"][index], params={"split": split}), places[index])
        for index in sorted(places)
    ]
    summary = summarise(config, rows(states, variants=config.variants))
    write_study(content["name"], summary, out=out)
    return summary


def _state(cell: Cell, outcome: Path) -> State:
    return State(cell, "done", None, {step: Task(step, outcome / step) for step in LEARNING})
