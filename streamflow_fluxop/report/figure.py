"""The Gantt chart as a figure: SVG or PNG, by matplotlib."""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO, StringIO
from math import ceil
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.report.tables import headline
from streamflow_fluxop.report.units import duration, number, ticks

if TYPE_CHECKING:
    from streamflow_fluxop.report.chart import Bar, Chart, Work

WIDTH = 10.0
"""Inches."""

ROW, GAP = 0.34, 0.3
"""Height of a row in inches, and between two MiniClusters in rows."""

LANES = 6
"""Rows of a MiniCluster at most; one that does more side by side shows how many jobs of each kind run instead."""

LEGEND = 8
"""Columns of the legend."""

BARS = 120
"""MiniClusters at most; what is left out is said."""

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


def svg(chart: Chart, title: str) -> str:
    """The chart as an SVG document, the same each time. Parts with `tips` have the ids ``tip-0`` and on.

    Args:
        chart: of the plan.
        title: goes above it, with the totals; empty: neither.

    Raises:
        UserError: matplotlib is not installed.
    """
    out = StringIO()
    _save(chart, title, out, "svg")
    return out.getvalue()


def png(chart: Chart, title: str) -> bytes:
    """The chart as a PNG image, 1500 pixels wide.

    Args:
        chart: of the plan.
        title: goes above it, with the totals; empty: neither.

    Raises:
        UserError: matplotlib is not installed.
    """
    out = BytesIO()
    _save(chart, title, out, "png")
    return out.getvalue()


def need_matplotlib() -> None:
    """Check that pictures can be drawn, before the plan is made.

    Raises:
        UserError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise UserError("pictures need matplotlib", fix="pip install 'streamflow-fluxop[report]'")


def tips(chart: Chart) -> list[str]:
    """What the parts of the picture with the ids ``tip-0``, ``tip-1``, … say when one points at them."""
    return [tip for bar in chart.bars[:BARS] for tip in _bar_tips(bar)]


def _bar_tips(bar: Bar) -> list[str]:
    m = bar.minicluster
    life = (
        f"{m.name}: {bar.nodes}\nasked for at {duration(m.asked)}, ready at {duration(m.ready)}, "
        f"given up at {duration(m.released)}, gone at {duration(m.gone)}\ncost {number(m.cost)}"
    )
    if bar.lanes(LANES) is None:
        return [life]
    return [
        life,
        *(
            f"{w.step}\n{number(w.jobs)} job{'s' if w.jobs > 1 else ''} in {m.name}\n"
            f"{duration(w.start)} to {duration(w.end)}: {duration(w.end - w.start)}"
            for w in bar.work
        ),
    ]


def _save(chart: Chart, title: str, out: Any, kind: str) -> None:
    need_matplotlib()
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings = {"svg.hashsalt": "fluxop", "svg.fonttype": "path", "font.size": 9, "hatch.linewidth": 0.6}
    with mpl.rc_context({**mpl.rcParamsDefault, **settings}):
        drawing = _Drawing(chart, Figure, title)
        FigureCanvasAgg(drawing.figure)
        drawing.draw(title)
        metadata = {"Date": None, "Creator": "fluxop"} if kind == "svg" else {"Software": "fluxop"}
        drawing.figure.savefig(out, format=kind, dpi=150, metadata=metadata, facecolor="white")


class _Drawing:
    def __init__(self, chart: Chart, figure: Any, title: str) -> None:
        self.chart = chart
        self.bars = chart.bars[:BARS]
        rows = sum(_rows(b) for b in self.bars)
        self.bars_height = max(0.5, ROW * (rows + GAP * len(self.bars)))
        legend_rows = ceil((3 + min(len(chart.kinds), len(_COLOURS))) / LEGEND)
        self.head, self.use_height, self.foot = 0.75 if title else 0.05, 0.85, 0.42 + 0.2 * legend_rows
        self.height = self.head + self.use_height + self.bars_height + self.foot
        self.figure = figure(figsize=(WIDTH, self.height))
        names = max([len(b.minicluster.name) for b in self.bars] + [len(b.nodes) for b in self.bars], default=5)
        self.left = min(0.3, max(0.11, 0.0075 * names + 0.025))
        self.tip = 0

    def draw(self, title: str) -> None:
        if not title:
            return self._axes()
        self.figure.text(0.02, 1 - 0.3 / self.height, title, size=13, weight="bold", color=_INK, va="center")
        self.figure.text(0.02, 1 - 0.56 / self.height, headline(self.chart.plan), size=10, color=_FAINT, va="center")
        return self._axes()

    def _axes(self) -> None:
        width = 0.975 - self.left
        bottom = self.foot / self.height
        bars = self.figure.add_axes((self.left, bottom, width, self.bars_height / self.height))
        above = bottom + self.bars_height / self.height
        use = self.figure.add_axes((self.left, above, width, self.use_height / self.height), sharex=bars)
        self._time(bars)
        self._use(use)
        self._bars(bars)
        self._legend()

    def _time(self, axes: Any) -> None:
        marks = ticks(self.chart.end, 11)
        axes.set_xlim(0, self.chart.end * 1.002)
        axes.set_xticks([t for t, _ in marks], [label for _, label in marks])
        axes.tick_params(axis="x", colors=_FAINT, length=3)
        deadline = self.chart.plan.problem.objective.deadline
        if deadline is not None and deadline <= self.chart.end:
            axes.axvline(deadline, color=_LIMIT, linestyle=":", linewidth=1.2, zorder=5)

    # the use of the limited resource

    def _use(self, axes: Any) -> None:
        use = self.chart.use
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
                self.chart.end,
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

    def _bars(self, axes: Any) -> None:
        axes.grid(axis="x", color="#eaeef2", zorder=0)
        axes.set_axisbelow(True)
        y = 0.0
        for bar in self.bars:
            rows = _rows(bar)
            self._bar(axes, bar, y, rows)
            y += rows + GAP
        axes.set_ylim(y, -0.2)
        axes.set_yticks([])
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(_EDGE)

    def _bar(self, axes: Any, bar: Bar, y: float, rows: int) -> None:
        m = bar.minicluster
        where = axes.get_yaxis_transform()
        nodes = bar.nodes.replace(" x ", " \N{MULTIPLICATION SIGN} ")
        first = y + 0.5 if rows == 1 else y + 0.7
        axes.text(
            -0.012, first - 0.24, m.name, transform=where, ha="right", va="center", size=9, color=_INK, weight="bold"
        )
        axes.text(-0.012, first + 0.3, nodes, transform=where, ha="right", va="center", size=8, color=_FAINT)
        self._box(axes, m.asked, m.gone, y, rows, facecolor="white", edgecolor="none", gid=True)
        for key, start, end in (("up", m.asked, m.ready), ("down", m.released, m.gone)):
            colour, hatch = _SHADES[key]
            self._box(axes, start, end, y, rows, facecolor=colour, edgecolor="#afb8c1", hatch=hatch, linewidth=0)
        lanes = bar.lanes(LANES)
        if lanes is not None:
            row_of = {id(w): i for i, lane in enumerate(lanes) for w in lane}
            for work in bar.work:
                self._work(axes, work, y + row_of[id(work)])
        else:
            self._running(axes, bar, y, rows)
        self._box(axes, m.asked, m.gone, y, rows, facecolor="none", edgecolor=_EDGE, linewidth=0.8, zorder=4)

    def _work(self, axes: Any, work: Work, y: float) -> None:
        colour = _COLOURS[work.kind % len(_COLOURS)]
        self._box(
            axes, work.start, work.end, y + 0.06, 0.88, facecolor=colour, edgecolor="white", linewidth=0.6, gid=True
        )
        label = work.label.replace(" x", " \N{MULTIPLICATION SIGN}")
        room = (work.end - work.start) / self.chart.end * (0.975 - self.left) * WIDTH
        name = work.label.rsplit(" x", 1)[0] if work.jobs > 1 else label
        for text in (label, name, self.chart.kinds[work.kind]):
            if 0.072 * len(text) <= room:
                axes.text(
                    (work.start + work.end) / 2,
                    y + 0.52,
                    text,
                    ha="center",
                    va="center",
                    size=8.5,
                    color="white",
                    weight="bold",
                    zorder=6,
                )
                return

    def _running(self, axes: Any, bar: Bar, y: float, rows: int) -> None:
        """How many jobs of each kind run, stacked."""
        running = _thinned(bar, self.chart.end / 1000)
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
            bar.minicluster.ready, y + 0.12, f" {steps} steps, up to {peak} jobs at once",
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
        kinds = self.chart.kinds[: len(_COLOURS)]
        handles += [Patch(facecolor=_COLOURS[i], label=name) for i, name in enumerate(kinds)]
        left_out = len(self.chart.bars) - len(self.bars)
        if left_out:
            self.figure.text(0.98, 0.02, f"{left_out} more MiniClusters are not shown", ha="right", color=_FAINT)
        self.figure.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(self.left - 0.012, 0.02 / self.height),
            ncols=LEGEND, frameon=False, fontsize=8, labelcolor=_FAINT, handlelength=1.6, columnspacing=1.4,
        )  # fmt: skip


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
