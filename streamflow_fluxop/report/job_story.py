"""The story of a job: why it waited, where it ran, how long and how it ended, from the event log alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streamflow_fluxop.events import event_types as d
from streamflow_fluxop.events.run_state import NO_STEP, FleetView, JobLife, MiniClusterLife, RecordedPhase
from streamflow_fluxop.events.view import RunView
from streamflow_fluxop.model import Step
from streamflow_fluxop.report.story import (
    SAME_MOMENT,
    Ending,
    Told,
    because,
    same_cause,
    span,
    wait_in_words,
    without_try,
)
from streamflow_fluxop.report.units import how_it_ended, memory, times

_SOURCES = {
    "hint": "as its tool says",
    "time limit": "its tool's time limit",
    "history": "as in past runs",
    "tool history": "as its tool took in other workflows",
    "steps": "as the fleet's `steps` say",
    "document": "as the document says",
    "assumed": "a guess",
}


def story_of_job(log: Iterable[d.Event], deployment: str, job: str, ending: Ending) -> list[Told]:
    """What happened to a job, all its tries, in order of time.

    Args:
        log: the events of a run, in their order.
        deployment: the job's fleet.
        job: its name, with or without the number of a try.
        ending: how the run was left.
    """
    return list(_JobStory(deployment, job).told(log, ending))


class _JobStory:
    def __init__(self, deployment: str, job: str) -> None:
        self._view = RunView()
        self._deployment, self._job = deployment, without_try(job)
        self._recorded = job  # the name of the latest try
        self._life: JobLife | None = None  # of the try that is under way
        self._tries = 0
        self._target: str | None = None  # the MiniCluster that it is to run in
        self._wait: d.JobsWait | None = None  # what was told last

    @property
    def _fleet(self) -> FleetView:
        return self._view.fleets[self._deployment]

    def told(self, log: Iterable[d.Event], ending: Ending) -> Iterator[Told]:
        for event in log:
            before = self._life
            self._view.take((event,))
            if getattr(event, "deployment", None) != self._deployment:
                continue
            if isinstance(event, d.JobAsked) and without_try(event.job) == self._job:
                self._recorded = event.job
            self._life = self._fleet.under_way.get(self._recorded)
            for text in self._of(event, before):
                yield Told(event.at, text)
        if self._life is not None:
            yield Told(ending.until, self._left(self._life, ending))

    def _of(self, event: d.Event, before: JobLife | None) -> Iterator[str]:
        match event:
            case d.JobAsked(job=self._recorded) if self._life is not None:
                yield from self._asked(event)
            case d.JobReused(job=self._recorded) if before is not None:
                yield (
                    f"It does not run: {event.of} of run {event.run} did the same in {span(event.seconds)}, "
                    "and its result is reused."
                )
            case d.JobSubmitted(job=self._recorded) if before is not None and before.started is None:
                yield from self._submitted(event, before)
            case d.JobStarted(job=self._recorded) if before is not None and before.started == event.at:
                yield self._started(before)
            case d.JobEnded(job=self._recorded) if before is not None:
                yield from self._ended(event, before)
            case _ if self._life is not None and self._life.started is None:
                yield from self._meanwhile(event, self._life)

    def _asked(self, event: d.JobAsked) -> Iterator[str]:
        self._tries += 1
        self._wait, self._target = None, event.minicluster
        needs = [times(event.nodes, "node"), times(event.cores, "core")]
        needs += [times(event.gpus, "GPU")] if event.gpus else []
        needs += [memory(event.memory)] if event.memory is not None else []
        what = "Its inputs are there" if self._tries == 1 else f"It is tried again (try {self._tries})"
        step = f" It is a job of {event.step}." if event.step else ""
        yield f"{what}: it asks for {_listed(needs)}.{step}{self._against_plan(event.at)}"
        if event.minicluster is not None:
            yield f"It is to run in {event.minicluster}, {self._stage(event.minicluster)}."

    def _step(self, name: str | None) -> Step | None:
        plan = self._fleet.plan
        return next((s for s in plan.problem.workflow.steps if s.name == name), None) if plan else None

    def _against_plan(self, now: float) -> str:
        plan, life = self._fleet.plan, self._life
        start = next((e.start for e in plan.steps if life and e.step == life.step), None) if plan else None
        if start is None:
            return ""
        return f" The plan has the step's first job start at {span(self._fleet.at + start)}."

    def _stage(self, name: str) -> str:
        life = self._fleet.current.get(name)
        if life is None:
            return "which has not been asked for yet"
        match life.stage:
            case RecordedPhase.COMING:
                return f"which has been coming up for {span(self._view.at - life.asked)}" + because(life.message)
            case RecordedPhase.UP:
                return f"which is up; {self._busy(life)}"
            case RecordedPhase.GOING:
                return "which is going down"
            case RecordedPhase.GONE:
                return "which is gone"

    def _busy(self, life: MiniClusterLife) -> str:
        flavour = self._fleet.flavours.get(life.flavour)
        if not life.jobs.running or flavour is None:
            return "nothing runs there"
        busy = life.nodes_busy(flavour)
        one = life.jobs.running == 1
        return f"{times(life.jobs.running, 'job')} keep{'s' * one} {busy} of {times(life.size, 'node')} busy"

    def _submitted(self, event: d.JobSubmitted, job: JobLife) -> Iterator[str]:
        elsewhere = ""
        if self._target is not None and event.minicluster != self._target:
            elsewhere = f", not of {self._target}"
        if event.minicluster != self._target or event.at - job.asked > SAME_MOMENT:
            yield f"It is in the queue of {event.minicluster}{elsewhere}, {self._stage(event.minicluster)}."
        self._target = event.minicluster

    def _started(self, job: JobLife) -> str:
        assert job.started is not None
        where = f" in {job.minicluster.name}" if job.minicluster is not None else ""
        waited = job.started - job.asked
        after = f"after {span(waited)} of waiting" if waited > SAME_MOMENT else "at once"
        step = self._step(job.step)
        expected = f" It is expected to take {_expected(step)}." if step is not None else ""
        return f"It starts{where}, {after}.{expected}"

    def _ended(self, event: d.JobEnded, job: JobLife) -> Iterator[str]:
        if job.failed:
            how = "It failed" + (
                f" with {how_it_ended(event.exit_code, event.reason)}" if event.exit_code is not None else ""
            )
            how += because(event.reason)
        else:
            how = (
                "It ended well"
                + (f" with exit code {event.exit_code}" if event.exit_code else "")
                + because(event.reason)
            )
        if job.started is None:
            yield f"{how}. It had not started, {span(event.at - job.asked)} after it was asked for."
        else:
            yield f"{how}. It ran for {self._ran(job, event.at - job.started)}.{_used(job)}"
        if event.said and event.said.strip():
            yield f"The end of what it said: {event.said.strip()}"

    def _ran(self, job: JobLife, seconds: float) -> str:
        step = self._step(job.step)
        if step is None or not step.duration.seconds:
            return span(seconds)
        return f"{span(seconds)}, and {_expected(step)} was expected"

    def _meanwhile(self, event: d.Event, job: JobLife) -> Iterator[str]:
        """What happens while it waits, and has to do with it."""
        match event:
            case d.JobsWait() if event.jobs and self._concerns(event, job) and not same_cause(self._wait, event):
                self._wait = event
                yield f"It waits, {wait_in_words(event)}."
            case d.MiniClusterAsked(minicluster=self._target):
                size = times(event.size, "node")
                yield f"{self._target} is asked for, {size} of {event.flavour}{because(event.reason)}."
            case d.MiniClusterUp(minicluster=self._target):
                yield f"{self._target} is up, after {span(event.seconds)}."
            case d.MiniClusterLost(minicluster=self._target):
                yield f"{self._target} is lost{because(event.reason)}."
            case d.MiniClusterTearingDown(minicluster=self._target):
                yield f"{self._target} is given up{because(event.reason)}."
            case d.ImageGot() if (step := self._step(job.step)) is not None and step.image == event.image:
                yield f"Its image {event.image} is there, after {span(event.seconds)}."
            case d.BudgetReached():
                yield f"The run is being stopped at its budget, nothing new starts{because(event.reason)}."

    def _concerns(self, wait: d.JobsWait, job: JobLife) -> bool:
        """Whether it is the first that waits, or one of the same step is: it waits for the same then."""
        if wait.job is None or without_try(wait.job) == self._job:
            return wait.job is not None
        first = self._fleet.under_way.get(wait.job or "")
        return first is not None and first.step == job.step != NO_STEP

    def _left(self, job: JobLife, ending: Ending) -> str:
        if ending.why is not None:
            what = "it had started" if job.started is None else "it was over"
            return f"{ending.why} before {what}."
        if job.started is not None:
            return f"It has run for {self._ran(job, ending.until - job.started)} so far."
        where = f" for {self._target}, {self._stage(self._target)}" if self._target is not None else ""
        return f"It has waited for {span(ending.until - job.asked)} so far{where}."


def _expected(step: Step) -> str:
    d = step.duration
    spread = f" ± {span(d.spread)}" if d.spread else ""
    return f"{span(d.seconds)}{spread} ({_SOURCES[d.source]})"


def _used(job: JobLife) -> str:
    parts = []
    if job.peak_memory is not None:
        asked = f" of {memory(job.memory)} that it asked for" if job.memory is not None else " of memory"
        parts.append(f"at most {memory(job.peak_memory)}{asked}")
    if job.cpu_seconds is not None:
        parts.append(f"{span(job.cpu_seconds)} of CPU time")
    return f" It used {_listed(parts)}." if parts else ""


def _listed(words: list[str]) -> str:
    return " and ".join(([", ".join(words[:-1])] if words[:-1] else []) + words[-1:])
