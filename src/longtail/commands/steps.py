"""One command per step: it takes explicit paths and a parameter file and records the cost."""

import shlex
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from longtail.cost import recorded
from longtail.errors import LongtailError
from longtail.files import require_apart, require_writable

Params = Annotated[Path, typer.Option(help="Parameter file; the step reads its own section.")]
Source = Annotated[Path, typer.Option(help="Fingerprint of the source, from `fingerprint`.")]
Images = Annotated[Path, typer.Option(help="Images, from `ingest`.")]
SplitDir = Annotated[Path, typer.Option(help="Split directory, from `split`.")]
Train = Annotated[Path, typer.Option(help="Training table, from `split`.")]
Val = Annotated[Path, typer.Option(help="Validation table, from `split`.")]
Test = Annotated[Path, typer.Option(help="Test table, from `split`.")]
Profile = Annotated[Path, typer.Option(help="Profile of the split, from `split`.")]
Seal = Annotated[Path, typer.Option(help="Seal of the split, from `validate`.")]
Representation = Annotated[Path, typer.Option(help="Stage 1, from `represent`.")]
Features = Annotated[Path, typer.Option(help="Cached features, from `embed`.")]
Classifier = Annotated[Path, typer.Option(help="Stage 2, from `classify`.")]
TauNorm = Annotated[Path, typer.Option("--tau-norm", help="All heads, from `tau_norm`.")]
Evaluation = Annotated[Path, typer.Option(help="Report and predictions, from `evaluate`.")]
Champion = Annotated[Path, typer.Option(help="The registry's champion, from `champion`.")]
Report = Annotated[Path, typer.Option(help="Page and model card, from `report`.")]
Validation = Annotated[Path, typer.Option(help="Findings about the data, from `validate`.")]
Verdict = Annotated[Path, typer.Option(help="Verdict directory, from `gate`.")]
Checkpoint = Annotated[Path | None, typer.Option(help="Directory of the checkpoint.")]
KeepRejected = Annotated[
    bool, typer.Option("--keep-rejected", help="Make a version even of a rejected model.")
]
Out = Annotated[Path, typer.Option(file_okay=False, help="Output directory; replaced as a whole.")]
OutFile = Annotated[Path, typer.Option(dir_okay=False, help="Output file.")]
DEFAULT_PARAMS = Path("params.yaml")


def add_to(app: typer.Typer) -> None:
    """Add every step to `app` in flow order, under the name of its DVC stage."""
    for command in COMMANDS:
        app.command(command.__name__)(guarded(command))


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command; before it runs, an `out` without a place of its own is refused.

    Raises:
        LongtailError: `out` contains another path that the command is given, or is not writable.
    """

    @wraps(command)
    def run(out: Path, **others: Any) -> None:
        require_apart(out, kept=[value for value in others.values() if isinstance(value, Path)])
        require_writable(out)
        command(out=out, **others)

    return run


def fingerprint(out: OutFile, params: Params = DEFAULT_PARAMS) -> None:
    """Write what identifies the source.

    DVC always runs it, so that `ingest` re-runs exactly when the source changed.
    """
    from longtail.config.ingest import IngestConfig
    from longtail.config.params import load_section
    from longtail.steps.fingerprint import fingerprint as step

    with recorded("fingerprint"):
        step(load_section(params, "ingest", IngestConfig), out=out)


def ingest(source: Source, out: Out, params: Params = DEFAULT_PARAMS) -> None:
    """Read the source into shards and a manifest."""
    from longtail.config.ingest import IngestConfig
    from longtail.config.params import load_section
    from longtail.steps.ingest import ingest as step

    with recorded("ingest"):
        step(load_section(params, "ingest", IngestConfig), source=source, out=out)


def split(images: Images, out: Out, params: Params = DEFAULT_PARAMS) -> None:
    """Choose the training, validation and test images."""
    from longtail.config.params import load_section
    from longtail.config.split import SplitConfig
    from longtail.steps.split import split as step

    with recorded("split"):
        step(load_section(params, "split", SplitConfig), images=images, out=out)


def validate(images: Images, split: SplitDir, out: Out, params: Params = DEFAULT_PARAMS) -> None:
    """Stop the flow if images or split break a rule."""
    from longtail.config.params import load_section
    from longtail.config.split import ValidateConfig
    from longtail.steps.validate import validate as step

    with recorded("validate"):
        step(load_section(params, "validate", ValidateConfig), images=images, split=split, out=out)


def represent(
    images: Images,
    train: Train,
    val: Val,
    profile: Profile,
    validation: Seal,
    out: Out,
    params: Params = DEFAULT_PARAMS,
    checkpoint: Checkpoint = None,
) -> None:
    """Stage 1: train the backbone.

    Resumes from its checkpoint after an interruption. Several GPUs:
    `torchrun --nproc-per-node=N -m longtail represent ...`.
    """
    from longtail.config.params import load_section
    from longtail.config.represent import RepresentConfig
    from longtail.progress import tell_logs
    from longtail.steps.represent import represent as step

    tell_logs()
    with recorded("represent"):
        step(
            load_section(params, "represent", RepresentConfig),
            images=images,
            train=train,
            val=val,
            profile=profile,
            validation=validation,
            out=out,
            checkpoint=checkpoint,
        )


def embed(
    images: Images,
    train: Train,
    val: Val,
    representation: Representation,
    out: Out,
    params: Params = DEFAULT_PARAMS,
) -> None:
    """Compute features of train and val once."""
    from longtail.config.params import load_section
    from longtail.config.stage2 import EmbedConfig
    from longtail.steps.embed import embed as step

    with recorded("embed"):
        step(
            load_section(params, "embed", EmbedConfig),
            images=images,
            train=train,
            val=val,
            representation=representation,
            out=out,
        )


def classify(
    features: Features, representation: Representation, out: Out, params: Params = DEFAULT_PARAMS
) -> None:
    """Stage 2: train a balanced classifier."""
    from longtail.config.params import load_section
    from longtail.config.stage2 import ClassifyConfig
    from longtail.steps.classify import classify as step

    with recorded("classify"):
        step(
            load_section(params, "classify", ClassifyConfig),
            features=features,
            representation=representation,
            out=out,
        )


def tau_norm(
    features: Features,
    representation: Representation,
    classifier: Classifier,
    out: Out,
    params: Params = DEFAULT_PARAMS,
) -> None:
    """Normalise both heads by tau; choose on val."""
    from longtail.config.params import load_section
    from longtail.config.stage2 import TauNormConfig
    from longtail.steps.tau_norm import tau_norm as step

    with recorded("tau_norm"):
        step(
            load_section(params, "tau_norm", TauNormConfig),
            features=features,
            representation=representation,
            classifier=classifier,
            out=out,
        )


def evaluate(
    images: Images,
    test: Test,
    profile: Profile,
    representation: Representation,
    classifier: Classifier,
    tau_norm: TauNorm,
    out: Out,
    params: Params = DEFAULT_PARAMS,
) -> None:
    """Report every variant on the test split."""
    from longtail.config.params import load_section
    from longtail.config.promotion import EvaluateConfig
    from longtail.steps.evaluate import evaluate as step

    with recorded("evaluate"):
        step(
            load_section(params, "evaluate", EvaluateConfig),
            images=images,
            test=test,
            profile=profile,
            representation=representation,
            classifier=classifier,
            tau_norm=tau_norm,
            out=out,
        )


def champion(evaluation: Evaluation, out: Out, params: Params = DEFAULT_PARAMS) -> None:
    """Write what the registry's champion is.

    DVC always runs it, so that `gate` re-runs exactly when the champion changed.
    """
    from longtail.config.params import load_section
    from longtail.config.promotion import RegisterConfig
    from longtail.steps.champion import champion as step

    with recorded("champion"):
        step(load_section(params, "register", RegisterConfig), evaluation=evaluation, out=out)


def gate(
    evaluation: Evaluation, champion: Champion, out: Out, params: Params = DEFAULT_PARAMS
) -> None:
    """Decide: promote, hold or reject."""
    from longtail.config.params import load_section
    from longtail.config.promotion import GateConfig
    from longtail.steps.gate import gate as step

    with recorded("gate"):
        step(
            load_section(params, "gate", GateConfig),
            evaluation=evaluation,
            champion=champion,
            out=out,
        )


def report(
    evaluation: Evaluation,
    champion: Champion,
    gate: Verdict,
    validation: Validation,
    split: SplitDir,
    representation: Representation,
    classifier: Classifier,
    tau_norm: TauNorm,
    out: Out,
    params: Params = DEFAULT_PARAMS,
) -> None:
    """Write the page and the model card."""
    from longtail.config.params import load_section
    from longtail.config.promotion import ReportConfig
    from longtail.cost import COSTS
    from longtail.provenance import provenance, provenance_file
    from longtail.steps.report import report as step

    with recorded("report"), provenance_file(provenance(params=params, split=split)) as file:
        step(
            load_section(params, "report", ReportConfig),
            evaluation=evaluation,
            champion=champion,
            gate=gate,
            validation=validation,
            split=split,
            representation=representation,
            classifier=classifier,
            tau_norm=tau_norm,
            provenance=file,
            costs=COSTS,
            out=out,
        )


def register(
    gate: Verdict,
    report: Report,
    evaluation: Evaluation,
    representation: Representation,
    tau_norm: TauNorm,
    split: SplitDir,
    out: Out,
    params: Params = DEFAULT_PARAMS,
    keep_rejected: KeepRejected = False,
) -> None:
    """Register the model and set its aliases."""
    from longtail.config.params import load_section
    from longtail.config.promotion import RegisterConfig
    from longtail.io.connection import Unreachable
    from longtail.provenance import full_provenance, provenance_file
    from longtail.steps.register import register as step

    with recorded("register"), provenance_file(full_provenance(params=params, split=split)) as file:
        try:
            step(
                load_section(params, "register", RegisterConfig),
                gate=gate,
                report=report,
                evaluation=evaluation,
                representation=representation,
                tau_norm=tau_norm,
                split=split,
                provenance=file,
                out=out,
                keep_rejected=keep_rejected,
            )
        except Unreachable as error:
            command = shlex.join(["longtail", *sys.argv[1:]])
            raise LongtailError(
                f"{error}. Finish it later, in this directory:\n{command}"
            ) from error


COMMANDS: tuple[Callable[..., None], ...] = (
    fingerprint,
    ingest,
    split,
    validate,
    represent,
    embed,
    classify,
    tau_norm,
    evaluate,
    champion,
    gate,
    report,
    register,
)
