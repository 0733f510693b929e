"""`fluxop plan`: which MiniClusters, of what size and flavour, when, for which steps, at what cost, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from streamflow_fluxop.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamflow_fluxop.cli.output import Output
    from streamflow_fluxop.model import Alternative, Plan
    from streamflow_fluxop.report.tables import NoPlan
    from streamflow_fluxop.sources import Source

ROWS = 40
"""Rows of a table at most, unless the user wants all."""


def plan(
    file: options.File = None,
    workflow: options.WorkflowFile = None,
    flavours: options.FlavoursFile = None,
    deployment: options.DeploymentName = None,
    workflow_name: options.WorkflowName = None,
    history: options.History = None,
    no_history: options.NoHistory = False,
    no_javascript: options.NoJavaScript = False,
    web: options.Web = False,
    yes: options.Yes = False,
    limit: options.LimitWords = None,
    objective: options.ObjectiveGoal = None,
    weight: options.Weight = None,
    deadline: options.Deadline = None,
    budget: options.Budget = None,
    strategy: options.Strategy = None,
    seed: options.Seed = None,
    time_limit: options.TimeLimit = None,
    output: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Write the plan as .json, or a picture of it as .svg, .png or .html. May be given several times.",
            show_default=False,
        ),
    ] = None,
    manifests: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--manifests",
            metavar="FOLDER",
            help="Write the MiniClusters as manifests of the Flux Operator.",
            show_default=False,
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help=f"Show all rows of tables, not the first {ROWS}.")] = False,
) -> None:
    """Plan which MiniClusters to bring up: of what size and flavour, when, for which steps, at what cost, and why.

    Nothing is started. Exit code 2: the input is wrong, or there is no plan.
    """
    from streamflow_fluxop.cli.files import check_outputs, file_name, write
    from streamflow_fluxop.cli.output import Output
    from streamflow_fluxop.cli.planning import EXTREMES, Request, check_wishes
    from streamflow_fluxop.report.tables import totals

    check_outputs(output or [])
    request = Request(
        file=file,
        workflow=workflow,
        flavours=flavours,
        deployment=deployment,
        workflow_name=workflow_name,
        history=history,
        no_history=no_history,
        javascript=not no_javascript,
        web=web,
        yes=yes,
        limits=options.limits(limit or []),
        goal=objective,
        weight=weight,
        deadline=deadline,
        budget=budget,
        seed=seed,
        time_limit=time_limit,
    )
    out = Output()
    sources = request.sources()
    for number, source in enumerate(sources):
        made = request.solve(source, strategy)
        check_wishes(made, source)
        others = request.others(source, made, [name for name in EXTREMES if name != strategy])
        rows = [totals(made, "this plan"), *others]
        suffix = "-" + file_name(source.title.replace(" on ", "-")) if len(sources) > 1 else ""
        folder = manifests / suffix.lstrip("-") if manifests else None
        written = list(write(made, source, rows, output or [], folder, suffix=suffix))  # whatever reads our stdout
        if number:
            out.line()
        show(out, source, made, rows, full=full)
        for path in written:
            out.line(f"wrote {path}", style="dim")
        if folder:
            _say_what_lacks_an_image(out, source, made)


def _say_what_lacks_an_image(out: Output, source: Source, made: Plan) -> None:
    from streamflow_fluxop.miniclusters.kubernetes.manifests import without_image
    from streamflow_fluxop.report.tables import some

    if missing := without_image(made, source.kubernetes):
        out.line(f"no image is known for {some(missing, 4)}: write `image` into the manifests, or into the input")


def show(out: Output, source: Source, made: Plan, rows: Sequence[Alternative | NoPlan], *, full: bool = False) -> None:
    """Print a plan: chart, tables, where the numbers come from, and why."""
    from streamflow_fluxop.orchestration.simulation.expectation import expect
    from streamflow_fluxop.report import tables
    from streamflow_fluxop.report.chart import chart
    from streamflow_fluxop.report.headline import headline
    from streamflow_fluxop.report.terminal import gantt

    most = None if full else ROWS
    out.line(f"{source.title}: {headline(made)}", style="bold")
    if source.reuse:
        out.line(source.reuse)
    if told := expect(made):
        out.line(tables.expected(told))
    out.line()
    out.show(gantt(chart(made), out.picture_width, colours=out.colours, glyphs=out.glyphs))
    for table in (tables.strategies(made, rows), tables.miniclusters(made, most), tables.steps(made, most)):
        out.line()
        out.show(table)
    if most is not None and max(len(made.miniclusters), len(made.steps)) > most:
        out.line(f"the first {most} rows of each table; --full shows all", style="dim")
    out.line()
    out.line("Where the numbers come from", style="bold")
    out.show(tables.sentences([("-", text) for text in made.assumptions]))
    out.line()
    out.line("Why", style="bold")
    out.show(tables.sentences((m.name, reason) for m in made.miniclusters[:most] for reason in m.reasons))
