"""What the report of a run shows: planned and actual on one time axis, and every number from the log."""

import re
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from rich.console import Console

from streamflow_fluxop import events as e
from streamflow_fluxop.events.view import RunView
from streamflow_fluxop.planning import solve
from streamflow_fluxop.report import figure, run_tables
from streamflow_fluxop.report.actual import charts
from streamflow_fluxop.report.live import panel
from streamflow_fluxop.report.run_page import page
from streamflow_fluxop.report.summary import left_behind, outcome, summary
from streamflow_fluxop.report.terminal import Glyphs
from streamflow_fluxop.sources import read

LATE = 1.25
"""Everything takes so much longer than planned."""


@pytest.fixture(scope="module")
def plan():
    (source,) = read(workflow=Path(__file__).parents[2] / "docs/examples/article.yml")
    return solve(source.problem, time_limit=0.5)


def history(plan, *, simulated=False):
    """The plan as it went, all of it later by the same factor; one job of analysis fails."""
    found = [
        (-2, e.RunStarted(run="r", started=datetime.now(timezone.utc), host="h", pid=1, simulated=simulated)),
        (-1, e.FleetStarted(flavours=plan.problem.flavours, limits=plan.problem.limits, plan=plan)),
    ]
    for m in plan.miniclusters:
        found += [
            (m.asked, e.MiniClusterAsked(minicluster=m.name, flavour=m.flavour, size=m.size, reason="its jobs <come>")),
            (m.ready, e.MiniClusterUp(minicluster=m.name, seconds=m.ready - m.asked, nodes=m.size)),
            (m.released, e.MiniClusterTearingDown(minicluster=m.name, reason="nothing needs it")),
            (m.gone, e.MiniClusterGone(minicluster=m.name)),
        ]
    for a in plan.assignments:
        for job in (f"{a.step}/{n}" for n in range(a.first, a.first + a.count)):
            code = 3 if job == "analysis/1" else 0
            found += [
                (a.start - 1, e.JobAsked(job=job, step=a.step, minicluster=a.minicluster)),
                (a.start, e.JobSubmitted(job=job, minicluster=a.minicluster)),
                (a.start, e.JobStarted(job=job)),
                (a.end - 0.5, e.JobEnded(job=job, exit_code=code)),
            ]
    found.append((1e6, e.RunEnded(exit_code=1, reason="a job failed")))
    found.sort(key=lambda pair: pair[0])
    last = max(m.gone for m in plan.miniclusters) * LATE
    for at, event in found:
        named = {"deployment": "fleet"} if "deployment" in type(event).model_fields else {}
        yield event.model_copy(update={"at": min(last, max(0.0, at * LATE)), **named})


def until(plan, share):
    """The run, cut off when this share of it is over."""
    end = max(m.gone for m in plan.miniclusters) * LATE
    return RunView(event for event in history(plan) if event.at <= share * end)


@pytest.fixture(scope="module")
def run(plan):
    return RunView(history(plan))


def test_planned_and_actual_are_on_one_time_axis(run, plan):
    planned, actual = charts(run, run.at)
    assert planned.end == actual.end == pytest.approx(LATE * max(m.gone for m in plan.miniclusters))
    assert [b.name for b in planned.bars] == [b.name for b in actual.bars]
    for before, after in zip(planned.bars, actual.bars, strict=True):
        assert after.asked == pytest.approx(LATE * before.asked)
        assert [w.step for w in after.work] == [w.step for w in before.work]
    assert planned.use.resource == actual.use.resource
    svg = figure.svg([planned, actual], "x")
    ids = re.findall(r'id="tip-(\d+)"', svg)
    assert sorted(map(int, ids)) == list(range(len(figure.tips([planned, actual]))))


def test_the_summary_compares_what_was_planned_with_what_happened(run, plan):
    report = summary(run, run.at)
    (fleet,) = report.fleets
    assert report.outcome == "failed"
    assert fleet.planned.cost == plan.cost
    assert fleet.actual.cost == pytest.approx(LATE * plan.cost)
    assert report.cost == fleet.actual.cost
    assert fleet.actual.node_seconds == pytest.approx(LATE * plan.node_seconds)
    steps = {s.name: s for s in fleet.steps}
    for step in plan.problem.workflow.steps:
        own = steps[step.name]
        assert own.actual.done + own.actual.failed == own.planned.jobs == step.width
        assert own.actual.mean == pytest.approx(LATE * step.duration.seconds, rel=0.01)
    (trouble,) = fleet.troubles
    assert trouble.what == "step analysis: exit code 3 (analysis/1)"
    heads, rows = run_tables.totals(fleet)
    assert dict(zip(heads, rows[2], strict=True))[">cost"] == "+25 %"


def test_the_page_needs_nothing_else_and_escapes_what_others_wrote(run):
    text = page(run, summary(run, run.at))
    loads = re.findall(r'(?:src|href)="([^"#]+)', text) + re.findall(r"url\((?!#)([^)]*)", text)
    assert loads == []
    assert "its jobs &lt;come&gt;" in text
    assert "its jobs <come>" not in text
    for words in ("What went wrong", "Planned and actual", "gpu-1", "+25\N{NO-BREAK SPACE}%"):
        assert words in text


def test_the_page_is_readable_in_the_dark(run):
    text = page(run, summary(run, run.at))
    style = text[text.index("<style>") : text.index("</style>")]
    assert "prefers-color-scheme: dark" in style
    assert not re.search(r"(?<!-)color: #(?!fff)", style.split("}", 12)[-1]), "colours outside the two palettes"


@pytest.mark.parametrize("share", [0, 0.05, 0.6, 1])
def test_a_run_that_stopped_anywhere_is_reported(plan, share):
    view = until(plan, share)
    report = summary(view, view.at, alive=False)
    assert report.outcome == ("failed" if share == 1 else "died")
    assert "cost" in page(view, report)


@pytest.mark.parametrize("share", [0, 0.05, 0.3, 0.6, 0.95, 1])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 50), (60, 10)])
def test_the_live_view_fits_into_the_terminal(plan, share, width, height):
    view = until(plan, share)
    console = Console(width=width, height=height, color_system="standard", force_terminal=True)
    drawn = panel(view, view.at, outcome(view, True), width, height, colours=True, glyphs=Glyphs())
    lines = console.render_lines(drawn, console.options.update_width(width), pad=False)
    assert len(lines) <= max(height, 10)
    assert all(sum(segment.cell_length for segment in line) <= width for line in lines)


def test_the_live_view_leaves_no_room_for_a_chart_that_does_not_fit(plan):
    view = until(plan, 0.3)
    (fleet,) = view.fleets.values()
    (life,) = fleet.held
    for n in range(30):
        fleet.lives.append(replace(life, name=f"more-{n}"))
        fleet.current[f"more-{n}"] = fleet.lives[-1]
    console = Console(width=80, height=14, color_system=None)
    with console.capture() as capture:
        console.print(panel(view, view.at, "running", 80, 14, colours=False, glyphs=Glyphs()))
    shown = capture.get().splitlines()
    assert 12 <= len(shown) <= 14
    assert "more" in shown[-1]


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_view_says_why_a_minicluster_is_as_it_is(plan, width):
    view = until(plan, 0.3)
    (fleet,) = view.fleets.values()
    (held,) = fleet.held
    held.reasons.append((view.at, why := "its next use is 20 min away"))
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(panel(view, view.at, "running", width, colours=False, glyphs=Glyphs()))
    text = capture.get()
    assert why in text
    assert "jobs <come>" not in text, "it is there"


@pytest.mark.parametrize("width", [80, 140])
def test_the_live_view_says_why_jobs_wait_beside_idle_nodes(plan, width):
    view = until(plan, 0.3)
    (fleet,) = view.fleets.values()
    (held,) = fleet.held

    def shown(now):
        console = Console(width=width, color_system=None)
        with console.capture() as capture:
            console.print(panel(view, now, "running", width, colours=False, glyphs=Glyphs()))
        return capture.get()

    wait = {"minicluster": held.name, "reason": "reserved", "job": "/b/0", "message": "kept for /c"}
    view.take([e.JobsWait(at=view.at, deployment="fleet", jobs=3, idle=1, expected_in=60.0, **wait)])
    assert "3 jobs waiting, 1 node idle: kept for /c, expected in 60 s" in shown(view.at)
    assert "3 jobs waiting, 1 node idle: kept for /c, expected in 40 s" in shown(view.at + 20)
    assert "expected in" not in shown(view.at + 100)
    view.take([e.JobsWait(at=view.at, deployment="fleet", minicluster=held.name, jobs=0)])
    assert "waiting" not in shown(view.at)


def test_the_live_view_can_be_drawn_from_the_first_event_on(plan):
    events = list(history(plan))
    for n in range(1, 5):
        view = RunView(events[:n])
        assert panel(view, view.at, "running", 80, 24, colours=False, glyphs=Glyphs())


def test_what_has_not_begun_stands_as_planned_in_the_live_view(plan):
    view = until(plan, 0.5)
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(panel(view, view.at, "running", 80, colours=False, glyphs=Glyphs()))
    text = capture.get()
    assert re.search(r"about \d+ min left", re.sub(r" \d+ s left", " left", text))
    assert re.search(r"gpu-1 +2 . gpu", text)
    assert re.search(r"  planned +2 . gpu", text)
    assert re.search(r"cpu-2 +1 . cpu", text), "planned, not asked for yet"


def test_a_job_that_runs_far_beyond_what_was_expected_is_said_to(plan):
    view = until(plan, 0.5)
    (fleet,) = view.fleets.values()
    job = next(job for job in fleet.under_way.values() if job.started is not None)
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(panel(view, job.started + 40 * 3600, "running", 120, colours=False, glyphs=Glyphs()))
    text = capture.get()
    assert re.search(rf"long  {re.escape(job.name)} has run for 40 h.*, .* were expected", text), text
    assert "about" not in text


def test_what_a_dead_controller_left_is_said(plan):
    text = " ".join(left_behind(until(plan, 0.5)))
    assert "gpu-1 (up)" in text
    assert "jobs were not over" in text
    assert list(left_behind(RunView(history(plan, simulated=True)))) == []


def test_miniclusters_of_others_are_not_said_to_end(plan):
    view = until(plan, 0.5)
    (fleet,) = view.fleets.values()
    fleet.external = True
    (miniclusters, _) = left_behind(view)
    assert re.fullmatch("It was attached to MiniClusters of others .*gpu-1.* They stay.", miniclusters)


def test_a_run_that_died_has_no_time_left(plan):
    view = until(plan, 0.5)
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(panel(view, view.at, "died", 80, colours=False, glyphs=Glyphs()))
    assert " left" not in capture.get()
