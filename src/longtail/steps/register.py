"""register: log the judged candidate to MLflow, and put it into the registry if the gate lets it.

Running it again for the same candidate and verdict finds what an earlier call has left, wherever
that was cut off: first the run is finished, then the version is made, then the aliases are set.
"""

import logging
import tempfile
from dataclasses import dataclass
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
from longtail.heads import save_heads
from longtail.io import export, registry, tracking
from longtail.io.connection import Tracker, connect
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
        return registry.Candidate(**self.verdict["candidate"])

    @property
    def judged(self) -> str:
        """Version of the champion that the gate judged against, or `none`."""
        champion = self.verdict["champion"]
        return registry.NONE if champion is None else str(champion["version"])


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
) -> None:
    """Log a run; unless rejected, register the model, as `challenger` or also as `champion`.

    Args:
        provenance: JSON of `git_commit`, `git_dirty`, `split_md5` (each may be null) and `params`.

    Raises:
        LongtailError: the verdict is on another candidate, the champion is another than the gate
            knew, or MLflow cannot be reached.
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
    with connect(config.tracking_uri) as tracker:
        record = _record(tracker, config, inputs)
    with whole_directory(out) as partial:
        write_json(Registration(partial).record, record)


def _require_same_candidate(inputs: Inputs) -> None:
    actual = file_digest(inputs.evaluation.predictions)
    if inputs.candidate.digest != actual:
        raise LongtailError(
            f"{inputs.gate.verdict} judges the predictions {inputs.candidate.digest[:12]}..., but "
            f"{inputs.evaluation.predictions} holds {actual[:12]}...; run the step gate again"
        )


def _record(tracker: Tracker, config: RegisterConfig, inputs: Inputs) -> dict[str, Any]:
    name, outcome = config.model_name, inputs.verdict["outcome"]
    version = registry.find(tracker, name, candidate=inputs.candidate)
    itself = None if version is None else str(version.version)
    if outcome == "promote":
        registry.require_incumbent(tracker, name, judged=inputs.judged, itself=itself)
    run_id = _run(tracker, config, inputs, with_model=outcome != "reject" and version is None)
    aliases: list[str] = []
    if outcome == "reject":
        log.warning("rejected: no version of %s was made, run %s has the reasons", name, run_id)
        version = None
    else:
        judgement = _judgement(inputs) | {"judged_in_run": run_id}
        if version is None:
            tags = _origin(inputs) | judgement
            version = registry.create_version(tracker, name, run_id=run_id, tags=tags)
        registry.retag(tracker, version, judgement)
        aliases = registry.place(tracker, version, outcome=outcome, judged=inputs.judged)
    return {
        "name": name,
        "version": None if version is None else str(version.version),
        "aliases": aliases,
        "outcome": outcome,
        "run_id": run_id,
    }


def _origin(inputs: Inputs) -> dict[str, str]:
    """What the candidate is and where it comes from; what is unknown is said to be."""
    known = {key: inputs.provenance[key] for key in ("git_commit", "git_dirty", "split_md5")}
    return {
        **inputs.candidate.tags(),
        **{key: "unknown" if value is None else str(value) for key, value in known.items()},
    }


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
    if tracking.outer_run() is None:
        earlier = tracking.finished_run(tracker, experiment_id=experiment_id, tags=key)
        if earlier is not None and (not with_model or tracking.logged_model(tracker, earlier)):
            return earlier
    with tracking.recording(
        tracker, experiment_id=experiment_id, tags=_origin(inputs) | key
    ) as run_id:
        _log_evidence(inputs)
        if with_model:
            _log_model(inputs)
    return run_id


def _log_evidence(inputs: Inputs) -> None:
    report = read_json(inputs.evaluation.report)
    tracking.log_parameters(inputs.provenance["params"])
    tracking.log_report(report)
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
