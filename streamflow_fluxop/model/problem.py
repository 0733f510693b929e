from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from streamflow_fluxop.model.base import Document
from streamflow_fluxop.model.capacity import Limits
from streamflow_fluxop.model.flavour import Flavour
from streamflow_fluxop.model.workflow import Workflow


class Objective(Document):
    """What a good plan is.

    A deadline and a budget come first. Among the plans that keep both, `cost` wants the cheapest, `makespan` the
    quickest, and `balanced` the least of `weight * cost / bound + (1 - weight) * makespan / bound`, with the lower
    bounds of the two.
    """

    goal: Literal["cost", "makespan", "balanced"] = "balanced"
    weight: float = Field(0.5, ge=0, le=1, description="Share of the cost in a balanced objective.")
    deadline: PositiveFloat | None = Field(
        None, description="Seconds from the start in which all jobs have to be over."
    )
    budget: NonNegativeFloat | None = Field(None, description="What the plan may cost at most, in your currency.")

    @property
    def cost_weight(self) -> float:
        """Share of the cost in the goal, from 0 to 1; the rest is the makespan's."""
        return {"cost": 1.0, "makespan": 0.0, "balanced": self.weight}[self.goal]


class Problem(Document):
    """Everything that a plan is made from."""

    version: Literal["1"] = "1"
    workflow: Workflow
    flavours: dict[str, Flavour] = Field(description="The kinds of node, by name.", min_length=1)
    limits: Limits = Limits()
    objective: Objective = Objective()
