"""Lone messages go at once; those of a busy stream travel together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamflow_fluxop.agent.wire.pace import BURST, Pace

APART = 0.01


def times(asked: list[float], apart: float) -> list[float]:
    """When the writes happen that are asked for so many seconds after the last one was written."""
    pace, now, written = Pace(apart), 100.0, []
    for seconds in asked:
        now += seconds
        now += pace.wait(now)
        pace.wrote(now)
        written.append(now)
    return written


def test_a_few_go_at_once() -> None:
    assert times([0.0] * BURST, APART) == [100.0] * BURST


def test_without_a_pace_all_go_at_once() -> None:
    assert times([0.0] * 1000, 0.0) == [100.0] * 1000


def test_who_asks_seldom_never_waits() -> None:
    written = times([APART] * 1000, APART)
    assert abs(written[-1] - (100.0 + 1000 * APART)) < 1e-6


@given(st.lists(st.floats(0, 0.05), min_size=1, max_size=300))
def test_in_no_time_are_there_more_than_a_burst_and_one_each_pause(asked: list[float]) -> None:
    written = times(asked, APART)
    for first in range(len(written)):
        for last in range(first, len(written), 17):
            assert last - first + 1 <= BURST + 1 + (written[last] - written[first]) / APART + 1e-6
