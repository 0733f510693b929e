"""Draw a sample's k-mer spectrum with the fitted model, the GC content of its reads, and how sure the model is.

visualization.py SAMPLE.model.json          SAMPLE.svg comes out

How sure it is: the likelihood of other coverages and shares of errors, computed anew for each pixel of a picture in
the picture. All in plain Python, so that takes most of the time.
"""

from __future__ import annotations

import base64
import json
import math
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

INK, FAINT, GRID = "#24292f", "#57606a", "#d8dee4"
BARS, LINE, ERRORS, HALF = "#a5c8ea", "#0b5394", "#c0392b", "#b7791f"
BANDS = ["#0b3c6f", "#2b6cb0", "#63a0d8", "#a5c8ea", "#d6e6f5", "#f3f7fb"]
ERROR_STOPS = 0.98  # as in analysis.py
Points = list[tuple[float, float]]


class Panel:
    """Axes from (0, 0) to `right` and `top`, drawn `width` x `height` pixels large with their corner at x, y."""

    def __init__(self, x: int, y: int, width: int, height: int, right: float, top: float) -> None:
        self.x, self.y, self.width, self.height = x, y, width, height
        self.right, self.top = right, top
        self.parts: list[str] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies in the picture."""
        return self.x + self.width * x / self.right, self.y + self.height * (1 - min(y, self.top) / self.top)

    def axes(self, title: str, across: str, up: str) -> None:
        bottom, middle = self.y + self.height, self.x + self.width / 2
        for value in ticks(self.top):
            _, y = self.at(0, value)
            self.parts.append(line(self.x, y, self.x + self.width, y, GRID))
            self.parts.append(text(self.x - 8, y + 4, f"{value:g}", anchor="end", colour=FAINT))
        for value in ticks(self.right):
            x, _ = self.at(value, 0)
            self.parts.append(line(x, bottom, x, bottom + 5, INK))
            self.parts.append(text(x, bottom + 20, f"{value:g}", anchor="middle", colour=FAINT))
        self.parts.append(text(self.x, self.y - 14, title, weight=600))
        self.parts.append(text(middle, bottom + 42, across, anchor="middle"))
        turn = f' transform="rotate(-90 {self.x - 48} {self.y + self.height / 2})"'
        self.parts.append(text(self.x - 48, self.y + self.height / 2, up, anchor="middle", more=turn))

    def bars(self, heights: Points, step: float = 1.0) -> None:
        for value, height in heights:
            left, y = self.at(value - 0.42 * step, height)
            right, bottom = self.at(value + 0.42 * step, 0)
            self.parts.append(
                f'<rect x="{left:.1f}" y="{y:.1f}" width="{right - left:.1f}" height="{bottom - y:.1f}" fill="{BARS}"/>'
            )
            if height > self.top:
                self.parts.append(text(right + 4, y + 11, f"{height:g}, most by an error", size=11, colour=FAINT))

    def curve(self, points: Points, colour: str, dash: str = "") -> None:
        inside = " ".join("{:.1f},{:.1f}".format(*self.at(x, y)) for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline points="{inside}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')

    def image(self, rows: list[bytes], palette: list[str]) -> None:
        """Pixels as indices into the palette, the top row first, as a PNG that fills the panel."""
        data = base64.b64encode(png(rows, palette)).decode()
        self.parts.append(
            f'<image x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" '
            f'preserveAspectRatio="none" href="data:image/png;base64,{data}"/>'
        )

    def frame(self) -> None:
        bottom = self.y + self.height
        self.parts.append(line(self.x, bottom, self.x + self.width, bottom, INK))

    def legend(self, entries: list[tuple[str, str, str]]) -> None:
        """Labels with colours and dashes (or ``bar``), in the upper right corner."""
        width = 30 + 6.6 * max(len(label) for label, _, _ in entries)
        x = self.x + self.width - width
        height = 20 * len(entries) + 4
        self.parts.append(
            f'<rect x="{x - 8:.1f}" y="{self.y}" width="{width + 8:.1f}" height="{height}" fill="white"/>'
        )
        for row, (label, colour, dash) in enumerate(entries):
            y = self.y + 12 + 20 * row
            if dash == "bar":
                self.parts.append(f'<rect x="{x:.1f}" y="{y - 6}" width="22" height="12" fill="{colour}"/>')
            else:
                self.parts.append(line(x, y, x + 22, y, colour, 2, dash))
            self.parts.append(text(x + 30, y + 4, label, size=12))


def png(rows: list[bytes], palette: list[str]) -> bytes:
    """A PNG of a byte a pixel (ISO/IEC 15948)."""
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 3, 0, 0, 0)
    colours = b"".join(bytes.fromhex(colour[1:]) for colour in palette)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    chunks = ((b"IHDR", header), (b"PLTE", colours), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def ticks(highest: float) -> Iterable[float]:
    """About five round numbers from 0 on."""
    rough = highest / 5
    power = 10.0 ** (len(str(int(rough))) - 1) if rough >= 1 else 1.0
    step = next(power * s for s in (1, 2, 5, 10) if power * s >= rough)
    return (step * i for i in range(int(highest / step + 1e-9) + 1))


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: int = 1, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"{dashes}/>'
    )


def text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    size: int = 13,
    weight: int = 400,
    colour: str = INK,
    more: str = "",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}"{more}>{escape(words)}</text>'
    )


def spectrum_panel(model: dict[str, Any]) -> Panel:
    spectrum: Points = [(int(t), n) for t, n in model["spectrum"].items()]
    fitted = [(int(t), parts) for t, parts in model["fitted"].items()]
    curve: Points = [(t, sum(parts.values())) for t, parts in fitted]
    # the errors, which occur once, would dwarf the rest: their bar is cut off, with its height beside it
    top = 1.35 * max([n for t, n in spectrum if t > 3] or [n for _, n in spectrum])
    panel = Panel(80, 110, 520, 260, max(t for t, _ in spectrum) + 1.5, top)
    panel.axes(
        f"How often each {model['k']}-mer occurs", "times that it occurs in the reads", f"distinct {model['k']}-mers"
    )
    panel.bars(spectrum)
    genome = [(t, y) for t, y in curve if t > 2]
    entries = [("counted", BARS, "bar"), ("model", LINE, "")]
    if model["mixture"]:
        panel.curve([(t, parts["half"]) for t, parts in fitted], HALF, "6 4")
        panel.curve([(t, parts["full"]) for t, parts in fitted], ERRORS, "2 3")
        entries += [("in one variant", HALF, "6 4"), ("in both variants", ERRORS, "2 3")]
    panel.curve(genome, LINE)
    panel.frame()
    panel.legend(entries)
    return panel


def gc_panel(model: dict[str, Any]) -> Panel:
    bins: dict[int, int] = {}
    for percent, reads in model["gc_percent"].items():
        bins[int(percent) // 4] = bins.get(int(percent) // 4, 0) + reads
    panel = Panel(690, 110, 250, 260, 100, 1.1 * max(bins.values()))
    panel.axes("GC content of the reads", "G and C, % of the bases", "reads")
    panel.bars([(4 * b + 2, n) for b, n in sorted(bins.items())], step=4)
    panel.frame()
    return panel


def poisson(times: int, mean: float) -> float:
    return math.exp(times * math.log(mean) - mean - math.lgamma(times + 1))


def likelihoods(model: dict[str, Any], coverages: list[float], errors: list[float]) -> Iterator[list[float]]:
    """The logarithm of the likelihood of the counts, for each coverage a list over the shares of errors.

    Neighbours among the k-mers share their reads, so k of them count as one observation.
    """
    shares = model["shares"]
    half = shares["half"] / (shares["half"] + shares["full"])
    spectrum = [(int(times), n / model["k"]) for times, n in model["spectrum"].items()]
    wrong = [ERROR_STOPS * (1 - ERROR_STOPS) ** (times - 1) for times, _ in spectrum]
    for c in coverages:
        right = [half * poisson(times, c / 2) + (1 - half) * poisson(times, c) for times, _ in spectrum]
        terms = [(n, w, r) for (_, n), w, r in zip(spectrum, wrong, right, strict=True)]
        yield [sum(n * math.log(e * w + (1 - e) * r + 1e-300) for n, w, r in terms) for e in errors]


def around(middle: float, spread: float, pixels: int) -> list[float]:
    """So many values, five spreads to each side."""
    return [middle + spread * (10 * (i + 0.5) / pixels - 5) for i in range(pixels)]


def certainty_panel(model: dict[str, Any]) -> Panel:
    """How far the likelihood is below the best, by coverage and share of errors: bands of one standard deviation."""
    panel = Panel(80, 500, 860, 240, 1, 1)
    c, e = model["coverage"], min(max(model["shares"]["errors"], 0.01), 0.99)
    observations = sum(model["spectrum"].values()) / model["k"]
    coverages = around(c, math.sqrt(c / (observations * (1 - e))), 3 * panel.width // 4)
    errors = around(e, math.sqrt(e * (1 - e) / observations), panel.height)
    errors = [min(max(share, 1e-6), 1 - 1e-6) for share in errors]
    columns = list(likelihoods(model, coverages, errors))
    best = max(map(max, columns))
    # two parameters: 2 x the difference is a chi-square of two degrees of freedom, so a band is a radius of 1
    bands = [bytes(min(int(math.sqrt(2 * (best - value))), len(BANDS) - 1) for value in column) for column in columns]
    panel.image([bytes(column[y] for column in bands) for y in reversed(range(panel.height))], BANDS)
    bottom = panel.y + panel.height
    for i in range(0, 11, 2):
        x, y = panel.x + panel.width * i / 10, bottom - panel.height * i / 10
        panel.parts.append(line(x, bottom, x, bottom + 5, INK))
        across = coverages[0] + (coverages[-1] - coverages[0]) * i / 10
        panel.parts.append(text(x, bottom + 20, f"{across:.1f}", anchor="middle", colour=FAINT))
        up = 100 * (errors[0] + (errors[-1] - errors[0]) * i / 10)
        panel.parts.append(text(panel.x - 8, y + 4, f"{up:.1f}", anchor="end", colour=FAINT))
    turn = f' transform="rotate(-90 {panel.x - 48} {panel.y + panel.height / 2})"'
    title = "How likely are other models? A band is a standard deviation"
    panel.parts.append(text(panel.x, panel.y - 14, title, weight=600))
    panel.parts.append(text(panel.x + panel.width / 2, bottom + 42, "coverage", anchor="middle"))
    up_title = f"{model['k']}-mers with an error, %"
    panel.parts.append(text(panel.x - 48, panel.y + panel.height / 2, up_title, anchor="middle", more=turn))
    panel.frame()
    return panel


def picture(model: dict[str, Any]) -> str:
    low, high = model["genome_size_95"]
    kind = "a mixture of two variants" if model["mixture"] else "one genome"
    facts = (
        f"{kind} of {model['genome_size']:,} bases (95 %: {low:,} to {high:,}), covered {model['coverage']:.1f} times "
        f"by the k-mers of {model['reads']:,} reads"
    )
    parts = [
        text(32, 40, model["sample"], size=20, weight=600),
        text(32, 64, facts, size=14, colour=FAINT),
        *spectrum_panel(model).parts,
        *gc_panel(model).parts,
        *certainty_panel(model).parts,
    ]
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 970 810" width="970" height="810" '
            'font-family="Helvetica, Arial, DejaVu Sans, sans-serif">',
            '<rect width="970" height="810" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )


def main(path: Path) -> None:
    model = json.loads(path.read_text())
    Path(f"{model['sample']}.svg").write_text(picture(model))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
