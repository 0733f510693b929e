from __future__ import annotations

from math import ceil

from pydantic import Field, NonNegativeInt, PositiveInt

from streamflow_fluxop.model.document import Document
from streamflow_fluxop.model.flavour import Flavour


class Needs(Document):
    """What one job asks of Flux: the resources of a jobspec (Flux RFC 25), plus memory, which Flux ignores.

    `tasks` processes, each with `cores_per_task` cores and `gpus_per_task` GPUs. Tasks never span nodes.
    """

    nodes: PositiveInt | None = Field(
        None, description="Nodes that the tasks are spread over evenly; absent: as few as they fit on."
    )
    tasks: PositiveInt = Field(1, description="Processes that the job starts.")
    cores_per_task: PositiveInt = Field(1, description="Cores of each task.")
    gpus_per_task: NonNegativeInt = Field(0, description="GPUs of each task.")
    memory: NonNegativeInt = Field(0, description="MiB of the whole job, shared evenly by its tasks.")
    exclusive: bool = Field(False, description="No other job on the job's nodes.")

    def tasks_per_node(self, flavour: Flavour) -> int:
        """How many of the job's tasks one empty node of `flavour` holds; 0 where not even one fits."""
        fits = flavour.cores // self.cores_per_task
        if self.gpus_per_task:
            fits = min(fits, flavour.gpus // self.gpus_per_task)
        if self.memory:
            fits = min(fits, flavour.memory * self.tasks // self.memory)
        return fits

    def nodes_on(self, flavour: Flavour) -> int | None:
        """How many nodes of `flavour` the job occupies, wholly or in part; None where it does not fit.

        With `nodes` given it is that many, provided that the fullest node can hold its share.
        """
        per_node = self.tasks_per_node(flavour)
        if per_node == 0:
            return None
        if self.nodes is None:
            return ceil(self.tasks / per_node)
        share = ceil(self.tasks / self.nodes)
        return self.nodes if share <= per_node else None
