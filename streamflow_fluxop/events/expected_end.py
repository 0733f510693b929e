"""When a run will be over, by its plan and by what has happened so far."""

from __future__ import annotations

import networkx

from streamflow_fluxop.events.run_state import FleetView, JobLife, StepLife
from streamflow_fluxop.model import Duration, Plan


def far_beyond(expected: Duration) -> float:
    """Seconds from which on a job runs far longer than expected: twice as long, and a minute more."""
    usual = expected.seconds + 2 * expected.spread
    return max(2 * usual, usual + 60)


class Outlook:
    """What is left of a plan.

    Every step keeps its planned distance to the steps before it: it is as late as the latest of them, and what should
    have begun, or be over, but is not, is late by so much.

    Args:
        plan: of a fleet.
    """

    def __init__(self, plan: Plan) -> None:
        steps = {s.name: s for s in plan.problem.workflow.steps}
        graph = networkx.DiGraph()
        graph.add_nodes_from(steps)
        graph.add_edges_from((d.step, s.name) for s in steps.values() for d in s.after)
        self._order = [(name, [d.step for d in steps[name].after]) for name in networkx.topological_sort(graph)]
        # steps beside the workflow engine are not in the log
        self._times = {e.step: (e.start, e.end) for e in plan.steps if e.miniclusters}
        self._width = {s.name: s.width for s in steps.values()}
        self._expected = {s.name: s.duration for s in steps.values()}

    def seconds_left(self, fleet: FleetView, now: float) -> float:
        """Seconds until the last job is over.

        Args:
            fleet: with what has happened until now.
            now: seconds since the run's start.
        """
        late: dict[str, float] = {}
        end = now
        for name, before in self._order:
            inherited = max((late[b] for b in before), default=0.0)
            if name not in self._times:
                late[name] = inherited
                continue
            start, stop = (fleet.at + t for t in self._times[name])
            step = fleet.steps.get(name)
            if step is None or step.started is None:
                late[name] = max(now - start, inherited)
            elif self._over(step):
                late[name] = (step.ended or now) - stop
                continue
            else:
                late[name] = max(step.started - start, now - stop)
            end = max(end, stop + late[name])
        return end - now

    def overruns(self, fleet: FleetView, now: float) -> list[tuple[JobLife, Duration]]:
        """The jobs that run far beyond what was expected, with that; the one that runs longest first.

        Args:
            fleet: with what has happened until now.
            now: seconds since the run's start.
        """
        found = [
            (job, expected)
            for job in fleet.under_way.values()
            if job.started is not None
            and (expected := self._expected.get(job.step)) is not None
            and now - job.started >= far_beyond(expected)
        ]
        return sorted(found, key=lambda pair: pair[0].started or 0.0)

    def _over(self, step: StepLife) -> bool:
        """Whether as many jobs have ended well as were planned, and none is under way."""
        jobs = step.jobs
        return jobs.done + jobs.reused >= self._width[step.name] and not jobs.queued and not jobs.running
