"""`fluxop flavours`: the nodes of a Kubernetes cluster as flavours, ready to paste into a StreamFlow file."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow_fluxop.cli import kubernetes
from streamflow_fluxop.errors import UserError

if TYPE_CHECKING:
    from streamflow_fluxop.config.kubernetes import KubernetesConfig
    from streamflow_fluxop.model import Flavour


def flavours(
    kubeconfig: kubernetes.Kubeconfig = None,
    context: kubernetes.Context = None,
    gpu_resource: Annotated[
        str, typer.Option("--gpu-resource", metavar="NAME", help="What Kubernetes calls a node's GPUs.")
    ] = "nvidia.com/gpu",
) -> None:
    """Show a cluster's nodes as flavours: paste them under the deployment's config, and add prices.

    Cores and memory are what a pod can have of a node: less than all of it, as other pods run on every node.
    """
    from ruamel.yaml import YAML

    from streamflow_fluxop.config.kubernetes import KubernetesConfig

    found = asyncio.run(_flavours(KubernetesConfig(kubeconfig=kubeconfig, context=context), gpu_resource))
    if not found:
        raise UserError("no node of the cluster takes pods", fix="Look at them with `kubectl get nodes`.")
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump({"flavours": {name: _plain(flavour) for name, flavour in found.items()}}, sys.stdout)


async def _flavours(config: KubernetesConfig, gpu_resource: str) -> dict[str, Flavour]:
    from streamflow_fluxop.miniclusters.kubernetes import nodes

    async with kubernetes.connected(config) as api:
        return nodes.flavours(await nodes.list_nodes(api), gpu_resource)


def _plain(flavour: Flavour) -> dict[str, object]:
    return flavour.model_dump(exclude_defaults=True)
