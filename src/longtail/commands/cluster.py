"""`longtail pipeline submit | schedule | status`: the flow on a cluster's KFP endpoint."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longtail.commands.steps import DEFAULT_PARAMS

if TYPE_CHECKING:
    from pipelines.endpoint import Endpoint
    from pipelines.package import Package
    from pipelines.status import RunStatus

EXPERIMENT = "longtail"

Params = Annotated[Path, typer.Option(help="Parameter file; all its sections are read.")]
Compiled = Annotated[
    Path | None, typer.Option("--package", help="Compiled pipeline; default: compiled now.")
]
Host = Annotated[
    str | None, typer.Option("--endpoint", help="http(s)://...; default: KF_PIPELINES_ENDPOINT.")
]
Namespace = Annotated[str | None, typer.Option(help="Your profile, if KFP has many users.")]
Experiment = Annotated[str, typer.Option(help="Existing experiment to put the run into.")]
Create = Annotated[
    bool,
    typer.Option(
        "--create-experiment",
        help=f"Create the experiment if it is missing (`{EXPERIMENT}` is always created).",
    ),
]
DataRev = Annotated[str, typer.Option(help="md5 of an earlier run's split; default: a new split.")]
Account = Annotated[str | None, typer.Option(help="Kubernetes service account of the pods.")]
AllowTag = Annotated[
    bool, typer.Option("--allow-tag", help="Accept container images without a digest.")
]
Minutes = Annotated[float, typer.Option(help="How long --wait waits, in minutes.")]


def submit(
    package: Compiled = None,
    params: Params = DEFAULT_PARAMS,
    endpoint: Host = None,
    namespace: Namespace = None,
    experiment: Experiment = EXPERIMENT,
    create_experiment: Create = False,
    data_rev: DataRev = "",
    name: Annotated[str | None, typer.Option(help="Name of the run; default: its version.")] = None,
    service_account: Account = None,
    allow_tag: AllowTag = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it ends; show its steps.")
    ] = False,
    timeout_minutes: Minutes = 1440.0,
) -> None:
    """Run the flow on a cluster, once."""
    from pipelines import client
    from pipelines.endpoint import connect

    connection = connect(endpoint, namespace=namespace)
    with _package(package, params, allow_tag=allow_tag) as sent:
        run_id = client.submit(
            connection,
            sent,
            experiment=experiment,
            create_experiment=create_experiment or experiment == EXPERIMENT,
            arguments=_arguments(sent, params, data_rev),
            name=name,
            service_account=service_account,
        )
    typer.echo(f"Run {run_id}: {connection.run_link(run_id)}")
    if wait:
        _follow(connection, run_id, timeout_seconds=60 * timeout_minutes)


def schedule(
    cron: Annotated[str, typer.Option(help="Six fields, seconds first: `0 0 3 * * *`.")],
    name: Annotated[str, typer.Option(help="Name of the schedule.")] = "longtail",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the schedule of this name.")
    ] = False,
    package: Compiled = None,
    params: Params = DEFAULT_PARAMS,
    endpoint: Host = None,
    namespace: Namespace = None,
    experiment: Experiment = EXPERIMENT,
    create_experiment: Create = False,
    data_rev: DataRev = "",
    service_account: Account = None,
    allow_tag: AllowTag = False,
) -> None:
    """Run the flow on a cluster again and again.

    When nothing has changed, every step is cached; new images re-run only what depends on them.
    """
    from pipelines import client
    from pipelines.endpoint import connect

    connection = connect(endpoint, namespace=namespace)
    with _package(package, params, allow_tag=allow_tag) as sent:
        schedule_id = client.schedule(
            connection,
            sent,
            experiment=experiment,
            create_experiment=create_experiment or experiment == EXPERIMENT,
            arguments=_arguments(sent, params, data_rev),
            name=name,
            cron=cron,
            replace=replace,
            service_account=service_account,
        )
    typer.echo(f"Schedule {schedule_id}: {connection.schedule_link(schedule_id)}")


def status(
    run: Annotated[str | None, typer.Argument(help="Id of the run; default: the newest.")] = None,
    endpoint: Host = None,
    namespace: Namespace = None,
    experiment: Experiment = EXPERIMENT,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it ends.")] = False,
    timeout_minutes: Minutes = 1440.0,
) -> None:
    """Show which steps of a run ran, and which were cached."""
    from pipelines import client
    from pipelines.endpoint import connect

    connection = connect(endpoint, namespace=namespace)
    run_id = run or client.newest_run(connection, experiment=experiment)
    if wait:
        _follow(connection, run_id, timeout_seconds=60 * timeout_minutes)
    else:
        typer.echo("\n".join(client.status(connection, run_id).lines()))


@contextmanager
def _package(compiled: Path | None, params: Path, *, allow_tag: bool) -> Iterator[Package]:
    from pipelines.compiling import compiled_training
    from pipelines.package import read_package
    from pipelines.places import check_places

    with tempfile.TemporaryDirectory() as directory:
        if compiled is None:
            compiled = Path(directory) / "training.yaml"
            compiled.write_text(compiled_training(params), encoding="utf-8")
        package = read_package(compiled, allow_tag=allow_tag)
        check_places(package)
        yield package


def _arguments(package: Package, params: Path, data_rev: str) -> dict[str, Any]:
    """Return what identifies code and data, as far as the pipeline has a parameter for it.

    The sections are defaults of the compiled pipeline.
    """
    from longtail.errors import LongtailError
    from longtail.io.versioning import pointed_md5
    from pipelines.revision import code_revision, git_revision

    revisions = {"code_rev": code_revision(*package.images), "git_commit": git_revision()}
    known = {name: value for name, value in revisions.items() if name in package.parameters}
    if not data_rev:
        return known
    if not package.parameters.get("split_remote", {}).get("defaultValue"):
        raise LongtailError(
            "--data-rev needs the DVC remote that holds that split; set resources.split_remote in "
            f"{params}"
        )
    return {**known, "data_rev": pointed_md5(data_rev)}


def _follow(connection: Endpoint, run_id: str, *, timeout_seconds: float) -> None:
    """Tell of steps as their states change; LongtailError if the run does not succeed."""
    from longtail.errors import LongtailError
    from pipelines import client

    told: set[tuple[str, str]] = set()

    def tell(now: RunStatus) -> None:
        for step in now.steps:
            if (step.name, step.state) not in told and step.state not in ("waiting", "not run"):
                told.add((step.name, step.state))
                typer.echo(f"  {step.name}: {step.state}")

    ended = client.wait(connection, run_id, timeout_seconds=timeout_seconds, tell=tell)
    typer.echo("\n".join(ended.lines()))
    if ended.state != "SUCCEEDED":
        raise LongtailError(f"run {run_id} has {ended.state.lower()}: {ended.link}")
