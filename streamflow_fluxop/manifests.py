"""A plan's MiniClusters as the Flux Operator's custom resources (flux-framework.org/v1alpha2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from streamflow_fluxop.model import Flavour, Plan, PlannedMiniCluster

API_VERSION = "flux-framework.org/v1alpha2"

_LONGEST = 40
"""Letters of a name: pods' host names are it and `-INDEX-xxxxx`, and have 63 at most."""

_OURS = "streamflow-fluxop/"
"""Prefix of our labels and annotations."""


def manifests(plan: Plan) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each MiniCluster's name in the plan and its manifest, in the plan's order.

    They are interactive: brokers start and wait for jobs. Annotations say when a MiniCluster is to be created and
    deleted and what it is to run; nothing in a manifest does it.
    """
    workflow = plan.problem.workflow.name
    for minicluster in plan.miniclusters:
        flavour = plan.problem.flavours[minicluster.flavour]
        yield minicluster.name, manifest(minicluster, flavour, workflow)


def manifest(minicluster: PlannedMiniCluster, flavour: Flavour, workflow: str) -> dict[str, Any]:
    """One MiniCluster's manifest.

    Args:
        minicluster: the plan's.
        flavour: of its nodes: a pod asks for a whole node.
        workflow: name of the workflow, part of the MiniCluster's.
    """
    amounts: dict[str, str] = {"cpu": str(flavour.cores), "memory": f"{flavour.memory}Mi"}
    if flavour.gpus:
        amounts["nvidia.com/gpu"] = str(flavour.gpus)
    container: dict[str, Any] = {"resources": {"requests": amounts, "limits": dict(amounts)}}
    if minicluster.image is not None:
        container = {"image": minicluster.image, **container}
    spec: dict[str, Any] = {"size": minicluster.size}
    if minicluster.max_size > minicluster.size:
        spec["maxSize"] = minicluster.max_size
    spec |= {"interactive": True, "cleanup": True, "containers": [container]}
    pod: dict[str, Any] = {}
    if flavour.node_selector:
        pod["nodeSelector"] = dict(flavour.node_selector)
    if flavour.tolerations:
        pod["tolerations"] = [dict(t) for t in flavour.tolerations]
    if pod:
        spec["pod"] = pod
    return {
        "apiVersion": API_VERSION,
        "kind": "MiniCluster",
        "metadata": {
            "name": object_name(f"{workflow}-{minicluster.name}"),
            "labels": {
                "app.kubernetes.io/managed-by": "streamflow-fluxop",
                f"{_OURS}workflow": object_name(workflow),
                f"{_OURS}flavour": object_name(minicluster.flavour),
            },
            "annotations": {
                f"{_OURS}create-after": f"{minicluster.asked:g} s",
                f"{_OURS}delete-after": f"{minicluster.released:g} s",
                f"{_OURS}steps": ", ".join(minicluster.steps)[:1000],
            },
        },
        "spec": spec,
    }


def object_name(text: str) -> str:
    """A name that Kubernetes takes: itself where it can be, else made so, with a hash that keeps it unique."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"m-{plain}".rstrip("-")
    if plain == text and len(plain) <= _LONGEST:
        return plain
    digest = sha256(text.encode()).hexdigest()[:6]
    return f"{plain[: _LONGEST - 7].rstrip('-')}-{digest}"
