"""What past jobs and MiniClusters tell of those to come: durations by step, tool, needs and size; bring-ups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression, mean, median, pstdev, stdev
from typing import Literal

from streamflow_fluxop.events.index import Index, PastStep
from streamflow_fluxop.model import Duration, Flavour, Step

LAST_RUNS = 20
"""Runs that a duration is taken from, the newest that there are."""
ENOUGH = 10
"""Past jobs from which on it is looked whether the size of their inputs explains their time,"""
PARTS = 5
"""in so many parts, each of which is foretold from the others,"""
BETTER = 0.75
"""and it does where what is foretold from the size is off by less than this share of what the median is off."""

Source = Literal["history", "tool history"]

Pair = tuple[float, "int | None"]


@dataclass(frozen=True)
class Learned:
    """How long a step's jobs are expected to run, and what that is taken from.

    Attributes:
        duration: of one of its jobs.
        jobs: past jobs.
        runs: in which they were.
        by_size: whether the size of the inputs tells.
        peak: the most memory that one of them took, in MiB; None where nobody measured it.
        asked: MiB that they asked for at most; None where nobody knows.
    """

    duration: Duration
    jobs: int
    runs: int
    by_size: bool = False
    peak: int | None = None
    asked: int | None = None

    @property
    def width(self) -> int:
        """Jobs of a run, in the mean."""
        return max(1, round(self.jobs / self.runs))


@dataclass(frozen=True)
class Line:
    """Seconds of a job by the bytes of its inputs; `off`: standard deviation of what past jobs were beside that."""

    base: float
    per_byte: float
    least: float
    most: float
    off: float

    def seconds(self, size: int) -> float:
        """What a job takes; not further from what was seen than twice either way."""
        return min(2 * self.most, max(0.5 * self.least, self.base + self.per_byte * size))


def learn(
    step: Step,
    past: Sequence[PastStep],
    flavours: Iterable[Flavour],
    sizes: Callable[[], Sequence[int]] = tuple,
    *,
    same_step: bool = True,
) -> Learned | None:
    """What past jobs tell of a step.

    Args:
        step: whose jobs are to come.
        past: of the same step, or of the same tool, the newest runs first. Where some had equal needs and ran the very
            tool, only those count.
        flavours: that it may run on.
        sizes: finds the bytes of the inputs of each of the jobs to come; empty where they are not known.
        same_step: whether the past jobs are of the same step; else only its tool is the same.
    """
    same_tool = [p for p in past if step.tool and p.tool == step.tool] or list(past)
    wanted = {n for f in flavours if (n := _needs_on(step, f)) is not None}
    rows = [p for p in same_tool if p.needs in wanted] or same_tool
    logs = list(dict.fromkeys(p.log for p in rows))[:LAST_RUNS]
    rows = [p for p in rows if p.log in logs]
    pairs = [pair for p in rows for pair in p.sample]
    if not pairs:
        return None
    source: Source = "history" if same_step else "tool history"
    jobs, line = sum(p.jobs for p in rows), by_size(pairs)
    peak = max((p.peak for p in rows if p.peak is not None), default=None)
    memory = max((p.memory for p in rows if p.memory is not None), default=None)
    if line is not None and (to_come := sizes()):
        foretold = [line.seconds(size) for size in to_come]
        spread = (pstdev(foretold) ** 2 + line.off**2) ** 0.5
        told = Duration(seconds=round(mean(foretold), 3), spread=round(spread, 3), source=source)
        return Learned(told, jobs, len(logs), by_size=True, peak=peak, asked=memory)
    seconds = [s for s, _ in pairs]
    spread = stdev(seconds) if len(seconds) > 1 else 0.0
    told = Duration(seconds=round(median(seconds), 3), spread=round(spread, 3), source=source)
    return Learned(told, jobs, len(logs), peak=peak, asked=memory)


def by_size(pairs: Sequence[Pair]) -> Line | None:
    """The line through past jobs; None where size does not explain their time, held-out jobs being asked."""
    known = [(seconds, size) for seconds, size in pairs if size]
    if len(known) < ENOUGH or len({size for _, size in known}) < 3:
        return None
    off_line, off_median = 0.0, 0.0
    for part in range(PARTS):
        seen = [pair for n, pair in enumerate(known) if n % PARTS != part]
        line, middle = _fitted(seen), median(seconds for seconds, _ in seen)
        if line is None:
            return None
        for seconds, size in known[part::PARTS]:
            off_line += abs(line.seconds(size) - seconds)
            off_median += abs(middle - seconds)
    return _fitted(known) if off_line < BETTER * off_median else None


def _fitted(known: Sequence[tuple[float, int]]) -> Line | None:
    seconds, sizes = [s for s, _ in known], [float(b) for _, b in known]
    if len(set(sizes)) < 2:
        return None
    slope, base = linear_regression(sizes, seconds)
    off = pstdev([s - base - slope * b for s, b in zip(seconds, sizes, strict=True)])
    return Line(base, slope, min(seconds), max(seconds), off) if slope > 0 else None


def _needs_on(step: Step, flavour: Flavour) -> tuple[int, int, int] | None:
    """What the log says of a job with the step's needs on a flavour."""
    needs, nodes = step.needs, step.needs.nodes_on(flavour)
    if nodes is None:
        return None
    cores = nodes * flavour.cores if needs.exclusive else needs.tasks * needs.cores_per_task
    return nodes, cores, needs.tasks * needs.gpus_per_task


def with_learned(
    steps: Iterable[Step], learned: Mapping[str, Learned], *, wins: bool = False
) -> tuple[list[Step], dict[str, Learned]]:
    """The steps with what was learned, and what of it was used.

    What was measured in the same workflow wins over hints; what was measured of the same tool elsewhere does not,
    unless `wins`. No job is expected to exceed its time limit.
    """
    result, used = [], {}
    for step in steps:
        known = learned.get(step.name)
        free = step.duration.source in ("assumed", "time limit")
        if (
            known is None
            or step.controller
            or step.duration.source == "steps"
            or not (wins or free or known.duration.source == "history")
        ):
            result.append(step)
            continue
        duration = known.duration
        if step.duration.source == "time limit" and duration.seconds > step.duration.seconds:
            duration = duration.model_copy(update={"seconds": step.duration.seconds})
        result.append(step.model_copy(update={"duration": duration}))
        used[step.name] = known
    return result, used


def learned_flavours(
    index: Index, cluster: str, flavours: Mapping[str, Flavour], images: Iterable[str | None]
) -> tuple[dict[str, Flavour], list[str]]:
    """The flavours with bring-up and tear-down as they were, and a sentence for each that differs.

    What is configured counts as one more MiniCluster that was seen: two of the same kind outvote it.

    Args:
        index: of past runs.
        cluster: where MiniClusters run.
        flavours: as they are configured.
        images: of the workflow's steps.
    """
    result, told = {}, []
    images = list(images)
    for name, flavour in flavours.items():
        lives = index.lives(cluster, name, images)
        up = [life.up for life in lives]
        down = [life.down for life in lives if life.down is not None]
        changed = flavour.model_copy(
            update={
                "bring_up": round(median([flavour.bring_up, *up]), 3),
                "tear_down": round(median([flavour.tear_down, *down]), 3),
            }
        )
        result[name] = changed
        if lives:
            told.append(
                f"past MiniClusters: {len(lives)} of flavour {name} came up in {changed.bring_up:g} s and went in "
                f"{changed.tear_down:g} s; configured are {flavour.bring_up:g} and {flavour.tear_down:g} s"
            )
    return result, told
