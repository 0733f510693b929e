"""`fluxop report`: what was planned beside what happened, from a run's event log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from streamflow_fluxop.cli.output import Output
    from streamflow_fluxop.events.view import RunView
    from streamflow_fluxop.report.summary import RunReport

ROWS = 40
"""Rows of a table at most, unless the user wants all."""

RunName = Annotated[
    Optional[str],  # noqa: UP045 - typer reads the annotation on Python 3.10, too
    typer.Argument(
        metavar="[RUN]",
        help="A run's id, the beginning of one, or an event log; absent: the newest run.",
        show_default=False,
    ),
]


def report(
    run: RunName = None,
    output: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Write the report as .html or .json, or the charts alone as .svg or .png. May be given several times.",
            show_default=False,
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help=f"Show all rows of tables, not the first {ROWS}.")] = False,
) -> None:
    """Report a run: planned and actual charts under each other, times and cost of MiniClusters and steps, troubles.

    It comes from the event log, also of a run that is under way, or that crashed, or that was simulated.
    """
    from streamflow_fluxop.cli.files import check_outputs
    from streamflow_fluxop.cli.logs import load
    from streamflow_fluxop.cli.output import Output

    check_outputs(output or [])
    view, made = load(run)
    for path in output or []:
        _write(view, made, path)
    out = Output()
    show(out, view, made, full=full)
    for path in output or []:
        out.line(f"wrote {path}", style="dim")


def _write(view: RunView, made: RunReport, path: Path) -> None:
    from streamflow_fluxop.errors import UserError
    from streamflow_fluxop.report import figure
    from streamflow_fluxop.report.actual import charts
    from streamflow_fluxop.report.run_page import page, title

    try:
        match path.suffix.lower():
            case ".json":
                path.write_text(made.model_dump_json(indent=2) + "\n", encoding="utf-8")
            case ".svg":
                path.write_text(figure.svg(charts(view, made.until), title(made)), encoding="utf-8")
            case ".png":
                path.write_bytes(figure.png(charts(view, made.until), title(made)))
            case ".html":
                path.write_text(page(view, made), encoding="utf-8")
    except OSError as error:
        raise UserError(f"can't be written: {error.strerror}", where=str(path)) from None


def show(out: Output, view: RunView, made: RunReport, *, full: bool) -> None:
    """Print a report: charts and tables."""
    from streamflow_fluxop.report import run_tables
    from streamflow_fluxop.report.actual import charts
    from streamflow_fluxop.report.run_page import title
    from streamflow_fluxop.report.tables import sentences
    from streamflow_fluxop.report.terminal import gantt

    most = None if full else ROWS
    out.line(title(made), style="bold")
    out.line(run_tables.headline(made))
    for chart in charts(view, made.until):
        out.line()
        out.line(chart.caption, style="bold")
        out.show(gantt(chart, out.picture_width, colours=out.colours, glyphs=out.glyphs))
    for fleet in made.fleets:
        if len(made.fleets) > 1:
            out.line()
            out.line(fleet.deployment, style="bold")
        for rows in (
            run_tables.totals(fleet),
            run_tables.miniclusters(fleet, most),
            run_tables.steps(fleet, most),
            run_tables.used(fleet, most),
        ):
            if rows is None:
                continue
            out.line()
            out.show(run_tables.as_table(rows))
        wrong = list(run_tables.troubles(fleet))
        if wrong:
            out.line()
            out.line("What went wrong", style="bold")
            out.show(sentences(("-", text) for text in wrong))
