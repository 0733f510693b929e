"""`fluxop manifests`: what has to be in a Kubernetes cluster before a run, for `kubectl apply`."""

from __future__ import annotations

from typing import Annotated

import typer

manifests = typer.Typer(name="manifests", no_args_is_help=True)


@manifests.callback()
def main() -> None:
    """Print manifests for kubectl apply: the rights that a fleet needs."""


@manifests.command()
def rbac(
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NAME", help="The namespace of the MiniClusters.")
    ] = "fluxop",
) -> None:
    """Print the rights that a fleet needs in a namespace: fluxop manifests rbac | kubectl apply -f -"""  # noqa: D415
    from streamflow_fluxop.miniclusters.kubernetes.rbac import rights

    typer.echo(rights(namespace), nl=False)
