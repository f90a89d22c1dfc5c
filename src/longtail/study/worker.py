"""One cell of a study in a process of its own: `python -m longtail.study.worker FILE INDEX STORE`.

Every task that is not done yet is run under its lock: what cells share is run by one of them, while
the others wait for it.
"""

import sys
from pathlib import Path

from longtail.cost import recorded
from longtail.errors import LongtailError
from longtail.study.grid import Cell, cells, read_study
from longtail.study.tasks import run_task, source_of, tasks


def run_cell(cell: Cell, store: Path) -> None:
    """Run what is missing of a cell; a task cut off in an earlier process goes on or starts anew.

    Raises:
        LongtailError: a step failed.
    """
    source = source_of(cell.params["ingest"], store)
    chain = tasks(cell.params, source=source, store=store)
    for step, task in chain.items():
        with task.alone():
            if not task.done:
                print(f"{step}: {task.out.name}", flush=True)
                with recorded(step, into=task.cost):
                    run_task(task, cell.params[step], chain, source=source)


if __name__ == "__main__":
    file, index, store = sys.argv[1:]
    try:
        run_cell(cells(read_study(Path(file)))[int(index)], Path(store))
    except LongtailError as error:
        sys.exit(f"longtail: {error}")
