"""The command `ganflow`."""

import glob
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from components.core.errors import UserError
from pipelines import cluster_cli, doctor_cli, image_cli, status_cli
from pipelines.interruption import RESUMABLE, interruptible
from pipelines.options import Data, Json, Overrides, PipelineName, Profile

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, refine, judge and ship GANs reproducibly.",
)

app.add_typer(image_cli.app, name="image")


@app.callback()
def options(debug: Annotated[bool, typer.Option(help="Show the traceback of a failure.")] = False) -> None:
    """Settings of all commands."""
    if debug:
        os.environ["GANFLOW_DEBUG"] = "1"


@app.command()
def run(
    pipeline: PipelineName,
    data: Data = None,
    profile: Profile = "default",
    overrides: Overrides = [],  # noqa: B006 (typer reads the default, nobody changes it)
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the report goes; out/PIPELINE if not given.")
    ] = None,
    runner: Annotated[
        Literal["local", "docker"], typer.Option(help="Steps as processes of this machine, or in containers on it.")
    ] = "local",
    image: Annotated[
        str | None,
        typer.Option(metavar="REF", envvar="GANFLOW_IMAGE", help="Of the containers; the one built last if not given."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a pipeline on this machine and write DIR/report.html and DIR/metrics.json.

    With --json: {state, run_id, tracking_uri, url, report, metrics, steps: [{step, arguments, state, fingerprint,
    digest, outputs}]}. Exit codes: 0 done, 1 a task failed, 2 refused, 130 interrupted.
    """
    from pipelines.pipeline import find
    from pipelines.session import run_session

    found = find(pipeline)
    with interruptible(RESUMABLE):
        target = out or Path("out") / pipeline
        run_session(found, data, profile, overrides, target, _runner(runner, image), as_json=as_json)


app.command("compile")(cluster_cli.compile_)
app.command()(cluster_cli.submit)
app.command()(cluster_cli.schedule)
app.command()(cluster_cli.cancel)
app.command()(status_cli.status)
app.command()(status_cli.logs)
app.command()(doctor_cli.doctor)


@app.command()
def step(
    pipeline: PipelineName,
    name: Annotated[str, typer.Argument(metavar="STEP", help="Such as train-egan.")],
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=VALUE", help="The step's inputs and arguments and `out`; a list input takes a glob."
        ),
    ],
    profile: Profile = "default",
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Run one step; what the stages of dvc.yaml call."""
    from pipelines.pipeline import find

    found = find(pipeline)
    steps = found.steps(found.load(profile, overrides))
    if name not in steps:
        raise UserError(f"There is no step '{name}'; choose one of {', '.join(steps)}.")
    called, section = steps[name]
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", pipeline)
    with interruptible(RESUMABLE):
        arguments = _arguments(called.arguments, given)
        facts = called(section, **arguments)
    typer.echo(f"{name} wrote {arguments['out']} (digest {facts['digest'][:12]}).")


@app.command(hidden=True)
def pod(told: Annotated[str, typer.Argument(help="As JSON, what `pipelines.pod.run_in_pod` takes.")]) -> None:
    """Run a pipeline in the one pod of a cluster's run; what the task of `--placement one-pod` calls."""
    from pipelines.pod import run_in_pod

    run_in_pod(**json.loads(told))


@app.command()
def params(
    pipeline: PipelineName,
    profile: Profile = "default",
    overrides: Overrides = [],  # noqa: B006
    write: Annotated[
        bool, typer.Option("--write", help="Put them into ./params.yaml, as `dvc repro` reads it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show a pipeline's parameters, changed by a profile and overrides and checked.

    With --json: {PIPELINE: {SECTION: {NAME: value}}}, as params.yaml has them.
    """
    from components.core.contract import dump_params, write_params
    from pipelines.pipeline import find

    values = find(pipeline).load(profile, overrides)
    if write:
        write_params(Path("params.yaml"), pipeline, values)
        typer.echo("Wrote params.yaml; `dvc repro` now uses these.", err=as_json)
    if as_json:
        typer.echo(json.dumps({pipeline: values.model_dump(mode="json")}, indent=1))
    elif not write:
        typer.echo(dump_params(pipeline, values), nl=False)


@app.command()
def clean(
    older_than: Annotated[
        str | None, typer.Option(metavar="7d", help="Only what nobody wrote or used for so long (s, m, h or d).")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove what ganflow keeps and no run uses: results, logs, fetched data, checkpoints of unfinished trainings.

    What a later run needs of it, that run computes or fetches anew; models and metrics in MLflow stay.
    """
    from components.core.storage import state_dir
    from pipelines.cleaning import find, remove
    from pipelines.quantities import seconds

    items = find(seconds(older_than) if older_than else 0)
    for kind in dict.fromkeys(item.kind for item in items):
        sizes = [item.size for item in items if item.kind == kind]
        typer.echo(f"{sum(sizes) / 1e6:10.1f} MB  {len(sizes):5}  {kind}")
    if not items:
        typer.echo(f"There is nothing to remove in {state_dir()}.")
    elif yes or _agreed(f"Remove them from {state_dir()}? What a later run needs of them it computes or fetches anew."):
        typer.echo(f"Freed {remove(items) / 1e6:.1f} MB.")


@app.command()
def colour(
    photographs: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Pictures or grey medical slices.")],
    model: Annotated[
        str, typer.Option(metavar="URI", help="A registered model, or a folder that holds one.")
    ] = "models:/colour-renderer@champion",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the coloured pictures go.")] = Path("out/coloured"),
) -> None:
    """Colour pictures of any size, with their own resolution and lightness."""
    from components.rendering.render import render_files

    for picture in render_files(photographs, model, out):
        typer.echo(picture)


def _runner(name: str, image: str | None) -> Any:
    """Where the tasks of a run are executed; Docker's client is imported only where it is wanted."""
    if name == "docker":
        from pipelines.containers import Containers

        return Containers(image)
    from pipelines.subprocesses import Subprocesses

    return Subprocesses()


def _arguments(hints: dict[str, Any], given: list[str]) -> dict[str, Any]:
    """NAME=VALUE words as a step's keyword arguments; a list input's value is a glob."""
    pairs = dict(word.split("=", 1) for word in given if "=" in word)
    if len(pairs) < len(given) or "out" not in pairs:
        raise UserError("Give the step's inputs and arguments as NAME=VALUE, each once, and out=FOLDER among them.")
    return {name: _glob(value) if hints.get(name) == list[Path] else value for name, value in pairs.items()}


def _agreed(question: str) -> bool:
    """Whether somebody says yes.

    Raises:
        UserError: nobody is there to say anything.
    """
    try:
        return typer.confirm(question)
    except typer.Abort:
        if sys.stdin.isatty():  # Ctrl-C
            raise
        raise UserError("Nothing was removed, for there is nobody here to ask; say --yes.") from None


def _glob(pattern: str) -> list[Path]:
    found = sorted(map(Path, glob.glob(pattern)))  # noqa: PTH207 (Path.glob takes no absolute pattern)
    if not found:
        raise UserError(f"Nothing matches {pattern}; run the steps that write there first.")
    return found
