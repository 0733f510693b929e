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
    from streamflow_fluxop.report.tables import NoPlan
    from streamflow_fluxop.sources import Source

EXTREMES = ("per-step", "single")
"""The two that the article begins with: a MiniCluster for each step, and one for all."""


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
    javascript: bool
    web: bool
    yes: bool
    limits: Limits
    goal: Goal | None
    weight: float | None
    deadline: float | None
    budget: float | None
    seed: int | None
    time_limit: float | None

    def sources(self) -> list[Source]:
        """What to plan for: one problem a fleet and workflow.

        Raises:
            UserError: see the readers.
        """
        from streamflow_fluxop.sources import read

        sources = read(
            self.file,
            workflow=self.workflow,
            flavours=self.flavours,
            deployment=self.deployment,
            workflow_name=self.workflow_name,
            history=self.history,
            no_history=self.no_history,
            javascript=self.javascript,
            web=self.web,
            agree=None if self.yes else _asked,
        )
        return [s.wanting(self._objective(s), self.limits) for s in sources]

    def _objective(self, source: Source) -> Objective:
        """What the options say, and the file where they have their defaults."""
        from streamflow_fluxop.model import Objective

        said = source.objective
        return Objective(
            goal=said.goal if self.goal is None else self.goal.value,
            weight=said.weight if self.weight is None else self.weight,
            deadline=said.deadline if self.deadline is None else self.deadline,
            budget=said.budget if self.budget is None else self.budget,
        )

    def solve(self, source: Source, strategy: str | None) -> Plan:
        """Plan one of them.

        Args:
            source: what to plan for.
            strategy: None: what the file says; `auto` where it plans nothing.

        Raises:
            UserError: there is no plan, or none within deadline and budget, with the place in the file and a remedy.
        """
        from streamflow_fluxop.planning import solve
        from streamflow_fluxop.planning.strategies import names

        if strategy not in (None, *names()):
            raise UserError(
                f"there is no strategy {strategy!r}", where="--strategy", fix=f"Take one of {', '.join(names())}."
            )
        options, notes = source.options, source.notes
        if strategy is None and options.strategy == "dynamic":
            notes = (*notes, "the file says `strategy: dynamic`: a run has no plan, and this is what one would be")
        elif strategy is None:
            strategy = options.strategy
        try:
            plan = solve(
                source.problem,
                strategy=strategy or "auto",
                seed=options.seed if self.seed is None else self.seed,
                time_limit=source.time_limit if self.time_limit is None else self.time_limit,
            )
        except UserError as error:
            raise self._located(error, source) from None
        return plan.model_copy(update={"assumptions": [*plan.assumptions, *notes]})

    def _located(self, error: UserError, source: Source) -> UserError:
        """The error with the place of what it is about: an option, or something in the file."""
        for option, value in (("deadline", self.deadline), ("budget", self.budget)):
            if value is not None and error.where == f"objective: {option}":
                return UserError(error.what, where=f"--{option}", fix=error.fix)
        return source.located(error)

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


def _asked(what: str) -> bool:
    """Whether the user agrees; where nobody can answer it is said only: it was the user who named the file."""
    import sys

    import typer

    if not sys.stdin.isatty():
        typer.echo(what, err=True)
        return True
    return typer.confirm(f"{what}\nRun it?", err=True)


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
