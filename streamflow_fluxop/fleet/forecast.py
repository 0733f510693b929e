"""When each group's MiniCluster will be used next, by what was estimated and by what has happened so far.

That a step is over is inferred, as StreamFlow does not tell: the steps before it are over, none of its jobs waits or
runs, and as many have ended as its scatter has, or, where nobody knows how many there are (`when`, loops, a width that
only the run tells), nothing has come for a while. A wrong guess costs a second bring-up, never a wrong result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, inf

from streamflow_fluxop.grouping import Group
from streamflow_fluxop.model import Flavour, Step


@dataclass
class _Progress:
    """How far a step is; times in seconds, `inf` for what has not happened."""

    step: Step
    group: str | None
    slots: int
    expected: int | None
    open: set[str] = field(default_factory=set)
    ended: int = 0
    bring_up: float = 0.0
    first_asked: float = inf
    first_started: float = inf
    last_asked: float = -inf
    last_started: float = -inf
    last_ended: float = -inf

    def has_ended_enough(self) -> bool:
        return self.expected is not None and self.ended >= self.expected


class Forecast:
    """What is known of the steps of a fleet, and what follows for its MiniClusters.

    Args:
        steps: of the workflow, those that run elsewhere included: they order ours.
        groups: where ours run.
        flavours: by name.
        open_ended: names of steps that may be skipped, or run more than once: only the run tells.
    """

    def __init__(
        self,
        steps: Iterable[Step],
        groups: Iterable[Group],
        flavours: Mapping[str, Flavour],
        open_ended: frozenset[str] = frozenset(),
    ) -> None:
        self._open_ended = open_ended
        where = {name: group for group in groups for name in group.steps}
        self._progress = {
            s.name: _Progress(
                step=s,
                group=where[s.name].name if s.name in where else None,
                bring_up=flavours[where[s.name].flavour].bring_up if s.name in where else 0.0,
                slots=_slots(s, where.get(s.name), flavours),
                expected=None if s.name in open_ended or s.width_source == "assumed" else s.width,
            )
            for s in steps
        }
        self._patience = {g.name: break_even(flavours[g.flavour]) for g in groups}
        self._of_group: dict[str, list[str]] = {}
        for name, group in where.items():
            self._of_group.setdefault(group.name, []).append(name)

    def asked(self, job: str, step: str | None, now: float) -> None:
        """Note that a job wants to run."""
        if progress := self._progress.get(step or ""):
            progress.open.add(job)
            progress.first_asked = min(progress.first_asked, now)
            progress.last_asked = now

    def started(self, step: str | None, now: float) -> None:
        """Note that a job's MiniCluster has it."""
        if progress := self._progress.get(step or ""):
            progress.first_started = min(progress.first_started, now)
            progress.last_started = now

    def ended(self, job: str, step: str | None, now: float) -> None:
        """Note that a job is over."""
        if progress := self._progress.get(step or ""):
            progress.open.discard(job)
            progress.ended += 1
            progress.last_ended = now

    def lost(self, job: str, step: str | None) -> None:
        """Note that a job's MiniCluster was lost: it may be tried again."""
        if progress := self._progress.get(step or ""):
            progress.open.discard(job)

    def next_use(self, group: str, now: float) -> float:
        """When a group's MiniCluster is expected to get its next job.

        Returns:
            Seconds on the clock of `now`, `now` at the earliest; `inf` where none is expected any more.
        """
        look = _Look(self._progress, self._patience, now)
        starts = [look.first_start(name) for name in self._of_group.get(group, ()) if not look.over(name)]
        return max(now, min(starts, default=inf))

    def foreseeable(self, group: str, now: float) -> bool:
        """Whether a step of the group is sure to run, and what it waits for has begun: else estimates are too vague."""
        look = _Look(self._progress, self._patience, now)
        return any(
            name not in self._open_ended
            and not look.over(name)
            and all(look.begun(d.step) for d in self._progress[name].step.after)
            for name in self._of_group.get(group, ())
        )


_A_MOMENT = 1.0
"""Seconds that the engine may take from the end of a job to asking for the next."""


def break_even(flavour: Flavour) -> float:
    """Seconds of idleness that cost as much as going down and coming up again (price and size cancel out)."""
    return max(_A_MOMENT, flavour.bring_up + flavour.tear_down)


class _Look:
    """One look at all steps, at one moment; remembers what it has found."""

    def __init__(self, progress: Mapping[str, _Progress], patience: Mapping[str, float], now: float) -> None:
        self._progress = progress
        self._patience = patience
        self._now = now
        self._over: dict[str, bool] = {}
        self._ends: dict[str, float] = {}
        self._starts: dict[str, float] = {}

    def over(self, name: str) -> bool:
        if name not in self._over:
            p = self._progress[name]
            self._over[name] = not p.open and all(self.over(d.step) for d in p.step.after) and self._is_done(p)
        return self._over[name]

    def _is_done(self, p: _Progress) -> bool:
        if p.group is None:  # it runs elsewhere, out of our sight: its followers' jobs show that it is over
            return self._now >= self.end(p.step.name)
        if p.has_ended_enough():
            return True
        quiet_since = max([p.last_ended, *(self._progress[d.step].last_ended for d in p.step.after)])
        return p.expected is None and self._now - quiet_since >= self._patience[p.group]

    def begun(self, name: str) -> bool:
        p = self._progress[name]
        return p.first_asked < inf or (p.group is None and all(self.begun(d.step) for d in p.step.after))

    def first_start(self, name: str) -> float:
        """When the step's next job is expected to be asked for."""
        if name not in self._starts:
            p = self._progress[name]
            waits = [self._first_end(d.step) if d.each else self.end(d.step) for d in p.step.after]
            self._starts[name] = self._now if p.open or p.ended else max([self._now, *waits])
        return self._starts[name]

    def _first_end(self, name: str) -> float:
        p = self._progress[name]
        if p.ended or self.over(name):
            return self._now
        begin = self._began(p, p.first_started, p.first_asked) if p.open else self.first_start(name)
        return max(self._now, begin + p.step.duration.seconds)

    def _began(self, p: _Progress, started: float, asked: float) -> float:
        """When jobs that are under way began, or, while their MiniCluster comes up, will."""
        return started if abs(started) < inf else max(self._now, asked + p.bring_up)

    def end(self, name: str) -> float:
        """When the step's last job is expected to be over."""
        if name not in self._ends:
            p = self._progress[name]
            seconds = p.step.duration.seconds
            if p.group is None:
                self._ends[name] = max((self.end(d.step) for d in p.step.after), default=-inf) + seconds
            elif p.has_ended_enough() and not p.open:
                self._ends[name] = p.last_ended
            else:
                left = max(len(p.open), (p.expected or 1) - p.ended, 1)
                waves = ceil(left / p.slots)
                begin = self.first_start(name)
                if p.open and waves == 1:
                    begin = self._began(p, p.last_started, p.last_asked)
                self._ends[name] = max(self._now, begin + waves * seconds)
        return self._ends[name]


def _slots(step: Step, group: Group | None, flavours: Mapping[str, Flavour]) -> int:
    """How many of a step's jobs run at once in its group's MiniCluster."""
    if group is None:
        return step.width
    flavour = flavours[group.flavour]
    nodes = step.needs.nodes_on(flavour) or 1
    if nodes > 1 or step.needs.exclusive:
        return max(1, group.size // nodes)
    return group.size * max(1, step.needs.tasks_per_node(flavour) // step.needs.tasks)
