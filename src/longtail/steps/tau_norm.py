"""Post-hoc tau-normalisation of both heads; val chooses tau, and which variant goes on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from longtail.artifacts import Classifier, Features, Representation, TauNorm
from longtail.config.training import TauNormConfig
from longtail.errors import LongtailError
from longtail.features import read_features
from longtail.files import read_json, whole_directory, write_json
from longtail.heads import Head
from longtail.io.head_files import load_heads, save_heads
from longtail.metrics import balanced_accuracy
from longtail.posthoc import fit_temperature, rejection_threshold, with_temperature
from longtail.tau_norm import tau_curve, tau_grid, tau_normalize


def tau_norm(
    config: TauNormConfig, *, features: Path, representation: Path, classifier: Path, out: Path
) -> None:
    """Write `TauNorm`: the untouched heads, their normalised forms, the curves and the choice.

    Ties go to the earlier variant and the smaller tau. A head that is not linear has no normalised
    form. The heads of a sweep go along to be measured; the best of them is stage 2 already.
    """
    val, labels = read_features(Features(features), "val")
    untouched = {
        "stage1": load_heads(Representation(representation).head)["stage1"],
        **load_heads(Classifier(classifier).head),
    }
    heads: dict[str, Head] = {}
    variants: dict[str, dict[str, Any]] = {}
    curve: list[dict[str, Any]] = []
    for name, head in untouched.items():
        heads[name] = head
        variants[name] = {"tau": None, **_scores_of(head, val[0], labels)}
        if config.apply_to is not None and name not in config.apply_to:
            variants[f"{name}_tau"] = {"not_applicable": "tau_norm.apply_to leaves it out"}
            continue
        if head.kind != "linear":
            reason = f"the rows of a {head.kind} head cannot be tau-normalised"
            variants[f"{name}_tau"] = {"not_applicable": reason}
            continue
        points = _curve(config, name, head, val[0], labels)
        best = max(points, key=lambda point: float(point[f"val_{config.select_by}"]))
        curve += points
        variants[f"{name}_tau"] = {key: best[key] for key in best if key != "head"}
        normalised = tau_normalize(head.weight, tau=best["tau"])
        heads[f"{name}_tau"] = replace(head, weight=normalised, bias=None)
    chosen = max(heads, key=lambda name: float(variants[name][f"val_{config.select_by}"]))
    for name, head in _sweep(Classifier(classifier)).items():
        heads[name] = head
        variants[name] = {"tau": None, **_scores_of(head, val[0], labels)}
    if config.temperature:
        for name, head in heads.items():
            variants[name]["temperature"] = fit_temperature(head.logits(val[0]), labels)
            heads[name] = with_temperature(head, variants[name]["temperature"])
    if config.reject_to is not None:
        novel = _novel(config.reject_to, read_json(Representation(representation).description))
        for name, head in heads.items():
            threshold = rejection_threshold(
                head.logits(val[0]), labels, novel=novel, false_rejections=config.false_rejections
            )
            heads[name] = replace(head, rejects_to=novel, threshold=threshold)
            scores = _scores_of(heads[name], val[0], labels)
            variants[name] |= {"threshold": threshold, **scores}
    with whole_directory(out) as directory:
        artifact = TauNorm(directory)
        save_heads(artifact.heads, heads)
        write_json(artifact.curve, curve)
        write_json(
            artifact.choice,
            {
                "chosen": chosen,
                "select_by": config.select_by,
                "variants": variants,
                **read_json(Features(features).description),
            },
        )


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


def _scores_of(head: Head, features: Tensor, labels: Tensor) -> dict[str, float]:
    return _scores(head.logits(features).max(dim=1).indices, labels, head)


def _curve(
    config: TauNormConfig, name: str, head: Head, features: Tensor, labels: Tensor
) -> list[dict[str, Any]]:
    given = config.stage1_tau if name == "stage1" else None
    taus = tau_grid(max_tau=config.max_tau, steps=config.steps) if given is None else [given]
    return [
        {"head": name, "tau": point.tau, **_scores(point.predictions, labels, head)}
        for point in tau_curve(head.prepare(features), head.weight, taus=taus, absent=head.absent)
    ]


def _scores(predictions: Tensor, labels: Tensor, head: Head) -> dict[str, float]:
    return {
        "val_accuracy": (predictions == labels).double().mean().item(),
        "val_balanced_accuracy": balanced_accuracy(
            predictions.numpy(), labels.numpy(), num_classes=len(head.weight)
        ),
    }
