"""`longtail demo`: the whole flow by `dvc repro`, and its result on the terminal."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from longtail.artifacts import Evaluation, Gate, Registration, Report
from longtail.errors import LongtailError
from longtail.files import read_json
from longtail.report.table import COLOURS, MARKS, table_columns, variant_table


def run() -> None:
    """Run `dvc repro` in the working directory, then show table, verdict and registered version.

    Raises:
        LongtailError: there is no `dvc.yaml` here, or a stage failed.
    """
    if not Path("dvc.yaml").is_file():
        raise LongtailError(f"{Path.cwd()} has no dvc.yaml; run this in a clone of the repository")
    before = _lock()
    started = time.monotonic()
    _repro()
    minutes = (time.monotonic() - started) / 60
    evaluation = Evaluation(Path("reports/evaluation"))
    console = Console()
    console.print()
    _show_table(console, read_json(evaluation.report))
    _show_verdict(console, read_json(Gate(Path("reports/gate")).verdict))
    _show_registration(console, read_json(Registration(Path("reports/register")).record))
    done = "nothing to do, all is up to date" if _lock() == before else "the flow has run"
    console.print(f"\n[bold]Time[/]      {minutes:.1f} minutes: {done}")
    page = Report(Path("reports/report")).page
    console.print(f"[bold]Report[/]    {page.resolve()}", soft_wrap=True)


def _repro() -> None:
    # The stages say `longtail ...`, so this environment comes first, activated or not.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], env={**os.environ, "PATH": path}, check=False
    )
    if done.returncode:
        raise LongtailError("`dvc repro` failed; the stage that failed says why above")


def _lock() -> bytes:
    """Return what DVC notes of all stages: unchanged if none had anything new to do."""
    path = Path("dvc.lock")
    return path.read_bytes() if path.is_file() else b""


def _show_table(console: Console, report: dict[str, Any]) -> None:
    table = Table(title="Accuracy on test in percent [interval]", title_justify="left", box=SIMPLE)
    table.add_column("")
    for column in table_columns(report):
        classes = [c for c in report["classes"] if column in ("all", c["group"])]
        plural = "class" if len(classes) == 1 else "classes"
        table.add_column(f"{column}\n{len(classes)} {plural}", justify="right")
    for row in variant_table(report):
        title = f"{row.title} *" if row.chosen else row.title
        style = "bold" if row.chosen else "dim" if row.not_applicable else ""
        # The interval below the number: four columns fit into 80 characters.
        table.add_row(title, *(c.replace(" [", "\n[") for c in row.cells), style=style)
    console.print(table)
    console.print("  * chosen on the validation split, before the test split was opened")
    for row in variant_table(report):
        if row.not_applicable:
            console.print(f"  {row.title} does not apply: {row.not_applicable}")


def _show_verdict(console: Console, verdict: dict[str, Any]) -> None:
    outcome = verdict["outcome"]
    console.print(f"\n[bold]Gate[/]      [{COLOURS[outcome]} bold]{outcome}[/]")
    for check in verdict["checks"]:
        console.print(f"          {MARKS[check['passed']]}: {escape(check['reason'])}")


def _show_registration(console: Console, record: dict[str, Any]) -> None:
    version = record["version"]
    if version is None:
        console.print(f"\n[bold]Registry[/]  no version of {record['name']}: {record['outcome']}")
        return
    aliases = ", ".join(record["aliases"]) or "no alias"
    console.print(f"\n[bold]Registry[/]  {record['name']} version {version} ({aliases})")
