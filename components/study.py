"""outcome and compare: what only a study has, at the end of each cell and of them all."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Model, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def outcome(
    cell: dict,
    code_rev: str,
    representation: Input[Model],
    heads: Input[Model],
    evaluation: Input[Dataset],
    outcome: Output[Artifact],
) -> None:
    """Keep what the comparison needs of a cell."""
    from pathlib import Path

    from components.outcomes import gather

    gather(
        Path(outcome.path),
        cell=cell,
        representation=Path(representation.path),
        heads=Path(heads.path),
        evaluation=Path(evaluation.path),
    )
    outcome.metadata.update({"cell": cell["name"], "seed": cell["seed"]})


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def compare(
    study: str,
    code_rev: str,
    outcomes: Input[list[Artifact]],
    comparison: Output[Artifact],
    page: Output[HTML],
    table: Output[Markdown],
) -> None:
    """Compare all cells: means over seeds, intervals, and what differs by more than noise."""
    import shutil
    from pathlib import Path

    from components import outcomes as cells
    from components.running import recorded

    out = Path(comparison.path)
    with recorded("compare"):
        summary = cells.compare(study, [Path(found.path) for found in outcomes], out=out)
    shutil.copyfile(out / "index.html", page.path)
    shutil.copyfile(out / "study.md", table.path)
    best = max(summary["rows"], key=lambda row: row["val"])
    comparison.metadata.update(
        {
            "rows": len(summary["rows"]),
            "best_on_val": best["label"],
            "val_balanced_accuracy": best["val"],
        }
    )
