"""Names and messages that would move a cursor, leave a script or be taken for markup or mathematics."""

import io
import re
import xml.etree.ElementTree as ElementTree

import pytest

from streamflow_fluxop.cli.output import console
from streamflow_fluxop.cli.plan import show
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.events import event_types as d
from streamflow_fluxop.events.view import RunView
from streamflow_fluxop.model import Duration, Flavour, Problem, Step, Workflow
from streamflow_fluxop.planning import solve
from streamflow_fluxop.printable import printable
from streamflow_fluxop.report import figure
from streamflow_fluxop.report.chart import chart
from streamflow_fluxop.report.live import panel
from streamflow_fluxop.report.page import page
from streamflow_fluxop.report.terminal import Glyphs
from streamflow_fluxop.sources import Source

NAMES = [
    "\x1b[2J\x1b]0;mine\x07 gone", "[red]no[/red] [/]", "</script><script>alert(1)</script>", "$x^2$ and $\\frac{1$",
    "<!--", "_hidden", "a\rb\x9b31m", "\u202egnirts", "\ud800", "ü€", "l\nm", "[link=file:///etc/passwd]x[/link]",
    "&amp; <b>", "%s {0} ${x}",
]  # fmt: skip
CONTROL = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@pytest.fixture(scope="module")
def plan():
    steps = [Step(name=name, duration=Duration(seconds=50 + i)) for i, name in enumerate(NAMES) if name != "\ud800"]
    problem = Problem(
        workflow=Workflow(name=NAMES[0] + NAMES[2], steps=steps),
        flavours={"c$_$\x1b[1m</script>": Flavour(cores=4, memory=1000, price=1)},
    )
    return solve(problem, time_limit=1.0)


def test_a_plan_in_the_terminal_has_names_as_they_are_but_for_control_characters(plan, capsys):
    from streamflow_fluxop.cli.output import Output

    show(Output(), Source("\x1b[31mtitle", plan.problem, "file"), plan, [])
    told = capsys.readouterr().out
    assert not CONTROL.search(told)
    assert r"\x1b[31mtitle" in told
    assert "[red]no[/red] [/]" in told


@pytest.mark.parametrize("colours", [True, False])
def test_the_live_view_shows_messages_of_jobs_escaped(colours):
    events = [
        d.RunStarted(run="r\x1b[2J", started="2026-11-24T06:48:43Z", host="h", pid=1, file="f\x1b[2J"),
        d.FleetStarted(deployment="f\x1b[2J", flavours={"cpu": Flavour(cores=1, memory=1)}),
        d.MiniClusterAsked(deployment="f\x1b[2J", minicluster="m\x1b[2J", flavour="cpu", size=1),
        d.MiniClusterProgress(deployment="f\x1b[2J", minicluster="m\x1b[2J", message="[blink]\x1b]0;x\x07 3 of 8"),
        d.MiniClusterAsked(deployment="f\x1b[2J", minicluster="n", flavour="cpu", size=1),
        d.MiniClusterUp(deployment="f\x1b[2J", minicluster="n", seconds=1, nodes=1),
        d.JobsWait(deployment="f\x1b[2J", minicluster="n", jobs=1, idle=1, job="j", message="kept for [b]\x1b[2J"),
    ]
    out = io.StringIO()
    shown = console(file=out, width=120, force_terminal=False)
    shown.print(panel(RunView(events), 5.0, "running", 120, 30, colours=colours, glyphs=Glyphs()))
    assert not CONTROL.search(out.getvalue())
    assert "[blink]" in out.getvalue()
    assert "kept for [b]" in out.getvalue()


def test_pages_hold_no_script_but_our_own(plan):
    made = page(plan, "</title><script>")
    assert made.count("<script") == 1
    assert made.count("</script") == 1
    assert "<!--" not in made.partition("<script")[2]
    assert not CONTROL.search(made)


def test_pictures_take_dollars_for_dollars_and_are_xml(plan):
    ElementTree.fromstring(figure.svg([chart(plan)], NAMES[0] + NAMES[3]))
    assert figure.png([chart(plan)], NAMES[3])[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", NAMES)
def test_errors_are_shown_escaped(name):
    told = str(UserError(f"no {name}", where=name, fix=name))
    assert not CONTROL.search(told)
    assert told == printable(told)
    told.encode()


def test_logs_show_what_jobs_say_escaped(caplog):
    import logging

    from streamflow.log_handler import logger as theirs

    from streamflow_fluxop.streamflow_plugin import FluxopPlugin  # noqa: F401 - what registers it is tested in tests/plugin
    from streamflow_fluxop.streamflow_plugin.internals.hook import check_before_run, log_like_streamflow

    check_before_run()
    log_like_streamflow()
    out = io.StringIO()
    handler = theirs.handlers[0]
    before = handler.setStream(out)
    try:
        theirs.error("job %s said %s", "\x1b[2J", "a\rb")
        logging.getLogger("streamflow_fluxop.streamflow_plugin.connector").error("job %s", "\x1b]0;x\x07")
    finally:
        handler.setStream(before)
    assert not CONTROL.search(out.getvalue())
    assert r"\x1b[2J said a\rb" in out.getvalue()
    assert r"\x1b]0;x\x07" in out.getvalue()


def test_honest_text_stays():
    for text in ("", "plain", "ü€😀", "two\nlines\tand a tab", "a\N{NO-BREAK SPACE}b", "│ ━ ▇"):
        assert printable(text) == text
