"""The options that the commands about a Kubernetes cluster share, and the way into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from streamflow_fluxop.errors import UserError

if TYPE_CHECKING:
    from streamflow_fluxop.config.kubernetes import KubernetesConfig
    from streamflow_fluxop.miniclusters.kubernetes.api import Api

Kubeconfig = Annotated[
    Optional[str],  # noqa: UP045 - typer reads the annotation on Python 3.10, too
    typer.Option("--kubeconfig", metavar="PATH", help="Default: KUBECONFIG, or ~/.kube/config.", show_default=False),
]
Context = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--context", metavar="NAME", help="Context of the kubeconfig. Default: its current one.", show_default=False
    ),
]
NamespaceName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--namespace", "-n", metavar="NAME", help="Default: the context's.", show_default=False),
]


@asynccontextmanager
async def connected(config: KubernetesConfig) -> AsyncIterator[Api]:
    """The API of the cluster.

    Raises:
        UserError: what fails of it within the block, or opening it.
    """
    from streamflow_fluxop.miniclusters.kubernetes.api import Api
    from streamflow_fluxop.miniclusters.kubernetes.errors import KubernetesError

    api = Api(config)
    try:
        await api.open()
        yield api
    except KubernetesError as error:
        raise UserError(str(error)) from None
    finally:
        await api.close()
