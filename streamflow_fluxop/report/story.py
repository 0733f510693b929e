"""What a story of a run is made of: moments, and words that several stories share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from streamflow_fluxop.events.event_types import JobsWait
from streamflow_fluxop.events.run_state import JobLife
from streamflow_fluxop.events.waits import sentence
from streamflow_fluxop.report.units import duration, how_it_ended, times

SAME_MOMENT = 0.05
"""Seconds within which things are told as one."""


_TRY = re.compile(r" try( \d+)?$")


class Told(NamedTuple):
    """A moment of a story: seconds since the run's start, and what happened then, in a sentence."""

    at: float
    text: str


class Ending(NamedTuple):
    """How a run was left: its last moment in seconds since its start, and why nothing follows; None: it goes on."""

    until: float
    why: str | None = None


def span(seconds: float) -> str:
    """A duration, without digits that say nothing."""
    return duration(round(max(0.0, seconds), 1 if seconds >= 1 else 3))


def without_try(job: str) -> str:
    """A job's name: simulated runs write the number of its try behind it."""
    return _TRY.sub("", job)


def because(reason: str | None) -> str:
    """A reason behind a colon, where there is one."""
    return f": {reason}" if reason else ""


def wait_in_words(wait: JobsWait) -> str:
    """Who waits beside the idle nodes of a MiniCluster, and why."""
    return f"beside {wait.minicluster}: {sentence(wait, wait.expected_in)}"


def same_cause(one: JobsWait | None, other: JobsWait) -> bool:
    """Whether the second of two says nothing but other numbers."""
    key = (other.minicluster, other.reason, other.kept_for, other.job, other.message)
    return one is not None and (one.minicluster, one.reason, one.kept_for, one.job, one.message) == key


def outcome(job: JobLife) -> str:
    """How a job is or was, in a word or a few."""
    if job.reused is not None:
        return "reused"
    if job.ended is not None and job.failed:
        return "failed" if job.exit_code is None else f"failed with {how_it_ended(job.exit_code, job.reason)}"
    if job.ended is not None:
        return "done"
    return "queued" if job.started is None else "running"


def in_all(jobs: Iterable[JobLife]) -> str:
    """`3 jobs: 2 done, 1 failed`."""
    words = Counter(outcome(job).partition(" ")[0] for job in jobs)
    return f"{times(words.total(), 'job')}: " + ", ".join(f"{n} {word}" for word, n in words.items())
