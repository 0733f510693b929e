"""The state of a run, folded from its events: what live view, status and report show.

Times are seconds since the run's start, as in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from streamflow_fluxop.events import event_types as d
from streamflow_fluxop.events.run_state import NO_STEP, FleetView, JobLife, MiniClusterLife, StepLife


class RunView:
    """A run, as far as its events say.

    Attributes:
        started: None before the first event.
        ended: None before the last one.
        at: when the latest event happened.
        fleets: by deployment.
    """

    def __init__(self, events: Iterable[d.Event] = ()) -> None:
        self.started: d.RunStarted | None = None
        self.ended: d.RunEnded | None = None
        self.at = 0.0
        self.fleets: dict[str, FleetView] = {}
        self._fold: dict[type, Callable[[Any], None]] = {
            d.RunStarted: self._run_started,
            d.RunEnded: self._run_ended,
            d.FleetStarted: self._fleet_started,
            d.FleetEnded: self._fleet_ended,
            d.Forecast: self._forecast,
            d.ForecastPassed: self._forecast_passed,
            d.BudgetReached: self._budget_reached,
            d.MiniClusterAsked: self._asked,
            d.MiniClusterProgress: self._progress,
            d.MiniClusterUp: self._up,
            d.MiniClusterNodes: self._nodes,
            d.MiniClusterResizing: self._resizing,
            d.MiniClusterResized: self._resized,
            d.MiniClusterTearingDown: self._tearing_down,
            d.MiniClusterLost: self._lost,
            d.MiniClusterGone: self._gone,
            d.JobsWait: self._jobs_wait,
            d.JobAsked: self._job_asked,
            d.JobSubmitted: self._job_submitted,
            d.JobStarted: self._job_started,
            d.JobEnded: self._job_ended,
            d.JobReused: self._job_reused,
            d.ImageGot: self._image_got,
        }
        self.take(events)

    def take(self, events: Iterable[d.Event]) -> None:
        """Take note of events, in the order of the log; what does not follow from what is known is passed over."""
        fold = self._fold
        for event in events:
            fold[type(event)](event)
            self.at = event.at

    def cost(self, now: float) -> float:
        """What all fleets have cost until now."""
        return sum(f.cost(now) for f in self.fleets.values())

    # the run, the fleets

    def _run_started(self, event: d.RunStarted) -> None:
        self.started = event

    def _run_ended(self, event: d.RunEnded) -> None:
        self.ended = event

    def _fleet_started(self, event: d.FleetStarted) -> None:
        fleet = self._fleet(event)
        fleet.at, fleet.cluster, fleet.external = event.at, event.cluster, event.external
        fleet.plan, fleet.flavours, fleet.limits = event.plan, event.flavours, event.limits
        fleet.budget, fleet.deadline = event.budget, event.deadline

    def _fleet_ended(self, event: d.FleetEnded) -> None:
        self._fleet(event).ended = event

    def _forecast(self, event: d.Forecast) -> None:
        self._fleet(event).forecast = event

    def _forecast_passed(self, event: d.ForecastPassed) -> None:
        self._fleet(event).warnings.append(event)

    def _budget_reached(self, event: d.BudgetReached) -> None:
        self._fleet(event).stopping = event

    def _fleet(self, event: Any) -> FleetView:
        name = event.deployment
        fleet = self.fleets.get(name)
        if fleet is None:
            fleet = self.fleets[name] = FleetView(name)
        return fleet

    def _image_got(self, event: d.ImageGot) -> None:
        self._fleet(event)  # images are in no view yet

    # MiniClusters

    def _asked(self, event: d.MiniClusterAsked) -> None:
        fleet = self._fleet(event)
        life = MiniClusterLife(
            deployment=event.deployment,
            name=event.minicluster,
            flavour=event.flavour,
            image=event.image,
            group=event.group,
            asked=event.at,
            size=event.size,
            wanted=event.size,
            max_size=event.max_size or event.size,
            sizes=[(event.at, event.size)],
        )
        if event.reason:
            life.reasons.append((event.at, event.reason))
        fleet.lives.append(life)
        fleet.current[event.minicluster] = life
        for job in fleet.waiting.pop(event.minicluster, []):
            if job.ended is None and job.minicluster is None:
                self._place(fleet, job, event.minicluster)

    def _life(self, event: Any) -> MiniClusterLife | None:
        life = self._fleet(event).current.get(event.minicluster)
        return None if life is None or life.gone is not None else life

    def _progress(self, event: d.MiniClusterProgress) -> None:
        if life := self._life(event):
            life.message = event.message

    def _up(self, event: d.MiniClusterUp) -> None:
        if life := self._life(event):
            life.ready, life.backend, life.message = event.at, event.backend, ""

    def _nodes(self, event: d.MiniClusterNodes) -> None:
        if life := self._life(event):
            life.there = [*(life.there or [(life.asked, 0)]), (event.at, event.nodes)]

    def _resizing(self, event: d.MiniClusterResizing) -> None:
        if life := self._life(event):
            life.wanted = event.size
            if event.size > life.sizes[-1][1]:
                life.sizes.append((event.at, event.size))
            life.resizes.append((event.at, event.at, event.size))
            if event.reason:
                life.reasons.append((event.at, event.reason))

    def _resized(self, event: d.MiniClusterResized) -> None:
        if life := self._life(event):
            life.size = life.wanted = event.size
            if event.size != life.sizes[-1][1]:
                life.sizes.append((event.at, event.size))
            asked = life.resizes.pop()[0] if life.resizes and life.resizes[-1][0] == life.resizes[-1][1] else event.at
            life.resizes.append((asked, event.at, event.size))
            if event.reason:
                life.reasons.append((event.at, event.reason))

    def _tearing_down(self, event: d.MiniClusterTearingDown) -> None:
        if life := self._life(event):
            life.message = ""
            if life.released is None:
                life.released = event.at
            if event.reason:
                life.reasons.append((event.at, event.reason))

    def _lost(self, event: d.MiniClusterLost) -> None:
        if life := self._life(event):
            life.lost, life.message = event.reason, ""
            if life.released is None:
                life.released = event.at
            life.reasons.append((event.at, event.reason))

    def _gone(self, event: d.MiniClusterGone) -> None:
        if life := self._life(event):
            life.gone = event.at

    def _jobs_wait(self, event: d.JobsWait) -> None:
        if life := self._life(event):
            life.wait = event if event.jobs else None

    # jobs

    def _job_asked(self, event: d.JobAsked) -> None:
        fleet = self._fleet(event)
        name = event.step or NO_STEP
        job = JobLife(event.job, name, event.nodes, event.cores, event.gpus, event.at, memory=event.memory)
        step = fleet.steps.get(name)
        if step is None:
            step = fleet.steps[name] = StepLife(name)
        step.jobs.queued += 1
        fleet.counts.queued += 1
        if event.minicluster is not None:
            self._place(fleet, job, event.minicluster)
            if job.minicluster is None:
                fleet.waiting.setdefault(event.minicluster, []).append(job)
        fleet.jobs.append(job)
        fleet.under_way[event.job] = job

    @staticmethod
    def _place(fleet: FleetView, job: JobLife, name: str) -> None:
        """Note in which MiniCluster a queued job is, unless that takes no job any more."""
        life = fleet.current.get(name)
        if life is job.minicluster or life is None or life.released is not None:
            return
        if job.minicluster is not None:
            job.minicluster.jobs.queued -= 1
        job.minicluster = life
        life.jobs.queued += 1

    def _job_submitted(self, event: d.JobSubmitted) -> None:
        fleet = self._fleet(event)
        job = fleet.under_way.get(event.job)
        if job is None or job.started is not None:
            return
        self._place(fleet, job, event.minicluster)
        job.submitted = event.at
        if job.minicluster is not None:
            job.minicluster.steps[job.step] = None
        fleet.steps[job.step].miniclusters[event.minicluster] = None

    def _job_started(self, event: d.JobStarted) -> None:
        fleet = self._fleet(event)
        job = fleet.under_way.get(event.job)
        if job is None or job.started is not None:
            return
        job.started = event.at
        step = fleet.steps[job.step]
        if step.started is None:
            step.started = event.at
        life = job.minicluster
        for counts in (fleet.counts, step.jobs) if life is None else (fleet.counts, step.jobs, life.jobs):
            counts.queued -= 1
            counts.running += 1
        if life is not None:
            life.occupy(job)

    def _job_reused(self, event: d.JobReused) -> None:
        fleet = self._fleet(event)
        job = fleet.under_way.pop(event.job, None)
        if job is None:
            return
        job.ended, job.exit_code, job.reused = event.at, 0, event.run
        step, life = fleet.steps[job.step], job.minicluster
        step.ended = event.at
        step.saved += event.seconds
        for counts in (fleet.counts, step.jobs) if life is None else (fleet.counts, step.jobs, life.jobs):
            counts.queued -= 1
        for counts in (fleet.counts, step.jobs):
            counts.reused += 1

    def _job_ended(self, event: d.JobEnded) -> None:
        fleet = self._fleet(event)
        job = fleet.under_way.pop(event.job, None)
        if job is None:
            return
        job.ended, job.exit_code, job.reason, job.said = event.at, event.exit_code, event.reason, event.said
        job.peak_memory, job.cpu_seconds = event.peak_memory, event.cpu_seconds
        failed = event.failed
        job.failed = event.exit_code != 0 or event.reason is not None if failed is None else failed
        step, life, failed = fleet.steps[job.step], job.minicluster, job.failed
        step.ended = event.at
        for counts in (fleet.counts, step.jobs) if life is None else (fleet.counts, step.jobs, life.jobs):
            if job.started is None:
                counts.queued -= 1
            else:
                counts.running -= 1
            if failed:
                counts.failed += 1
            else:
                counts.done += 1
        if job.started is not None:
            if not failed:
                step.seconds += event.at - job.started
            if life is not None:
                life.occupy(job, -1)
