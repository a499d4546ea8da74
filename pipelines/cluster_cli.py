"""The commands that concern a cluster: `ganflow compile | submit | schedule | cancel`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.core.contract import DEFAULT_PROFILE
from components.core.errors import TaskFailure, UserError
from pipelines.interruption import interruptible
from pipelines.options import (
    Data,
    Host,
    Image,
    Namespace,
    Overrides,
    PipelineName,
    Placement,
    Profile,
    Wait,
)

if TYPE_CHECKING:
    from kfp_server_api import V2beta1Run

    from pipelines.cluster import Cluster, Version
    from pipelines.data import Source
    from pipelines.package import Package
    from pipelines.placement import Placement as PlacementProfile

FAILED, CANCELLED = 1, 3
"""Exit codes of a run that was waited for; bad input and a server that refuses have 2."""

UploadedVersion = Annotated[
    str | None,
    typer.Option("--version", metavar="NAME", help="Run this version, which is uploaded already; nothing is compiled."),
]


def compile_(
    pipeline: PipelineName,
    data: Data = None,
    profile: Profile = "default",
    overrides: Overrides = [],  # noqa: B006 (typer reads the default, nobody changes it)
    placement: Placement = "cpu",
    image: Image = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="PIPELINE.yaml if not given.")] = None,
) -> None:
    """Compile a pipeline to YAML for Kubeflow Pipelines."""
    from pipelines.placement import load_placement

    package = _package(pipeline, data, profile, overrides, load_placement(placement), image)
    target = out or Path(f"{pipeline}.yaml")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(package.text)
    typer.echo(f"Wrote {target}.")
    for name, value in package.parameters.items():
        typer.echo(f"Give its runs the parameter {name}={value}")


def submit(
    pipeline: PipelineName,
    data: Data = None,
    profile: Profile = "default",
    overrides: Overrides = [],  # noqa: B006
    placement: Placement = "cpu",
    image: Image = None,
    version: UploadedVersion = None,
    host: Host = None,
    namespace: Namespace = None,
    wait: Wait = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show the tasks, and which results are known already.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Take nothing from Kubeflow's cache; later runs find what this one files.")
    ] = False,
    pause: Annotated[
        str | None, typer.Option(metavar="STEP", help="Keep the pods of this step's tasks when they have ended.")
    ] = None,
) -> None:
    """Run a pipeline on a cluster, as the version of this commit, these parameters and this placement."""
    from pipelines.cluster import Cluster
    from pipelines.freshness import emptied
    from pipelines.kubectl import NAMESPACE
    from pipelines.placement import load_placement
    from pipelines.status_cli import watch
    from pipelines.submitting import start

    if dry_run:
        _preview(pipeline, data, profile, overrides)
        return
    if version and (fresh or pause):
        raise UserError("A --version is what it is; leave out --fresh and --pause.")
    cluster, place = Cluster(host, namespace), load_placement(placement)
    chosen, parameters = _version(
        cluster, version, pipeline, data, profile, overrides, place, image, fresh=fresh, pause=pause
    )
    run = start(cluster, chosen, parameters, place.pipeline.service_account)
    say_links(cluster, run)
    if "mlflow" not in (run.plugins_output or {}):
        print(
            "ganflow: this Kubeflow has no plugin for MLflow: nothing of the run is recorded, no model is registered; "
            "see infra/README.md, step 5.",
            file=sys.stderr,
        )
    if lost := emptied(cluster, chosen, run.run_id):
        print(
            f"ganflow: what {', '.join(lost)} computed is gone from S3, but Kubeflow's cache may still hand it out; "
            f"if artifacts are missing, or a task misses an input: `ganflow cancel {run.run_id}`, then submit --fresh.",
            file=sys.stderr,
        )
    if pause:
        where = namespace or NAMESPACE
        typer.echo(
            f"A task of {pause} that has ended keeps its pod, and its timeout runs: `kubectl -n {where} get pods -l "
            f"pipeline/runid={run.run_id}`, `kubectl -n {where} exec -it POD -c main -- sh`; to let it go, there: "
            "`touch /var/run/argo/ctr/main/after`."
        )
    if wait:
        watch(cluster, run.run_id, namespace)


def schedule(
    pipeline: PipelineName,
    cron: Annotated[
        str | None, typer.Option(metavar="'MIN HOUR DAY MONTH WEEKDAY'", help="When, such as '0 3 * * 1'; UTC.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The schedule's name; the pipeline's if not given.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="End the schedule of that name.")] = False,
    data: Data = None,
    profile: Profile = "default",
    overrides: Overrides = [],  # noqa: B006
    placement: Placement = "cpu",
    image: Image = None,
    version: UploadedVersion = None,
    host: Host = None,
    namespace: Namespace = None,
) -> None:
    """Run a pipeline on a cluster again and again; a schedule of the same name is replaced."""
    from pipelines.cluster import Cluster
    from pipelines.placement import load_placement

    called = name or pipeline
    if stop:
        running = Cluster(host, namespace).unschedule(called)
        typer.echo(f"Schedule {called} ended.")
        _say_running(running)
        return
    times = _cron(cron)
    cluster, place = Cluster(host, namespace), load_placement(placement)
    chosen, parameters = _version(cluster, version, pipeline, data, profile, overrides, place, image)
    bound = cluster.with_parameters(chosen, parameters)
    running = cluster.schedule(bound, called, place.pipeline.service_account, times)
    typer.echo(f"Schedule {called}{' replaced' if running is not None else ''}: version {bound.name} at '{cron}'.")
    _say_running(running or [])


def cancel(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its id, as `ganflow status` shows it.")],
    host: Host = None,
    namespace: Namespace = None,
) -> None:
    """End a run on a cluster, wait until it has ended, and end what MLflow has of it.

    Exit codes: 0 it has ended, 1 it has ended but MLflow may still have open runs of it, 2 refused.
    """
    from pipelines import cancelling
    from pipelines.cluster import FINAL, Cluster, state_of
    from pipelines.kubectl import NAMESPACE

    cluster = Cluster(host, namespace)
    with interruptible(f"the run is being ended; `ganflow cancel {run}` watches it again, and tells MLflow."):
        ending = cancelling.cancel(cluster, run)
        if ending.vanished:
            typer.echo(
                f"The workflow of run {run} is gone, deleted with its schedule or by hand; nothing of it runs, but "
                f"Kubeflow will show it as {ending.run.state} for ever. Archive it there: {cluster.link(run)}"
            )
        elif ending.run.state not in FINAL:
            typer.echo(
                f"Run {run} is still {ending.run.state}: its pods do not stop, or its workflow is gone; see "
                f"`kubectl -n {namespace or NAMESPACE} get workflows,pods -l pipeline/runid={run}`."
            )
        elif ending.before:
            typer.echo(f"Run {run} has ended before: {state_of(ending.run)}.")
        elif ending.run.state == "SUCCEEDED":
            typer.echo(f"Run {run} has ended: it succeeded before it could be cancelled.")
        else:
            typer.echo(f"Run {run} has ended: cancelled.")
        try:
            killed = cancelling.settle(ending)
        except UserError as error:
            left = f"MLflow may have open runs of it until `ganflow cancel {run}` is run again."
            raise TaskFailure(f"{error} {left}") from error
    if killed:
        typer.echo(f"MLflow: {killed} of its runs ended as KILLED.")


def _package(
    pipeline: str,
    data: str | None,
    profile: str,
    overrides: list[str],
    place: "PlacementProfile",
    image: str | None,
    *,
    fresh: str = "",
    pause: str | None = None,
) -> "Package":
    from pipelines.package import pack
    from pipelines.pipeline import find

    return pack(find(pipeline), _shared(data), profile, overrides, place, image, fresh=fresh, pause=pause)


def _shared(data: str | None) -> "Source | None":
    """The raw data, where the cluster reads them."""
    from pipelines.data import resolve

    source = resolve(data) if data else None
    if source and source.is_local:
        raise UserError(
            f"A cluster cannot read {source.uri}; `dvc add` and `dvc push` it to an S3 remote, or give s3://bucket/prefix."
        )
    return source


def _preview(pipeline: str, data: str | None, profile: str, overrides: list[str]) -> None:
    from pipelines.data import resolve
    from pipelines.pipeline import find
    from pipelines.preview import Preview

    found = find(pipeline)
    source = resolve(data, here=True) if data else None  # the folder's own digest tells more than DVC's
    preview = Preview(found, found.load(profile, overrides), source)
    for task in preview.tasks:
        typer.echo(task.line)
    if preview.problem:
        print(f"ganflow: results in MLflow are left out: {preview.problem}", file=sys.stderr)
    cached = [task for task in preview.tasks if not task.always]
    known = sum(task.known_to is not None for task in cached)
    always = ", ".join(task.title for task in preview.tasks if task.always)
    typer.echo(
        f"{known} of {len(cached)} results are known here, {always} runs always; "
        "on the cluster Kubeflow's own cache decides."
    )


def _version(
    cluster: "Cluster",
    name: str | None,
    pipeline: str,
    data: str | None,
    profile: str,
    overrides: list[str],
    place: "PlacementProfile",
    image: str | None,
    *,
    fresh: bool = False,
    pause: str | None = None,
) -> tuple["Version", dict[str, str]]:
    """The uploaded version of that name, else this checkout's, uploaded; and what its run is given."""
    from pipelines.freshness import now

    if name is None:
        since = now() if fresh else cluster.fresh(pipeline)
        package = _package(pipeline, data, profile, overrides, place, image, fresh=since, pause=pause)
        version = cluster.upload(package)
        typer.echo(f"Version {version.name} of {pipeline} {'uploaded' if version.new else 'is there already'}.")
        return version, package.parameters
    if overrides or profile != DEFAULT_PROFILE:
        raise UserError("A --version has its parameters already; leave out --profile and --set.")
    source = _shared(data)
    return cluster.version(pipeline, name), source.parameters() if source else {}


def _cron(given: str | None) -> str:
    """Kubeflow's six fields of a time, of which the first are seconds, from cron's five."""
    fields = (given or "").split()
    if len(fields) != 5:
        raise UserError("Give --cron the five fields minute, hour, day, month and weekday, such as '0 3 * * 1'.")
    return " ".join(["0", *fields])


def _say_running(runs: list[str]) -> None:
    """What a schedule that ended leaves behind."""
    for run in runs:
        typer.echo(f"Its run {run} goes on; `ganflow cancel {run}` ends it.")


def say_links(cluster: "Cluster", run: "V2beta1Run") -> None:
    """Where to look at a run."""
    typer.echo(f"Run {run.run_id}: {cluster.link(run.run_id)}")
    plugin = (run.plugins_output or {}).get("mlflow")
    url = plugin and (plugin.entries or {}).get("run_url")
    if url:
        typer.echo(f"MLflow: {url.value}")
    elif plugin and plugin.state_message:
        typer.echo(f"MLflow has no run of it: {plugin.state_message}", err=True)
