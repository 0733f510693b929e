"""The strategies by name: what each does, and where it is.

A new strategy is a function of an instance in a file of its own, and a line here. The CLI's choices, the
configuration's schema and the table in `docs/planner.md` follow. Nothing is imported before it is used, since every
`streamflow` command reads the names.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamflow_fluxop.planning.problem.instance import Instance
    from streamflow_fluxop.planning.result.schedule import Schedule

HERE = "streamflow_fluxop.planning"


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to plan.

    Attributes:
        what: it does, in a phrase.
        function: `module:name` of the function that makes a schedule of an instance; empty: the strategy is the search.
        least: `module:name` of what such schedules cost (currency) and take (ticks) at least; empty: nobody knows.
        quick: whether it takes no longer than a list schedule.
        proof: share of the search's effort that a proof may take.
    """

    what: str
    function: str = ""
    least: str = ""
    quick: bool = True
    proof: float = 0.4

    def schedule(self, instance: Instance) -> Schedule:
        """Make the schedule of a strategy that does not search.

        Raises:
            UserError: the limits leave it no room.
        """
        found: Schedule = _loaded(self.function)(instance)
        return found

    def floor(self, instance: Instance) -> tuple[float, float] | None:
        """What its schedule costs (currency) and takes (ticks) at least; None where nobody knows."""
        return _loaded(self.least)(instance) if self.least else None


BASELINES = "construct.baselines"
FLOORS = "construct.baseline_floors"

REGISTRY = {
    "auto": Strategy("the best of all, and a search from there on"),
    "optimal": Strategy("the same search, most of whose effort goes into a proof", proof=0.8),
    "per-task": Strategy("a MiniCluster for each job", f"{BASELINES}:per_task", f"{FLOORS}:of_per_task"),
    "per-step": Strategy("a MiniCluster for each step", f"{BASELINES}:per_step", f"{FLOORS}:of_per_step"),
    "single": Strategy("one MiniCluster for each image", f"{BASELINES}:single", f"{FLOORS}:of_single"),
    "by-level": Strategy("the rule of Snakemake's proof of concept", f"{BASELINES}:by_level", quick=False),
}
"""All strategies; the first one is what is taken where nobody says."""


def names() -> tuple[str, ...]:
    """The names of all strategies."""
    return tuple(REGISTRY)


def simple() -> dict[str, Strategy]:
    """The strategies that do not search."""
    return {name: strategy for name, strategy in REGISTRY.items() if strategy.function}


def _loaded(where: str) -> Callable[[Instance], Any]:
    module, _, name = where.partition(":")
    found: Callable[[Instance], Any] = getattr(import_module(f"{HERE}.{module}"), name)
    return found
