"""What goes into the fleet's state machine, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streamflow_fluxop.model import Needs


@dataclass(frozen=True)
class JobRequested:
    """A job wants to run.

    Attributes:
        job: its name; unique among those under way.
        group: where whoever asks thinks that it goes; the plan has the last word.
        step: that it is a job of, as the plan knows it; None: no step.
        needs: None for a small command, which any MiniCluster that is up takes at once.
        index: which job of its step it is, as the plan counts them; None: not known.
    """

    job: str
    group: str
    step: str | None = None
    needs: Needs | None = None
    index: int | None = None


@dataclass(frozen=True)
class JobFinished:
    """A job that was started, or that still waits, is over or has been given up; `failed`: it may come again."""

    job: str
    failed: bool = False


@dataclass(frozen=True)
class ResultFound:
    """A job that the plan has need not run, as its result is there already."""

    step: str


@dataclass(frozen=True)
class BroughtUp:
    """A MiniCluster takes jobs."""

    group: str


@dataclass(frozen=True)
class Resized:
    """A MiniCluster has so many nodes now; with a reason: it could not be changed."""

    group: str
    size: int
    reason: str | None = None


@dataclass(frozen=True)
class Lost:
    """A MiniCluster could not be brought up, or has ended by itself, and its jobs with it: it must be cleared away."""

    group: str
    reason: str


@dataclass(frozen=True)
class TornDown:
    """A MiniCluster that was to be torn down is gone."""

    group: str


@dataclass(frozen=True)
class Closing:
    """The run is over: whatever is up goes, whatever waits is given up."""


@dataclass(frozen=True)
class Tick:
    """The run begins; or the time that `WakeAt` asked for has come.

    Attributes:
        reused: steps of which a job that the plan has need not run, as that was found before the run's begin.
    """

    reused: tuple[str, ...] = ()


Event = JobRequested | JobFinished | ResultFound | BroughtUp | Resized | Lost | TornDown | Closing | Tick


@dataclass(frozen=True)
class BringUp:
    """Ask for a group's MiniCluster with so many nodes; answer with BroughtUp or Lost."""

    group: str
    size: int
    reason: str


@dataclass(frozen=True)
class ChangeSize:
    """Let a MiniCluster grow or shrink; answer with Resized. A later one is answered later."""

    group: str
    size: int
    reason: str


@dataclass(frozen=True)
class TearDown:
    """Take a group's MiniCluster down; answer with Gone."""

    group: str
    reason: str


@dataclass(frozen=True)
class StartJob:
    """Submit a job to a MiniCluster that is up, to run on these nodes (ranks); none: on any."""

    job: str
    group: str
    nodes: tuple[int, ...] = ()


@dataclass(frozen=True)
class FailJob:
    """The job cannot run."""

    job: str
    reason: str


@dataclass(frozen=True)
class WakeAt:
    """Send a Tick at this time, on the clock of `now`; an earlier WakeAt is void."""

    when: float


@dataclass(frozen=True)
class EndJob:
    """End a job that runs, and answer with JobEnded; whoever asked for it learns why only after `Stopped`."""

    job: str
    reason: str


@dataclass(frozen=True)
class Stopping:
    """The run winds down at its budget: nothing new starts; `spent` until now."""

    reason: str
    spent: float
    budget: float


@dataclass(frozen=True)
class Stopped:
    """The run has been stopped: nothing is up any more, and no job will start."""

    reason: str


@dataclass(frozen=True)
class Expect:
    """What the run is expected to come to now: `cost` in the user's currency, `makespan` in seconds."""

    cost: float
    makespan: float


@dataclass(frozen=True)
class ForecastExceeded:
    """The run is expected to pass its budget or its deadline; `stops`: it will be stopped at its budget."""

    what: Literal["budget", "deadline"]
    forecast: float
    allowed: float
    stops: bool


Instruction = (
    BringUp
    | ChangeSize
    | TearDown
    | StartJob
    | FailJob
    | WakeAt
    | EndJob
    | Stopping
    | Stopped
    | Expect
    | ForecastExceeded
)
