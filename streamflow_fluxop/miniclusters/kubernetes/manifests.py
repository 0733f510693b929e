"""A plan's MiniClusters as the Flux Operator's custom resources (flux-framework.org/v1alpha2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streamflow_fluxop.config.kubernetes import KubernetesConfig
from streamflow_fluxop.miniclusters.kubernetes import resource
from streamflow_fluxop.miniclusters.kubernetes.resource import object_name
from streamflow_fluxop.model import Flavour, Plan, PlannedMiniCluster

__all__ = ["manifest", "manifests", "object_name"]


def manifests(plan: Plan, config: KubernetesConfig | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each MiniCluster's name in the plan and its manifest, in the plan's order.

    They are what `streamflow run` creates: interactive, so brokers start and wait for jobs. Annotations say when a
    MiniCluster is to be created and deleted and what it is to run; nothing in a manifest does it.

    Args:
        plan: of which MiniClusters there are.
        config: the fleet's section `kubernetes`; None: its defaults.
    """
    workflow = plan.problem.workflow.name
    containers = {step.name: step.container for step in plan.problem.workflow.steps}
    for minicluster in plan.miniclusters:
        flavour = plan.problem.flavours[minicluster.flavour]
        if minicluster.image is None and len(images := {containers.get(step) for step in minicluster.steps}) == 1:
            minicluster = minicluster.model_copy(update={"image": images.pop()})  # in Kubernetes it would be this
        yield minicluster.name, manifest(minicluster, flavour, workflow, config)


def without_image(plan: Plan, config: KubernetesConfig | None = None) -> list[str]:
    """The MiniClusters whose manifests name no container image: nothing can create them so."""
    return [name for name, made in manifests(plan, config) if not made["spec"]["containers"][0].get("image")]


def manifest(
    minicluster: PlannedMiniCluster, flavour: Flavour, workflow: str, config: KubernetesConfig | None = None
) -> dict[str, Any]:
    """One MiniCluster's manifest.

    Args:
        minicluster: the plan's.
        flavour: of its nodes: a pod asks for a whole node.
        workflow: name of the workflow, part of the MiniCluster's.
        config: see `manifests`.
    """
    return resource.minicluster(
        object_name(f"{workflow}-{minicluster.name}"),
        flavour,
        minicluster.size,
        max_size=minicluster.max_size,
        image=minicluster.image,
        config=config,
        labels={
            resource.WORKFLOW: object_name(workflow),
            resource.FLAVOUR: object_name(minicluster.flavour),
        },
        annotations={
            f"{resource.OURS}create-after": f"{minicluster.asked:g} s",
            f"{resource.OURS}delete-after": f"{minicluster.released:g} s",
            f"{resource.OURS}steps": ", ".join(minicluster.steps)[:1000],
        },
    )
