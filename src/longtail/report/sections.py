"""What the sections of the page are about, as rows ready to be printed."""

import base64
import re
from typing import Any

import pandas as pd

from longtail.report.content import members
from longtail.report.material import Material
from longtail.report.ranking import extremes, merged_confusion, taken_for
from longtail.report.style import group_color

SHOWN_PAIRS = 12  # of the classes that are confused most
SHOWN_OFFENDERS = 3


def group_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return name, colour, classes, range of training images and images of each group."""
    labels_of = members(report["classes"], report["group_names"])
    rows = []
    for position, name in enumerate(report["group_names"]):
        entries = [report["classes"][label] for label in labels_of[name]]
        train = [entry["train"] for entry in entries]
        rows.append(
            {
                "name": name,
                "color": group_color(position),
                "classes": len(entries),
                "train": sum(train),
                "test": sum(entry["test"] for entry in entries),
                "least": min(train, default=None),
                "most": max(train, default=None),
            }
        )
    return rows


def class_cards(material: Material) -> dict[str, list[dict[str, Any]]]:
    """Return the `worst` and the `best` classes of the chosen variant, with their pictures.

    A class has its name, counts, accuracy and interval, `mistaken_for` and `mistaken` (images), and
    `pictures`; each of these says what it is, what it was called and with which confidence.
    """
    confused = taken_for(material.confusion)
    shown_with = dict(iter(material.examples.groupby("shown_with", sort=False)))
    worst, best = extremes(material.report)

    def card(label: int) -> dict[str, Any]:
        other, images = confused.get(label, (label, 0))
        return {
            **material.classes[label],
            **material.report["variants"][material.chosen]["per_class"][label],
            "mistaken_for": material.classes[other]["name"],
            "mistaken": images,
            "pictures": _pictures(shown_with.get(label), material.classes),
        }

    return {"worst": [card(label) for label in worst], "best": [card(label) for label in best]}


def confused_pairs(material: Material) -> list[dict[str, Any]]:
    """Return the classes most often taken for another, with images and share of the true class."""
    wrong, classes = material.confusion.mistakes(), material.classes
    return [
        {
            "true": classes[true]["name"],
            "true_train": classes[true]["train"],
            "predicted": classes[predicted]["name"],
            "predicted_train": classes[predicted]["train"],
            "images": int(images),
            "share": images / classes[true]["test"],
        }
        for true, predicted, images in zip(
            wrong.true[:SHOWN_PAIRS],
            wrong.predicted[:SHOWN_PAIRS],
            wrong.images[:SHOWN_PAIRS],
            strict=True,
        )
    ]


def group_confusion(material: Material) -> list[dict[str, Any]]:
    """Return, of each group's test images, the shares that were called right or which group.

    A row is `{name, images, right, called: [share of wrong answers in each group]}`; shares are
    None for a group without images.
    """
    names = material.report["group_names"]
    place = [names.index(entry["group"]) for entry in material.classes]
    every = merged_confusion(material.confusion, place, cells=len(names))
    wrong = merged_confusion(material.confusion.mistakes(), place, cells=len(names))
    rows = []
    for position, name in enumerate(names):
        images = int(every[position].sum())
        rows.append(
            {
                "name": name,
                "color": group_color(position),
                "images": images,
                "right": (images - wrong[position].sum()) / images if images else None,
                "called": [count / images if images else None for count in wrong[position]],
            }
        )
    return rows


def findings(validation: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rules that were broken or could not be judged, the first offenders of each."""
    return [
        rule | {"offenders": [_short(one) for one in rule["offenders"][:SHOWN_OFFENDERS]]}
        for rule in validation["rules"]
        if rule["passed"] is not True
    ]


def cost_total(costs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the sum of the times and the largest of the memories."""
    gpu = [record["peak_gpu_bytes"] for record in costs if record["peak_gpu_bytes"] is not None]
    return {
        "wall_seconds": sum(record["wall_seconds"] for record in costs),
        "cpu_seconds": sum(record["cpu_seconds"] for record in costs),
        "peak_memory_bytes": max((record["peak_memory_bytes"] for record in costs), default=None),
        "peak_gpu_bytes": max(gpu, default=None),
    }


def _short(offender: str) -> str:
    """Cut digests: the beginning says which one is meant."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", offender)


def _pictures(examples: pd.DataFrame | None, classes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if examples is None:
        return []
    return [
        {
            "kind": row["kind"],
            "label": classes[row["label"]]["name"],
            "prediction": classes[row["prediction"]]["name"],
            "confidence": row["confidence"],
            "source": _data_uri(row["image"]),
        }
        for row in examples.to_dict("records")
    ]


def _data_uri(image: bytes) -> str:
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
