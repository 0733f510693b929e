"""What a reader returns: a problem, and where its parts were read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import networkx

from streamflow_fluxop.config.fleet import PlanOptions
from streamflow_fluxop.config.kubernetes import KubernetesConfig
from streamflow_fluxop.errors import UserError, UserErrors
from streamflow_fluxop.model import Flavour, Limits, Objective, Problem, Step


@dataclass(frozen=True)
class Source:
    """A problem that was read somewhere.

    Attributes:
        title: what to call it, such as ``two-samples on fleet``.
        problem: the document.
        file: as the user typed it.
        place: where a step is written, by its name; None where nobody knows.
        notes: what the reader assumed, a sentence each.
        kubernetes: how the MiniClusters' manifests are made; None: as usual.
        options: what the file wants of the plan.
        reusable: how many jobs of each step are left out, as their results may be there.
        reuse: that in words; empty: none are.
    """

    title: str
    problem: Problem
    file: str
    place: Callable[[str], str | None] = lambda step: None
    notes: tuple[str, ...] = ()
    kubernetes: KubernetesConfig | None = None
    options: PlanOptions = field(default_factory=PlanOptions)
    reusable: Mapping[str, int] = field(default_factory=dict)
    reuse: str = ""

    @property
    def objective(self) -> Objective:
        """What the file says a good plan is."""
        o = self.options
        return Objective(goal=o.objective, weight=o.weight, deadline=o.deadline, budget=o.budget)

    @property
    def time_limit(self) -> float:
        """How much to search for a plan, in seconds of a slow machine: as the file says, or as is worth it."""
        if self.options.time_limit is not None:
            return self.options.time_limit
        ends: dict[str, float] = {}
        steps = {s.name: s for s in self.problem.workflow.steps}
        graph = networkx.DiGraph((d.step, s.name) for s in steps.values() for d in s.after)
        graph.add_nodes_from(steps)
        if not networkx.is_directed_acyclic_graph(graph):
            return 5.0  # the planner will refuse it
        for name in networkx.topological_sort(graph):
            seconds = steps[name].duration.seconds if name in steps else 0.0
            ends[name] = seconds + max((ends[p] for p in graph.predecessors(name)), default=0.0)
        return min(5.0, max(0.5, 0.1 * max(ends.values(), default=0.0)))

    def wanting(self, objective: Objective, limits: Limits) -> Source:
        """The same with another objective, and with limits that replace those of the same name.

        Args:
            objective: what a good plan is.
            limits: what is None in them stays as it is.
        """
        replaced = self.problem.limits.model_copy(update=limits.model_dump(exclude_none=True))
        return replace(self, problem=self.problem.model_copy(update={"objective": objective, "limits": replaced}))

    def with_steps(self, steps: list[Step], *notes: str) -> Source:
        """The same with other steps, and with notes about them."""
        workflow = self.problem.workflow.model_copy(update={"steps": steps})
        return replace(
            self, problem=self.problem.model_copy(update={"workflow": workflow}), notes=(*self.notes, *notes)
        )

    def with_flavours(self, flavours: dict[str, Flavour], *notes: str) -> Source:
        """The same with other flavours, and with notes about them."""
        return replace(
            self, problem=self.problem.model_copy(update={"flavours": flavours}), notes=(*self.notes, *notes)
        )

    def located(self, error: UserError) -> UserError:
        """The error with the place in the file, where it names a step that has one, else with the file's name."""
        if isinstance(error, UserErrors):
            return UserErrors([self.located(e) for e in error.errors])
        where = error.where or ""
        found = re.match(r"step (?P<name>.*?)(: .*)?$", where)
        name = found["name"] if found else ""
        place = self.place(name) if found else None
        if place is None:
            return UserError(error.what, where=f"{self.file}: {where}" if where else self.file, fix=error.fix)
        what = error.what if name in error.what or name in place else f"step {name}: {error.what}"
        return UserError(what, where=place, fix=error.fix)
