"""One cell of a study in a process of its own: `python -m longtail.study.worker PARAMS STORE`.

PARAMS is what the study made of its file: editing that file while it runs changes nothing.

Every task that is not done yet is run under its lock: what cells share is run by one of them, while
the others wait for it.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from longtail.config.params import parse_content
from longtail.config.section import Section
from longtail.cost import recorded
from longtail.errors import LongtailError
from longtail.files import read_json
from longtail.progress import tell_logs
from longtail.study.tasks import run_task, source_of, tasks


def run_cell(params: Mapping[str, Section], store: Path) -> None:
    """Run what is missing of a cell; a task cut off in an earlier process goes on or starts anew.

    Raises:
        LongtailError: a step failed.
    """
    source = source_of(params["ingest"], store)
    chain = tasks(params, source=source, store=store)
    for step, task in chain.items():
        with task.alone():
            if not task.done:
                print(f"{step}: {task.out.name}", flush=True)
                with recorded(step, into=task.cost):
                    run_task(task, params[step], chain, source=source)


if __name__ == "__main__":
    file, store = map(Path, sys.argv[1:])
    tell_logs()
    try:
        run_cell(parse_content(read_json(file), where=str(file)), store)
    except LongtailError as error:
        sys.exit(f"longtail: {error}")
