"""A run while it is under way, for the terminal: readable at 80 columns and in 16 colours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streamflow_fluxop.events.expected_end import Outlook
from streamflow_fluxop.events.run_state import Counts, FleetView, MiniClusterLife, RecordedPhase
from streamflow_fluxop.events.view import RunView
from streamflow_fluxop.events.waits import sentence
from streamflow_fluxop.report.actual import actual, planned, step_names
from streamflow_fluxop.report.chart import Bar, Chart, use_of_limits
from streamflow_fluxop.report.summary import Outcome
from streamflow_fluxop.report.tables import table
from streamflow_fluxop.report.terminal import Glyphs, gantt
from streamflow_fluxop.report.units import duration, number

TALL = 40
"""Lines of a panel where no terminal says how many there may be."""

LEAST_CHART = 8
"""Lines that a chart needs; where there are fewer there is none."""

FOR_WRAPPING = 2
"""Lines that a table may take more in a narrow terminal."""

WORDY = 36
"""Columns that words on a MiniCluster need beside it; why jobs wait is said as a whole."""

_STYLES = {
    RecordedPhase.COMING: "yellow",
    RecordedPhase.UP: "green",
    RecordedPhase.GOING: "magenta",
    RecordedPhase.GONE: "dim",
}
_OUTCOMES = {
    "running": "bold",
    "succeeded": "green",
    "failed": "red",
    "interrupted": "yellow",
    "stopped": "red",
    "died": "red",
}
_LIMITS = {"gpus": "GPUs", "memory": "MiB", "cost_per_hour": "cost an hour", "miniclusters": "MiniClusters"}


def panel(
    view: RunView,
    now: float,
    outcome: Outcome,
    width: int,
    height: int = TALL,
    *,
    colours: bool,
    glyphs: Glyphs,
) -> RenderableType:
    """A run as it is now.

    Args:
        view: the run.
        now: seconds since its start.
        outcome: how it is.
        width: columns.
        height: lines; MiniClusters that are gone, and then the chart, are left out where there are too few.
        colours: whether colours tell the steps apart.
        glyphs: the characters of the chart.
    """
    tables, room = _tables(view, now, outcome, width, height - 1, LEAST_CHART)
    share = room // max(1, len(view.fleets)) - 1
    charts: list[RenderableType] = []
    for fleet in view.fleets.values():
        if share >= LEAST_CHART and (fleet.lives or fleet.plan):
            drawn = _fitting(chart(view, fleet, now, outcome), width, share, colours, glyphs)
            charts += [Text(), drawn] if drawn else []
    if not charts:  # no room is left free for what does not fit anyway
        tables, _ = _tables(view, now, outcome, width, height - 1, FOR_WRAPPING)
    return Group(_head(view, now, outcome), *tables, *charts)


def _tables(
    view: RunView, now: float, outcome: Outcome, width: int, room: int, kept: int
) -> tuple[list[RenderableType], int]:
    """What stands above the charts, and the lines that it leaves of `room`; `kept` are free for each fleet's chart."""
    parts: list[RenderableType] = []
    for fleet in view.fleets.values():
        lines = list(_fleet_lines(fleet, now, named=len(view.fleets) > 1, going=outcome == "running"))
        free = room // len(view.fleets) - len(lines) - kept - 4
        rows = _rows(fleet, max(1, free))
        shown, words = _miniclusters(fleet, rows, now, width)
        words = words[: max(0, free - len(rows))]
        left_out = len(fleet.lives) - len(rows)
        more = [Text(f"and {left_out} more", style="dim italic")] if left_out else []
        parts += [*lines, Text(), shown, *words, *more]
        room -= len(lines) + len(rows) + len(words) + 4
    return parts, room


def _fitting(drawn: Chart, width: int, lines: int, colours: bool, glyphs: Glyphs) -> Text | None:
    """The chart in so many lines, with as many MiniClusters as there is room for; None: there is too little."""
    rows = lines - LEAST_CHART + 1
    for _ in range(2):  # how many lines its head and its legend take shows when it is drawn
        text = gantt(drawn, width, colours=colours, glyphs=glyphs, rows=max(1, rows))
        excess = text.plain.count("\n") + 1 - lines
        if excess <= 0:
            return text
        rows -= excess
    return None


def _head(view: RunView, now: float, outcome: Outcome) -> Text:
    started = view.started
    assert started is not None
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"run {started.run}  ", style="bold")
    text.append(outcome, style=_OUTCOMES[outcome])
    text.append(f"  {duration(round(now, 1))}")
    if started.simulated:
        text.append("  simulated", style="dim")
    if started.file:
        text.append(f"  {started.file}", style="dim")
    return text


def _fleet_lines(fleet: FleetView, now: float, *, named: bool, going: bool) -> Iterator[Text]:
    if named:
        yield Text(fleet.deployment, style="bold")
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append("jobs  ", style="dim")
    _count(line, fleet.counts)
    yield line
    line = Text("cost  ", style="dim", no_wrap=True, overflow="ellipsis")
    line.append(number(fleet.cost(now)), style="not dim")
    long = []
    if fleet.plan is not None:
        line.append(f" of {number(fleet.plan.cost)} planned", style="dim")
        if going and fleet.ended is None:
            outlook = Outlook(fleet.plan)
            long, left = outlook.overruns(fleet, now), round(outlook.seconds_left(fleet, now))
            if left or not long:
                line.append(
                    f"   {'at least' if long else 'about'} {duration(left)} left" if left else "", style="not dim"
                )
    yield line
    yield from _allowance_lines(fleet, going=going and fleet.ended is None)
    for job, expected in long[:1]:
        words = f"{job.name} has run for {duration(round(now - (job.started or now)))}"
        words += f", {duration(expected.seconds)} were {'assumed' if expected.source == 'assumed' else 'expected'}"
        words += f"; so have {len(long) - 1} more" if len(long) > 1 else ""
        yield Text("long  ", style="dim", no_wrap=True, overflow="ellipsis").append(words, style="yellow not dim")
    use = fleet.use()
    limits = [
        f"{number(use[name])} of {number(limit)} {_LIMITS.get(name, name)}"
        for name, limit in fleet.limits.model_dump(exclude_none=True).items()
    ]
    if limits:
        yield Text("held  ", style="dim", no_wrap=True, overflow="ellipsis").append(", ".join(limits), style="not dim")


def _allowance_lines(fleet: FleetView, *, going: bool) -> Iterator[Text]:
    """Budget and deadline beside the forecast, as long as there is one to make."""
    parts = []
    forecast = fleet.forecast if going else None
    if fleet.budget is not None:
        expected = f" (forecast {number(forecast.cost)})" if forecast else ""
        dear = forecast is not None and forecast.cost > fleet.budget
        parts.append((f"budget {number(fleet.budget)}{expected}", dear))
    if fleet.deadline is not None:
        expected = f" (forecast {duration(round(forecast.makespan))})" if forecast else ""
        late = forecast is not None and forecast.makespan > fleet.deadline
        parts.append((f"deadline {duration(fleet.deadline)}{expected}", late))
    if parts:
        line = Text("may   ", style="dim", no_wrap=True, overflow="ellipsis")
        for i, (words, passed) in enumerate(parts):
            line.append(", " * (i > 0) + words, style="red not dim" if passed else "not dim")
        yield line
    if fleet.stopping is not None:
        word = "stops " if fleet.ended is None else "stop  "
        line = Text(word, style="dim", no_wrap=True, overflow="ellipsis")
        yield line.append(fleet.stopping.reason, style="red not dim")


def _count(line: Text, counts: Counts) -> None:
    for word, jobs, style in (
        ("queued", counts.queued, ""),
        ("running", counts.running, "bold"),
        ("done", counts.done, "green"),
        ("reused", counts.reused, "green"),
        ("failed", counts.failed, "red"),
    ):
        if jobs or word not in ("failed", "reused"):
            line.append(f"{number(jobs)} {word}  ", style=style if jobs else "dim")
    line.right_crop(2)


def _rows(fleet: FleetView, most: int) -> list[MiniClusterLife]:
    """The MiniClusters to show: those held first, then the latest of those that are gone; in order of time."""
    order = sorted(fleet.lives, key=lambda m: (m.gone is not None, -(m.gone or m.asked)))
    return sorted(order[:most], key=lambda m: m.asked)


def _miniclusters(fleet: FleetView, rows: list[MiniClusterLife], now: float, width: int) -> tuple[Table, list[Text]]:
    """The table, and what there is to say of those that are held: below it, where there is no room for it inside."""
    heads = ("MiniCluster", "state", ">nodes", ">busy", ">queued", ">running", ">done")
    cells = [_cells(fleet, life) for life in rows]
    room = width - sum(max(len(row[i].lstrip(">")) for row in [heads, *cells]) + 3 for i in range(len(heads)))
    waits = [len(_word(life, now)) for life in rows if life.wait is not None]
    beside = room >= max(WORDY, *waits, 0)
    made = table(*heads, *([""] if beside else []))
    for life, row in zip(rows, cells, strict=True):
        name, state, *numbers = row
        words: list[RenderableType] = [name, Text(state, style=_STYLES[life.stage]), *numbers]
        if beside:
            words.append(_line(_word(life, now), room))
        made.add_row(*words, style="dim" if life.gone is not None else None)
    said = [] if beside else [(m.name, _word(m, now)) for m in rows if m.gone is None]
    return made, [_line(f"{name}: {word}", width) for name, word in said if word]


def _line(words: str, width: int) -> Text:
    line = Text(words, style="dim", no_wrap=True)
    line.truncate(width, overflow="ellipsis")
    return line


def _cells(fleet: FleetView, life: MiniClusterLife) -> list[str]:
    flavour = fleet.flavours.get(life.flavour)
    size = f"{life.size} to {life.wanted}" if life.wanted != life.size else str(life.size)
    return [
        life.name,
        life.stage.value,
        size if life.gone is None else "",
        str(life.nodes_busy(flavour)) if flavour and life.stage is RecordedPhase.UP else "",
        number(life.jobs.queued),
        number(life.jobs.running),
        number(life.jobs.done) + (f" +{number(life.jobs.failed)} failed" if life.jobs.failed else ""),
    ]


def _word(life: MiniClusterLife, now: float) -> str:
    """What there is to say of it: how far it is, why jobs wait beside its idle nodes, else why it is as it is.

    Not why it came, once it is there.
    """
    if life.wait is not None and life.stage is RecordedPhase.UP:
        due = life.wait.expected_in
        return sentence(life.wait, None if due is None else life.wait.at + due - now, brief=True)
    if life.message or life.lost:
        return life.message or life.lost or ""
    at, why = life.reasons[-1] if life.reasons else (0.0, "")
    return why if life.stage is not RecordedPhase.UP or at > (life.ready or 0.0) else ""


def chart(view: RunView, fleet: FleetView, now: float, outcome: Outcome) -> Chart:
    """What has happened, each MiniCluster above what was planned for it; what has not begun stands as planned.

    Args:
        view: the run.
        fleet: of it.
        now: seconds since the run's start.
        outcome: how the run is.
    """
    names = step_names(view)
    happened = actual(fleet, now, names)
    if fleet.plan is None:
        return happened
    laid_out = planned(fleet.plan, fleet, names)
    lives: dict[str, list[Bar]] = defaultdict(list)
    for life, bar in zip(fleet.lives, happened.bars, strict=True):
        lives[life.name].append(bar)
    rows = [
        [
            *lives.pop(bar.name, []),
            replace(bar, planned=True, name="  planned" if bar.name in fleet.current else bar.name),
        ]
        for bar in laid_out.bars
    ]
    rows += lives.values()
    if outcome == "running":  # what is over makes place for what comes
        over = {life.name for life in fleet.current.values() if life.gone is not None}
        rows.sort(key=lambda bars: bars[0].name in over)
    bars = tuple(bar for row in rows for bar in row)
    use = use_of_limits(happened.bars, fleet.flavours, fleet.limits, laid_out.use.resource)
    left = Outlook(fleet.plan).seconds_left(fleet, now) if outcome == "running" else 0.0
    return replace(happened, bars=bars, use=use, end=max(laid_out.end, happened.end, now + left))
