"""The commands that look at runs on a cluster: `ganflow status | logs`."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cluster_cli import CANCELLED, FAILED, say_links
from pipelines.interruption import interruptible
from pipelines.options import Host, Json, Namespace, Wait

if TYPE_CHECKING:
    from kfp_server_api import V2beta1Run

    from pipelines.cluster import Cluster
    from pipelines.status import Status


def status(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Its id; the newest runs if not given.")] = None,
    host: Host = None,
    namespace: Namespace = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Show the newest runs on a cluster, or one run's tasks.

    With --json: [{id, name, state, created, url}], or of one run that and {tasks: [{step, arguments, state, seconds,
    attempt, reason}], notes}.
    """
    from pipelines.cluster import Cluster
    from pipelines.status import Observer

    cluster = Cluster(host, namespace)
    if run is None:
        _show_runs(cluster, as_json)
    elif wait:
        watch(cluster, run, namespace, as_json)
    else:
        _show_run(cluster, Observer(cluster, run, namespace).look(), as_json)


def logs(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its id.")],
    task: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TASK]", help="A step, and NAME=VALUE of its task; what failed, else what runs, if not given."
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show one task's log as it grows.")] = False,
    host: Host = None,
    namespace: Namespace = None,
) -> None:
    """Show what the tasks of a run on a cluster printed.

    Read by kubectl from the pod while it is there, then from where Kubeflow keeps it: S3, by the variables AWS_….
    """
    from pipelines import logs as reading
    from pipelines.cluster import Cluster
    from pipelines.status import Observer

    observer = Observer(Cluster(host, namespace), run, namespace)
    if follow:
        with interruptible("the run goes on."):
            for line in reading.follow(observer, task or []):
                typer.echo(line, nl=False)
        return
    chosen = reading.choose(observer.look(), task or [])
    for each in chosen:
        if len(chosen) > 1:
            typer.echo(f"==> {each.task.title} <==")
        typer.echo(reading.log_of(each, observer.kubectl).rstrip("\n"))


def watch(cluster: "Cluster", run_id: str, namespace: str | None, as_json: bool = False) -> None:
    """Watch a run to its end, then exit by its outcome."""
    from pipelines.following import follow
    from pipelines.status import Observer

    with interruptible(f"the run goes on; `ganflow status {run_id} --wait` watches it again."):
        seen = follow(Observer(cluster, run_id, namespace))
    if as_json:
        typer.echo(json.dumps(_run_facts(cluster, seen), indent=1))
    else:
        _say_notes(seen)
    page = cluster.link(run_id)
    if seen.state == "CANCELED":
        print(f"ganflow: the run was cancelled; see {page}", file=sys.stderr)
        raise typer.Exit(CANCELLED)
    if seen.state != "SUCCEEDED":
        for line in _failures(seen) or [f"the run failed; see {page}"]:
            print(f"ganflow: {line}", file=sys.stderr)
        raise typer.Exit(FAILED)
    if not as_json:
        typer.echo(f"Succeeded: {page}")


def _failures(seen: "Status") -> list[str]:
    """The failed tasks in a sentence each: their own, where they could tell one."""
    told = [f"{each.task.title} failed: {each.task.reason}" for each in seen.failed() if each.told]
    silent = [each for each in seen.failed() if not each.told]
    reasons = [f" ({each.task.reason})" if each.task.reason else "" for each in silent]
    untold = [f"{each.task.title} failed{reason}" for each, reason in zip(silent, reasons, strict=True)]
    return [*told, *untold, *_where_to_look(seen)]


def _where_to_look(seen: "Status") -> list[str]:
    """How to see why tasks failed that could not tell it themselves."""
    silent = [each for each in seen.failed() if not (each.told or each.within)]
    return [f"`ganflow logs {seen.run.run_id} {silent[0].task.title}` shows why it failed."] if silent else []


def _facts(cluster: "Cluster", run: "V2beta1Run", state: str) -> dict[str, Any]:
    return {
        "id": run.run_id,
        "name": run.display_name,
        "state": state,
        "created": run.created_at.isoformat(),
        "url": cluster.link(run.run_id),
    }


def _run_facts(cluster: "Cluster", seen: "Status") -> dict[str, Any]:
    from pipelines.status import facts

    return _facts(cluster, seen.run, seen.state) | {"tasks": facts(seen.tasks), "notes": seen.notes}


def _show_runs(cluster: "Cluster", as_json: bool) -> None:
    from pipelines.cluster import state_of

    runs = [(run, state_of(run)) for run in cluster.newest_runs(10)]
    if as_json:
        typer.echo(json.dumps([_facts(cluster, run, state) for run, state in runs], indent=1))
        return
    for run, state in runs:
        typer.echo(f"{run.created_at:%Y-%m-%d %H:%M}  {run.run_id}  {state:9}  {run.display_name}")


def _show_run(cluster: "Cluster", seen: "Status", as_json: bool) -> None:
    from pipelines.runners import Watch
    from pipelines.view import outcome, warnings

    if as_json:
        typer.echo(json.dumps(_run_facts(cluster, seen), indent=1))
        return
    tasks = Watch()
    tasks.tasks[:] = [each.task for each in seen.tasks]
    typer.echo(f"{seen.run.display_name}: {seen.state}")
    for line in [*map(outcome, tasks.tasks), *warnings(tasks)]:
        typer.echo(line)
    _say_notes(seen)
    for line in _where_to_look(seen):
        typer.echo(line)
    say_links(cluster, seen.run)


def _say_notes(seen: "Status") -> None:
    for note in seen.notes:
        typer.echo(f"! {note}", err=True)
