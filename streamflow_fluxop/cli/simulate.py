"""`fluxop simulate`: what would come of a plan if things turned out otherwise."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from streamflow_fluxop.errors import STOPPED_AT_BUDGET, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from streamflow_fluxop.events import EventLog
    from streamflow_fluxop.orchestration.simulation.simulated import SimulatedLifetime

ROWS = 40
"""MiniClusters that are shown, unless the user wants all."""


class OnBudget(Enum):
    """What happens at the budget."""

    STOP = "stop"
    WARN = "warn"


def simulate(
    file: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan, as fluxop plan -o plan.json writes it.")],
    noise: Annotated[
        float, typer.Option(min=0, max=10, help="Spread of durations, as a share of the estimate: 0.3 is 30 %.")
    ] = 0.0,
    bring_up_noise: Annotated[float, typer.Option(min=0, max=10, help="The same for bring-ups.")] = 0.0,
    failures: Annotated[float, typer.Option(min=0, max=0.9, help="Share of jobs that fail and are tried again.")] = 0.0,
    losses: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of MiniClusters that do not come up, or are lost while up.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal histories.")] = 0,
    output: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation on Python 3.10, too
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Write the event log, of which fluxop report PATH makes a report.",
            show_default=False,
        ),
    ] = None,
    on_budget: Annotated[
        OnBudget,
        typer.Option(help="At the budget that the plan was made for: stop the run, as a real one does, or only warn."),
    ] = OnBudget.STOP,
    full: Annotated[bool, typer.Option("--full", help=f"Show all MiniClusters, not the first {ROWS}.")] = False,
) -> None:
    """Run a plan on simulated time and MiniClusters, with the decisions of a real run; planned against actual.

    Exit code 3: it was stopped at its budget.
    """
    from streamflow_fluxop.cli.output import Output
    from streamflow_fluxop.events import RunEnded
    from streamflow_fluxop.orchestration.simulation.simulated import Chance
    from streamflow_fluxop.orchestration.simulation.simulator import Simulation
    from streamflow_fluxop.report.units import duration, number
    from streamflow_fluxop.sources.own_documents import read_plan
    from streamflow_fluxop.verification import verify

    plan = read_plan(file)
    if problems := verify(plan):
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{more}", where=str(file), fix="`fluxop verify` tells every rule that it breaks.")
    chance = Chance(noise, bring_up_noise, failures, losses, seed)
    simulation = Simulation(plan, chance, on_budget=on_budget.value)
    log = None if output is None else _new_log(output, file, lambda: simulation.now)
    if log is not None:
        simulation.record = log.fleet(plan.problem.workflow.name)
    outcome = simulation.run()
    if log is not None:
        log.record(RunEnded(exit_code=STOPPED_AT_BUDGET if outcome.stopped else 0, reason=outcome.stopped))
        log.close()
    out = Output()
    for what, planned, actual in (
        ("makespan", duration(plan.makespan), duration(outcome.makespan)),
        ("cost", number(plan.cost), number(outcome.cost)),
        ("node-seconds", number(plan.node_seconds), number(outcome.node_seconds)),
        ("MiniClusters", str(len(plan.miniclusters)), str(len(outcome.lives))),
    ):
        out.line(f"{what}: planned {planned}, actual {actual}")
    if outcome.stopped:
        out.line(f"stopped: {outcome.stopped}", style="bold")
    lives = sorted(outcome.lives, key=lambda life: life.asked)
    out.line()
    out.show(_lives(lives[: None if full else ROWS]))
    if len(lives) > ROWS and not full:
        out.line(f"the first {ROWS} of {len(lives)} MiniClusters; --full shows all", style="dim")
    if outcome.stopped:
        raise typer.Exit(STOPPED_AT_BUDGET)


def _lives(lives: Sequence[SimulatedLifetime]) -> Table:
    from streamflow_fluxop.report.tables import table
    from streamflow_fluxop.report.units import duration

    made = table("MiniCluster", ">nodes", ">asked", ">given up", ">gone", "why it came, and went")
    for life in lives:
        most = max(nodes for _, nodes in life.sizes)
        moments = (duration(round(at, 1)) for at in (life.asked, life.released, life.gone))
        made.add_row(life.name, f"{most} {life.flavour}", *moments, f"{life.reasons[0]}; {life.reasons[-1]}")
    return made


def _new_log(path: Path, plan: Path, clock: Callable[[], float]) -> EventLog:
    from streamflow_fluxop.events import EventLog

    try:
        return EventLog(path, file=os.path.abspath(plan), clock=clock, simulated=True)
    except OSError as error:
        raise UserError(f"can't be written: {error.strerror}", where=str(path)) from None
