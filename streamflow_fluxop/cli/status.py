"""`fluxop status` and `fluxop runs`: runs, seen from another terminal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow_fluxop.cli.report import RunName

if TYPE_CHECKING:
    from streamflow_fluxop.cli.output import Output

NEWEST = 20
"""Runs that a list shows, unless the user wants all."""

WATCHED_EVERY = 1.0
"""Seconds."""


def status(
    run: RunName = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew every second until it is over.")] = False,
    every: Annotated[bool, typer.Option("--all", help="List all runs, as fluxop runs --full does.")] = False,
) -> None:
    """Show a run, under way or over; without RUN those that are under way, else the newest.

    Exit code 1: the controller of a run that is shown died before its end.
    """
    from streamflow_fluxop.cli.output import Output

    out = Output()
    if every:
        _list(out, None)
        return
    paths = _chosen(run)
    if watch:
        _watch(paths[0])
    died = [_show(out, path, first=path == paths[0]) for path in paths]
    if any(died):
        raise typer.Exit(1)


def runs(
    full: Annotated[bool, typer.Option("--full", help=f"List all of them, not the newest {NEWEST}.")] = False,
) -> None:
    """List your runs, the newest first."""
    from streamflow_fluxop.cli.output import Output

    _list(Output(), None if full else NEWEST)


def _chosen(run: str | None) -> list[Path]:
    from streamflow_fluxop.events.reading import find_log, newest_log, running_logs

    return [find_log(run)] if run is not None else running_logs() or [newest_log()]


def _show(out: Output, path: Path, *, first: bool) -> bool:
    """Print a run; whether its controller died."""
    from streamflow_fluxop.cli.logs import read
    from streamflow_fluxop.report.live import panel
    from streamflow_fluxop.report.summary import left_behind

    view, report = read(path)
    if not first:
        out.line()
    out.show(panel(view, report.until, report.outcome, out.picture_width, colours=out.colours, glyphs=out.glyphs))
    if report.outcome == "died":
        for sentence in left_behind(view):
            out.line(sentence, style="bold")
    return report.outcome == "died"


def _watch(path: Path) -> None:
    """Show a run until it is over, or Ctrl-C."""
    from rich.live import Live

    from streamflow_fluxop.cli.logs import summed_up
    from streamflow_fluxop.cli.output import Output
    from streamflow_fluxop.cli.output import console as plain
    from streamflow_fluxop.events.reading import Follower
    from streamflow_fluxop.events.view import RunView
    from streamflow_fluxop.report.live import panel

    console = plain()
    if not console.is_terminal:
        return
    out = Output()
    follower, view = Follower(path), RunView()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                view.take(follower.new())
                _, report = summed_up(view, path)
                if report.outcome != "running":
                    return
                width, height = console.size
                live.update(
                    panel(view, report.until, report.outcome, width, height, colours=out.colours, glyphs=out.glyphs),
                    refresh=True,
                )
                time.sleep(WATCHED_EVERY)
        except KeyboardInterrupt:
            return  # the user has seen enough: the last state stays on the screen


def _list(out: Output, most: int | None) -> None:
    from streamflow_fluxop.cli.logs import read
    from streamflow_fluxop.errors import UserError
    from streamflow_fluxop.events.reading import logs, newest_log
    from streamflow_fluxop.events.writing import runs_folder
    from streamflow_fluxop.report.tables import table
    from streamflow_fluxop.report.units import duration, number
    from streamflow_fluxop.reuse.results import kept

    newest_log()  # says so where there is none
    made = table("run", "started", "", ">after", ">jobs", ">kept", ">cost", "file")
    for column in made.columns[:-1]:
        column.no_wrap = True
    unreadable, there = [], kept(runs_folder())
    found = logs()
    for path in found[:most]:
        try:
            _, report = read(path)
        except UserError as error:
            unreadable.append(str(error))
            continue
        made.add_row(
            report.run,
            f"{report.started.astimezone():%Y-%m-%d %H:%M:%S}",
            f"{report.outcome}{' (simulated)' if report.simulated else ''}",
            duration(report.until),
            number(sum(f.actual.jobs for f in report.fleets)),
            number(there[report.run]) if report.run in there else "",
            number(report.cost),
            report.file or "",
        )
    out.show(made)
    if len(found) > len(found[:most]):
        out.line(f"and {len(found) - len(found[:most])} older ones; --full lists all", style="dim")
    for text in unreadable:
        out.line(text, style="dim")
