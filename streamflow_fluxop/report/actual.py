"""What happened, as charts: beside the plan, and on the same time axis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from streamflow_fluxop.events.run_state import FleetView, MiniClusterLife
from streamflow_fluxop.events.view import RunView
from streamflow_fluxop.model import Plan, Resize
from streamflow_fluxop.report.chart import Bar, Chart, Piece, bar, chart, use_of_limits
from streamflow_fluxop.report.names import StepNames
from streamflow_fluxop.report.units import duration, number, times


def charts(view: RunView, now: float) -> list[Chart]:
    """For each fleet the plan, where there is one, and what happened, on one time axis that begins with the run.

    Args:
        view: the run.
        now: seconds since its start.
    """
    names = step_names(view)
    found: list[Chart] = []
    for fleet in view.fleets.values():
        prefix = f"{fleet.deployment}, " if len(view.fleets) > 1 else ""
        pair = [actual(fleet, now, names)]
        if fleet.plan is not None:
            pair.insert(0, planned(fleet.plan, fleet, names))
            use = use_of_limits(pair[1].bars, fleet.flavours, fleet.limits, pair[0].use.resource)
            pair[1] = replace(pair[1], use=use)
        found += [replace(c, caption=prefix + c.caption) for c in pair]
    end = max((c.end for c in found), default=1.0)
    return [replace(c, end=end) for c in found]


def step_names(view: RunView) -> StepNames:
    """The names of a run's steps: of those planned, and of those that ran."""
    plans = [f.plan for f in view.fleets.values() if f.plan is not None]
    planned = [s.name for plan in plans for s in plan.problem.workflow.steps]
    return StepNames([*planned, *(name for f in view.fleets.values() for name in f.steps)])


def planned(plan: Plan, fleet: FleetView, names: StepNames) -> Chart:
    """The plan of a fleet on the run's time axis."""
    laid_out = chart(plan, names=names, start=fleet.at)
    return replace(laid_out, caption=f"planned: {laid_out.caption}")


def actual(fleet: FleetView, now: float, names: StepNames) -> Chart:
    """What happened until now."""
    end = max(
        [*(now if m.gone is None else m.gone for m in fleet.lives), *(j.ended or 0 for j in fleet.jobs), fleet.at]
    )
    bars = tuple(_bars(fleet, now, names, end))
    return Chart(
        caption=f"actual: {_caption(fleet, now)}",
        bars=bars,
        use=use_of_limits(bars, fleet.flavours, fleet.limits),
        end=end or 1.0,
        names=names,
    )


def _caption(fleet: FleetView, now: float) -> str:
    ends = [job.ended for job in fleet.jobs if job.ended is not None]
    parts = [times(len(fleet.lives), "MiniCluster"), duration(max(ends, default=fleet.at) - fleet.at)]
    parts += [f"cost {number(fleet.cost(now))}", times(fleet.counts.all, "job")]
    if fleet.counts.failed:
        parts.append(f"{number(fleet.counts.failed)} failed")
    return ", ".join(parts)


def _bars(fleet: FleetView, now: float, names: StepNames, end: float) -> Iterator[Bar]:
    pieces: dict[int, list[Piece]] = defaultdict(list)
    for job in fleet.jobs:
        if job.started is not None and job.minicluster is not None:
            pieces[id(job.minicluster)].append(Piece(job.step, job.started, _first(job.ended, now), 1))
    count: dict[str, int] = defaultdict(int)
    for life in fleet.lives:
        count[life.name] += 1
        again = f" ({count[life.name]})" if count[life.name] > 1 else ""
        yield _bar(fleet, life, pieces[id(life)], names, now, again, end)


def _bar(
    fleet: FleetView, life: MiniClusterLife, pieces: list[Piece], names: StepNames, now: float, again: str, end: float
) -> Bar:
    gone = _first(life.gone, now)
    released = min(gone, _first(life.released, now))
    return bar(
        names,
        pieces,
        gap=end / 200,
        name=life.name + again,
        flavour=life.flavour,
        size=life.sizes[0][1],
        asked=life.asked,
        ready=min(released, _first(life.ready, now)),
        released=released,
        gone=gone,
        resizes=tuple(Resize(at=at, done=done, size=size) for at, done, size in life.resizes),
        cost=life.node_seconds(now) * fleet.flavours[life.flavour].price / 3600,
    )


def _first(time: float | None, now: float) -> float:
    return now if time is None else time
