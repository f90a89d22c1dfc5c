"""register: log the judged candidate to MLflow, and register it unless the gate rejected it.

Running it again for the same candidate and verdict goes on wherever an earlier call was cut off:
first the run is finished, then the version is made, then the aliases are set.
"""

import logging
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from longtail.artifacts import (
    Evaluation,
    Gate,
    Registration,
    Report,
    Representation,
    Split,
    TauNorm,
)
from longtail.config.promotion import RegisterConfig
from longtail.errors import LongtailError
from longtail.files import content_digest, file_digest, read_json, whole_directory, write_json
from longtail.io import export, history, origin, promotion, registry, smoke, tracking
from longtail.io.connection import Tracker, Unreachable, persistently
from longtail.io.head_files import save_heads
from longtail.steps.served_model import served_model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """What there is to register."""

    verdict: dict[str, Any]
    provenance: dict[str, Any]
    evaluation: Evaluation
    gate: Gate
    report: Report
    representation: Representation
    tau_norm: TauNorm
    split: Split

    @property
    def candidate(self) -> registry.Candidate:
        """What the gate judged: digest and variant."""
        return registry.Candidate(**self.verdict["candidate"])

    @property
    def judged(self) -> str:
        """Version of the champion that the gate judged against, or `none`."""
        champion = self.verdict["champion"]
        return history.NONE if champion is None else str(champion["version"])


def register(
    config: RegisterConfig,
    *,
    gate: Path,
    report: Path,
    evaluation: Path,
    representation: Path,
    tau_norm: Path,
    split: Path,
    provenance: Path,
    out: Path,
    keep_rejected: bool = False,
) -> None:
    """Log a run; unless rejected, register the model, as `challenger` or also as `champion`.

    While MLflow does not answer this is tried again, for `config.patience` seconds. Nothing is lost
    with a failure: running it again finds what there is already and goes on.

    Args:
        provenance: JSON of `longtail.provenance.full_provenance`.
        keep_rejected: make a version of a rejected candidate too, without any alias.

    Raises:
        LongtailError: the verdict is on another candidate, the champion is not the one that the
            gate knew, the registered artifact does not do what was evaluated, or MLflow refuses.
        Unreachable: MLflow, or the store of its artifacts, did not answer.
    """
    inputs = Inputs(
        verdict=read_json(Gate(gate).verdict),
        provenance=read_json(provenance),
        evaluation=Evaluation(evaluation),
        gate=Gate(gate),
        report=Report(report),
        representation=Representation(representation),
        tau_norm=TauNorm(tau_norm),
        split=Split(split),
    )
    _require_same_candidate(inputs)
    try:
        record = persistently(
            partial(_record, config=config, inputs=inputs, keep_rejected=keep_rejected),
            tracking_uri=config.tracking_uri,
            patience=config.patience,
            what="register",
        )
    except Unreachable as error:
        raise Unreachable(
            f"{error}. This was tried for {config.patience:.0f} s. Nothing is lost: all that "
            "register reads is on disk, and running it again goes on where it was cut off"
        ) from error
    with whole_directory(out) as directory:
        write_json(Registration(directory).record, record)


def _require_same_candidate(inputs: Inputs) -> None:
    # The predictions are those of all variants: of another choice they are the same.
    actual = registry.Candidate(
        digest=file_digest(inputs.evaluation.predictions),
        chosen=read_json(inputs.evaluation.report)["chosen"],
    )
    if inputs.candidate != actual:
        raise LongtailError(
            f"{inputs.gate.verdict} judges {_named(inputs.candidate)}, but "
            f"{inputs.evaluation.root} holds {_named(actual)}; run the step gate again"
        )


def _named(candidate: registry.Candidate) -> str:
    return f"{candidate.chosen} of the predictions {candidate.digest[:12]}..."


def _record(
    tracker: Tracker, *, config: RegisterConfig, inputs: Inputs, keep_rejected: bool
) -> dict[str, Any]:
    name, outcome = config.model_name, inputs.verdict["outcome"]
    version = registry.find(tracker, name, candidate=inputs.candidate)
    if outcome == "promote":
        _require_incumbent(tracker, inputs, version=version, name=name)
    kept = outcome != "reject" or keep_rejected
    run_id = _run(tracker, config, inputs, with_model=kept and version is None)
    judgement = _judgement(inputs) | {"judged_in_run": run_id}
    if version is None and kept:
        tags = _origin(inputs) | judgement
        version = registry.create_version(
            tracker, name, run_id=run_id, tags=tags, description=_description(inputs)
        )
    if version is not None:
        registry.retag(tracker, version, judgement)
    aliases: list[str] = []
    if outcome != "reject" and version is not None:
        aliases = _place(tracker, config, inputs, version)
    elif version is not None:
        registry.withdraw(tracker, version)
    else:
        log.warning(
            "rejected: no version of %s was made, run %s has the reasons; `longtail register "
            "--keep-rejected` makes one that can be promoted by override",
            name,
            run_id,
        )
    return {
        "name": name,
        "version": None if version is None or not kept else str(version.version),
        "aliases": aliases,
        "outcome": outcome,
        "run_id": run_id,
    }


def _require_incumbent(
    tracker: Tracker, inputs: Inputs, *, version: registry.Version | None, name: str
) -> None:
    """Refuse before anything is uploaded if the champion is not the one that the gate knew."""
    now = registry.champion_number(tracker, name)
    if now not in (inputs.judged, None if version is None else str(version.version)):
        raise LongtailError(
            f"the champion of {name} is {registry.titled(now)} now, but the gate judged against "
            f"{registry.titled(inputs.judged)}; run the steps champion and gate again (`dvc repro`)"
        )


def _place(
    tracker: Tracker, config: RegisterConfig, inputs: Inputs, version: registry.Version
) -> list[str]:
    """Give a version the aliases that the verdict earns, and return them.

    It is the `challenger`; if it is to be promoted, it takes the place of the champion that the
    gate knew. What a person rolled back is not promoted again by the same verdict.
    """
    name, number = config.model_name, str(version.version)
    earned = [registry.CHALLENGER]
    if inputs.verdict["outcome"] == "promote":
        found = history.find(tracker, name)
        taken_down = found and promotion.rolled_back(number, found.entries())
        if taken_down:
            log.warning(
                "version %s of %s stays challenger: %s rolled it back (%s); `longtail models "
                "promote %s --override REASON` promotes it all the same",
                *(number, name, taken_down.who, taken_down.why, number),
            )
        else:
            earned.append(registry.CHAMPION)
    aliases = registry.aliases(tracker, name)
    if any(aliases.get(alias) != number for alias in earned):
        smoke.check(tracker, version, tolerance=config.smoke_tolerance)
        tracker.client.set_registered_model_alias(name, registry.CHALLENGER, number)
    if registry.CHAMPION in earned:
        act = promotion.Act(promotion.whoever(), "the gate's verdict: promote")
        log_of = history.find_or_create(tracker, name, experiment_name=config.experiment)
        promotion.promote(tracker, version, expected=inputs.judged, act=act, history=log_of)
    return earned


def _origin(inputs: Inputs) -> dict[str, str]:
    """What the candidate is, what it is checked by, how good it is, and where it comes from."""
    return {
        **inputs.candidate.tags(),
        smoke.HELD: file_digest(inputs.evaluation.held),
        **tracking.accuracy_tags(read_json(inputs.evaluation.report)),
        **origin.tags(inputs.provenance),
    }


def _description(inputs: Inputs) -> str:
    """What the registry's page says of a version, in Markdown."""
    reasons = [f"- {check['reason']}" for check in inputs.verdict["checks"]]
    title = f"**{inputs.verdict['outcome']}**, judged first against"
    return "\n".join([f"{title} {registry.titled(inputs.judged)}:", "", *reasons])


def _judgement(inputs: Inputs) -> dict[str, str]:
    """What the gate said; a later verdict on the same candidate replaces it."""
    return {
        "verdict": inputs.verdict["outcome"],
        "verdict_digest": content_digest(inputs.verdict),
        registry.INCUMBENT: inputs.judged,
    }


def _run(tracker: Tracker, config: RegisterConfig, inputs: Inputs, *, with_model: bool) -> str:
    """Return the run that has this verdict on this candidate, logged now if there is none."""
    experiment_id = tracking.experiment(tracker, config.experiment)
    key = inputs.candidate.tags() | _judgement(inputs)
    earlier = tracking.earlier_run(tracker, experiment_id=experiment_id, tags=key)
    if earlier is not None and (not with_model or tracking.logged_model(tracker, earlier)):
        return earlier
    with tracking.recording(
        tracker, experiment_id=experiment_id, tags=_origin(inputs) | key
    ) as run_id:
        _log_evidence(inputs)
        if with_model:
            _log_model(inputs)
        # Last, for the metrics of the chosen variant are the model's too.
        model = tracking.logged_model(tracker, run_id) if with_model else None
        tracking.log_report(read_json(inputs.evaluation.report), model_id=model)
    return run_id


def _log_evidence(inputs: Inputs) -> None:
    report = read_json(inputs.evaluation.report)
    tracking.log_parameters(inputs.provenance["params"])
    origin.log(inputs.provenance)
    profile = read_json(inputs.representation.description)["split"]
    tracking.log_classes(
        report["classes"], name="split", digest=inputs.provenance["split_md5"] or profile
    )
    tracking.log_files(
        {
            inputs.evaluation.root: tracking.EVALUATION,
            inputs.gate.root: "gate",
            inputs.report.root: "report",
            inputs.split.profile: "split",
            inputs.representation.description: "representation",
            inputs.representation.history: "representation",
            inputs.tau_norm.choice: "tau_norm",
            inputs.tau_norm.curve: "tau_norm",
        }
    )


def _log_model(inputs: Inputs) -> None:
    classes = read_json(inputs.evaluation.report)["classes"]
    model, facts, heads = served_model(
        inputs.representation, inputs.tau_norm, chosen=inputs.candidate.chosen, classes=classes
    )
    with tempfile.TemporaryDirectory() as scratch:
        names, weights = Path(scratch) / "classes.json", Path(scratch) / "head.safetensors"
        write_json(names, facts.classes)
        save_heads(weights, heads)
        export.log_model(model, facts=facts, files=[inputs.representation.backbone, weights, names])
