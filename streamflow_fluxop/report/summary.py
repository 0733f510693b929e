"""A run in numbers: what was planned beside what happened, as a document."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Literal

from pydantic import AwareDatetime, NonNegativeFloat, NonNegativeInt, PositiveInt

from streamflow_fluxop.errors import STOPPED_AT_BUDGET
from streamflow_fluxop.events.run_state import FleetView, JobLife, MiniClusterLife
from streamflow_fluxop.events.view import RunView
from streamflow_fluxop.model import Document, Plan
from streamflow_fluxop.report.units import duration, how_it_ended

Outcome = Literal["running", "succeeded", "failed", "interrupted", "stopped", "died"]
"""How a run is or was; `stopped`: at its budget; `died`: its controller is gone, and the log has no end."""


class Totals(Document):
    """What a fleet comes to."""

    miniclusters: NonNegativeInt
    node_seconds: NonNegativeFloat
    cost: NonNegativeFloat
    makespan: NonNegativeFloat
    """Seconds from the fleet's start to the end of its last job."""
    jobs: NonNegativeInt


class Times(Document):
    """A MiniCluster's life, in seconds since the run's start; what has not happened is null."""

    asked: NonNegativeFloat
    ready: NonNegativeFloat | None
    released: NonNegativeFloat | None
    gone: NonNegativeFloat | None
    nodes: PositiveInt
    """Most that it had."""
    node_seconds: NonNegativeFloat
    cost: NonNegativeFloat
    jobs: NonNegativeInt


class MiniClusterReport(Document):
    """A MiniCluster as planned, and every life that one of this name had."""

    name: str
    flavour: str
    image: str | None
    planned: Times | None
    actual: list[Times]
    reasons: list[str]


class PlannedStep(Document):
    """A step as planned; times in seconds since the run's start."""

    jobs: PositiveInt
    seconds: NonNegativeFloat
    source: str
    start: NonNegativeFloat
    end: NonNegativeFloat


class ActualStep(Document):
    """A step as it ran; seconds of the jobs that succeeded, null where none did."""

    done: NonNegativeInt
    failed: NonNegativeInt
    reused: NonNegativeInt = 0
    """Jobs that did not run, as their results were there."""
    unfinished: NonNegativeInt
    mean: NonNegativeFloat | None
    least: NonNegativeFloat | None
    most: NonNegativeFloat | None
    waited: NonNegativeFloat | None
    """Seconds from asked for to started, in the mean."""
    start: NonNegativeFloat | None
    end: NonNegativeFloat | None
    miniclusters: list[str]
    memory_asked: NonNegativeInt | None = None
    """MiB that a job asked for at most; null where nobody knows."""
    memory_used: NonNegativeInt | None = None
    """MiB that a job used at most; null where nobody measured it."""
    cpu_seconds: NonNegativeFloat | None = None
    """CPU time of all jobs that succeeded; null where nobody measured it."""


class StepReport(Document):
    """A step as planned and as it ran."""

    name: str
    planned: PlannedStep | None
    actual: ActualStep | None


class Trouble(Document):
    """What went wrong, at `at` (seconds) for the first time, `count` times; `said` is the end of what one wrote."""

    at: NonNegativeFloat
    what: str
    count: PositiveInt = 1
    said: str | None = None


class AllowanceReport(Document):
    """What a fleet may come to, and what was said of that; times in seconds since the run's start."""

    budget: NonNegativeFloat | None
    deadline: NonNegativeFloat | None
    """Seconds since the fleet's start."""
    forecast_cost: NonNegativeFloat | None
    """The latest; null where nothing was planned."""
    forecast_makespan: NonNegativeFloat | None
    warnings: list[str]
    stopped: str | None
    """Why it was stopped at its budget."""


class FleetReport(Document):
    """One fleet of a run; `allowance` is null where there is neither budget nor deadline."""

    deployment: str
    strategy: str | None
    planned: Totals | None
    actual: Totals
    miniclusters: list[MiniClusterReport]
    steps: list[StepReport]
    troubles: list[Trouble]
    allowance: AllowanceReport | None = None


class RunReport(Document):
    """A run; `until` is the last moment that it tells of, in seconds since its start."""

    version: Literal["1"] = "1"
    run: str
    file: str | None
    started: AwareDatetime
    host: str
    simulated: bool
    outcome: Outcome
    why: str | None
    until: NonNegativeFloat
    cost: NonNegativeFloat
    fleets: list[FleetReport]


def outcome(view: RunView, alive: bool | None) -> Outcome:
    """How a run is or was.

    Args:
        view: the run.
        alive: whether its controller still runs; None: nobody knows.
    """
    if view.ended is None:
        return "died" if alive is False else "running"
    if view.ended.exit_code in (130, 143):
        return "interrupted"
    if view.ended.exit_code == STOPPED_AT_BUDGET:
        return "stopped"
    return "succeeded" if view.ended.exit_code == 0 else "failed"


def summary(view: RunView, now: float, alive: bool | None = None) -> RunReport:
    """A run in numbers.

    Args:
        view: the run, with at least its first event.
        now: seconds since its start; what is still there counts until then.
        alive: whether its controller still runs; None: nobody knows.
    """
    started = view.started
    assert started is not None
    return RunReport(
        run=started.run,
        file=started.file,
        started=started.started,
        host=started.host,
        simulated=started.simulated,
        outcome=outcome(view, alive),
        why=view.ended.reason if view.ended else None,
        until=now,
        cost=view.cost(now),
        fleets=[_fleet(f, now) for f in view.fleets.values()],
    )


_ENDS = {
    "local": "They end by themselves, as local MiniClusters do without their controller.",
    "kubernetes": "Their watchdogs end them after a while; `fluxop clean` shows and removes what is left.",
}


def left_behind(view: RunView) -> Iterator[str]:
    """What a controller that died has left, as far as its log says, a sentence each."""
    if view.started is not None and view.started.simulated:
        return
    for fleet in view.fleets.values():
        held = ", ".join(f"{m.name} ({m.stage.value})" for m in fleet.held)
        if held and fleet.external:
            yield f"It was attached to MiniClusters of others for {fleet.deployment}: {held}. They stay."
        elif held:
            ends = _ENDS.get(fleet.cluster, "Their watchdogs end them after a while.")
            yield f"It left MiniClusters of {fleet.deployment}: {held}. {ends}"
        jobs = fleet.counts.queued + fleet.counts.running
        if jobs:
            yield f"{jobs} of {fleet.counts.all} jobs were not over."


def _fleet(fleet: FleetView, now: float) -> FleetReport:
    plan = fleet.plan
    ends = [job.ended for job in fleet.jobs if job.ended is not None]
    return FleetReport(
        deployment=fleet.deployment,
        strategy=plan.strategy if plan else None,
        planned=_planned_totals(plan) if plan else None,
        actual=Totals(
            miniclusters=len(fleet.lives),
            node_seconds=fleet.node_seconds(now),
            cost=fleet.cost(now),
            makespan=max(0.0, max(ends, default=fleet.at) - fleet.at),
            jobs=fleet.counts.all,
        ),
        miniclusters=list(_miniclusters(fleet, now)),
        steps=list(_steps(fleet)),
        troubles=sorted(_troubles(fleet), key=lambda t: t.at),
        allowance=None if fleet.budget is None and fleet.deadline is None else _allowance(fleet),
    )


def _allowance(fleet: FleetView) -> AllowanceReport:
    forecast = fleet.forecast
    return AllowanceReport(
        budget=fleet.budget,
        deadline=fleet.deadline,
        forecast_cost=forecast.cost if forecast else None,
        forecast_makespan=forecast.makespan if forecast else None,
        warnings=[f"at {duration(round(w.at, 1))}: {w.message}" for w in fleet.warnings],
        stopped=fleet.stopping.reason if fleet.stopping else None,
    )


def _planned_totals(plan: Plan) -> Totals:
    return Totals(
        miniclusters=len(plan.miniclusters),
        node_seconds=plan.node_seconds,
        cost=plan.cost,
        makespan=plan.makespan,
        jobs=sum(s.width for s in plan.problem.workflow.steps if not s.controller),
    )


def _miniclusters(fleet: FleetView, now: float) -> Iterator[MiniClusterReport]:
    planned = {m.name: m for m in fleet.plan.miniclusters} if fleet.plan else {}
    lives: dict[str, list[MiniClusterLife]] = defaultdict(list)
    for life in fleet.lives:
        lives[life.name].append(life)
    jobs: dict[str, int] = defaultdict(int)
    for a in fleet.plan.assignments if fleet.plan else []:
        jobs[a.minicluster or ""] += a.count
    for name in [*planned, *(n for n in lives if n not in planned)]:
        m = planned.get(name)
        yield MiniClusterReport(
            name=name,
            flavour=m.flavour if m else lives[name][0].flavour,
            image=m.image if m else lives[name][0].image,
            planned=m
            and Times(
                asked=fleet.at + m.asked,
                ready=fleet.at + m.ready,
                released=fleet.at + m.released,
                gone=fleet.at + m.gone,
                nodes=m.max_size,
                node_seconds=m.node_seconds,
                cost=m.cost,
                jobs=jobs[name],
            ),
            actual=[_times(fleet, life, now) for life in lives[name]],
            reasons=[f"at {duration(at)}: {why}" for life in lives[name] for at, why in life.reasons],
        )


def _times(fleet: FleetView, life: MiniClusterLife, now: float) -> Times:
    node_seconds = life.node_seconds(now)
    return Times(
        asked=life.asked,
        ready=life.ready,
        released=life.released,
        gone=life.gone,
        nodes=max(nodes for _, nodes in life.sizes),
        node_seconds=node_seconds,
        cost=node_seconds * fleet.flavours[life.flavour].price / 3600,
        jobs=life.jobs.all,
    )


def _steps(fleet: FleetView) -> Iterator[StepReport]:
    tries: dict[str, list[JobLife]] = defaultdict(list)
    for job in fleet.jobs:
        tries[job.step].append(job)
    steps = {s.name: s for s in fleet.plan.problem.workflow.steps if not s.controller} if fleet.plan else {}
    estimates = {e.step: e for e in fleet.plan.steps} if fleet.plan else {}
    for name in [*steps, *(n for n in tries if n not in steps)]:
        step, estimate = steps.get(name), estimates.get(name)
        yield StepReport(
            name=name,
            planned=PlannedStep(
                jobs=step.width,
                seconds=step.duration.seconds,
                source=step.duration.source,
                start=fleet.at + estimate.start,
                end=fleet.at + estimate.end,
            )
            if step and estimate
            else None,
            actual=_actual(tries[name], list(fleet.steps[name].miniclusters)) if tries[name] else None,
        )


def _actual(jobs: list[JobLife], miniclusters: list[str]) -> ActualStep:
    ran = [
        job.ended - job.started for job in jobs if job.ended is not None and job.started is not None and not job.failed
    ]
    started = [job for job in jobs if job.started is not None]
    cpu = [job.cpu_seconds for job in jobs if job.cpu_seconds is not None and not job.failed]
    waits = [job.started - job.asked for job in started if job.started is not None]
    return ActualStep(
        done=sum(job.ended is not None and not job.failed and job.reused is None for job in jobs),
        reused=sum(job.reused is not None for job in jobs),
        failed=sum(job.failed for job in jobs),
        unfinished=sum(job.ended is None for job in jobs),
        mean=sum(ran) / len(ran) if ran else None,
        least=min(ran, default=None),
        most=max(ran, default=None),
        waited=sum(waits) / len(waits) if waits else None,
        start=min((job.started for job in started if job.started is not None), default=None),
        end=max((job.ended for job in jobs if job.ended is not None), default=None),
        miniclusters=miniclusters,
        memory_asked=max((job.memory for job in jobs if job.memory is not None), default=None),
        memory_used=max((job.peak_memory for job in jobs if job.peak_memory is not None), default=None),
        cpu_seconds=round(sum(cpu), 3) if cpu else None,
    )


def _troubles(fleet: FleetView) -> Iterator[Trouble]:
    for warning in fleet.warnings:
        yield Trouble(at=warning.at, what=f"Forecast: {warning.message}")
    if fleet.stopping:
        yield Trouble(at=fleet.stopping.at, what=f"The run was stopped: {fleet.stopping.reason}")
    for life in fleet.lives:
        if life.lost is not None:
            what = "was lost" if life.ready is not None else "did not come up"
            yield Trouble(at=life.released or life.asked, what=f"MiniCluster {life.name} {what}: {life.lost}")
    failed: dict[str, list[JobLife]] = defaultdict(list)
    for job in fleet.jobs:
        if job.failed:
            why = job.reason or ("it never ran" if job.exit_code is None else how_it_ended(job.exit_code))
            failed[f"step {job.step}: {why}"].append(job)
    for what, jobs in failed.items():
        names = ", ".join(job.name for job in jobs[:3]) + (f" and {len(jobs) - 3} more" if len(jobs) > 3 else "")
        said = next((job.said for job in jobs if job.said), None)
        yield Trouble(at=jobs[0].ended or 0.0, what=f"{what} ({names})", count=len(jobs), said=said)
