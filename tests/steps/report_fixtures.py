"""All that `report` reads, of any number of classes, made up in seconds by the artifacts' contract.

As a command, `python -m tests.steps.report_fixtures 1000 report` writes such a report to look at.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from longtail.artifacts import (
    EXAMPLES_SCHEMA,
    Champion,
    Classifier,
    Evaluation,
    Gate,
    Representation,
    Split,
    TauNorm,
    Validation,
)
from longtail.config.promotion import ReportConfig
from longtail.files import file_digest, write_json
from longtail.hierarchy import level_metrics
from longtail.metrics import Outcome
from longtail.report.content import build_report
from longtail.report.examples import choose_examples, thumbnail
from longtail.report.ranking import extremes
from longtail.steps.report import report
from tests.steps.artifact_fixtures import choice, stage1_description, stage2_description

GROUPS = ("many", "medium", "few")
# By variant: how often a frequent and a rare class is right, and how sure the answers are.
SKILL = {
    "stage1": (0.82, 0.08, 0.92),
    "stage1_tau": (0.74, 0.38, 0.55),
    "stage2": (0.76, 0.30, 0.75),
    "stage2_tau": (0.75, 0.33, 0.68),
}
CHOSEN = "stage1_tau"
TRACKER = "postgresql+psycopg2://mlflow:opensesame@db/mlflow"


@dataclass(frozen=True)
class Run:
    """Paths as `report` takes them."""

    inputs: dict[str, Path]

    @property
    def evaluation(self) -> Evaluation:
        return Evaluation(self.inputs["evaluation"])

    @property
    def gate(self) -> Gate:
        return Gate(self.inputs["gate"])


def write_run(
    root: Path,
    *,
    classes: int,
    per_class: int = 20,
    names: list[str] | None = None,
    champion: bool = True,
    image_size: int = 32,
) -> Run:
    """Write a run with exponentially falling class counts and answers that are worse on the tail.

    Wrong answers go to the neighbour of a class or to any frequent class. The champion is stage 1.
    """
    inputs = {
        name: root / name
        for name in (
            "evaluation",
            "champion",
            "gate",
            "validation",
            "split",
            "representation",
            "classifier",
            "tau_norm",
            "costs",
        )
    }
    for directory in inputs.values():
        directory.mkdir(parents=True)
    inputs["provenance"] = root / "provenance.json"
    rng = np.random.default_rng(0)
    profile = _profile(classes, per_class, names)
    labels = np.repeat(np.arange(classes), per_class)
    outcomes = {name: _answers(rng, labels, *skill) for name, skill in SKILL.items()}
    _write_evaluation(
        Evaluation(inputs["evaluation"]), rng, profile, outcomes, image_size=image_size
    )
    _write_models(inputs, image_size=image_size)
    _write_verdict(inputs, champion=champion)
    write_json(Split(inputs["split"]).profile, profile)
    write_json(Validation(inputs["validation"]).result, _validation(profile))
    for step, seconds in (("ingest", 11.4), ("represent", 6124.0), ("evaluate", 14.2)):
        record = {"step": step, "wall_seconds": seconds, "cpu_seconds": 3.1 * seconds}
        memory = {"peak_memory_bytes": 2_034_941_952, "peak_gpu_bytes": None}
        write_json(inputs["costs"] / f"{step}.json", record | memory)
    provenance = {"git_commit": "c0ffee", "git_dirty": False, "split_md5": None}
    params = {
        "register": {"model_name": "made-up", "tracking_uri": TRACKER},
        "represent": {"epochs": 60},
    }
    write_json(inputs["provenance"], provenance | {"params": params})
    return Run(inputs)


def _profile(classes: int, per_class: int, names: list[str] | None) -> dict[str, Any]:
    train = [int(1280 * 256 ** (-i / max(classes - 1, 1))) for i in range(classes)]
    names = names or [f"species {i:04d}" for i in range(classes)]
    return {
        "law": "exp",
        "imbalance_factor": train[0] / train[-1],
        "val_source": "20 images of each class",
        "test_source": "all images of the source's own test split",
        "group_names": list(GROUPS),
        "classes": [
            {
                "name": name,
                "train": count,
                "val": 20,
                "test": per_class,
                "group": GROUPS[0 if count > 100 else 2 if count < 20 else 1],
            }
            for name, count in zip(names, train, strict=True)
        ],
    }


def _answers(
    rng: np.random.Generator, labels: np.ndarray, head: float, tail: float, sureness: float
) -> Outcome:
    classes = int(labels.max()) + 1
    rarity = np.arange(classes) / max(classes - 1, 1)
    skill = np.clip(head + (tail - head) * rarity + rng.normal(0, 0.09, classes), 0.02, 0.98)
    right = rng.random(len(labels)) < skill[labels]
    neighbour = labels ^ 1
    frequent = (rng.random(len(labels)) ** 2.5 * classes).astype(int)
    other = np.where(rng.random(len(labels)) < 0.4, neighbour, frequent) % classes
    other = np.where(other == labels, (labels + 1) % classes, other)
    sure = rng.beta(8 * sureness, 8 * (1 - sureness) + 0.4, len(labels))
    return Outcome(
        labels=labels,
        predictions=np.where(right, labels, other),
        confidences=np.clip(np.where(right, sure, 0.8 * sure), 1 / classes, 1.0),
        ranks=np.where(right, 0, rng.integers(1, max(2, classes), len(labels))),
    )


def _write_evaluation(
    evaluation: Evaluation,
    rng: np.random.Generator,
    profile: dict[str, Any],
    outcomes: dict[str, Outcome],
    *,
    image_size: int,
) -> None:
    num_classes = len(profile["classes"])
    slope = np.linspace(1.3, 0.6, num_classes)
    norms = {
        name: (slope ** (0.4 if "tau" in name else 1) + rng.normal(0, 0.03, num_classes)).tolist()
        for name in outcomes
    }
    content = build_report(
        outcomes,
        weight_norms=norms,
        choice={"chosen": CHOSEN, "variants": {name: {"tau": _tau(name)} for name in outcomes}},
        profile=profile,
        test_digest="7" * 64,
        provenance={"test split": "7" * 64, "heads": "8" * 64},
        confidence=0.95,
        bins=15,
    )
    write_json(evaluation.report, content | {"super_classes": _two_levels(outcomes, num_classes)})
    write_predictions(evaluation.predictions, outcomes)
    worst, best = extremes(content)
    chosen = outcomes[CHOSEN]
    examples = choose_examples(chosen, worst=worst, best=best, num_classes=num_classes, limit=4)
    at = [example.position for example in examples]
    columns = {
        "shown_with": [example.shown_with for example in examples],
        "kind": [example.kind for example in examples],
        "index": at,
        "label": chosen.labels[at],
        "prediction": chosen.predictions[at],
        "confidence": chosen.confidences[at].astype(np.float32),
        "image": [thumbnail(_image(rng, int(chosen.labels[i]), image_size)) for i in at],
    }
    pq.write_table(pa.table(columns).cast(EXAMPLES_SCHEMA), evaluation.examples)


def _two_levels(outcomes: dict[str, Outcome], num_classes: int) -> dict[str, Any]:
    """Pairs of neighbours, which wrong answers often stay within, as super-classes."""
    above = np.arange(num_classes) // 2
    return {
        "names": [f"genus {number}" for number in range(above[-1] + 1)],
        "of": above.tolist(),
        "head": None,
        "variants": {
            name: level_metrics(outcome.predictions, outcome.labels, super_of=above)
            for name, outcome in outcomes.items()
        },
    }


def write_predictions(path: Path, outcomes: dict[str, Outcome]) -> None:
    """Write a table as `predictions.parquet` is."""
    labels = next(iter(outcomes.values())).labels
    table: dict[str, Any] = {
        "index": np.arange(len(labels)),
        "id": [f"{position:064x}" for position in range(len(labels))],
        "label": labels,
    }
    for name, outcome in outcomes.items():
        table[f"{name}_prediction"] = outcome.predictions
        table[f"{name}_confidence"] = outcome.confidences.astype(np.float32)
        table[f"{name}_rank"] = outcome.ranks
    pd.DataFrame(table).to_parquet(path)


def _image(rng: np.random.Generator, label: int, size: int) -> np.ndarray:
    """A soft pattern whose colours depend on the class, with some noise of its own."""
    y, x = np.mgrid[0:size, 0:size] / size
    phase = np.array([label * 0.7, label * 1.3, label * 2.1])
    waves = np.sin(6 * (x + y * (1 + label % 3))[..., None] + phase + rng.normal(0, 0.4, 3))
    return np.clip(128 + 90 * waves + rng.normal(0, 12, (size, size, 3)), 0, 255).astype(np.uint8)


def _tau(name: str) -> float | None:
    return 0.8 if name.endswith("_tau") else None


def _write_models(inputs: dict[str, Path], *, image_size: int) -> None:
    representation = Representation(inputs["representation"])
    description = stage1_description(
        backbone="resnext50_32x4d",
        image_size=image_size,
        best_epoch=57,
        epochs=60,
        parameters=25_028_904,
        multiply_adds=4_230_000_000,
    )
    write_json(representation.description, description)
    write_json(representation.history, _history(epochs=60, start=6.0))
    classifier = Classifier(inputs["classifier"])
    write_json(classifier.description, stage2_description())
    write_json(classifier.history, _history(epochs=10, start=3.0))
    tau_norm = TauNorm(inputs["tau_norm"])
    curve = [
        {
            "head": head,
            "tau": round(0.1 * k, 1),
            "val_balanced_accuracy": 0.5 - 0.05 * (k / 8 - 1) ** 2,
        }
        for head in ("stage1", "stage2")
        for k in range(21)
    ]
    write_json(tau_norm.curve, curve)
    variants = {name: {"tau": _tau(name)} for name in SKILL}
    write_json(tau_norm.choice, choice(chosen=CHOSEN, variants=variants))


def _history(*, epochs: int, start: float) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "train_loss": start / (1 + 0.2 * epoch),
            "train_accuracy": 1 - 0.95 / (1 + 0.1 * epoch),
            "val_loss": 0.6 + start / (1 + 0.15 * epoch),
            "val_accuracy": 0.6 - 0.55 / (1 + 0.1 * epoch),
            "val_balanced_accuracy": 0.5 - 0.45 / (1 + 0.1 * epoch),
        }
        for epoch in range(epochs)
    ]


def _write_verdict(inputs: dict[str, Path], *, champion: bool) -> None:
    evaluation = Evaluation(inputs["evaluation"])
    identity = None
    if champion:
        held = Champion(inputs["champion"])
        held.predictions.write_bytes(evaluation.predictions.read_bytes())
        identity = {"name": "made-up", "version": "3", "chosen": "stage1", "digest": "9" * 64}
    write_verdict(
        inputs["gate"],
        outcome="hold",
        digest=file_digest(evaluation.predictions),
        champion=identity,
        checks=[
            ("balanced accuracy", True, 0.56, [0.55, 0.57], 0.3),
            ("few against the champion", True, 0.205, [0.18, 0.23], -0.02),
            ("many against the champion", None, -0.018, [-0.031, -0.004], -0.02),
        ],
    )


def write_verdict(
    gate: Path,
    *,
    outcome: str,
    digest: str,
    champion: dict[str, Any] | None,
    checks: list[tuple[str, bool | None, float | None, list[float] | None, float | None]],
) -> None:
    """Write `verdict.json`; a check is its name, whether it passed, value, interval and bound."""
    keys = ("name", "passed", "value", "interval", "bound")
    listed = [dict(zip(keys, check, strict=True)) for check in checks]
    verdict = {
        "outcome": outcome,
        "confidence": 0.95,
        "candidate": {"chosen": CHOSEN, "digest": digest},
        "champion": champion,
        "checks": [check | {"reason": f"the reason of {check['name']}"} for check in listed],
    }
    write_json(Gate(gate).verdict, verdict)


def _validation(profile: dict[str, Any]) -> dict[str, Any]:
    spread = {"min": 32, "median": 500.0, "max": 4000}
    groups = {name: {"width": spread, "height": spread} for name in profile["group_names"]}
    rules = [
        ("schema", "the tables are as documented", True, 0, []),
        (
            "exact_duplicates",
            "no two images have the same bytes",
            False,
            5,
            ["id " + "ab" * 32] * 5,
        ),
        ("near_duplicates", "no two images look the same", None, None, []),
    ]
    keys = ("name", "bound", "passed", "value", "offenders")
    return {
        "rules": [dict(zip(keys, rule, strict=True)) | {"level": "warning"} for rule in rules],
        "statistics": {
            "groups": groups,
            "duplicates": {"groups": 5, "across_splits": 1, "conflicting_labels": 2},
            "sample": {"images": 500},
        },
    }


if __name__ == "__main__":
    where = Path(sys.argv[2])
    made = write_run(where / "run", classes=int(sys.argv[1]), image_size=224)
    report(ReportConfig(), **made.inputs, out=where / "report")
