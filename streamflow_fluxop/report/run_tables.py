"""What was planned beside what happened, as tables for the terminal and for pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.table import Table

from streamflow_fluxop.report.names import short_names
from streamflow_fluxop.report.summary import ActualStep, FleetReport, RunReport, Times, Totals
from streamflow_fluxop.report.tables import some, table
from streamflow_fluxop.report.units import duration, memory, number, times

Rows = tuple[Sequence[str], list[Sequence[str]]]
"""Heads and rows of a table; heads that begin with ``>`` are those of numbers."""


def headline(report: RunReport) -> str:
    """The run in a line: ``succeeded after 43 min, cost 25 010``."""
    words = {
        "running": f"running for {duration(report.until)}",
        "succeeded": f"succeeded after {duration(report.until)}",
        "failed": f"failed after {duration(report.until)}",
        "interrupted": f"interrupted by {report.why} after {duration(report.until)}",
        "stopped": f"stopped at its budget after {duration(report.until)}",
        "died": f"its controller died after {duration(report.until)} or later",
    }
    simulated = "simulated: " if report.simulated else ""
    reused = sum(s.actual.reused for f in report.fleets for s in f.steps if s.actual)
    jobs = f", {number(reused)} of {number(sum(f.actual.jobs for f in report.fleets))} jobs reused" if reused else ""
    return f"{simulated}{words[report.outcome]}, cost {number(report.cost)}{jobs}"


def totals(fleet: FleetReport) -> Rows:
    """What a fleet was planned to come to, what it came to, and how far apart that is."""
    rows = [("actual", *_amounts(fleet.actual))]
    if fleet.planned:
        before, after = fleet.planned, fleet.actual
        rows.insert(0, ("planned", *_amounts(before)))
        pairs = (
            (before.miniclusters, after.miniclusters),
            (before.jobs, after.jobs),
            (before.makespan, after.makespan),
            (before.node_seconds, after.node_seconds),
            (before.cost, after.cost),
        )
        rows.append(("difference", *(difference(a, b) for a, b in pairs)))
    if (may := fleet.allowance) is not None:
        rows.append(("at most", "", "", _if(may.deadline, duration), "", _if(may.budget, number)))
        if may.forecast_cost is not None and may.forecast_makespan is not None:
            makespan = duration(round(may.forecast_makespan, 1))
            rows.append(("last forecast", "", "", makespan, "", number(may.forecast_cost)))
    return ("", ">MiniClusters", ">jobs", ">makespan", ">node-seconds", ">cost"), list(rows)


def _if(value: float | None, words: Callable[[float], str]) -> str:
    return "" if value is None else words(value)


def _amounts(t: Totals) -> list[str]:
    return [number(t.miniclusters), number(t.jobs), duration(t.makespan), number(t.node_seconds), number(t.cost)]


def difference(planned: float, actual: float) -> str:
    """How far apart two numbers are: ``+12 %``."""
    if planned == actual:
        return "0"
    return f"{100 * (actual / planned - 1):+.0f} %" if planned else f"+{number(actual)}"


def miniclusters(fleet: FleetReport, rows: int | None = None) -> Rows:
    """Every MiniCluster as planned, and each of its lives under that."""
    heads = ("MiniCluster", "", ">nodes", ">asked", ">ready", ">given up", ">gone", ">jobs", ">node-seconds", ">cost")
    found: list[Sequence[str]] = []
    for m in fleet.miniclusters[:rows]:
        name = f"{m.name} ({m.flavour})"
        if m.planned:
            found.append((name, "planned", *_times(m.planned)))
        elif fleet.planned:
            found.append((name, "not planned", *[""] * (len(heads) - 2)))
        lives = [("actual", *_times(life)) for life in m.actual] or [("never asked for", *[""] * (len(heads) - 2))]
        for number_, life in enumerate(lives):
            found.append(("" if number_ or fleet.planned else name, *life))
    return heads, found


def _moment(seconds: float) -> str:
    """A time of the run: tenths of a second are enough."""
    return duration(round(seconds, 1))


def _times(t: Times) -> list[str]:
    moments = (t.asked, t.ready, t.released, t.gone)
    return [
        str(t.nodes),
        *("-" if m is None else _moment(m) for m in moments),
        number(t.jobs),
        number(t.node_seconds),
        number(t.cost),
    ]


def steps(fleet: FleetReport, rows: int | None = None) -> Rows:
    """Every step: jobs and seconds of a job as estimated and as measured, and when it ran."""
    heads = ("step", ">jobs", ">time of a job", ">measured", ">", ">waited", ">planned to run", ">ran", "in")
    names = short_names(s.name for s in fleet.steps)
    found: list[Sequence[str]] = []
    for s in fleet.steps[:rows]:
        p, a = s.planned, s.actual
        jobs = number(a.done) if a else "0"
        if p and (a is None or a.done + a.reused != p.jobs):
            jobs += f" of {number(p.jobs)}"
        if a and a.reused:
            jobs += f", {number(a.reused)} reused"
        if a and a.failed:
            jobs += f", {number(a.failed)} failed"
        if a and a.unfinished:
            jobs += f", {number(a.unfinished)} not over"
        found.append(
            (
                names[s.name],
                jobs,
                f"{duration(p.seconds)} ({p.source})" if p else "",
                _measured(a.mean, a.least, a.most, a.done) if a else "",
                difference(p.seconds, a.mean) if p and a and a.mean is not None else "",
                duration(round(a.waited, 3)) if a and a.waited is not None else "",
                f"{_moment(p.start)} - {_moment(p.end)}" if p else "",
                f"{_moment(a.start)} - {_moment(a.end)}" if a and a.start is not None and a.end is not None else "",
                some(a.miniclusters, 4) if a else "",
            )
        )
    return heads, found


def used(fleet: FleetReport, rows: int | None = None) -> Rows | None:
    """What jobs of each step used, of what they asked for; None where nobody measured it."""
    found = [
        (s.name, memory(a.memory_asked) if a.memory_asked else "", memory(a.memory_used or 0), _cores_busy(a))
        for s in fleet.steps
        if (a := s.actual) is not None and a.memory_used is not None
    ]
    names = short_names(name for name, *_ in found)
    heads = ("step", ">memory asked for", ">used at most", ">cores busy")
    return (heads, [(names[name], *cells) for name, *cells in found[:rows]]) if found else None


def _cores_busy(a: ActualStep) -> str:
    """CPU time by time, of a job: how many cores it kept busy."""
    if a.cpu_seconds is None or not a.mean or not a.done:
        return ""
    return number(round(a.cpu_seconds / (a.mean * a.done), 2))


_LONGEST_LINE = 200
"""Characters of a line that a failed job wrote."""


def _measured(mean: float | None, least: float | None, most: float | None, done: int) -> str:
    if mean is None or least is None or most is None:
        return ""
    middle, low, high = (duration(round(seconds, 3)) for seconds in (mean, least, most))
    return middle if done == 1 else f"{middle} ({low} to {high})"


def troubles(fleet: FleetReport, most: int = 50) -> Iterator[str]:
    """What went wrong, a sentence each."""
    for trouble in fleet.troubles[:most]:
        count = f"{times(trouble.count, 'time')}: " if trouble.count > 1 else ""
        said = _last_line(trouble.said)
        yield f"at {duration(trouble.at)}: {count}{trouble.what}{said and f': {said}'}"
    if len(fleet.troubles) > most:
        yield f"and {len(fleet.troubles) - most} more kinds of trouble"


def _last_line(said: str | None) -> str:
    """What mostly says most of what a command wrote, with nothing in it that a terminal would act on."""
    lines = ["".join(c for c in line if c.isprintable()).strip() for line in (said or "").splitlines()]
    return next((line[-_LONGEST_LINE:] for line in reversed(lines) if line), "")


def as_table(rows: Rows) -> Table:
    """A table for the terminal; columns with nothing in them are left out."""
    heads, body = rows
    used = [i for i, head in enumerate(heads) if i == 0 or any(row[i] for row in body)]
    made = table(*(heads[i] for i in used))
    for row in body:
        made.add_row(*(row[i] for i in used))
    return made
