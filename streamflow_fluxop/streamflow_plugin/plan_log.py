"""What the log of `streamflow run` shows of a plan, and of what came of it, as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from streamflow_fluxop.report.headline import in_all
from streamflow_fluxop.report.units import duration, number, times

if TYPE_CHECKING:
    from streamflow_fluxop.model import Plan
    from streamflow_fluxop.orchestration.runner import FleetRunner

MOST_ROWS = 20
"""MiniClusters that a table shows; what comes of the others is in the report."""

MOST_STEPS = 4
"""Steps of a MiniCluster that a table names."""


def plan_table(plan: Plan) -> str:
    """A plan's MiniClusters: nodes, when they are asked for and gone, cost, steps."""
    rows = [("MiniCluster", "nodes", "asked", "gone", "cost", "steps")]
    for m in plan.miniclusters[:MOST_ROWS]:
        nodes = f"{m.size}-{m.max_size}" if m.max_size > m.size else str(m.size)
        steps = ", ".join(m.steps[:MOST_STEPS])
        more = len(m.steps) - MOST_STEPS
        rows.append(
            (
                m.name,
                f"{nodes} {m.flavour}",
                duration(m.asked),
                duration(m.gone),
                number(m.cost),
                f"{steps} and {more} more" if more > 0 else steps,
            )
        )
    return _lines(rows, len(plan.miniclusters), f"in all {in_all(plan)} (strategy {plan.strategy})")


def comparison(plan: Plan | None, runner: FleetRunner) -> str:
    """Planned against actual, a line for each MiniCluster and one for all. Times are since the fleet began."""
    planned = {m.name: m for m in plan.miniclusters} if plan else {}
    names = list({**planned, **{life.name: None for life in runner.account.lives}})
    rows = [("MiniCluster", "asked", "gone", "node-seconds", "planned", "cost", "planned")]
    for name in names[:MOST_ROWS]:
        lives = [life for life in runner.account.lives if life.name == name]
        m = planned.get(name)
        rows.append(
            (
                name if len(lives) < 2 else f"{name} ({len(lives)} times)",
                _time(lives[0].asked) if lives else "never",
                _time(lives[-1].gone) if lives else "",
                number(sum(life.node_seconds for life in lives)),
                number(m.node_seconds) if m else "-",
                number(sum(life.cost for life in lives)),
                number(m.cost) if m else "-",
            )
        )
    total = ("in all", "", _time(runner.makespan), number(runner.account.node_seconds))
    wanted = (
        (number(plan.node_seconds), number(runner.account.cost), number(plan.cost))
        if plan
        else ("-", number(runner.account.cost), "-")
    )
    last = f"the last job ended after {_time(runner.makespan)}"
    return _lines(
        [*rows, (*total, *wanted)], len(names), f"{last}, planned were {duration(plan.makespan)}" if plan else last
    )


def _time(seconds: float) -> str:
    return duration(round(seconds, 1))


def _lines(rows: Sequence[Sequence[str]], all_of_them: int, last: str) -> str:
    """Columns under each other; the last one as long as it likes."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]) for row in rows]
    if all_of_them > MOST_ROWS:
        lines.append(f"and {times(all_of_them - MOST_ROWS, 'more MiniCluster')}, which the report shows")
    return "\n".join(f"  {line}".rstrip() for line in [*lines, last])
