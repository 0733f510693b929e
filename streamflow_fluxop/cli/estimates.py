"""`fluxop estimates`: what past runs know of a workflow's steps, ready to paste into the fleet's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from streamflow_fluxop.cli import options


def estimates(
    file: Annotated[Path, typer.Argument(metavar="STREAMFLOW_FILE", help="The StreamFlow file.", show_default=False)],
    deployment: options.DeploymentName = None,
    history: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation on Python 3.10, too
        typer.Option(
            "--history", metavar="FOLDER", help="A folder of event logs instead of this user's.", show_default=False
        ),
    ] = None,
) -> None:
    """Print what past runs tell of each step: a block `steps` for the fleet's configuration.

    Exit code 1: no past run tells anything.
    """
    from streamflow_fluxop.sources.step_estimates import estimates as known

    found = known(str(file), deployment=deployment, history=history)
    told = {name: lines for name, lines in found.items() if lines}
    for name, lines in told.items():
        typer.echo(f"# under deployments.{name}.config")
        typer.echo("steps:")
        for line in lines:
            typer.echo(line)
    if not told:
        typer.echo("no past run tells anything of these steps: run the workflow first", err=True)
        raise typer.Exit(1)
