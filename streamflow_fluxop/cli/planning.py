"""What `plan` and `compare` share: reading what to plan for, and planning it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.report.units import duration, number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamflow_fluxop.cli.options import Goal
    from streamflow_fluxop.model import Alternative, Limits, Objective, Plan
    from streamflow_fluxop.readers import Source
    from streamflow_fluxop.report.tables import NoPlan

EXTREMES = ("per-step", "single")
"""The two that the article begins with: a MiniCluster for each step, and one for all."""


DEFAULT_TIME_LIMIT = 5.0
"""Seconds of search that the options have as default: a StreamFlow file may say otherwise."""

MANY = 5000
"""Jobs from which on a strategy that the planner itself passed over is not tried for comparison: it takes minutes."""


@dataclass(frozen=True)
class Request:
    """What the options of a command say."""

    file: Path | None
    workflow: Path | None
    flavours: Path | None
    deployment: str | None
    workflow_name: str | None
    history: Path | None
    no_history: bool
    limits: Limits
    goal: Goal
    weight: float
    deadline: float | None
    budget: float | None
    seed: int
    time_limit: float

    def sources(self) -> list[Source]:
        """What to plan for: one problem a fleet and workflow.

        Raises:
            UserError: see the readers.
        """
        from streamflow_fluxop.readers import read

        sources = read(
            self.file,
            workflow=self.workflow,
            flavours=self.flavours,
            deployment=self.deployment,
            workflow_name=self.workflow_name,
            history=self.history,
            no_history=self.no_history,
        )
        return [s.wanting(self._objective(s), self.limits) for s in sources]

    def _objective(self, source: Source) -> Objective:
        """What the options say, and the file where they have their defaults."""
        from streamflow_fluxop.model import Objective

        said = source.objective
        return Objective(
            goal=said.goal if self.goal.value == "balanced" else self.goal.value,
            weight=said.weight if self.weight == 0.5 else self.weight,
            deadline=said.deadline if self.deadline is None else self.deadline,
            budget=said.budget if self.budget is None else self.budget,
        )

    def solve(self, source: Source, strategy: str) -> Plan:
        """Plan one of them.

        Raises:
            UserError: there is no plan, or none within deadline and budget, with the place in the file and a remedy.
        """
        from streamflow_fluxop.planner import STRATEGIES, solve

        if strategy not in STRATEGIES:
            raise UserError(
                f"there is no strategy {strategy!r}", where="--strategy", fix=f"Take one of {', '.join(STRATEGIES)}."
            )
        options = source.options
        if strategy == "auto" and options.strategy != "dynamic":
            strategy = options.strategy
        seed = self.seed or options.seed
        time_limit = source.time_limit if self.time_limit == DEFAULT_TIME_LIMIT else self.time_limit
        try:
            plan = solve(source.problem, strategy=strategy, seed=seed, time_limit=time_limit)
        except UserError as error:
            raise source.located(error) from None
        return plan.model_copy(update={"assumptions": [*plan.assumptions, *source.notes]})

    def others(self, source: Source, made: Plan, names: Iterable[str]) -> list[Alternative | NoPlan]:
        """What other strategies come to: as the planner found it on its way, else planned now.

        Args:
            source: what to plan for.
            made: the plan, whose `alternatives` say what is known already.
            names: of the strategies.
        """
        from streamflow_fluxop.report.tables import NoPlan, totals

        known = {a.strategy: a for a in made.alternatives}
        jobs = sum(s.width for s in source.problem.workflow.steps)
        rows: list[Alternative | NoPlan] = []
        for name in names:
            if name in known:
                rows.append(known[name])
            elif jobs > MANY:
                rows.append(NoPlan(name, f"not tried with {number(jobs)} jobs"))
            else:
                try:
                    rows.append(totals(self.solve(source, name), name))
                except UserError as error:
                    rows.append(NoPlan(name, error.what))
        return rows


def check_wishes(plan: Plan, source: Source) -> None:
    """Check deadline and budget.

    Raises:
        UserError: the plan, the best that was found, does not keep them.
    """
    wish, bounds = source.problem.objective, plan.bounds
    if wish.deadline is not None and plan.makespan > wish.deadline + 2e-3:
        raise UserError(
            f"no plan found that ends within {duration(wish.deadline)}: the quickest takes {duration(plan.makespan)}",
            where=f"{source.file}: --deadline",
            fix=f"No plan can take less than {duration(bounds.makespan)}. Allow more time, raise the limits, or add a "
            "flavour that comes up sooner.",
        )
    if wish.budget is not None and plan.cost > wish.budget * (1 + 1e-9):
        raise UserError(
            f"no plan found for {number(wish.budget)}: the cheapest costs {number(plan.cost)}",
            where=f"{source.file}: --budget",
            fix=f"No plan can cost less than {number(bounds.cost)}. Allow more, or add a cheaper flavour.",
        )
