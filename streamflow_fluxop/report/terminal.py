"""The Gantt chart in the terminal: readable at 80 columns, in 16 colours, and without any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.style import Style
from rich.text import Text

from streamflow_fluxop.report.chart import Bar, Chart, Work
from streamflow_fluxop.report.units import number, ticks

LANES = 5
"""Rows of a MiniCluster at most; one that does more side by side shows how many jobs run instead."""

ROWS = 60
"""Rows of all MiniClusters at most; what is left out is said."""

_COLOURS = (
    "black on bright_cyan",
    "black on green",
    "black on yellow",
    "black on magenta",
    "black on cyan",
    "black on bright_white",
    "black on bright_green",
    "black on bright_magenta",
)
"""Colour of each kind of steps, from the 16 that every terminal has."""


@dataclass(frozen=True)
class Glyphs:
    """The characters that the chart is made of."""

    up: str = "░"
    down: str = "▒"
    idle: str = "·"
    limit: str = "┄"
    line: str = "─"
    left: str = "├"
    right: str = "┤"
    tick: str = "┬"
    times: str = "\N{MULTIPLICATION SIGN}"
    eighths: str = " ▁▂▃▄▅▆▇█"


ASCII = Glyphs(
    up=":", down="%", idle=".", limit="-", line="-", left="[", right="]", tick="+", times="x", eighths=" ____####"
)


def gantt(chart: Chart, width: int, *, colours: bool, glyphs: Glyphs | None = None, rows: int = ROWS) -> Text:
    """The chart as lines of `width` columns at most.

    Args:
        chart: of the plan.
        width: columns, at least 40.
        colours: whether colours tell the steps apart; else brackets do.
        glyphs: the characters; None: those of Unicode.
        rows: of all MiniClusters at most; what is left out is said.
    """
    drawing = _Drawing(chart, max(40, width), colours, glyphs or Glyphs(), rows)
    return Text("\n", no_wrap=True, overflow="ignore").join(drawing.lines())


@dataclass
class _Drawing:
    chart: Chart
    width: int
    colours: bool
    glyphs: Glyphs
    most: int
    keys: dict[str, str] = field(default_factory=dict)
    """Letters that stand for labels that are too long for their place."""

    def __post_init__(self) -> None:
        self.name_width = max([len(b.name) for b in self.chart.bars], default=0)
        self.nodes_width = max([len(b.nodes) for b in self.chart.bars], default=0)
        axis = max(len(self._limit_label()), len(self.chart.use.resource) + 1 + len(number(self.chart.use.peak)))
        self.margin = min(max(self.name_width + 2 + self.nodes_width, axis) + 1, self.width // 2)
        self.columns = self.width - self.margin - 1

    def lines(self) -> Iterator[Text]:
        yield from self._use()
        yield from self._axis()
        shown = 0
        bars = self.chart.bars
        for i, bar in enumerate(bars):
            rows = list(self._bar(bar))
            if shown and shown + len(rows) > self.most:
                yield Text(f"… {len(bars) - i} more MiniClusters", style="dim")
                break
            shown += len(rows)
            yield from rows
        if shown > 12:
            yield from self._axis()
        yield Text()
        yield from self._legend()

    # the use of the limited resource

    def _limit_label(self) -> str:
        limit = self.chart.use.limit
        return "" if limit is None else f"limit {number(limit)} {self.chart.use.resource}"

    def _use(self) -> Iterator[Text]:
        use = self.chart.use
        if use.limit is not None:
            yield self._row(self._limit_label(), [(self.glyphs.limit * self.columns, "bright_red")], style="bright_red")
        top = max(use.limit or 0, use.peak) or 1
        rows = int(top) if top <= 4 and top == int(top) else 3
        most = [use.most_between(*self._times(c)) for c in range(self.columns)]
        for row in reversed(range(rows)):
            label = f"{use.resource} {number(use.peak)}" if row == 0 and use.limit is None else ""
            label = f"{use.resource} held" if row == 0 and use.limit is not None else label
            cells = "".join(self._eighth(m / top * rows - row) for m in most)
            yield self._row(label, [(cells, "blue")])

    def _eighth(self, share: float) -> str:
        """A cell that is filled from its bottom to `share`."""
        eighths = self.glyphs.eighths
        full = len(eighths) - 1
        return eighths[0] if share <= 0 else eighths[min(full, max(1, round(share * full)))]

    def _axis(self) -> Iterator[Text]:
        marks = ticks(self.chart.end, max(2, self.columns // 11))
        line, words = [self.glyphs.line] * self.columns, ""
        for time, label in marks:
            column = min(self.columns - 1, self._column(time))
            line[column] = self.glyphs.tick
            if column + len(label) <= self.columns + 1 and column >= len(words):
                words = words.ljust(column) + label + " "
        yield self._row("", [("".join(line), "dim")])
        yield self._row("", [(words.rstrip(), "dim")])

    # MiniClusters

    def _bar(self, bar: Bar) -> Iterator[Text]:
        lanes = bar.lanes(LANES)
        name, nodes = bar.name, bar.nodes.replace(" x ", f" {self.glyphs.times} ")
        fits = self.name_width + 2 + self.nodes_width < self.margin
        labels = [f"{name.ljust(self.name_width)}  {nodes}"] if fits else [name, nodes]
        legible = lanes is not None and all(len(lane) <= self.columns // 2 for lane in lanes)
        rows = [self._lane(bar, lane) for lane in lanes] if lanes is not None and legible else self._jobs(bar)
        rows += [self._lane(bar, [])] * (len(labels) - len(rows))
        labels += [""] * (len(rows) - len(labels))
        for label, cells in zip(labels, rows, strict=True):
            yield self._row(label, cells)

    def _lane(self, bar: Bar, works: list[Work]) -> list[tuple[str, str]]:
        cells = self._life(bar)
        pieces: list[tuple[str, str]] = []
        at = 0
        for work in works:
            start = max(at, min(self._column(work.start), self.columns - 1))
            end = min(self.columns, max(start + 1, self._column(work.end)))
            if start >= end:
                continue
            pieces += [
                *self._runs(cells, at, start),
                self._piece(work, end - start, bracket=not self.colours or bar.planned),
            ]
            at = end
        return [*pieces, *self._runs(cells, at, self.columns)]

    def _piece(self, work: Work, width: int, *, bracket: bool) -> tuple[str, str]:
        label = work.label.replace(" x", f" {self.glyphs.times}")
        style = "dim" if bracket else _COLOURS[work.kind % len(_COLOURS)]
        room = width - 2 if bracket else width
        name = work.label.rsplit(" x", 1)[0] if work.jobs > 1 else label
        shorter = (label, name, self.chart.names.kinds[work.kind])
        text = next((t for t in shorter if len(t) <= room), None) or self._key(label, room)
        if not bracket:
            return text.center(width), style
        if width < 2:
            return text or self.glyphs.line, style
        return self.glyphs.left + text.center(room, self.glyphs.line) + self.glyphs.right, style

    def _key(self, label: str, room: int) -> str:
        letters = "abcdefghijklmnopqrstuvwxyz"
        few = len(self.chart.names.short) <= len(letters)
        if few and label not in self.keys and len(self.keys) < len(letters) and room > 0:
            self.keys[label] = letters[len(self.keys)]
        key = self.keys.get(label, "")
        return key if len(key) <= room else ""

    def _jobs(self, bar: Bar) -> list[list[tuple[str, str]]]:
        """How many jobs run in it, over time, in two rows."""
        cells, most = self._life(bar), [0] * self.columns
        times = [*(t for t, _ in bar.running[1:]), bar.released]
        for (start, kinds), end in zip(bar.running, times, strict=True):
            for c in range(self._column(start), max(self._column(start) + 1, self._column(end))):
                if c < self.columns:
                    most[c] = max(most[c], sum(kinds.values()))
        peak = max(most, default=0) or 1
        lines = []
        for row in (1, 0):
            filled = [(self._eighth(m / peak * 2 - row), "green") if m else c for m, c in zip(most, cells, strict=True)]
            lines.append(self._runs(filled, 0, self.columns))
        steps = len({w.step for w in bar.work})
        first = round(self._column(bar.asked))
        words = f"{steps} steps, up to {peak} jobs at once"
        if len(words) > self.columns:
            words = ""
        lines.append([(" " * min(first, max(0, self.columns - len(words))), ""), (words, "dim")])
        return lines

    def _life(self, bar: Bar) -> list[tuple[str, str]]:
        """The bar with nothing in it: coming up, idle, going down."""
        cells = [(" ", "")] * self.columns
        for start, end, glyph, style in (
            (bar.ready, bar.released, self.glyphs.idle, "dim"),
            (bar.asked, bar.ready, self.glyphs.up, ""),
            (bar.released, bar.gone, self.glyphs.down, ""),
        ):
            first, last = self._column(start), self._column(end)
            if end > start:
                for c in range(min(first, self.columns - 1), max(first + 1, last)):
                    if c < self.columns:
                        cells[c] = (glyph, style)
        return cells

    # what both are made of

    def _legend(self) -> Iterator[Text]:
        g = self.glyphs
        words = [f"{g.up} coming up", f"{g.down} going down", f"{g.idle} idle"]
        words += [f"{key} = {label}" for label, key in self.keys.items()]
        line = ""
        for word in words:
            if line and len(line) + 3 + len(word) > self.width:
                yield Text(line, style="dim")
                line = ""
            line += ("   " if line else "") + word
        yield Text(line, style="dim")

    def _row(self, label: str, pieces: list[tuple[str, str]], style: str = "") -> Text:
        line = Text(label.ljust(self.margin), style=style, no_wrap=True)
        for text, look in pieces:
            line.append(text, style=Style.parse(look) if self.colours and look else None)
        line.rstrip()
        return line

    @staticmethod
    def _runs(cells: list[tuple[str, str]], start: int, end: int) -> list[tuple[str, str]]:
        """Cells from `start` to `end`, neighbours of one style together."""
        runs: list[tuple[str, str]] = []
        for text, style in cells[start:end]:
            if runs and runs[-1][1] == style:
                runs[-1] = (runs[-1][0] + text, style)
            else:
                runs.append((text, style))
        return runs

    def _column(self, time: float) -> int:
        return round(time / self.chart.end * self.columns)

    def _times(self, column: int) -> tuple[float, float]:
        size = self.chart.end / self.columns
        return column * size + size * 0.25, (column + 1) * size - size * 0.25
