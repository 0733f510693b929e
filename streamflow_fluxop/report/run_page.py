"""The report of a run as one page: planned and actual charts under each other, and the tables."""

from __future__ import annotations

from collections.abc import Iterator

from streamflow_fluxop.events.view import RunView
from streamflow_fluxop.report import run_tables
from streamflow_fluxop.report.actual import charts
from streamflow_fluxop.report.page import ROWS, bullets, document, html, table
from streamflow_fluxop.report.summary import FleetReport, RunReport
from streamflow_fluxop.report.units import duration, number


def title(report: RunReport) -> str:
    """What heads the report: ``run 20261124-064843-89f2 of streamflow.yml``."""
    return f"run {report.run}" + (f" of {report.file}" if report.file else "")


def page(view: RunView, report: RunReport) -> str:
    """The page as a document.

    Args:
        view: the run.
        report: its summary.

    Raises:
        UserError: matplotlib is not installed.
    """
    return document(
        title(report),
        (
            ("", report.outcome),
            ("started", f"{report.started.astimezone():%Y-%m-%d %H:%M:%S}"),
            ("on", report.host),
            ("until its end" if report.outcome != "running" else "so far", duration(report.until)),
            ("cost", number(report.cost)),
            ("MiniClusters", number(sum(f.actual.miniclusters for f in report.fleets))),
            ("jobs", number(sum(f.actual.jobs for f in report.fleets))),
        ),
        charts(view, report.until),
        [section for fleet in report.fleets for section in _sections(report, fleet)],
    )


def _sections(report: RunReport, fleet: FleetReport) -> Iterator[tuple[str, str]]:
    of = f" of {fleet.deployment}" if len(report.fleets) > 1 else ""
    if report.why and fleet is report.fleets[0]:
        yield "Why it ended", f"<p>{html(report.why)}</p>"
    wrong = list(run_tables.troubles(fleet))
    if wrong:
        yield f"What went wrong{of}", bullets(wrong)
    yield f"Planned and actual{of}", table(*run_tables.totals(fleet))
    yield f"MiniClusters{of}", table(*run_tables.miniclusters(fleet, ROWS))
    yield f"Steps{of}", table(*run_tables.steps(fleet, ROWS))
    if used := run_tables.used(fleet, ROWS):
        yield f"What jobs used{of}", table(*used)
    yield (
        f"Why they came and went{of}",
        "<dl>"
        + "".join(
            f"<dt>{html(m.name)}</dt>" + "".join(f"<dd>{html(r)}</dd>" for r in m.reasons)
            for m in fleet.miniclusters[:ROWS]
            if m.reasons
        )
        + "</dl>",
    )
