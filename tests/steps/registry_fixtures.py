"""Evaluated candidates of a chosen quality, and models to register, by the artifacts' contract."""

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from longtail.artifacts import (
    Champion,
    Evaluation,
    Gate,
    Registration,
    Report,
    Representation,
    Split,
    TauNorm,
)
from longtail.backbones.building import build_backbone
from longtail.backbones.images import normalize
from longtail.config.promotion import GateConfig, RegisterConfig
from longtail.files import file_digest, read_json, write_json
from longtail.heads import Head
from longtail.io.head_files import save_heads
from longtail.steps.champion import champion
from longtail.steps.gate import gate
from longtail.steps.register import register
from tests.steps.artifact_fixtures import MEAN, SIZE, STD, choice, stage1_description

GROUPS = ("many", "medium", "few")  # one class each
PER_CLASS = 20
# What a consumer runs: no longtail, no pickles.
CONSUMER = """
import sys
import mlflow
import numpy as np
import torch
uri, pixels, logits = sys.argv[1:]
mlflow.set_tracking_uri(uri)
images = np.load(pixels)
with torch.no_grad():
    direct = mlflow.pytorch.load_model("models:/longtail@champion")(torch.from_numpy(images))
answers = mlflow.pyfunc.load_model("models:/longtail@champion").predict(images)
assert "longtail" not in sys.modules
np.savez(logits, direct=direct.numpy(), labels=answers["label"].to_numpy(np.int64))
"""
THRESHOLDS = GateConfig(min_balanced_accuracy=0.2, without_champion="promote")


def write_evaluation(
    root: Path,
    *,
    right: tuple[int, int, int],
    chosen: str = "stage2",
    first_id: int = 0,
    groups: tuple[str, str, str] = GROUPS,
    group_names: tuple[str, ...] = GROUPS,
    super_classes: dict[str, Any] | None = None,
) -> Path:
    """Write the evaluation of a model that has so many of 20 test images right in each class."""
    labels = np.repeat(np.arange(3), PER_CLASS)
    hit = np.concatenate([np.arange(PER_CLASS) < count for count in right])
    predicted = np.where(hit, labels, (labels + 1) % 3)
    evaluation = Evaluation(root)
    evaluation.plots.mkdir(parents=True)
    write_json(evaluation.plots / "curve.json", [])
    table = {
        "index": np.arange(len(labels)),
        "id": [f"{first_id + i:064x}" for i in range(len(labels))],
        "label": labels.astype(np.int32),
    }
    for variant in ("stage1", "stage2"):
        table[f"{variant}_prediction"] = predicted.astype(np.int32)
        table[f"{variant}_confidence"] = np.full(len(labels), 0.5)
        table[f"{variant}_rank"] = np.where(hit, 0, 1).astype(np.int32)
    pd.DataFrame(table).to_parquet(evaluation.predictions)
    report = _report(
        hit,
        labels,
        chosen=chosen,
        groups=groups,
        group_names=group_names,
        super_classes=super_classes,
    )
    write_json(evaluation.report, report)
    save_file(trained_model().held, evaluation.held)
    write_json(evaluation.metrics, {"stage2": {"accuracy": float(hit.mean())}})
    return root


def _report(
    hit: np.ndarray,
    labels: np.ndarray,
    *,
    chosen: str,
    groups: tuple[str, str, str],
    group_names: tuple[str, ...],
    super_classes: dict[str, Any] | None,
) -> dict[str, Any]:
    metrics = {"all": _metrics(hit)}
    for name in group_names:
        inside = np.isin(labels, [k for k, group in enumerate(groups) if group == name])
        metrics[name] = _metrics(hit[inside])
    return {
        "chosen": chosen,
        "test": {"digest": "0" * 64, "images": len(labels)},
        "group_names": list(group_names),
        "calibration_bins": 15,
        "super_classes": super_classes,
        "classes": [
            {"name": f"class-{k}", "group": group, "train": 100 // (k + 1), "test": PER_CLASS}
            for k, group in enumerate(groups)
        ],
        "warnings": [],
        "variants": {
            "stage1": {"tau": None, "groups": metrics, "per_class": []},
            "stage1_tau": {"not_applicable": "a cosine head"},
            "stage2": {"tau": None, "groups": metrics, "per_class": []},
        },
    }


def _metrics(hit: np.ndarray) -> dict[str, Any]:
    score = float(hit.mean()) if len(hit) else None
    return {
        "classes": 1,
        "images": len(hit),
        "accuracy": score,
        "accuracy_interval": None if score is None else [score, score],
        "balanced_accuracy": score,
        "calibration_error": None if score is None else 0.05,
    }


@dataclass(frozen=True)
class TrainedModel:
    """A random model, and what it says of a few images."""

    backbone: torch.nn.Module
    heads: dict[str, Head]
    held: dict[str, torch.Tensor]


@cache
def trained_model() -> TrainedModel:
    """Return the model that every candidate has here, whatever its evaluation claims."""
    torch.manual_seed(0)
    backbone = build_backbone("cifar_resnet32").eval()
    heads = {name: Head("linear", torch.randn(3, 64)) for name in ("stage1", "stage2")}
    pixels = torch.randint(256, (6, SIZE, SIZE, 3), dtype=torch.uint8)
    with torch.inference_mode():
        features = backbone(normalize(pixels, mean=MEAN, std=STD))
        logits = {name: head.logits(features).contiguous() for name, head in heads.items()}
    return TrainedModel(backbone, heads, {"pixels": pixels, "index": torch.arange(6), **logits})


def write_models(root: Path) -> tuple[Path, Path]:
    """Write that model; return the directories `representation` and `tau_norm`."""
    model = trained_model()
    representation, tau_norm = Representation(root / "representation"), TauNorm(root / "tau_norm")
    for directory in (representation.root, tau_norm.root):
        directory.mkdir(parents=True)
    save_file(model.backbone.state_dict(), representation.backbone)
    write_json(representation.description, stage1_description())
    write_json(representation.history, [])
    save_heads(tau_norm.heads, model.heads)
    write_json(tau_norm.choice, choice())
    write_json(tau_norm.curve, [])
    return representation.root, tau_norm.root


def predict_as_consumer(tracking_uri: str, pixels: np.ndarray, scratch: Path) -> dict[str, Any]:
    """Load the champion in a fresh process with pickles disabled; return logits and labels."""
    np.save(scratch / "pixels.npy", pixels)
    command = [tracking_uri, str(scratch / "pixels.npy"), str(scratch / "logits.npz")]
    subprocess.run(
        [sys.executable, "-c", CONSUMER, *command],
        env={**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        check=True,
    )
    with np.load(scratch / "logits.npz", allow_pickle=False) as logits:
        return dict(logits)


@dataclass
class Workspace:
    """One working directory over time: the flow's last three steps with everything they read."""

    root: Path
    config: RegisterConfig
    evaluation: Path
    representation: Path
    tau_norm: Path
    thresholds: GateConfig = THRESHOLDS

    def run_champion(self) -> dict[str, Any] | None:
        champion(self.config, evaluation=self.evaluation, out=self.root / "champion")
        return read_json(Champion(self.root / "champion").identity)["champion"]

    def run_gate(self) -> dict[str, Any]:
        gate(
            self.thresholds,
            evaluation=self.evaluation,
            champion=self.root / "champion",
            out=self.root / "gate",
        )
        return read_json(Gate(self.root / "gate").verdict)

    def run_register(self, *, keep_rejected: bool = False) -> dict[str, Any]:
        inputs = self.register_inputs()
        register(
            self.config,
            **inputs,
            provenance=self._provenance(),
            out=self.root / "register",
            keep_rejected=keep_rejected,
        )
        return read_json(Registration(self.root / "register").record)

    def register_inputs(self) -> dict[str, Path]:
        """Write what the flow's other steps would have, and return all paths but `provenance`."""
        split, report = Split(self.root / "split"), Report(self.root / "report")
        for directory in (split.root, report.root):
            directory.mkdir(exist_ok=True)
        write_json(split.profile, {"law": "exp", "imbalance_factor": 20.0})
        report.page.write_text("<html>the report</html>", encoding="utf-8")
        report.card.write_text("# The model", encoding="utf-8")
        return {
            "gate": self.root / "gate",
            "report": report.root,
            "evaluation": self.evaluation,
            "representation": self.representation,
            "tau_norm": self.tau_norm,
            "split": split.root,
        }

    def register_command(self) -> list[str]:
        """Return the command that registers, to be run in a process of its own."""
        params = self.root / "params.yaml"
        write_json(params, {"register": self.config.model_dump()})
        paths = {**self.register_inputs(), "out": self.root / "register", "params": params}
        options = [f"--{name.replace('_', '-')}={path}" for name, path in paths.items()]
        return [sys.executable, "-m", "longtail", "register", *options]

    def _provenance(self) -> Path:
        path = self.root / "provenance.json"
        content = {
            "git_commit": "c0ffee",
            "git_dirty": False,
            "git_patch": None,
            "dvc_lock": None,
            "image": None,
            "gpu_image": None,
            "pipeline_run": "run-7",
            "environment": {"torch": "2.0"},
            "split_md5": "0123456789abcdef0123456789abcdef.dir",
            "split_remote": "s3://splits",
            "params": {"represent": {"epochs": 3, "augment": {"auto": None}}},
        }
        write_json(path, content)
        return path

    def flow(self) -> dict[str, Any]:
        """Run all three, as `dvc repro` does."""
        self.run_champion()
        self.run_gate()
        return self.run_register()

    def gate_inputs(self) -> dict[str, str]:
        """Digests of what `champion` wrote: equal ones leave `gate` and `register` cached."""
        files = sorted((self.root / "champion").iterdir())
        return {file.name: file_digest(file) for file in files}
