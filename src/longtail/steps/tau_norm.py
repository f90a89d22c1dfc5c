"""Post-hoc tau-normalisation of both heads; val chooses tau and the variant."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from longtail.artifacts import Classifier, Features, Representation, TauNorm
from longtail.config.stage2 import TauNormConfig
from longtail.errors import LongtailError
from longtail.features import read_features
from longtail.files import read_json, whole_directory, write_json
from longtail.heads import Head
from longtail.io.head_files import load_heads, save_heads
from longtail.metrics import val_scores
from longtail.posthoc import fit_temperature, rejection_threshold, with_temperature
from longtail.tau_norm import tau_curve, tau_grid, tau_normalize

Variants = dict[str, dict[str, Any]]  # what val says of each variant


@dataclass(frozen=True)
class Val:
    """The images that choose: plain features `[N, D]` and labels `[N]`."""

    features: Tensor
    labels: Tensor

    def scores(self, head: Head) -> dict[str, float]:
        """Accuracy and balanced accuracy of a head."""
        predictions = head.logits(self.features).max(dim=1).indices
        return val_scores(predictions, self.labels, num_classes=len(head.weight))


def tau_norm(
    config: TauNormConfig, *, features: Path, representation: Path, classifier: Path, out: Path
) -> None:
    """Write `TauNorm`: the unchanged heads, their normalised forms, the curves and the choice.

    Val judges the variants as they are written, with their rejection; tau is chosen before it. Ties
    go to the earlier variant and the smaller tau. A head that is not linear has no normalised form.
    The heads of a sweep are included to be measured; the best of them is stage 2 already.
    """
    views, labels = read_features(Features(features), "val")
    val = Val(views[0], labels)
    stages: dict[str, Representation | Classifier] = {
        "stage1": Representation(representation),
        "stage2": Classifier(classifier),
    }
    untouched = {name: load_heads(stage.head)[name] for name, stage in stages.items()}
    described = {name: read_json(stage.description) for name, stage in stages.items()}
    heads, variants, curve = _normalised(config, untouched, val)
    candidates = list(heads)
    for name, head in _sweep(Classifier(classifier)).items():
        heads[name] = head
        variants[name] = {"tau": None, **val.scores(head)}
    if config.temperature:
        _calibrate(heads, variants, val)
    if config.reject_to is not None:
        novel = _novel(config.reject_to, described["stage1"])
        _reject(heads, variants, val, novel=novel, false_rejections=config.false_rejections)
    chosen = max(candidates, key=lambda name: float(variants[name][f"val_{config.select_by}"]))
    choice = {
        "chosen": chosen,
        "select_by": config.select_by,
        "variants": variants,
        "follow_counts": [name for name in stages if described[name]["follows_counts"]],
    }
    with whole_directory(out) as directory:
        artifact = TauNorm(directory)
        save_heads(artifact.heads, heads)
        write_json(artifact.curve, curve)
        write_json(artifact.choice, choice | read_json(Features(features).description))


def _normalised(
    config: TauNormConfig, untouched: dict[str, Head], val: Val
) -> tuple[dict[str, Head], Variants, list[dict[str, Any]]]:
    """Return every head and its normalised form, what val says of them, and the curves."""
    heads: dict[str, Head] = {}
    variants: Variants = {}
    curve: list[dict[str, Any]] = []
    for name, head in untouched.items():
        heads[name] = head
        variants[name] = {"tau": None, **val.scores(head)}
        obstacle = _obstacle(config, name, head)
        if obstacle:
            variants[f"{name}_tau"] = {"not_applicable": obstacle}
            continue
        points = _curve(config, name, head, val)
        best = max(points, key=lambda point: float(point[f"val_{config.select_by}"]))
        curve += points
        variants[f"{name}_tau"] = {key: best[key] for key in best if key != "head"}
        normalised = tau_normalize(head.weight, tau=best["tau"])
        heads[f"{name}_tau"] = replace(head, weight=normalised, bias=None)
    return heads, variants, curve


def _obstacle(config: TauNormConfig, name: str, head: Head) -> str | None:
    """Why a head has no normalised form, if so."""
    if config.apply_to is not None and name not in config.apply_to:
        return "tau_norm.apply_to leaves it out"
    if head.kind != "linear":
        return f"the rows of a {head.kind} head cannot be tau-normalised"
    return None


def _calibrate(heads: dict[str, Head], variants: Variants, val: Val) -> None:
    for name, head in heads.items():
        temperature = fit_temperature(head.logits(val.features), val.labels)
        heads[name] = with_temperature(head, temperature)
        variants[name]["temperature"] = temperature


def _reject(
    heads: dict[str, Head], variants: Variants, val: Val, *, novel: int, false_rejections: float
) -> None:
    for name, head in heads.items():
        threshold = rejection_threshold(
            head.logits(val.features), val.labels, novel=novel, false_rejections=false_rejections
        )
        heads[name] = replace(head, rejects_to=novel, threshold=threshold)
        variants[name] |= {"threshold": threshold, **val.scores(heads[name])}


def _novel(name: str, description: dict[str, Any]) -> int:
    """Label of the class without training images that uncertain images are rejected to."""
    pairs = zip(description["classes"], description["class_counts"], strict=True)
    absent = [known for known, count in pairs if count == 0]
    if name not in absent:
        raise LongtailError(
            f"tau_norm.reject_to is {name!r}, which is no class without training images; "
            f"{'those are ' + ', '.join(absent[:5]) if absent else 'this split has none'}"
        )
    return int(description["classes"].index(name))


def _sweep(classifier: Classifier) -> dict[str, Head]:
    return load_heads(classifier.sweep) if classifier.sweep.exists() else {}


def _curve(config: TauNormConfig, name: str, head: Head, val: Val) -> list[dict[str, Any]]:
    given = config.stage1_tau if name == "stage1" else None
    taus = tau_grid(max_tau=config.max_tau, steps=config.steps) if given is None else [given]
    prepared, classes = head.prepare(val.features), len(head.weight)
    return [
        {
            "head": name,
            "tau": point.tau,
            **val_scores(point.predictions, val.labels, num_classes=classes),
        }
        for point in tau_curve(prepared, head.weight, taus=taus, absent=head.absent)
    ]
