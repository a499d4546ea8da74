"""The command `ganflow`."""

import contextlib
import gc
import glob
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from components.core.errors import UserError
from pipelines import cluster_cli, image_cli
from pipelines.options import INTERRUPTED, Data, Overrides, PipelineName, Profile

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
) -> None:
    """Run a pipeline on this machine and write DIR/report.html and DIR/metrics.json."""
    from pipelines.pipeline import find
    from pipelines.session import run_session

    found = find(pipeline)
    with _interruptible():
        run_session(found, data, profile, overrides, out or Path("out") / pipeline, _runner(runner, image))


app.command("compile")(cluster_cli.compile_)
app.command()(cluster_cli.submit)
app.command()(cluster_cli.schedule)
app.command()(cluster_cli.status)


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
    with _interruptible():
        called(section, **_arguments(called.arguments, given))


@app.command()
def params(
    pipeline: PipelineName,
    profile: Profile = "default",
    overrides: Overrides = [],  # noqa: B006
    write: Annotated[
        bool, typer.Option("--write", help="Put them into ./params.yaml, as `dvc repro` reads it.")
    ] = False,
) -> None:
    """Show a pipeline's parameters, changed by a profile and overrides and checked."""
    from components.core.contract import dump_params, write_params
    from pipelines.pipeline import find

    values = find(pipeline).load(profile, overrides)
    if write:
        write_params(Path("params.yaml"), pipeline, values)
        typer.echo("Wrote params.yaml; `dvc repro` now uses these.")
    else:
        typer.echo(dump_params(pipeline, values), nl=False)


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


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Say after Ctrl-C that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        print("ganflow: interrupted; the same command goes on from the last checkpoints.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


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


def _glob(pattern: str) -> list[Path]:
    found = sorted(map(Path, glob.glob(pattern)))  # noqa: PTH207 (Path.glob takes no absolute pattern)
    if not found:
        raise UserError(f"Nothing matches {pattern}; run the steps that write there first.")
    return found


def main() -> None:
    """Run the command line; a `UserError` becomes its sentence and exit code 2."""
    gc.set_threshold(10_000)  # Python's 700 cost a tenth of importing torch or MLflow, which is most of a short step
    try:
        app()
    except UserError as error:
        if os.environ.get("GANFLOW_DEBUG"):
            raise
        print(f"ganflow: {error}", file=sys.stderr)
        sys.exit(2)
