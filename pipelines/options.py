"""What several commands share: arguments and options."""

from typing import Annotated

import typer

PipelineName = Annotated[str, typer.Argument(metavar="PIPELINE", help="Which system: cardiac, digits or colour.")]
Profile = Annotated[str, typer.Option(help="Set of parameters: default, smoke (seconds) or paper (published scale).")]
Overrides = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Change one parameter, such as cardiac.egan.gamma=0.1."),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="Raw data: a folder, s3://bucket/prefix, or what DVC tracks; README says what is taken without it.",
    ),
]
Placement = Annotated[
    str, typer.Option(metavar="PROFILE", help="Where the steps run: a profile of infra/placement.yaml.")
]
Image = Annotated[
    str | None,
    typer.Option(envvar="GANFLOW_IMAGE", metavar="NAME@sha256:…", help="The image that the steps run in, by digest."),
]
Host = Annotated[
    str | None, typer.Option(envvar="KF_PIPELINES_ENDPOINT", metavar="URL", help="Address of Kubeflow Pipelines.")
]
Namespace = Annotated[
    str | None,
    typer.Option(envvar="KF_PIPELINES_NAMESPACE", help="Yours, where Kubeflow Pipelines serves several."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Watch the run; exit code 1 if it fails, 3 if cancelled.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts, and nothing else, on standard output.")]
