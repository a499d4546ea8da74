"""The commands `ganflow image …`."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Build and push the image that steps run in.")


@app.command()
def build(
    torch_index: Annotated[
        str,
        typer.Option(metavar="URL", help="Where to look for torch beside PyPI, such as PyTorch's index of CPU builds."),
    ] = "",
) -> None:
    """Build the image of this checkout and print its id."""
    from pipelines.image import DIRTY, build_image, revision
    from pipelines.pipeline import CHECKOUT

    if revision(CHECKOUT).endswith(DIRTY):
        _tell("The checkout has changes that are not committed; the image's label says so.")
    typer.echo(build_image(CHECKOUT, torch_index, _tell))


@app.command()
def push(
    name: Annotated[str, typer.Argument(metavar="NAME[:TAG]", help="Such as registry.example.org/team/ganflow:0.1.0.")],
    image: Annotated[
        str | None, typer.Option(metavar="REF", help="What to push; the image built last if not given.")
    ] = None,
) -> None:
    """Push the image to a registry and print NAME@sha256:…, by which pipelines refer to it."""
    from pipelines.image import push_image

    typer.echo(push_image(image, name, _tell))


def _tell(line: str) -> None:
    typer.echo(line, err=True)
