"""The story of a MiniCluster: why it came, grew, shrank and went, what ran there and what it cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from streamflow_fluxop.events import event_types as d
from streamflow_fluxop.events.run_state import FleetView, JobLife, MiniClusterLife, RecordedPhase
from streamflow_fluxop.events.view import RunView
from streamflow_fluxop.report.story import SAME_MOMENT, Ending, Told, because, in_all, same_cause, span, wait_in_words
from streamflow_fluxop.report.units import number, percent, times

SLOW = 10.0
"""Seconds from which on a stage of the bring-up is worth a sentence."""


def story_of_minicluster(log: Iterable[d.Event], deployment: str, name: str, ending: Ending) -> list[Told]:
    """What happened to a MiniCluster, all its lives, in order of time.

    Args:
        log: the events of a run, in their order.
        deployment: its fleet.
        name: of the MiniCluster.
        ending: how the run was left.
    """
    story = _MiniClusterStory(deployment, name)
    return sorted(story.told(log, ending), key=lambda told: told.at)  # stable: what is simultaneous stays in order


class _MiniClusterStory:
    def __init__(self, deployment: str, name: str) -> None:
        self._view = RunView()
        self._deployment, self._name = deployment, name
        self._wait: d.JobsWait | None = None
        self._stage: tuple[float, str] | None = None  # of the bring-up, since when
        self._size = 0

    @property
    def _fleet(self) -> FleetView:
        return self._view.fleets[self._deployment]

    def told(self, log: Iterable[d.Event], ending: Ending) -> Iterator[Told]:
        for event in log:
            self._view.take((event,))
            if getattr(event, "deployment", None) != self._deployment:
                continue
            if isinstance(event, d.FleetStarted):
                yield from (Told(event.at, text) for text in self._planned())
            if getattr(event, "minicluster", None) != self._name:
                continue
            life = self._fleet.current.get(self._name)
            if life is not None:
                yield from (Told(event.at, text) for text in self._of(event, life))
        fleet = self._view.fleets.get(self._deployment)
        if fleet is None:
            return
        lives = [life for life in fleet.lives if life.name == self._name]
        for life in lives:
            yield from self._jobs_of(life)
        if not lives:
            yield Told(ending.until, self._never(ending))
        elif lives[-1].gone is None:
            yield Told(ending.until, self._left(lives[-1], ending))

    def _planned(self) -> Iterator[str]:
        plan, at = self._fleet.plan, self._fleet.at
        for m in plan.miniclusters if plan else ():
            if m.name == self._name:
                size = times(m.size, "node") if m.size == m.max_size else f"{m.size} to {m.max_size} nodes"
                yield (
                    f"It is planned: {size} of {m.flavour}, asked for at {span(at + m.asked)} and gone at "
                    f"{span(at + m.gone)}, cost {number(m.cost)}, for {', '.join(m.steps) or 'no step'}."
                )
                yield from (f"The plan says: {reason}." for reason in m.reasons)

    def _of(self, event: d.Event, life: MiniClusterLife) -> Iterator[str]:
        if isinstance(event, (d.MiniClusterUp, d.MiniClusterTearingDown, d.MiniClusterLost, d.MiniClusterProgress)):
            yield from self._slow(event)
        match event:
            case d.MiniClusterAsked():
                self._size, self._wait = event.size, None
                most = f" that may become {event.max_size}" if (event.max_size or 0) > event.size else ""
                image = f" with image {event.image}" if event.image else ""
                group = f", for group {event.group}" if event.group else ""
                what = f"{times(event.size, 'node')} of {event.flavour}{most}{image}{group}"
                yield f"It is asked for, {what}{because(event.reason)}."
            case d.MiniClusterProgress():
                self._stage = (event.at, event.message)
            case d.MiniClusterUp():
                by = f", {event.backend} schedules its jobs" if event.backend else ""
                nodes = times(event.nodes, "node")
                yield f"It is up after {span(event.seconds)}{self._bring_up(life)}, with {nodes}{by}."
            case d.MiniClusterResizing():
                word = "shall grow" if event.size > self._size else "shall shrink"
                yield f"It {word} from {self._size} to {times(event.size, 'node')}{because(event.reason)}."
            case d.MiniClusterResized():
                but = f", and not what was wanted: {event.reason}" if event.reason else ""
                self._size = event.size
                yield f"It has {times(event.size, 'node')} now{but}."
            case d.JobsWait() if event.jobs and not same_cause(self._wait, event):
                self._wait = event
                yield f"Jobs wait {wait_in_words(event)}."
            case d.JobsWait() if not event.jobs:
                self._wait = None
            case d.MiniClusterTearingDown():
                yield f"It is given up{because(event.reason)}.{self._idle(life, event.at)}"
            case d.MiniClusterLost():
                running = times(life.jobs.running, "job")
                ran = f" {running} ran there." if life.jobs.running else ""
                yield f"It {'is lost' if life.ready is not None else 'does not come up'}: {event.reason}.{ran}"
            case d.MiniClusterGone() if life.gone == event.at:
                since = f", {span(event.at - life.released)} after it was given up" if life.released is not None else ""
                yield f"It is gone{since}. {self._cost(life, event.at)}"

    def _slow(self, event: d.Event) -> Iterator[str]:
        """The stage of the bring-up that is over, where it took long, or where nothing came of it."""
        if self._stage is None:
            return
        since, message = self._stage
        if event.at - since >= SLOW or isinstance(event, d.MiniClusterLost):
            yield f"For {span(event.at - since)} it was so far: {message}."
        self._stage = None

    def _bring_up(self, life: MiniClusterLife) -> str:
        flavour = self._fleet.flavours.get(life.flavour)
        return f" ({span(flavour.bring_up)} were assumed)" if flavour is not None else ""

    def _idle(self, life: MiniClusterLife, now: float) -> str:
        mine = [job for job in self._fleet.jobs if job.minicluster is life and job.started is not None]
        if not mine:
            return " No job has run there."
        if any(job.ended is None for job in mine):
            return f" {in_all(job for job in mine if job.ended is None)}."
        idle = now - max(job.ended for job in mine if job.ended is not None)
        return f" Nothing has run there for {span(idle)}." if idle > SAME_MOMENT else ""

    def _cost(self, life: MiniClusterLife, now: float) -> str:
        """What it cost until now, and for what."""
        flavour = self._fleet.flavours.get(life.flavour)
        price = flavour.price if flavour is not None else 0.0
        held = life.node_seconds(now)
        cost = f"In {span(now - life.asked)} it cost {number(held * price / 3600)}, {number(held)} node-seconds"
        if flavour is None or not held:
            return f"{cost}."
        ran = sum(
            max(job.cores / flavour.cores, job.gpus / flavour.gpus if flavour.gpus else 0.0)
            * ((now if job.ended is None else min(job.ended, now)) - job.started)
            for job in self._fleet.jobs
            if job.minicluster is life and job.started is not None
        )
        return f"{cost}; jobs filled {percent(min(1.0, ran / held))} of that."

    def _jobs_of(self, life: MiniClusterLife) -> Iterator[Told]:
        """A sentence for each step that ran there, when its first job started."""
        steps: dict[str, list[JobLife]] = defaultdict(list)
        for job in self._fleet.jobs:
            if job.minicluster is life and job.started is not None:
                steps[job.step].append(job)
        for step, jobs in steps.items():
            start = min(job.started for job in jobs if job.started is not None)
            ends = [job.ended for job in jobs if job.ended is not None]
            end = f", the last one until {span(max(ends))}" if len(ends) == len(jobs) else ""
            yield Told(start, f"{step} runs there{end}. {in_all(jobs)}.")

    def _never(self, ending: Ending) -> str:
        jobs = sum(job.minicluster is None and job.ended is None for job in self._fleet.jobs)
        still = f" {times(jobs, 'job')} wait." if jobs and ending.why is None else ""
        if ending.why is None:
            return f"It has not been asked for yet.{still}"
        return f"It was never asked for. {ending.why}."

    def _left(self, life: MiniClusterLife, ending: Ending) -> str:
        cost = self._cost(life, ending.until)
        if ending.why is not None:
            return f"{ending.why} before it was gone. {cost}"
        message = f": {life.message}" if life.message and life.stage is RecordedPhase.COMING else ""
        return f"It is {life.stage.value} now{message}. {cost}"
