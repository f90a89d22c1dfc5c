"""Stage 2: train a balanced classifier on the cached features."""

from pathlib import Path

from longtail.artifacts import Classifier, Features, Representation
from longtail.config.training import ClassifyConfig
from longtail.errors import LongtailError
from longtail.features import read_features
from longtail.files import read_json, whole_directory, write_json
from longtail.heads import Head, load_heads, save_heads
from longtail.randomness import generator_at
from longtail.stage2 import Fitted, Labelled, crt, lws, ncm


def classify(config: ClassifyConfig, *, features: Path, representation: Path, out: Path) -> None:
    """Write `Classifier`: the stage-2 head, its best epoch by val, and its history.

    Raises:
        LongtailError: there are no features, or the method does not fit the stage-1 head.
    """
    stage1 = load_heads(Representation(representation).head)["stage1"]
    num_classes = len(read_json(Representation(representation).description)["classes"])
    train, val = (Labelled(*read_features(Features(features), part)) for part in ("train", "val"))
    fitted = _fit(config, stage1, train, val, num_classes=num_classes)
    with whole_directory(out) as directory:
        artifact = Classifier(directory)
        save_heads(artifact.head, {"stage2": fitted.head})
        write_json(artifact.history, fitted.history)
        write_json(
            artifact.description,
            {
                "method": config.method,
                "best_epoch": fitted.best_epoch,
                "val": fitted.history[fitted.best_epoch] if fitted.best_epoch is not None else None,
            },
        )


def _fit(
    config: ClassifyConfig, stage1: Head, train: Labelled, val: Labelled, *, num_classes: int
) -> Fitted:
    generator = generator_at(config.seed)
    if config.method == "ncm":
        head = ncm(
            train,
            num_classes=num_classes,
            features=config.ncm_features,
            distance=config.ncm_distance,
        )
        return Fitted(head, None, [])
    if config.method == "crt":
        return crt(
            train,
            val,
            num_classes=num_classes,
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            generator=generator,
        )
    if stage1.kind != "linear":
        raise LongtailError(
            f"classify.method is lws, but the stage-1 head is {stage1.kind}; its rows have no free "
            "length to scale: use crt or ncm, or another represent.loss"
        )
    return lws(
        stage1,
        train,
        val,
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        generator=generator,
    )
