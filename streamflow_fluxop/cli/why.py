"""`fluxop why`: the story of a job or a MiniCluster, from a run's event log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rich.console import RenderableType

    from streamflow_fluxop.errors import UserError
    from streamflow_fluxop.events.run_state import FleetView, JobLife
    from streamflow_fluxop.events.view import RunView
    from streamflow_fluxop.report.story import Ending, Told
    from streamflow_fluxop.report.summary import RunReport

SHOWN = 40
"""Jobs of a step that are listed."""


def why(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] JOB|MINICLUSTER",
            help="A run as for fluxop report, absent: the newest; and the name of a job, a step or a MiniCluster.",
            show_default=False,
        ),
    ],
) -> None:
    """Tell why something did or did not happen: what a job waited for, why a MiniCluster came and went.

    Times are since the run's start. Of a step with several jobs it lists them.
    """
    from streamflow_fluxop.cli.logs import read
    from streamflow_fluxop.cli.output import Output
    from streamflow_fluxop.errors import UserError
    from streamflow_fluxop.events.reading import find_log, newest_log

    if len(names) > 2:
        raise UserError(f"{len(names)} names are given", fix="Write a run or none, and one job, step or MiniCluster.")
    *run, name = names
    path = find_log(run[0]) if run else newest_log()
    view, report = read(path)
    ending = _ending(report)
    whole = _whole(view, name)
    answers = [a for fleet in view.fleets.values() for a in _answers(path, fleet, whole, ending)]
    if not answers:
        raise _unknown(view, report, name)
    out = Output()
    out.line(f"run {report.run}{f' of {report.file}' if report.file else ''}", style="bold")
    for headline, shown in answers:
        out.line()
        out.line(headline, style="bold")
        out.show(shown)


def _ending(report: RunReport) -> Ending:
    """How the run was left, as a story says it."""
    from streamflow_fluxop.report.story import Ending

    because = f" ({report.why})" if report.why else ""
    whys = {
        "running": None,
        "succeeded": "The run ended",
        "failed": f"The run failed{because}",
        "interrupted": f"The run was interrupted{because}",
        "stopped": f"The run was stopped{because}",
        "died": "The run's controller died, so that the log ends here,",
    }
    return Ending(report.until, whys[report.outcome])


def _answers(path: Path, fleet: FleetView, name: str, ending: Ending) -> Iterator[tuple[str, RenderableType]]:
    """What there is to say of a name: each headline with what stands below it."""
    from streamflow_fluxop.events.reading import read_events
    from streamflow_fluxop.report.job_story import story_of_job
    from streamflow_fluxop.report.minicluster_story import story_of_minicluster
    from streamflow_fluxop.report.step_story import jobs_of, story_of_missing_step
    from streamflow_fluxop.report.story import in_all, without_try
    from streamflow_fluxop.report.tables import sentences

    fleet_named = f" of {fleet.deployment}" if fleet.deployment else ""
    if name in _miniclusters(fleet):
        story = story_of_minicluster(read_events(path), fleet.deployment, name, ending)
        yield f"MiniCluster {name}{fleet_named}", _told(story)
    step = name if name in _steps(fleet) else None
    jobs = jobs_of(fleet, step) if step is not None else []
    of_step = {without_try(job.name) for job in jobs}
    asked = of_step.pop() if len(of_step) == 1 else without_try(name)
    if asked in _jobs(fleet):
        story = story_of_job(read_events(path), fleet.deployment, asked, ending)
        yield f"job {asked}{fleet_named}", _told(story)
    elif jobs:
        yield f"step {step}{fleet_named}, {in_all(jobs)}", _listed(jobs)
    elif step is not None:
        told = story_of_missing_step(fleet, step, ending)
        yield f"step {step}{fleet_named}", sentences(("-", text) for text in told)


def _told(story: Iterable[Told]) -> RenderableType:
    from streamflow_fluxop.report.story import span
    from streamflow_fluxop.report.tables import sentences

    return sentences((f"at {span(told.at)}", text) for told in story for text in [told.text])


def _listed(jobs: list[JobLife]) -> RenderableType:
    """The jobs of a step, those first that failed or are not over."""
    from streamflow_fluxop.report.story import outcome, span
    from streamflow_fluxop.report.tables import table

    made = table("job", "", "MiniCluster", ">asked", ">waited", ">ran")
    unwell = sorted(jobs, key=lambda job: (job.ended is not None and not job.failed, job.asked))
    for job in unwell[:SHOWN]:
        begun = job.ended if job.started is None else job.started
        made.add_row(
            job.name,
            outcome(job),
            job.minicluster.name if job.minicluster is not None else "",
            span(job.asked),
            span(begun - job.asked) if begun is not None else "",
            span(job.ended - job.started) if job.ended is not None and job.started is not None else "",
        )
    if len(jobs) > SHOWN:
        made.add_row(f"and {len(jobs) - SHOWN} more", "", "", "", "", "")
    return made


def _miniclusters(fleet: FleetView) -> set[str]:
    planned = {m.name for m in fleet.plan.miniclusters} if fleet.plan else set()
    return planned | set(fleet.current)


def _steps(fleet: FleetView) -> set[str]:
    planned = {s.name for s in fleet.plan.problem.workflow.steps} if fleet.plan else set()
    return planned | set(fleet.steps)


def _whole(view: RunView, name: str) -> str:
    """The name whose last parts are meant: `analysis` is `/wf/analysis`, if no other ends so."""
    known = {n for fleet in view.fleets.values() for of in (_miniclusters, _steps, _jobs) for n in of(fleet)}
    ends = [n for n in known if n.endswith("/" + name.strip("/"))]
    return name if name in known or len(ends) != 1 else ends[0]


def _unknown(view: RunView, report: RunReport, name: str) -> UserError:
    """That nothing is called so, and what is called nearly so."""
    from difflib import get_close_matches

    from streamflow_fluxop.errors import UserError

    fleets = view.fleets.values()
    groups = [sorted({n for f in fleets for n in of(f)}) for of in (_miniclusters, _steps, _jobs)]
    known = list(dict.fromkeys(n for group in groups for n in group))
    near = get_close_matches(name, known, n=3) or [n for n in known if name.lower() in n.lower()][:3]
    what = f"run {report.run} has no job, step or MiniCluster {name!r}"
    if near:
        return UserError(what, fix=f"Did you mean {' or '.join(near)}?")
    if report.run.startswith(name):
        return UserError(f"{name!r} is a run", fix=f"Write what of it, too: {_some(known)}.")
    return UserError(what, fix=f"There are: {_some(known)}." if known else "Nothing was planned or asked for in it.")


def _jobs(fleet: FleetView) -> set[str]:
    from streamflow_fluxop.report.story import without_try

    return {without_try(job.name) for job in fleet.jobs}


def _some(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
