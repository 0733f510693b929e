"""Why no job of a step was asked for, as far as the plan tells what it waits for."""

from __future__ import annotations

from collections.abc import Iterator

from streamflow_fluxop.events.run_state import FleetView, JobLife
from streamflow_fluxop.report.story import Ending, in_all, span
from streamflow_fluxop.report.units import times


def jobs_of(fleet: FleetView, step: str) -> list[JobLife]:
    """The jobs of a step, each try, in the order in which they were asked for."""
    return [job for job in fleet.jobs if job.step == step]


def story_of_missing_step(fleet: FleetView, name: str, ending: Ending) -> Iterator[str]:
    """Why a step has had no job, a sentence each.

    Args:
        fleet: with a plan that has the step.
        name: of the step.
        ending: how the run was left.
    """
    assert fleet.plan is not None
    steps = {step.name: step for step in fleet.plan.problem.workflow.steps}
    estimate = next((e for e in fleet.plan.steps if e.step == name), None)
    if steps[name].controller:
        yield "It runs beside the workflow engine, in no MiniCluster, and so it is not in the event log."
        return
    yield f"No job of it was asked for until {span(ending.until)}."
    if estimate is not None:
        start = span(fleet.at + estimate.start)
        yield f"The plan has {times(steps[name].width, 'job')} of it, the first of which starts at {start}."
    for before in steps[name].after:
        yield _before(fleet, before.step, steps[before.step].width, controller=steps[before.step].controller)
    if ending.why is not None:
        yield f"{ending.why}."


def _before(fleet: FleetView, name: str, width: int, *, controller: bool) -> str:
    jobs = jobs_of(fleet, name)
    if controller:
        return f"It waits for {name}, which runs beside the workflow engine and is not in the event log."
    if not jobs:
        return f"It waits for {name}, of which no job was asked for either."
    step = fleet.steps[name]
    if step.jobs.done + step.jobs.reused >= width and not step.jobs.queued and not step.jobs.running:
        return f"{name} is over ({in_all(jobs)})."
    planned = f", {width} planned" if width != len(jobs) else ""
    return f"It waits for {name} ({in_all(jobs)}{planned})."
