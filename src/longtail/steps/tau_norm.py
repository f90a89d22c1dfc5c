"""Post-hoc tau-normalisation of both heads; val chooses tau, and which variant goes on."""

from pathlib import Path
from typing import Any

from torch import Tensor

from longtail.artifacts import Classifier, Features, Representation, TauNorm
from longtail.config.training import TauNormConfig
from longtail.features import read_features
from longtail.files import whole_directory, write_json
from longtail.heads import Head, load_heads, save_heads
from longtail.metrics import balanced_accuracy
from longtail.tau_norm import tau_curve, tau_grid, tau_normalize


def tau_norm(
    config: TauNormConfig, *, features: Path, representation: Path, classifier: Path, out: Path
) -> None:
    """Write `TauNorm`: the untouched heads, their normalised forms, the curves and the choice.

    Ties go to the earlier variant and the smaller tau. A head that is not linear has no normalised
    form.
    """
    val, labels = read_features(Features(features), "val")
    untouched = {
        **load_heads(Representation(representation).head),
        **load_heads(Classifier(classifier).head),
    }
    heads: dict[str, Head] = {}
    variants: dict[str, dict[str, Any]] = {}
    curve: list[dict[str, Any]] = []
    for name, head in untouched.items():
        heads[name] = head
        variants[name] = {"tau": None, **_scores(head.logits(val[0]).argmax(1), labels, head)}
        if head.kind != "linear":
            reason = f"the rows of a {head.kind} head cannot be tau-normalised"
            variants[f"{name}_tau"] = {"not_applicable": reason}
            continue
        points = _curve(config, name, head, val[0], labels)
        best = max(points, key=lambda point: float(point[f"val_{config.select_by}"]))
        curve += points
        variants[f"{name}_tau"] = {key: best[key] for key in best if key != "head"}
        heads[f"{name}_tau"] = Head("linear", tau_normalize(head.weight, tau=best["tau"]))
    chosen = max(heads, key=lambda name: float(variants[name][f"val_{config.select_by}"]))
    with whole_directory(out) as directory:
        artifact = TauNorm(directory)
        save_heads(artifact.heads, heads)
        write_json(artifact.curve, curve)
        write_json(
            artifact.choice,
            {"chosen": chosen, "select_by": config.select_by, "variants": variants},
        )


def _curve(
    config: TauNormConfig, name: str, head: Head, features: Tensor, labels: Tensor
) -> list[dict[str, Any]]:
    taus = tau_grid(max_tau=config.max_tau, steps=config.steps)
    return [
        {"head": name, "tau": point.tau, **_scores(point.predictions, labels, head)}
        for point in tau_curve(head.prepare(features), head.weight, taus=taus)
    ]


def _scores(predictions: Tensor, labels: Tensor, head: Head) -> dict[str, float]:
    return {
        "val_accuracy": (predictions == labels).double().mean().item(),
        "val_balanced_accuracy": balanced_accuracy(
            predictions.numpy(), labels.numpy(), num_classes=len(head.weight)
        ),
    }
