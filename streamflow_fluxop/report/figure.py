"""Gantt charts as a figure: SVG or PNG, by matplotlib."""

from __future__ import annotations

import warnings
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO, StringIO
from math import ceil
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.printable import printable
from streamflow_fluxop.report.units import duration, number, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamflow_fluxop.report.chart import Bar, Chart, Work

WIDTH = 10.0
"""Inches."""

ROW, GAP = 0.34, 0.3
"""Height of a row in inches, and between two MiniClusters in rows."""

LANES = 6
"""Rows of a MiniCluster at most; one that does more side by side shows how many jobs of each kind run instead."""

LEGEND = 8
"""Columns of the legend at most; fewer where names are long."""

BARS = 120
"""MiniClusters at most; what is left out is said."""

_LABEL = 8.5  # points

_COLOURS = (
    "#3b6ea5",
    "#c8640a",
    "#3f8f45",
    "#8e5a9b",
    "#c44e52",
    "#2f8f8b",
    "#a07d00",
    "#7d5a44",
    "#6b6b6b",
    "#b85c8a",
)
_INK, _FAINT, _EDGE, _LIMIT = "#24292f", "#6e7781", "#8c959f", "#cf222e"
_SHADES = {"up": ("#d8dee4", "////"), "down": ("#d8dee4", r"\\\\")}


def svg(charts: Sequence[Chart], title: str) -> str:
    """Charts as an SVG document, the same each time. Parts with `tips` have the ids ``tip-0`` and on.

    Args:
        charts: one, or several under each other on one time axis.
        title: goes above them, with what each comes to; empty: no title, and one chart alone has no caption.

    Raises:
        UserError: matplotlib is not installed.
    """
    out = StringIO()
    _save(charts, title, out, "svg")
    return out.getvalue()


def png(charts: Sequence[Chart], title: str) -> bytes:
    """Charts as a PNG image, 1500 pixels wide.

    Args:
        charts: see `svg`; likewise `title`.
        title: goes above them.

    Raises:
        UserError: matplotlib is not installed.
    """
    out = BytesIO()
    _save(charts, title, out, "png")
    return out.getvalue()


def need_matplotlib() -> None:
    """Check that pictures can be drawn, before anything else is done.

    Raises:
        UserError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise UserError("pictures need matplotlib", fix="pip install 'streamflow-fluxop[report]'")


def tips(charts: Sequence[Chart]) -> list[str]:
    """What the parts of the picture with the ids ``tip-0``, ``tip-1``, … say when one points at them."""
    return [tip for chart in charts for bar in chart.bars[:BARS] for tip in _bar_tips(bar)]


def _bar_tips(bar: Bar) -> list[str]:
    life = (
        f"{bar.name}: {bar.nodes}\nasked for at {duration(bar.asked)}, ready at {duration(bar.ready)}, "
        f"given up at {duration(bar.released)}, gone at {duration(bar.gone)}\ncost {number(bar.cost)}"
    )
    if bar.lanes(LANES) is None:
        return [life]
    return [
        life,
        *(
            f"{w.step}\n{number(w.jobs)} job{'s' if w.jobs > 1 else ''} in {bar.name}\n"
            f"{duration(w.start)} to {duration(w.end)}: {duration(w.end - w.start)}"
            for w in bar.work
        ),
    ]


def _save(charts: Sequence[Chart], title: str, out: Any, kind: str) -> None:
    need_matplotlib()
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings = {"svg.hashsalt": "fluxop", "svg.fonttype": "path", "font.size": 9, "hatch.linewidth": 0.6}
    settings["text.parse_math"] = False  # `$` in names
    with mpl.rc_context({**mpl.rcParamsDefault, **settings}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)  # of names in whatever script
        drawing = _Drawing(charts, Figure, title)
        FigureCanvasAgg(drawing.figure)
        drawing.draw()
        metadata = {"Date": None, "Creator": "fluxop"} if kind == "svg" else {"Software": "fluxop"}
        drawing.figure.savefig(out, format=kind, dpi=150, metadata=metadata, facecolor="white")


def _columns(names: Sequence[str], inches: float) -> int:
    """Columns of a legend that fit beside each other, each as wide as the longest name."""
    longest = max([10, *map(len, names)])
    return max(1, min(LEGEND, int(inches / (0.45 + 0.075 * longest))))


class _Drawing:
    """Panels under each other, a chart each: caption, use of the limit, MiniClusters; then the legend of all."""

    def __init__(self, charts: Sequence[Chart], figure: Any, title: str) -> None:
        self.charts = charts
        self.title = title
        self.end = max(c.end for c in charts)
        self.names = charts[0].names
        shown = self.names.kinds[: len(_COLOURS)]
        self.columns = _columns(shown, 0.97 * WIDTH)
        legend_rows = ceil((3 + len(shown)) / self.columns)
        self.head = 0.47 if title else 0.05
        self.caption = 0.28 if title or len(charts) > 1 else 0.0
        self.axis, self.use_height = 0.42, 0.85
        self.foot = 0.2 * legend_rows
        panels = sum(self._height(c) for c in charts)
        self.height = self.head + panels + self.foot
        self.figure = figure(figsize=(WIDTH, self.height))
        bars = [b for c in charts for b in c.bars[:BARS]]
        names = max([len(b.name) for b in bars] + [len(b.nodes) for b in bars], default=5)
        self.left = min(0.3, max(0.11, 0.0075 * names + 0.025))
        self.tip = 0

    def _bars_height(self, chart: Chart) -> float:
        bars = chart.bars[:BARS]
        return max(0.5, ROW * (sum(_rows(b) for b in bars) + GAP * len(bars)))

    def _height(self, chart: Chart) -> float:
        return self.caption + self.use_height + self._bars_height(chart) + self.axis

    def draw(self) -> None:
        if self.title:
            self.figure.text(
                0.02, 1 - 0.3 / self.height, printable(self.title), size=13, weight="bold", color=_INK, va="center"
            )
        top = self.height - self.head
        for chart in self.charts:
            self._panel(chart, top)
            top -= self._height(chart)
        self._legend()

    def _panel(self, chart: Chart, top: float) -> None:
        """Draw a chart whose upper edge is `top` inches above the figure's lower one."""
        if self.caption:
            self.figure.text(
                0.02, (top - 0.09) / self.height, printable(chart.caption), size=10, color=_FAINT, va="center"
            )
        width, bars_height = 0.975 - self.left, self._bars_height(chart) / self.height
        bottom = (top - self._height(chart) + self.axis) / self.height
        bars = self.figure.add_axes((self.left, bottom, width, bars_height))
        use = self.figure.add_axes((self.left, bottom + bars_height, width, self.use_height / self.height), sharex=bars)
        self._time(bars, chart)
        self._use(use, chart)
        self._bars(bars, chart.bars[:BARS])
        left_out = len(chart.bars) - BARS
        if left_out > 0:
            text = f"{left_out} more MiniClusters are not shown"
            self.figure.text(0.98, bottom - (self.axis - 0.08) / self.height, text, ha="right", color=_FAINT)

    def _time(self, axes: Any, chart: Chart) -> None:
        marks = ticks(self.end, 11)
        axes.set_xlim(0, self.end * 1.002)
        axes.set_xticks([t for t, _ in marks], [label for _, label in marks])
        axes.tick_params(axis="x", colors=_FAINT, length=3)
        if chart.deadline is not None and chart.deadline <= self.end:
            axes.axvline(chart.deadline, color=_LIMIT, linestyle=":", linewidth=1.2, zorder=5)

    # the use of the limited resource

    def _use(self, axes: Any, chart: Chart) -> None:
        use = chart.use
        times = [0.0, *(t for t, _ in use.steps)]
        held = [0.0, *(h for _, h in use.steps)]
        axes.fill_between(times, held, step="post", color="#b6c6e3", linewidth=0)
        axes.step(times, held, where="post", color="#4c78a8", linewidth=1)
        top = max(use.peak, use.limit or 0) or 1
        axes.set_ylim(0, top * 1.28)
        marks = [0, use.limit] if use.limit is not None else [0, use.peak]
        axes.set_yticks(marks, [number(m) for m in marks])
        axes.set_ylabel(use.resource, color=_FAINT, rotation=0, ha="right", va="center", labelpad=6)
        if use.limit is not None:
            axes.axhline(use.limit, color=_LIMIT, linestyle="--", linewidth=1)
            axes.text(
                self.end,
                use.limit + 0.03 * top,
                f"limit {number(use.limit)}",
                color=_LIMIT,
                size=8,
                ha="right",
                va="bottom",
            )
        axes.tick_params(axis="x", length=0, labelbottom=False)
        axes.tick_params(axis="y", colors=_FAINT, length=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color("#d0d7de")

    # MiniClusters

    def _bars(self, axes: Any, bars: Sequence[Bar]) -> None:
        axes.grid(axis="x", color="#eaeef2", zorder=0)
        axes.set_axisbelow(True)
        y = 0.0
        for bar in bars:
            rows = _rows(bar)
            self._bar(axes, bar, y, rows)
            y += rows + GAP
        axes.set_ylim(y, -0.2)
        axes.set_yticks([])
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(_EDGE)

    def _bar(self, axes: Any, bar: Bar, y: float, rows: int) -> None:
        where = axes.get_yaxis_transform()
        nodes = printable(bar.nodes).replace(" x ", " \N{MULTIPLICATION SIGN} ")
        first = y + 0.5 if rows == 1 else y + 0.7
        axes.text(
            -0.012,
            first - 0.24,
            printable(bar.name),
            transform=where,
            ha="right",
            va="center",
            size=9,
            color=_INK,
            weight="bold",
        )
        axes.text(-0.012, first + 0.3, nodes, transform=where, ha="right", va="center", size=8, color=_FAINT)
        self._box(axes, bar.asked, bar.gone, y, rows, facecolor="white", edgecolor="none", gid=True)
        for key, start, end in (("up", bar.asked, bar.ready), ("down", bar.released, bar.gone)):
            colour, hatch = _SHADES[key]
            self._box(axes, start, end, y, rows, facecolor=colour, edgecolor="#afb8c1", hatch=hatch, linewidth=0)
        lanes = bar.lanes(LANES)
        if lanes is not None:
            row_of = {id(w): i for i, lane in enumerate(lanes) for w in lane}
            for work in bar.work:
                self._work(axes, work, y + row_of[id(work)])
        else:
            self._running(axes, bar, y, rows)
        self._box(axes, bar.asked, bar.gone, y, rows, facecolor="none", edgecolor=_EDGE, linewidth=0.8, zorder=4)

    def _work(self, axes: Any, work: Work, y: float) -> None:
        colour = _COLOURS[work.kind % len(_COLOURS)]
        inch = self.end / (0.975 - self.left) / WIDTH
        wide = work.end - work.start > 0.03 * inch
        end = max(work.end, work.start + 0.01 * inch)  # jobs of a moment show as a line, which an edge would cover
        self._box(
            axes, work.start, end, y + 0.06, 0.88,
            facecolor=colour, edgecolor="white", linewidth=0.6 if wide else 0, zorder=3 if wide else 4, gid=True,
        )  # fmt: skip
        label = work.label.replace(" x", " \N{MULTIPLICATION SIGN}")
        room = (work.end - work.start) / self.end * (0.975 - self.left) * WIDTH
        name = work.label.rsplit(" x", 1)[0] if work.jobs > 1 else label
        for text in map(printable, (label, name, self.names.kinds[work.kind])):
            if _width(text) + 0.06 <= room:
                axes.text(
                    (work.start + work.end) / 2,
                    y + 0.52,
                    text,
                    ha="center",
                    va="center",
                    size=_LABEL,
                    color="white",
                    weight="bold",
                    zorder=6,
                )
                return

    def _running(self, axes: Any, bar: Bar, y: float, rows: int) -> None:
        """How many jobs of each kind run, stacked."""
        running = _thinned(bar, self.end / 1000)
        peak = max(sum(kinds.values()) for _, kinds in running)
        times = [t for t, _ in running]
        base = [0.0] * len(times)
        for kind in sorted({k for _, kinds in running for k in kinds}):
            top = [b + kinds.get(kind, 0) for b, (_, kinds) in zip(base, running, strict=True)]
            low, high = ([y + rows - v / peak * (rows - 0.1) for v in edge] for edge in (base, top))
            colour = _COLOURS[kind % len(_COLOURS)]
            axes.fill_between(times, low, high, step="post", color=colour, linewidth=0, zorder=3)
            base = top
        steps = len({w.step for w in bar.work})
        axes.text(
            bar.ready, y + 0.12, f" {steps} steps, up to {peak} jobs at once",
            size=7.5, color=_INK, va="top", zorder=6,
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1},
        )  # fmt: skip

    def _box(
        self,
        axes: Any,
        start: float,
        end: float,
        y: float,
        height: float,
        *,
        gid: bool = False,
        zorder: int = 3,
        **look: Any,
    ) -> None:
        from matplotlib.patches import Rectangle

        box = Rectangle((start, y), end - start, height, zorder=zorder, **look)
        if gid:
            box.set_gid(f"tip-{self.tip}")
            self.tip += 1
        axes.add_patch(box)

    def _legend(self) -> None:
        from matplotlib.patches import Patch

        handles = [
            Patch(facecolor=colour, hatch=hatch, edgecolor="#afb8c1", linewidth=0, label=label)
            for label, (colour, hatch) in (("coming up", _SHADES["up"]), ("going down", _SHADES["down"]))
        ]
        handles.append(Patch(facecolor="white", edgecolor=_EDGE, linewidth=0.8, label="idle"))
        kinds = self.names.kinds[: len(_COLOURS)]
        handles += [Patch(facecolor=_COLOURS[i], label=_legend_label(name)) for i, name in enumerate(kinds)]
        across = min(self.columns, len(handles))
        by_column = [h for column in range(across) for h in handles[column::across]]  # so that rows are in order
        self.figure.legend(
            handles=by_column, loc="lower left", bbox_to_anchor=(self.left - 0.012, 0.02 / self.height),
            ncols=across, frameon=False, fontsize=8, labelcolor=_FAINT, handlelength=1.6, columnspacing=1.4,
        )  # fmt: skip


def _legend_label(name: str) -> str:
    """A name in the legend, which leaves out what begins with an underscore."""
    shown = printable(name)
    return "\N{ZERO WIDTH SPACE}" + shown if shown.startswith("_") else shown


@lru_cache(1 << 10)
def _width(label: str) -> float:
    """Inches that a bar's label takes."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), label, _LABEL, prop=FontProperties(weight="bold")).get_extents().width) / 72


def _thinned(bar: Bar, least: float) -> list[tuple[float, dict[int, int]]]:
    """How many jobs of each kind run, with at least so many seconds between two changes: the fullest moment of each."""
    kept: list[tuple[float, dict[int, int]]] = []
    for at, kinds in bar.running:
        if not kept or at - kept[-1][0] >= least:
            kept.append((at, kinds))
        elif sum(kinds.values()) > sum(kept[-1][1].values()):
            kept[-1] = (kept[-1][0], kinds)
    if kept and bar.running[-1][0] > kept[-1][0]:
        kept.append(bar.running[-1])
    return kept


def _rows(bar: Bar) -> int:
    lanes = bar.lanes(LANES)
    return 3 if lanes is None else max(1, len(lanes))
