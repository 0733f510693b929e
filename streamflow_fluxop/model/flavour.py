from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, StringConstraints

from streamflow_fluxop.model.base import Document


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
