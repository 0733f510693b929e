"""`fluxop run`: `streamflow run` with a live view below its log lines."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from streamflow_fluxop.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.segment import Segments

REFRESH = 0.25
"""Seconds between two pictures."""

LONGEST = 5.0
"""Seconds between two pictures at most."""

SHARE = 0.1
"""Share of the time that drawing takes at most: a picture of 100 000 jobs is not drawn four times a second."""

LINES = 30
"""Lines of the view at most."""

LOG_LINES = 4
"""Lines that are left to what scrolls above it."""


def run(ctx: typer.Context) -> None:
    """Run a StreamFlow file as streamflow run does, with a live view: MiniClusters, jobs, cost, time left, the plan.

    Options and exit code are those of streamflow run; Ctrl-C takes everything down in order. Where standard output is
    no terminal there is no live view.

    With --resume it goes on with the newest run of the file, with --resume RUN with that one: jobs that would do the
    same as one that succeeded are not run again.
    """
    from streamflow.log_handler import logger
    from streamflow.main import main

    from streamflow_fluxop.streamflow_plugin import resuming, signals

    asked, words = resuming.taken_out(ctx.args)
    _check(words)
    if asked is not None:
        resuming.resume(asked)
    try:
        if sys.stdout.isatty():
            with _live_view() as stream:
                for handler in logger.handlers:
                    handler.setStream(stream)
                code = main(["run", *words])
        else:
            code = main(["run", *words])
    except (KeyboardInterrupt, asyncio.CancelledError):
        signals.end_by_signal()
    raise typer.Exit(code)


def _check(words: list[str]) -> None:
    """Check the command line: StreamFlow's main shows a traceback, and finds at the end that it can't write outputs.

    Raises:
        UserError: there can be no outputs where they are to be.
    """
    from streamflow.parser import parser

    from streamflow_fluxop.streamflow_plugin.preflight import unusable

    outputs = parser.parse_args(["run", *words]).outdir
    if why := unusable(outputs):
        raise UserError(f"no outputs can be written to {outputs}: {why}", where="--outdir")


@contextmanager
def _live_view() -> Iterator[object]:
    """Show the run of this process until it is over; yields a stream whose lines go above the view."""
    from rich.live import Live

    from streamflow_fluxop.cli.output import console as plain

    console = plain()
    view = _View(console)
    done = threading.Event()
    real = sys.stderr
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        painter = threading.Thread(target=_paint, args=(view, live, done), name="fluxop live view", daemon=True)
        painter.start()
        try:
            yield sys.stderr  # Live has put its own there
        finally:
            done.set()
            painter.join()
            live.update(view.picture(last=True), refresh=True)
    _give_back(real)
    if view.run is not None:
        console.print(f"`fluxop report {view.run}` shows what was planned and what happened.", style="dim")


def _give_back(stream: object) -> None:
    from streamflow.log_handler import logger

    for handler in logger.handlers:
        handler.setStream(stream)


def _paint(view: _View, live: Live, done: threading.Event) -> None:
    view.picture()  # the first one takes the time of imports, too
    pause = REFRESH
    while not done.wait(pause):
        before = time.thread_time()
        live.update(view.picture(), refresh=True)
        pause = min(LONGEST, max(REFRESH, (time.thread_time() - before) / SHARE))


class _View:
    """The run of this process, drawn from its event log.

    Attributes:
        run: its id, None as long as there is none.
    """

    def __init__(self, console: Console) -> None:
        from streamflow_fluxop.cli.output import Output
        from streamflow_fluxop.events.view import RunView

        self.run: str | None = None
        self._console = console
        self._output = Output()
        self._view = RunView()
        self._follower: object | None = None

    def picture(self, *, last: bool = False) -> Segments:
        """The view as it is now, drawn once: every log line above it paints it anew."""
        from rich.segment import Segment, Segments

        from streamflow_fluxop.cli.logs import until
        from streamflow_fluxop.report.live import panel
        from streamflow_fluxop.report.summary import outcome

        self._read()
        if self._view.started is None:
            return Segments([])
        width, height = self._console.size
        drawn = panel(
            self._view,
            until(self._view, alive=True),
            outcome(self._view, alive=not last),
            width,
            min(LINES, height - LOG_LINES),
            colours=self._output.colours,
            glyphs=self._output.glyphs,
        )
        lines = self._console.render_lines(drawn, self._console.options.update_width(width), pad=False)
        shown = lines if last else lines[: height - 1]
        return Segments([part for line in shown for part in (*line, Segment.line())][:-1])

    def _read(self) -> None:
        from streamflow_fluxop.events.reading import Follower
        from streamflow_fluxop.streamflow_plugin.recording import current_log

        path = current_log()
        if path is None:
            return
        if not isinstance(self._follower, Follower):
            self._follower = Follower(path)
        self._view.take(self._follower.new())
        self.run = path.stem
