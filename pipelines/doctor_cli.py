"""The command `ganflow doctor`."""

from typing import Annotated

import typer

from components.core.errors import UserError
from pipelines.interruption import interruptible
from pipelines.options import Host, Image, Namespace

UNWELL = 1
"""Exit code where something is missing; bad input and a server that refuses have 2."""


def doctor(
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Look at a cluster, by a probe's run of about a minute.")
    ] = False,
    image: Image = None,
    host: Host = None,
    namespace: Namespace = None,
) -> None:
    """Say what is there of what ganflow needs, and what to do where something is not; exit code 1 then."""
    from pipelines.cluster import Cluster
    from pipelines.doctor import examine
    from pipelines.kubectl import Kubectl
    from pipelines.package import pinned
    from pipelines.placement import load_placement
    from pipelines.view import SIGNS

    if not cluster:
        raise UserError("Say what to look at: `ganflow doctor --cluster`.")
    rules = load_placement("cpu").pipeline
    findings = examine(Cluster(host, namespace), rules, pinned(image), Kubectl(namespace))
    unwell = False
    with interruptible("the probe ends by itself within a quarter of an hour."):
        for finding in findings:
            typer.echo(f"{SIGNS[finding.state][0]} {finding.text}")
            unwell = unwell or finding.state == "failed"
    if unwell:
        raise typer.Exit(UNWELL)
