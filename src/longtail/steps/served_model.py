"""From the artifacts of a candidate to the model that is registered and its facts."""

from typing import Any

from longtail.artifacts import Representation, TauNorm
from longtail.extraction import load_backbone
from longtail.files import read_json
from longtail.heads import Head
from longtail.io.head_files import load_heads
from longtail.predictor import Facts
from longtail.serving import ServedModel, assumed_prior


def served_model(
    representation: Representation,
    tau_norm: TauNorm,
    *,
    chosen: str,
    classes: list[dict[str, Any]],
) -> tuple[ServedModel, Facts, dict[str, Head]]:
    """Return the model, its facts, and its heads by name (`super` is that of the super-classes).

    Args:
        chosen: the variant. classes: by label, as `report.json` of an evaluation has them.
    """
    choice = read_json(tau_norm.choice)
    backbone, description = load_backbone(representation, test_time_flip=choice["test_time_flip"])
    heads = {chosen: load_heads(tau_norm.heads)[chosen]}
    if description["super_of"]:
        stage1 = load_heads(representation.head)
        heads |= {name: head for name, head in stage1.items() if name == "super"}
    mean, std = description["mean"], description["std"]
    model = ServedModel(backbone, heads[chosen], mean=mean, std=std, above=heads.get("super"))
    counts = [entry["train"] for entry in classes]
    facts = Facts(
        chosen=chosen,
        classes=[entry["name"] for entry in classes],
        groups=[entry["group"] for entry in classes],
        super_classes=description["super_classes"],
        super_of=description["super_of"],
        class_counts=counts,
        prior=assumed_prior(counts, balanced=chosen not in choice["follow_counts"]),
        rejects=heads[chosen].rejects_to is not None,
        image_size=description["image_size"],
        mean=mean,
        std=std,
    )
    return model, facts, heads
