"""What a run may cost and take, and what is done about it while it goes.

Part of the fleet's state machine, without I/O. As soon as the forecast passes the budget or the deadline, that is said
(`ForecastExceeded`). At the budget the run winds down:

* No MiniCluster comes, or grows, that can't be paid: bring-up, its next job, as far as that is known, and going down.
* The run stops when a job waits that can't be over within the budget, or when what is left is what going down costs.
  From then on nothing new starts.
* Jobs that can't be over within the budget are ended (`EndJob`); the others go on. What runs nothing goes.
* When what is left is what going down costs, everything is ended and goes.
* When nothing is up any more, whoever waits, or comes, learns why (`Stopped`): StreamFlow ends a run at its first job
  that fails, and none of the others would be over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Literal

from streamflow_fluxop.model import Step
from streamflow_fluxop.orchestration.decisions.fleet_job import FleetJob
from streamflow_fluxop.orchestration.decisions.forecast import Forecaster, RunForecast
from streamflow_fluxop.orchestration.decisions.messages import (
    EndJob,
    Expect,
    ForecastExceeded,
    Instruction,
    StartJob,
    Stopping,
)
from streamflow_fluxop.orchestration.decisions.minicluster_state import MiniClusterState, Phase
from streamflow_fluxop.planning.result.knowledge import GUESSES

SOON = 0.001
"""Seconds after which the time at which the money is spent is looked at again at the earliest."""

EVERY = 1.0
"""Seconds between two forecasts, at the least,"""

PER_WORK = 1e-4
"""so many more for each node of each block that one has to look at, about a hundredth of the time,"""

OF_THE_RUN = 0.005
"""and this share of what the run has taken until now."""

NEWS = 0.01
"""Share by which a forecast has to differ from the last one to be told."""

_TINY = 1e-9


@dataclass(frozen=True)
class Allowance:
    """What a run may cost and take.

    Args:
        spent: what it has cost until a time, on the fleet's clock.
        budget: what it may cost at most, in the user's currency; None: as much as it likes.
        deadline: seconds in which all jobs have to be over; likewise.
        stops: the run ends at its budget; else that it passes it is only said.
        planned_cost: of the plan.
        margin: by how much going down may take longer than expected: a share, and seconds.
    """

    spent: Callable[[float], float]
    budget: float | None = None
    deadline: float | None = None
    stops: bool = True
    planned_cost: float = 0.0
    margin: tuple[float, float] = (0.0, 0.0)

    @property
    def given(self) -> bool:
        """Whether it is not unlimited."""
        return self.budget is not None or self.deadline is not None


class Watch:
    """Keeps a run within its allowance.

    Args:
        allowance: what it may cost and take.
        members: the MiniClusters, by name; there may be more later.
        steps: of the plan, by name.
        tear_down: lets a MiniCluster go, for a reason.

    Attributes:
        forecaster: None where nothing is planned.
        why: nothing starts any more; empty: things do.
        stopped: nothing is up any more, and whatever comes is turned away.
    """

    def __init__(
        self,
        allowance: Allowance,
        members: dict[str, MiniClusterState],
        steps: dict[str, Step],
        tear_down: Callable[[MiniClusterState, str, float], None],
    ) -> None:
        self._allowed = allowance
        self._budget = allowance.budget if allowance.budget is not None and allowance.stops else inf
        self._members, self._steps = members, steps
        self._tear_down = tear_down
        self.forecaster: Forecaster | None = None
        self.why = ""
        self.stopped = False
        self._longest: dict[str, float] = {}
        self._going_since: dict[str, float] = {}
        self._short = False
        self._began: float | None = None
        self._next_look = -inf
        self._told: RunForecast | None = None
        self._passed: set[str] = set()
        self._ended: set[str] = set()

    def gone(self, member: MiniClusterState, now: float) -> None:
        """Note how long a MiniCluster that is gone took for it."""
        seconds = now - self._going_since.pop(member.name, now)
        self._longest[member.flavour_name] = max(seconds, self._longest.get(member.flavour_name, 0.0))

    def stops(self, now: float, out: list[Instruction]) -> bool:
        """Tell a forecast, when one is due; whether nothing may start any more."""
        if self.stopped:
            return True
        if now >= self._next_look:
            self._forecast(self._allowed.spent(now), now, out)
        if not self.why and self._budget < inf and (why := self._why_stop(now)):
            self.why = why
            out.append(Stopping(why, self._allowed.spent(now), self._budget))
        return bool(self.why)

    def _why_stop(self, now: float) -> str:
        left, spent, up = self._left(now), self._allowed.spent(now), self._up()
        if left < 0 and up:
            return f"the budget of {self._budget:.4g} is spent: {spent:.3g} so far, and what going down costs"
        next_job = self._next_job()
        if next_job is None:
            return ""
        more = self._work_left(now)
        stuck = self._short and not any(_works(m) for m in up)
        if stuck or left < more + next_job:
            runs = f", what runs costs {more:.3g} more" if more else ""
            down = f", and going down {going:.3g}" if (going := self._going(now)) else ""
            return f"the budget of {self._budget:.4g} does not reach for another job: {spent:.3g} is spent{runs}{down}"
        return ""

    def affords(self, member: MiniClusterState, nodes: int, now: float) -> bool:
        """Whether so many nodes more of a MiniCluster can be paid, until its next job is over and it is gone."""
        if self._budget == inf:
            return True
        seconds = member.bring_up + self._tear_down_takes(member) + self._next_seconds(member)
        pays = nodes * member.flavour.price * seconds / 3600 <= self._left(now) - self._work_left(now)
        self._short |= not pays
        return pays

    def alarm(self, now: float) -> float:
        """When to look again at the latest: for a forecast, or as only what going down costs will be left."""
        up = self._up()
        if not up:
            waits = self._short and not self.why and any(m.queue.ready for m in self._members.values())
            return now + SOON if waits else inf
        at = self._next_look if self.forecaster and not self.why else inf
        rate = sum(m.holds * m.flavour.price for m in up) / 3600
        if self._budget < inf and rate:
            at = min(at, now + max(SOON, self._left(now) / rate))
        return at

    # what it will cost

    def _left(self, now: float) -> float:
        """What may be spent yet, beside what going down costs."""
        return self._budget * (1 + _TINY) - self._allowed.spent(now) - self._going(now)

    def _up(self) -> list[MiniClusterState]:
        return [m for m in self._members.values() if m.phase in (Phase.UP, Phase.COMING)]

    def _going(self, now: float) -> float:
        """What it costs to let everything go now."""
        cost = 0.0
        for m in self._members.values():
            if m.phase is not Phase.DOWN:
                takes = self._tear_down_takes(m)
                if m.phase is Phase.GOING:
                    takes = max(0.0, takes - (now - self._going_since.setdefault(m.name, now)))
                cost += m.holds * m.flavour.price * takes
        return cost / 3600

    def _tear_down_takes(self, member: MiniClusterState) -> float:
        longest = max(member.tear_down, member.flavour.tear_down, self._longest.get(member.flavour_name, 0.0))
        share, seconds = self._allowed.margin
        return longest * (1 + share) + seconds

    def _work_left(self, now: float) -> float:
        """What the jobs that run, and those that nodes come for, cost until they are over, as far as that is known."""
        cost = 0.0
        for m in self._up():
            seconds = max((self._seconds_left(job, now) for job in m.running.values()), default=0.0)
            if m.joins:
                seconds = max(seconds, max(m.joins.values()) - now + self._next_seconds(m))
            cost += m.holds * m.flavour.price * seconds
        return cost / 3600

    def _next_job(self) -> float | None:
        """What the cheapest of the jobs costs that wait; None: none does."""
        cheapest = None
        for m in self._members.values():
            if not m.queue.ready:
                continue
            cost = 0.0  # beside others it costs nothing more, as far as is known
            if not m.running and not m.joins:
                load = m.queue.ready[0][-1].load
                seconds, nodes = self._next_seconds(m), m.holds
                if m.phase is Phase.DOWN:
                    nodes = len(load.parts) if load else 1
                    seconds += m.bring_up + self._tear_down_takes(m)
                cost = nodes * m.flavour.price * seconds / 3600
            cheapest = cost if cheapest is None else min(cheapest, cost)
        return cheapest

    def _next_seconds(self, member: MiniClusterState) -> float:
        """What the next job of a MiniCluster takes, as far as that is known."""
        if member.queue.ready:
            return self._seconds(member.queue.ready[0][-1])
        uses = [use for rank in list(member.uses) if (use := member.use_of(rank))]
        steps = (self._steps.get(use.block.step) for use in uses)
        return min((_known(step) for step in steps if step is not None), default=0.0)

    def _seconds(self, job: FleetJob) -> float:
        """What a job takes, as far as that is known."""
        step = self._steps.get(job.step or "")
        return 0.0 if step is None else _known(step)

    def _seconds_left(self, job: FleetJob, now: float) -> float:
        return max(0.0, job.started + self._seconds(job) - now) if job.started < inf else 0.0

    # what is said

    def _forecast(self, spent: float, now: float, out: list[Instruction]) -> None:
        if self.forecaster is None:
            return
        self._began = now if self._began is None else self._began
        found = self.forecaster.forecast(spent, now)
        self._next_look = now + max(EVERY, OF_THE_RUN * (now - self._began)) + PER_WORK * self.forecaster.work
        if self._told is None or _differ(found.cost, self._told.cost) or _differ(found.makespan, self._told.makespan):
            self._told = found
            out.append(Expect(found.cost, found.makespan))
        self._compare("budget", found.cost, self._allowed.budget, out)
        self._compare("deadline", found.makespan, self._allowed.deadline, out)

    def _compare(
        self, what: Literal["budget", "deadline"], value: float, most: float | None, out: list[Instruction]
    ) -> None:
        if most is not None and value > most * (1 + NEWS) and what not in self._passed:
            self._passed.add(what)
            out.append(ForecastExceeded(what, value, most, self._allowed.stops))

    # winding down

    def wind_down(self, now: float, out: list[Instruction]) -> bool:
        """Let go what runs nothing, end what can't be over; whether that was the last of it."""
        if self.stopped:
            return False
        left = self._left(now)
        all_at_once = left < 0
        running = [job for m in self._up() for job in m.running.values()]
        kept = set() if all_at_once else self._affordable(running, left, now)
        for job in running:
            if job.name not in kept and job.name not in self._ended:
                self._ended.add(job.name)
                out.append(EndJob(job.name, self.why))
        for m in self._up():
            for job in [] if all_at_once or m.phase is Phase.COMING else m.commands.values():
                if job.started == inf:
                    job.started = now
                    out.append(StartJob(job.name, m.name))
            if all_at_once or m.phase is Phase.COMING or m.idle:
                self._tear_down(m, "the run stops at its budget", now)
        self.stopped = not self._up()
        return self.stopped

    def _affordable(self, running: Iterable[FleetJob], left: float, now: float) -> set[str]:
        """The jobs that can be over within what is left, those that are over first first."""
        kept: set[str] = set()
        paid: dict[str, float] = {}
        for job in sorted(running, key=lambda job: self._seconds_left(job, now)):
            member = job.member
            assert member is not None
            seconds = self._seconds_left(job, now)
            cost = member.holds * member.flavour.price * (seconds - paid.get(member.name, 0.0)) / 3600
            if job.name not in self._ended and cost <= left:
                left -= cost
                paid[member.name] = seconds
                kept.add(job.name)
        return kept


def _works(member: MiniClusterState) -> bool:
    """Whether something runs there, or will without more nodes."""
    if member.running or member.phase is Phase.COMING:
        return True
    loads = [entry[-1].load for entry in member.queue.ready[:1]]
    return any(load is not None and len(load.parts) <= member.usable for load in loads)


def _known(step: Step) -> float:
    """What a job of a step takes, as far as that is known."""
    return 0.0 if step.duration.source in GUESSES else step.duration.seconds


def _differ(new: float, old: float) -> bool:
    return abs(new - old) > NEWS * max(abs(old), _TINY)


def forecast_words(passed: ForecastExceeded) -> str:
    """That budget or deadline will be passed, and what would help."""
    if passed.what == "budget":
        then = "it will be stopped there" if passed.stops else "it goes on, as `plan.on_budget` is `warn`"
        return (
            f"the run will cost {passed.forecast:.3g}, its budget is {passed.allowed:g}: {then}. "
            "What would help: a larger `plan.budget`, `plan.objective: cost`, cheaper flavours, "
            "or durations in the CWL that are nearer to the truth"
        )
    return (
        f"the run will take {passed.forecast:.0f} s, its deadline is {passed.allowed:g} s. What would help: more room "
        "in `limits`, `plan.objective: makespan`, faster flavours, or durations in the CWL that are nearer to the truth"
    )
