"""Pages that need nothing else, no network and no other file: that of a plan, and what others are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from json import dumps
from string import Template

from streamflow_fluxop.model import Alternative, Plan
from streamflow_fluxop.printable import printable
from streamflow_fluxop.report import figure
from streamflow_fluxop.report.chart import Chart, chart
from streamflow_fluxop.report.headline import quality, rests_on
from streamflow_fluxop.report.names import StepNames
from streamflow_fluxop.report.tables import NoPlan, amounts, job_time, jobs, needs, some, where
from streamflow_fluxop.report.units import duration, number

ROWS = 2000
"""Rows of a table at most."""


def page(plan: Plan, title: str, rows: Sequence[Alternative | NoPlan] = ()) -> str:
    """The page of a plan.

    Args:
        plan: the plan.
        title: of the page.
        rows: what this plan and other strategies come to.

    Raises:
        UserError: matplotlib is not installed.
    """
    reasons = "".join(
        f"<dt>{html(m.name)}</dt>" + "".join(f"<dd>{html(r)}</dd>" for r in m.reasons) for m in plan.miniclusters[:ROWS]
    )
    return document(
        title,
        (
            ("MiniClusters", number(len(plan.miniclusters))),
            ("until the last job is over", duration(plan.makespan)),
            ("cost", number(plan.cost)),
            ("node-seconds", number(plan.node_seconds)),
            (f"how good, {told}" if (told := rests_on(plan)) else "how good", quality(plan)),
        ),
        [chart(plan)],
        (
            ("Beside other strategies", _strategies(plan, rows)),
            ("MiniClusters", _miniclusters(plan)),
            ("Steps", _steps(plan)),
            ("Where the numbers come from", bullets(plan.assumptions)),
            ("Why", f"<dl>{reasons}</dl>"),
        ),
    )


def document(
    title: str, figures: Iterable[tuple[str, str]], charts: Sequence[Chart], sections: Iterable[tuple[str, str]]
) -> str:
    """A page with large figures, charts and sections, as text.

    Args:
        title: of the page.
        figures: names and values.
        charts: under each other.
        sections: headings, and what is below each, as HTML.

    Raises:
        UserError: matplotlib is not installed.
    """
    picture = figure.svg(charts, "") if charts else "<svg></svg>"
    return Template(files(__package__).joinpath("page.html").read_text("utf-8")).substitute(
        title=html(title),
        figures="".join(f"<div><b>{html(value)}</b><span>{html(name)}</span></div>" for name, value in figures),
        chart=picture[picture.index("<svg") :],
        tips=dumps(figure.tips(charts)).replace("<", "\\u003c"),
        sections="\n".join(f"<h2>{html(heading)}</h2>\n{body}" for heading, body in sections),
    )


def _strategies(plan: Plan, rows: Sequence[Alternative | NoPlan]) -> str:
    cells: list[Sequence[str]] = [
        (f"{row.strategy}: {row.why}", "no plan", "", "", "")
        if isinstance(row, NoPlan)
        else (row.strategy, *amounts(row))
        for row in rows
    ]
    cells.append(("no plan is below", "", "", number(plan.bounds.cost), duration(plan.bounds.makespan)))
    return table(("strategy", ">MiniClusters", ">node-seconds", ">cost", ">makespan"), cells)


def _miniclusters(plan: Plan) -> str:
    names = StepNames(s.name for s in plan.problem.workflow.steps)
    images = any(m.image for m in plan.miniclusters)
    times = (">asked", ">ready", ">given up", ">gone")
    return table(
        ("name", "flavour", ">nodes", *["image"] * images, *times, ">node-seconds", ">cost", "steps"),
        (
            (
                m.name,
                m.flavour,
                ", then ".join(map(str, [m.size, *(r.size for r in m.resizes)])),
                *[m.image or ""] * images,
                *(duration(t) for t in (m.asked, m.ready, m.released, m.gone)),
                number(m.node_seconds),
                number(m.cost),
                some(names.together(m.steps), 8),
            )
            for m in plan.miniclusters[:ROWS]
        ),
    )


def _steps(plan: Plan) -> str:
    steps = {s.name: s for s in plan.problem.workflow.steps}
    return table(
        ("step", ">jobs", "needs of a job", "time of a job", ">start", ">end", "in"),
        (
            (
                e.step,
                jobs(steps[e.step]),
                needs(steps[e.step]),
                job_time(steps[e.step]),
                *(("", "") if steps[e.step].skipped else (duration(e.start), duration(e.end))),
                where(steps[e.step], e.miniclusters, 8),
            )
            for e in plan.steps[:ROWS]
        ),
    )


def html(text: str) -> str:
    """Text for a page."""
    return escape(printable(text))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as HTML; heads that begin with ``>`` are those of numbers."""
    kinds = [' class="n"' if h.startswith(">") else "" for h in heads]

    def row(tag: str, cells: Sequence[str]) -> str:
        words = [_together(c) if k else c for k, c in zip(kinds, cells, strict=True)]
        return "<tr>" + "".join(f"<{tag}{k}>{html(c)}</{tag}>" for k, c in zip(kinds, words, strict=True)) + "</tr>"

    body = "".join(row("td", cells) for cells in rows)
    head = row("th", [h.lstrip(">") for h in heads])
    return f'<div class="table"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def _together(cell: str) -> str:
    """A cell with numbers, which breaks before a parenthesis and after a dash only."""
    return (
        cell.replace(" ", "\N{NO-BREAK SPACE}")
        .replace("\N{NO-BREAK SPACE}(", " (")
        .replace("\N{NO-BREAK SPACE}-\N{NO-BREAK SPACE}", "\N{NO-BREAK SPACE}- ")
    )


def bullets(sentences: Iterable[str]) -> str:
    """Sentences as a list."""
    return "<ul>" + "".join(f"<li>{html(s)}</li>" for s in sentences) + "</ul>"
