"""A plan as tables and lists, for the terminal and for files without colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table

from streamflow_fluxop.grouping import describe
from streamflow_fluxop.model import Plan, Step
from streamflow_fluxop.report.chart import short_names
from streamflow_fluxop.report.units import duration, number, times


def headline(plan: Plan) -> str:
    """The plan in a line: ``3 MiniClusters, 42 min, cost 24 720, optimal``."""
    return (
        f"{times(len(plan.miniclusters), 'MiniCluster')}, {duration(plan.makespan)}, cost {number(plan.cost)}, "
        f"{quality(plan)}"
    )


def quality(plan: Plan) -> str:
    """How far the plan is from the best there can be."""
    if plan.optimal:
        return "optimal"
    return f"within {100 * plan.gap:.1f} % of the bound" if plan.gap < 1 else f"{1 + plan.gap:.1f} times the bound"


def strategies(plan: Plan, others: Sequence[Plan | tuple[str, str]], *, score: bool = False) -> Table:
    """Plans side by side, the bounds below them.

    Args:
        plan: comes first; its bounds are shown.
        others: other plans for the same problem, or the strategy and why it has none.
        score: whether to show the balanced objective.
    """
    table = _table("strategy", ">MiniClusters", ">node-seconds", ">cost", ">makespan", *([">score"] if score else []))
    for other in (plan, *others):
        if isinstance(other, Plan):
            cells = [
                "this plan" if other is plan and not score else other.strategy,
                str(len(other.miniclusters)),
                number(other.node_seconds),
                number(other.cost),
                duration(other.makespan),
                f"{other.score:.3f}",
            ]
            table.add_row(*cells[: len(table.columns)])
        else:
            table.add_row(other[0], f"no plan: {other[1]}")
    bounds = ["no plan is below", "", "", number(plan.bounds.cost), duration(plan.bounds.makespan)]
    table.add_section()
    table.add_row(*[*bounds, f"{plan.bounds.score:.3f}"][: len(table.columns)], style="dim")
    return table


def miniclusters(plan: Plan, rows: int | None = None) -> Table:
    """Every MiniCluster from asked for to gone.

    Args:
        plan: the plan.
        rows: how many at most; None: all.
    """
    images = any(m.image for m in plan.miniclusters)
    names = short_names(s.name for s in plan.problem.workflow.steps)
    table = _table("MiniCluster", "nodes", *(["image"] if images else []), "asked", "ready", "gone", ">cost", "steps")
    for m in plan.miniclusters[:rows]:
        sizes = [m.size, *(r.size for r in m.resizes)]
        nodes = " then ".join(map(str, sizes[:4])) + (" …" if len(sizes) > 4 else "")
        table.add_row(
            m.name,
            f"{nodes} {m.flavour}",
            *([m.image or ""] if images else []),
            duration(m.asked),
            duration(m.ready),
            duration(m.gone),
            number(m.cost),
            some([names[s] for s in m.steps], 6),
        )
    return table


def steps(plan: Plan, rows: int | None = None) -> Table:
    """Every step: what it needs, how long it takes and how we know, when and where it runs.

    Args:
        plan: the plan.
        rows: how many at most; None: all.
    """
    by_name = {s.name: s for s in plan.problem.workflow.steps}
    names = short_names(by_name)
    table = _table("step", ">jobs", "needs of a job", "time of a job", "runs", "in")
    for estimate in plan.steps[:rows]:
        step = by_name[estimate.step]
        table.add_row(
            names[step.name],
            f"{step.width}{' (assumed)' if step.width_source == 'assumed' else ''}",
            "" if step.controller else describe(step.needs),
            job_time(step),
            f"{duration(estimate.start)} - {duration(estimate.end)}",
            "elsewhere" if step.controller else some(estimate.miniclusters, 4),
        )
    return table


def job_time(step: Step) -> str:
    """How long a job takes, and how we know: ``10 min (hint)``."""
    if step.controller and not step.duration.seconds:
        return ""
    spread = f" ± {duration(step.duration.spread)}" if step.duration.spread else ""
    return f"{duration(step.duration.seconds)}{spread} ({step.duration.source})"


def some(words: Sequence[str], most: int) -> str:
    """The first few of many."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def sentences(pairs: Iterable[tuple[str, str]]) -> RenderableType:
    """Sentences under each other, each group of them with its name before the first one."""
    grid = Table.grid(padding=(0, 2))
    before = None
    for name, text in pairs:
        grid.add_row(name if name != before or name == "-" else "", text)
        before = name
    return Padding(grid, (0, 0, 0, 2), expand=False)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), header_style="bold")
    for name in columns:
        numeric = name.startswith(">")
        table.add_column(name.lstrip(">"), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    return table
