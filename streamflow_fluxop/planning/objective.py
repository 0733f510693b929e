"""How good a schedule is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamflow_fluxop.planning.problem.instance import TICKS

if TYPE_CHECKING:
    from streamflow_fluxop.model import Objective
    from streamflow_fluxop.planning.bound.lower_bounds import LowerBounds
    from streamflow_fluxop.planning.problem.instance import Instance

Value = tuple[float, float, float]
"""By how much deadline and budget are missed (in shares of them), the goal, and what decides between equals."""


def ratio(value: float, bound: float) -> float:
    """How many times its bound a value is; 1 where both are nothing."""
    return value / bound if bound else 1.0 + value


class Judge:
    """Values schedules: less is better.

    Args:
        instance: the problem, for its objective.
        bounds: what cost and makespan are measured against.
    """

    def __init__(self, instance: Instance, bounds: LowerBounds) -> None:
        self.objective: Objective = instance.objective
        self.bounds = bounds

    def score(self, cost: float, makespan: float) -> float:
        """The balanced objective."""
        w = self.objective.weight
        return w * ratio(cost, self.bounds.cost) + (1 - w) * ratio(makespan, self.bounds.makespan)

    def goal(self, cost: float, makespan: float) -> float:
        """What is to be small, in multiples of its bound."""
        match self.objective.goal:
            case "cost":
                return ratio(cost, self.bounds.cost)
            case "makespan":
                return ratio(makespan, self.bounds.makespan)
        return self.score(cost, makespan)

    def bound(self) -> float:
        """The least that `goal` can be."""
        return self.bounds.score if self.objective.goal == "balanced" else 1.0

    def value(self, cost: float, makespan: float) -> Value:
        """Deadline and budget first, then the goal, then the balanced objective."""
        missed = 0.0
        if self.objective.deadline is not None:
            missed += max(0.0, makespan / (self.objective.deadline * TICKS) - 1)
        if self.objective.budget is not None:
            missed += max(0.0, ratio(cost, self.objective.budget) - 1 - 1e-12)
        return (missed, self.goal(cost, makespan), self.score(cost, makespan))
