from __future__ import annotations

from math import isfinite
from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, StringConstraints

from streamflow_fluxop.model.document import Document


class Flavour(Document):
    """A kind of node."""

    cores: PositiveInt = Field(description="Cores of a node.")
    memory: PositiveInt = Field(description="Memory of a node, in MiB.")
    gpus: NonNegativeInt = Field(0, description="GPUs of a node.")
    jobs_without_gpus: bool = Field(
        False, description="Nodes with GPUs take jobs that need none, too; else only those that fit nowhere else."
    )
    price: NonNegativeFloat = Field(0.0, description="Price of a node for an hour, in your currency.")
    bring_up: NonNegativeFloat = Field(
        60.0,
        description="Seconds from asking for a MiniCluster until it takes jobs; absent: 60, locally 1, by ssh 5.",
    )
    tear_down: NonNegativeFloat = Field(
        30.0,
        description="Seconds from giving a MiniCluster up until it is gone; absent: 30, locally 1, by ssh 2.",
    )
    count: PositiveInt | None = Field(
        None, description="How many nodes of this flavour there can be at once; absent: as many as the limits allow."
    )
    node_selector: dict[Annotated[str, StringConstraints(pattern=".+")], str] = Field(
        {}, description="Kubernetes: labels that the nodes must have."
    )
    tolerations: list[dict[str, Any]] = Field([], description="Kubernetes: taints that the pods tolerate.")
    resources: dict[Annotated[str, StringConstraints(pattern=".+")], str] = Field(
        {},
        description="Kubernetes: what a pod asks for beside cores, memory and GPUs (hugepages-2Mi, rdma/hca), "
        "or instead (cpu: 3500m).",
    )


class Limits(Document):
    """What the fleet may hold at any moment, from asking for a MiniCluster until it is gone; absent: no limit."""

    nodes: PositiveInt | None = Field(None, description="Nodes of all MiniClusters together.")
    cores: PositiveInt | None = Field(None, description="Cores of all nodes together.")
    gpus: NonNegativeInt | None = Field(None, description="GPUs of all nodes together.")
    memory: PositiveInt | None = Field(None, description="Memory of all nodes together, in MiB.")
    cost_per_hour: NonNegativeFloat | None = Field(None, description="Price of all nodes together for an hour.")
    miniclusters: PositiveInt | None = Field(None, description="MiniClusters at once.")

    def nodes_of(self, flavour: Flavour) -> int | None:
        """How many nodes of `flavour` may be up at once if nothing else is; None where nothing limits them."""
        bounds = [
            limit // need if need else None
            for limit, need in (
                (self.nodes, 1),
                (self.cores, flavour.cores),
                (self.gpus, flavour.gpus),
                (self.memory, flavour.memory),
                (flavour.count, 1),
            )
            if limit is not None
        ]
        if self.cost_per_hour is not None and flavour.price:
            nodes = self.cost_per_hour / flavour.price + 1e-9
            bounds.append(int(nodes) if isfinite(nodes) else None)
        return min((b for b in bounds if b is not None), default=None)
