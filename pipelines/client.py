"""What a Kubeflow Pipelines endpoint is asked for: runs that start, repeat and are waited for."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import kfp_server_api

from longtail.config.section import nearest
from longtail.errors import LongtailError, first_few
from pipelines.endpoint import Endpoint, NoAnswer, in_plain_words
from pipelines.package import Package, check_arguments
from pipelines.status import RunStatus, run_status

_EQUALS = 1  # of the API's filters
_PAGE = 100


def upload(endpoint: Endpoint, package: Package) -> tuple[str, str]:
    """Return the ids of pipeline and version, which are made where they do not exist yet."""
    client = endpoint.client
    with in_plain_words(endpoint.ui):
        found = client.list_pipelines(
            filter=_named(package.name), namespace=endpoint.namespace
        ).pipelines
        pipeline = (
            found[0]
            if found
            else client.pipelines.pipeline_service_create_pipeline(
                kfp_server_api.V2beta1Pipeline(
                    display_name=package.name, name=package.name, namespace=endpoint.namespace
                )
            )
        )
        versions = client.list_pipeline_versions(
            pipeline.pipeline_id, filter=_named(package.version)
        ).pipeline_versions
        version = (
            versions[0]
            if versions
            else client.upload_pipeline_version(
                str(package.path), package.version, pipeline_id=pipeline.pipeline_id
            )
        )
        return pipeline.pipeline_id, version.pipeline_version_id


def submit(
    endpoint: Endpoint,
    package: Package,
    *,
    experiment: str,
    create_experiment: bool = False,
    arguments: Mapping[str, Any],
    name: str | None = None,
    service_account: str | None = None,
) -> str:
    """Start one run and return its id."""
    check_arguments(package, arguments)
    experiment_id = find_experiment(endpoint, experiment, create=create_experiment)
    pipeline_id, version_id = upload(endpoint, package)
    with in_plain_words(endpoint.ui):
        run = endpoint.client.run_pipeline(
            experiment_id,
            name or f"{package.name} {package.version}",
            params=dict(arguments),
            pipeline_id=pipeline_id,
            version_id=version_id,
            service_account=service_account,
        )
    return str(run.run_id)


def schedule(
    endpoint: Endpoint,
    package: Package,
    *,
    experiment: str,
    create_experiment: bool = False,
    arguments: Mapping[str, Any],
    name: str,
    cron: str,
    replace: bool = False,
    service_account: str | None = None,
) -> str:
    """Start a run at every time of `cron` and return the schedule's id.

    Runs never overlap, and times that were missed are not made up for.

    Args:
        cron: six fields, seconds first: `0 0 3 * * *` is every night at three.
        replace: end the schedule of this name, once the new one is there, instead of an error.
    """
    if len(cron.split()) != 6:
        raise LongtailError(f"cron {cron!r} must have six fields, seconds first, as `0 0 3 * * *`")
    check_arguments(package, arguments)
    experiment_id = find_experiment(endpoint, experiment, create=create_experiment)
    present = _schedules(endpoint, experiment_id, name)
    if present and not replace:
        raise LongtailError(
            f"There is a schedule {name} already ({first_few(present)}); --replace ends it"
        )
    pipeline_id, version_id = upload(endpoint, package)
    client = endpoint.client
    with in_plain_words(endpoint.ui):
        made = client.create_recurring_run(
            experiment_id,
            name,
            cron_expression=cron,
            max_concurrency=1,
            no_catchup=True,
            params=dict(arguments),
            pipeline_id=pipeline_id,
            version_id=version_id,
            service_account=service_account,
        )
        for old in present:
            client.delete_recurring_run(old)
    return str(made.recurring_run_id)


def _schedules(endpoint: Endpoint, experiment_id: str, name: str) -> list[str]:
    """Ids of the schedules of a name."""
    with in_plain_words(endpoint.ui):
        listed = endpoint.client.list_recurring_runs(
            experiment_id=experiment_id, filter=_named(name), page_size=_PAGE
        )
    return [run.recurring_run_id for run in listed.recurring_runs or ()]


def status(endpoint: Endpoint, run_id: str) -> RunStatus:
    """Return what has become of a run and of each of its steps."""
    client = endpoint.client
    with in_plain_words(
        endpoint.ui, missing=f"There is no run {run_id}; see `longtail pipeline status`"
    ):
        run = client.get_run(run_id)
        spec = run.pipeline_spec
        if not spec:
            reference = run.pipeline_version_reference
            spec = client.get_pipeline_version(
                reference.pipeline_id, reference.pipeline_version_id
            ).pipeline_spec
    # A package with Kubernetes settings has two documents, which the API joins under names.
    return run_status(run, spec.get("pipeline_spec", spec), link=endpoint.run_link(run_id))


def newest_run(endpoint: Endpoint, *, experiment: str) -> str:
    """Return the id of the run of an experiment that was created last, by whom or what ever."""
    experiment_id = find_experiment(endpoint, experiment)
    with in_plain_words(endpoint.ui):
        runs = endpoint.client.list_runs(
            experiment_id=experiment_id, sort_by="created_at desc", page_size=1
        ).runs
    if not runs:
        raise LongtailError(f"Experiment {experiment} has no runs yet; `longtail pipeline submit`")
    return str(runs[0].run_id)


def wait(
    endpoint: Endpoint,
    run_id: str,
    *,
    timeout_seconds: float,
    poll_seconds: float = 10.0,
    tell: Callable[[RunStatus], None],
) -> RunStatus:
    """Return the status of a run that has ended; `tell` hears of it after every look.

    Raises LongtailError after `timeout_seconds`, which ends the waiting but not the run.
    """
    end = time.monotonic() + timeout_seconds
    while True:
        with contextlib.suppress(NoAnswer):
            now = status(endpoint, run_id)
            tell(now)
            if now.finished:
                return now
        if time.monotonic() >= end:
            raise LongtailError(
                f"Run {run_id} has not ended after {timeout_seconds:.0f} s and goes on: "
                f"{endpoint.run_link(run_id)}"
            )
        time.sleep(poll_seconds)


def find_experiment(endpoint: Endpoint, name: str, *, create: bool = False) -> str:
    """Return an experiment's id; LongtailError names the nearest if there is none of that name."""
    client, namespace = endpoint.client, endpoint.namespace
    with in_plain_words(endpoint.ui):
        found = client.list_experiments(filter=_named(name), namespace=namespace).experiments
        if found:
            return str(found[0].experiment_id)
        if create:
            return str(client.create_experiment(name, namespace=namespace).experiment_id)
        known = client.list_experiments(page_size=_PAGE, namespace=namespace).experiments or []
    names = [experiment.display_name for experiment in known]
    hint = nearest(name, names) if names else "; there are none"
    raise LongtailError(f"Unknown experiment {name}{hint}. --create-experiment makes it")


def _named(name: str) -> str:
    predicate = {"operation": _EQUALS, "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})
