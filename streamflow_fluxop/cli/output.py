"""Where commands print: a terminal with colours and its width, or plain text in which no word is cut."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    from streamflow_fluxop.report.terminal import Glyphs

PLAIN_WIDTH = 80
"""Columns of pictures where no terminal says how many there are."""

WIDEST = 160
"""Columns of pictures at most."""

_ENDLESS = 100_000


def console(**options: Any) -> Console:
    """A console that shows what it is given: no markup in names, and control characters as their codes."""
    from rich.console import Console
    from rich.segment import Segment

    from streamflow_fluxop.printable import printable

    class Plain(Console):
        def render_str(self, text: str, **more: Any) -> Text:
            """Text of a string, before anything is laid out."""
            return super().render_str(printable(text), **more)

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
            """Whatever else is shown; what is a control code for the terminal comes from Rich, and stays."""
            for segment in super().render(renderable, options):
                shown = segment.text if segment.control else printable(segment.text)
                yield segment if shown == segment.text else Segment(shown, segment.style)

    return Plain(highlight=False, emoji=False, markup=False, **options)


class Output:
    """Standard output.

    Attributes:
        colours: whether it shows colours.
        picture_width: columns that a picture may take.
    """

    def __init__(self) -> None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # where the locale knows less than UTF-8
        self._plain = not sys.stdout.isatty() and "COLUMNS" not in os.environ
        self._console = console(width=_ENDLESS if self._plain else None)
        self.colours = self._console.color_system is not None and not self._console.no_color
        self.picture_width = PLAIN_WIDTH if self._plain else min(self._console.width, WIDEST)

    @property
    def glyphs(self) -> Glyphs:
        """Characters that it can show."""
        from streamflow_fluxop.report.terminal import ASCII, Glyphs

        return Glyphs() if self._console.encoding.lower().startswith("utf") else ASCII

    def line(self, text: str = "", style: str = "") -> None:
        """A line; a terminal breaks it between words where it is too long."""
        self._console.print(text, style=style or None, soft_wrap=self._plain)

    def show(self, renderable: RenderableType) -> None:
        """A table or the like; no line of it ends in spaces where there are no colours."""
        if self.colours:
            self._console.print(renderable)
            return
        with self._console.capture() as capture:
            self._console.print(renderable)
        for text in capture.get().splitlines():
            self.line(text.rstrip())
