"""evaluate: every variant on the test split."""

from kfp import dsl
from kfp.dsl import ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    params: dict,
    code_rev: str,
    images: Input[Dataset],
    split: Input[Dataset],
    representation: Input[Model],
    classifier: Input[Model],
    heads: Input[Model],
    evaluation: Output[Dataset],
    metrics: Output[Metrics],
    groups: Output[ClassificationMetrics],
) -> None:
    """Open the test split; show the chosen variant's scores and the confusion between groups."""
    from pathlib import Path

    from components import about
    from components.running import recorded, section
    from longtail.artifacts import Split
    from longtail.files import write_json
    from longtail.steps.evaluate import evaluate as step

    tables, out = Split(Path(split.path)), Path(evaluation.path)
    with recorded("evaluate"):
        step(
            section("evaluate", params),
            images=Path(images.path),
            test=tables.test,
            profile=tables.profile,
            representation=Path(representation.path),
            classifier=Path(classifier.path),
            tau_norm=Path(heads.path),
            out=out,
        )
    evaluation.metadata.update(about.evaluation(out))
    for name, value in about.scores(out).items():
        metrics.log_metric(name, value)
    groups.log_confusion_matrix(*about.group_confusion(out))
    # The local cache takes an artifact without a file for one that was deleted.
    for artifact in (metrics, groups):
        write_json(Path(artifact.path), artifact.metadata)
