"""A plan as tables and lists, for the terminal and for files without colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from streamflow_fluxop.model import Alternative, Plan, Step
from streamflow_fluxop.orchestration.simulation.expectation import Expectation
from streamflow_fluxop.report.names import Names, StepNames, short_names
from streamflow_fluxop.report.units import duration, number


def expected(what: Expectation) -> str:
    """What a plan is expected to cost and to take, its durations being uncertain."""
    cost, makespan = what.cost, what.makespan
    why = "if guesses are off by half or twice" if what.guesses else "with the durations' spread"
    return (
        f"{why}: expect {duration(makespan.mean)} (10-90 %: {duration(makespan.low)} to "
        f"{duration(makespan.high)}), cost {number(cost.mean)} ({number(cost.low)} to {number(cost.high)}), "
        f"by {what.runs} simulated runs"
    )


@dataclass(frozen=True)
class NoPlan:
    """A strategy that has none to show.

    Attributes:
        strategy: its name.
        why: the reason.
    """

    strategy: str
    why: str


def totals(plan: Plan, strategy: str | None = None) -> Alternative:
    """What a plan comes to, by the name of a strategy, or by that of its own."""
    return Alternative(
        strategy=strategy or plan.strategy,
        miniclusters=len(plan.miniclusters),
        node_seconds=plan.node_seconds,
        cost=plan.cost,
        makespan=plan.makespan,
    )


def strategies(plan: Plan, rows: Sequence[Alternative | NoPlan], *, score: bool = False) -> RenderableType:
    """Plans side by side, the bounds below them, and why a strategy has no plan.

    Args:
        plan: any of them: the bounds are the same.
        rows: what each strategy came to.
        score: whether to show the balanced objective.
    """
    made = table("strategy", ">MiniClusters", ">node-seconds", ">cost", ">makespan", *([">score"] if score else []))
    for row in rows:
        if isinstance(row, NoPlan):
            made.add_row(row.strategy, "no plan")
        else:
            cells = [row.strategy, *amounts(row), f"{_score(plan, row):.3f}"]
            made.add_row(*cells[: len(made.columns)])
    bounds = ["no plan is below", "", "", number(plan.bounds.cost), duration(plan.bounds.makespan)]
    made.add_section()
    made.add_row(*[*bounds, f"{plan.bounds.score:.3f}"][: len(made.columns)], style="dim")
    missing = [Text(f"{row.strategy}: {row.why}", style="dim") for row in rows if isinstance(row, NoPlan)]
    return Group(made, *([Text(), *missing] if missing else []))


def amounts(row: Alternative) -> list[str]:
    """MiniClusters, node-seconds, cost and makespan in words."""
    return [number(row.miniclusters), number(row.node_seconds), number(row.cost), duration(row.makespan)]


def _score(plan: Plan, row: Alternative) -> float:
    """The balanced objective, as the planner has it."""
    weight = plan.problem.objective.weight
    cost, makespan = (
        value / bound if bound else 1 + value
        for value, bound in ((row.cost, plan.bounds.cost), (row.makespan, plan.bounds.makespan))
    )
    return weight * cost + (1 - weight) * makespan


def miniclusters(plan: Plan, rows: int | None = None) -> Table:
    """Every MiniCluster from asked for to gone; where images are shown, there is no room for when it is ready.

    Args:
        plan: the plan.
        rows: how many at most; None: all.
    """
    images = any(m.image for m in plan.miniclusters)
    names = StepNames(s.name for s in plan.problem.workflow.steps)
    when = ("image", "asked", "gone") if images else ("asked", "ready", "gone")
    made = table("=MiniCluster", "nodes", *when, ">cost", "=steps")
    for m in plan.miniclusters[:rows]:
        sizes = [m.size, *(r.size for r in m.resizes)]
        nodes = " then ".join(map(str, sizes[:4])) + (" …" if len(sizes) > 4 else "")
        image = Names([m.image or ""], last_parts=True)
        made.add_row(
            m.name,
            f"{nodes} {m.flavour}",
            *((image, duration(m.asked)) if images else (duration(m.asked), duration(m.ready))),
            duration(m.gone),
            number(m.cost),
            Names(few(names.together(m.steps), 6)),
        )
    return made


def steps(plan: Plan, rows: int | None = None) -> Table:
    """Every step: what it needs, how long it takes and how we know, when and where it runs.

    Args:
        plan: the plan.
        rows: how many at most; None: all.
    """
    by_name = {s.name: s for s in plan.problem.workflow.steps}
    names = short_names(by_name)
    made = table("step", ">jobs", "needs of a job", "time of a job", "=runs", "in")
    for estimate in plan.steps[:rows]:
        step = by_name[estimate.step]
        made.add_row(
            Names([names[step.name]]),
            jobs(step),
            needs(step),
            job_time(step),
            "" if step.skipped else f"{duration(estimate.start)} - {duration(estimate.end)}",
            where(step, estimate.miniclusters, 4),
        )
    return made


def jobs(step: Step) -> str:
    """How many jobs a step has, and whether anybody knows."""
    if step.skipped:
        return "0"
    return f"{number(step.width)}{' (assumed)' if step.width_source == 'assumed' else ''}"


def needs(step: Step) -> str:
    """What a job needs; what nobody stated is marked as the default that it is."""
    return "" if step.controller else step.needs.in_words(step.defaults)


def where(step: Step, miniclusters: Sequence[str], most: int) -> str:
    """Where a step's jobs run."""
    if step.skipped:
        return "skipped"
    return "elsewhere" if step.controller else some(miniclusters, most)


def job_time(step: Step) -> str:
    """How long a job takes, and how we know: ``10 min (hint)``."""
    if step.controller and not step.duration.seconds:
        return ""
    spread = f" ± {duration(step.duration.spread)}" if step.duration.spread else ""
    return f"{duration(step.duration.seconds)}{spread} ({step.duration.source})"


def some(words: Sequence[str], most: int) -> str:
    """The first few of many."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def few(words: Sequence[str], most: int) -> list[str]:
    """The same, one by one."""
    return [*words[:most], *([f"{len(words) - most} more"] if len(words) > most else [])]


def sentences(pairs: Iterable[tuple[str, str]]) -> RenderableType:
    """Sentences under each other, each group of them with its name before the first one."""
    grid = Table.grid(padding=(0, 2))
    before = None
    for name, text in pairs:
        grid.add_row(name if name != before or name == "-" else "", text)
        before = name
    return Padding(grid, (0, 0, 0, 2), expand=False)


def table(*columns: str) -> Table:
    """A table; names begin with ``>`` where columns are of numbers, with ``=`` where they are not to be broken."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), header_style="bold")
    for name in columns:
        made.add_column(
            name.lstrip(">="),
            justify="right" if name.startswith(">") else "left",
            no_wrap=name.startswith((">", "=")),
            overflow="fold",
        )
    return made
