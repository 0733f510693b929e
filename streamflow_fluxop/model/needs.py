from __future__ import annotations

from collections.abc import Collection
from math import ceil

from pydantic import Field, NonNegativeInt, PositiveInt

from streamflow_fluxop.model.base import Document
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

    def in_words(self, defaults: Collection[str] = ()) -> str:
        """The needs in a user's words, such as `4 tasks with 2 cores and 1 GPU each, 512 MiB`.

        Args:
            defaults: `cores`, `memory`: what nobody stated, and is marked.
        """
        tasks = f"{self.tasks} task{'s' * (self.tasks > 1)} with " if self.tasks > 1 else ""
        text = f"{tasks}{self.cores_per_task} core{'s' * (self.cores_per_task > 1)}"
        if self.gpus_per_task:
            text += f" and {self.gpus_per_task} GPU{'s' * (self.gpus_per_task > 1)}"
        if self.tasks > 1:
            text += " each"
        if self.nodes:
            text += f" on {self.nodes} node{'s' * (self.nodes > 1)}"
        memory = f", {self.memory} MiB" if self.memory else ""
        if "cores" in defaults and "memory" in defaults and memory:
            return f"{text}{memory} (defaults)"
        text += " (default)" if "cores" in defaults else ""
        return text + (f"{memory} (default)" if memory and "memory" in defaults else memory)
