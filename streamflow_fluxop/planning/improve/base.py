"""What all that improves schedules has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from random import Random

    from streamflow_fluxop.planning.budget import Budget
    from streamflow_fluxop.planning.objective import Judge
    from streamflow_fluxop.planning.problem.instance import Instance
    from streamflow_fluxop.planning.result.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Task:
    """What an improver works on.

    Attributes:
        instance: the problem.
        judge: says what is better.
        budget: the schedules that are left, and the clock that ends what takes far longer than expected.
        rng: decides what is left to chance.
        seed: the one of `rng`, for solvers that have a generator of their own.
    """

    instance: Instance
    judge: Judge
    budget: Budget
    rng: Random
    seed: int


@dataclass(frozen=True, slots=True)
class Improvement:
    """What an improver came to.

    Attributes:
        schedule: what it found; None where it found nothing better.
        optimal: whether that, or else the known schedule, is proved to be the best there is.
        bound: of the goal; 0 where it has proved none.
        cut: whether the clock ended it.
    """

    schedule: Schedule | None
    optimal: bool = False
    bound: float = 0.0
    cut: bool = False


class Improver(Protocol):
    """Looks for a better schedule than a known one. How much it may do is up to whoever makes it."""

    def applies(self, instance: Instance) -> bool:
        """Whether it can say something about such a problem."""

    def improve(self, task: Task, known: Schedule) -> Improvement:
        """Look for a better schedule than a feasible one."""
