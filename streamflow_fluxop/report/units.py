"""Numbers in words: seconds, money, shares."""

from __future__ import annotations

import signal
from collections.abc import Iterator

_STEPS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60 * m for m in (1, 2, 5, 10, 15, 30)),
    *(3600 * h for h in (1, 2, 3, 6, 12)),
    *(86400 * d for d in (1, 2, 7, 14, 28)),
)
"""Distances between ticks that people read easily, in seconds."""


def duration(seconds: float) -> str:
    """A duration in the two units that matter, such as ``42 min``, ``16 min 40 s``, ``3 h 5 min``."""
    if seconds < 59.95:
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.1f}".rstrip("0").rstrip(".") + " s"
    whole = round(seconds)
    for large, small, name, rest in ((86400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if whole >= 2 * large or large == 60:
            count, left = divmod(round(whole / small), large // small)
            return f"{count} {name} {left} {rest}" if left else f"{count} {name}"
    raise AssertionError("unreachable")


def how_it_ended(exit_code: int, reason: str | None = None) -> str:
    """An exit code in words: `exit code 139: killed by signal 11 (SIGSEGV)`.

    Args:
        exit_code: of the job; 128 + n where signal n ended it.
        reason: why, if it was not its command's own doing: then no signal is named.
    """
    number = exit_code - 128
    if reason is not None or number not in {int(s) for s in signal.Signals}:
        return f"exit code {exit_code}"
    return f"exit code {exit_code}: killed by signal {number} ({signal.Signals(number).name})"


def number(value: float) -> str:
    """A number in groups of three digits, as exact as its size is worth it: ``24 720``, ``3.5``, ``0.0189``."""
    if value and abs(value) < 1:
        return f"{value:.3g}"
    if abs(value) < 1000:
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{value:,.0f}".replace(",", " ")


def ticks(end: float, most: int) -> list[tuple[float, str]]:
    """Times from 0 to `end` at a readable distance, with what to write there.

    Args:
        end: seconds.
        most: how many there may be at most, at least 2.
    """
    unit, name = next((u, n) for u, n in ((86400, "d"), (3600, "h"), (60, "min"), (0, "s")) if end >= 2 * u)
    enough = (s for s in _STEPS if s >= unit / 2 and end / s <= max(1, most - 1))
    step = next(enough, end)
    return [(t, f"{t / (unit or 1):.4g} {name}" if t else "0") for t in _multiples(step, end)]


def _multiples(step: float, end: float) -> Iterator[float]:
    count = 0
    while count * step <= end * (1 + 1e-9):
        yield count * step
        count += 1


def times(count: int, thing: str) -> str:
    """``1 node``, ``3 nodes``."""
    return f"{count} {thing}" if count == 1 else f"{number(count)} {thing}s"


def memory(mib: int) -> str:
    """An amount of memory: ``900 MiB``, ``9 GiB``, ``1.5 GiB``."""
    return f"{number(mib)} MiB" if mib < 1024 else f"{number(round(mib / 1024, 1))} GiB"


def percent(share: float) -> str:
    """A share in whole percent: ``12 %``; what is neither nothing nor all is not called so."""
    whole = round(100 * share)
    if share > 0 and whole == 0:
        return "less than 1 %"
    return "more than 99 %" if share < 1 and whole == 100 else f"{whole} %"
