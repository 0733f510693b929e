"""Carries out what the fleet decides: MiniClusters come and go on asyncio."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from streamflow_fluxop import events
from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.errors import BudgetReachedError, FluxopError
from streamflow_fluxop.grouping import Group
from streamflow_fluxop.miniclusters.base import Cluster, MiniCluster, MiniClusterError
from streamflow_fluxop.model import Needs
from streamflow_fluxop.orchestration.account import Account
from streamflow_fluxop.orchestration.decisions.allowance import Allowance, forecast_words
from streamflow_fluxop.orchestration.decisions.machine import Fleet
from streamflow_fluxop.orchestration.decisions.messages import (
    BringUp,
    BroughtUp,
    ChangeSize,
    Closing,
    EndJob,
    Event,
    Expect,
    FailJob,
    ForecastExceeded,
    Instruction,
    JobFinished,
    JobRequested,
    Lost,
    Resized,
    ResultFound,
    StartJob,
    Stopped,
    Stopping,
    TearDown,
    Tick,
    TornDown,
    WakeAt,
)
from streamflow_fluxop.orchestration.decisions.minicluster_state import Phase
from streamflow_fluxop.orchestration.decisions.partial_order import PartialOrder
from streamflow_fluxop.orchestration.job_termination import JobTermination
from streamflow_fluxop.orchestration.wait_reporting import Waits

logger = logging.getLogger(__name__)


MARGIN = (0.25, 2.0)
"""By how much MiniClusters may go down later than expected: a share, and seconds, in which jobs are ended, too."""


class MiniClusterFailed(FluxopError):
    """A job's MiniCluster could not be brought up, or was lost while the job waited or ran."""


class Allocation(NamedTuple):
    """Where a job runs: a MiniCluster that is up, and the ranks of its nodes; none: any of them."""

    minicluster: MiniCluster
    nodes: tuple[int, ...]


class FleetRunner:
    """The MiniClusters of one deployment, from `begin` until `close`.

    Args:
        groups: what MiniClusters there can be.
        config: flavours, limits and time-outs.
        cluster: where the MiniClusters run.
        order: of the plan, see `Fleet`; None: MiniClusters come when they are asked for.
        record: is told of everything that happens to MiniClusters.
        planned_cost: of the plan.

    Attributes:
        stopped_for: why jobs were ended, or did not start, although the run was not over.
    """

    def __init__(
        self,
        groups: Iterable[Group],
        config: FleetConfig,
        cluster: Cluster,
        order: PartialOrder | None = None,
        record: events.Recorder = events.discard,
        planned_cost: float = 0.0,
    ) -> None:
        self._record = record
        wish = config.plan
        allowance = Allowance(
            spent=lambda now: self.account.spent(now - self._began),
            budget=None if config.external else wish.budget,  # others pay
            deadline=wish.deadline,
            stops=wish.on_budget == "stop",
            planned_cost=planned_cost,
            margin=MARGIN,
        )
        self._fleet = Fleet(
            groups,
            config.flavours,
            config.limits,
            order,
            keep_one=not config.controller_sees_storage,
            keep_all=config.external,
            resizes=cluster.resizes,
            allowance=allowance if allowance.given else None,
        )
        self._waits = Waits(lambda now: self._fleet.waiting(now).beside_idle_nodes(), record)
        self._ending = JobTermination()
        self.stopped_for: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._flavours = config.flavours
        self._hopeless: dict[tuple[str, str | None], str] = {}
        self._refused: set[str] = set()
        self._closed = False
        self._began = 0.0
        self._runs = False
        self._reused_early: list[str] = []
        self.makespan = 0.0
        self.account = Account()
        self._timeout = config.bring_up_timeout
        self._external = config.external
        self._cluster = cluster
        self._miniclusters: dict[str, MiniCluster] = {}
        self._starts: dict[str, asyncio.Future[Allocation]] = {}
        self._bring_ups: dict[str, asyncio.Task[None]] = {}
        self._resizes: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Start the plan's clock, unless it runs: what the first jobs need is asked for now."""
        if not self._runs:
            self._runs = True
            self._began = asyncio.get_running_loop().time()
            self._handle(Tick(tuple(self._reused_early)))

    def reused(self, step: str) -> None:
        """A job of a step that the plan has need not run: its result is there already."""
        if not self._runs:
            self._reused_early.append(step)
        else:
            self._handle(ResultFound(step))

    @asynccontextmanager
    async def job(
        self, name: str, group: str, step: str | None = None, needs: Needs | None = None, index: int | None = None
    ) -> AsyncIterator[Allocation]:
        """Wait until a job may start, and hold its nodes meanwhile.

        Args:
            name: of the job; unique among those under way.
            group: name of the group that it goes to, unless the plan knows better.
            step: that it is a job of, as the plan knows it.
            needs: None for a small command, which runs beside the jobs of a MiniCluster that is up.
            index: which job of its step it is, if that is known.

        Raises:
            MiniClusterFailed: the MiniCluster did not come up, or the run is over.
            BudgetReached: the run stops at its budget.
        """
        start: asyncio.Future[Allocation] = asyncio.get_running_loop().create_future()
        self._starts[name] = start
        self._handle(JobRequested(name, group, step, needs, index))
        failed = True
        async with self._ending.watched(name):
            try:
                yield await start
                failed = False
            finally:
                if self._starts.pop(name, None) is not None:  # else the fleet has failed it, and knows
                    if needs is not None:
                        self.makespan = self._now()
                    self._handle(JobFinished(name, failed))

    def nearest(self, group: str) -> str:
        """The group whose MiniCluster answers first, `group` itself if it is up: all of them see the same files."""
        for stage in (Phase.UP, Phase.COMING):
            there = [name for name, m in self._fleet.members.items() if m.phase is stage]
            if there:
                return group if group in there else there[0]
        return group

    async def close(self) -> None:
        """Take every MiniCluster down, all at the same time, and wait until they are gone."""
        self._handle(Closing())
        self._closed = True
        self._waits.close()
        if self._timer is not None:
            self._timer.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._cluster.close()
        self._record(
            events.FleetEnded(
                miniclusters=self.account.over, node_seconds=self.account.node_seconds, cost=self.account.cost
            )
        )
        if self.account.over:
            logger.info(
                "The fleet had %d MiniCluster%s, %.0f node-seconds in all, for a cost of %.3g",
                self.account.over, "s" * (self.account.over > 1), self.account.node_seconds, self.account.cost,
            )  # fmt: skip

    def _handle(self, event: Event) -> None:
        for instruction in self._fleet.handle(event, asyncio.get_running_loop().time()):
            self._carry_out(instruction)
        if not self._closed:
            self._waits.happened()

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case BringUp(group) if (why := self._hopeless.get(self._kind(group))) is not None:
                self._refused.add(group)
                self._start(self._refuse(group, why))
            case BringUp(group, size, reason):
                price = self._flavours[self._fleet.group(group).flavour].price
                self.account.begin(group, price, 0 if self._cluster.counts_nodes else size, self._now())
                self._bring_ups[group] = self._start(self._bring_up(group, size, reason))
            case ChangeSize(group, size, reason) if group not in self._refused:
                self._resizes[group] = self._start(self._resize(group, size, reason, self._resizes.get(group)))
            case TearDown(group) if group in self._refused:
                self._refused.discard(group)
                self._start(self._forget(group))
            case TearDown(group, reason):
                self._start(self._tear_down(group, reason))
            case StartJob(job, group, nodes):
                if not self._starts[job].done():
                    self._starts[job].set_result(Allocation(self._miniclusters[group], nodes))
            case FailJob(job, reason):
                self._fail(job, reason)
            case EndJob(job, reason):
                self.stopped_for = reason
                self._ending.end(job, reason)
            case Stopping() | Stopped() | Expect() | ForecastExceeded():
                self._tell(instruction)
            case WakeAt(when):
                if self._timer is not None:
                    self._timer.cancel()
                if self._closed:
                    return
                self._timer = asyncio.get_running_loop().call_at(when, self._handle, Tick())

    def _fail(self, job: str, reason: str) -> None:
        start = self._starts.pop(job)
        stopped = reason == self._fleet.stops_for
        if stopped:
            self.stopped_for = reason
        if not start.done():
            start.set_exception(BudgetReachedError(reason) if stopped else MiniClusterFailed(reason))

    def _tell(self, news: Stopping | Stopped | Expect | ForecastExceeded) -> None:
        """What becomes of budget and deadline."""
        match news:
            case Expect(cost, makespan):
                self._record(events.Forecast(cost=cost, makespan=makespan))
            case ForecastExceeded(what, forecast, allowed):
                words = forecast_words(news)
                logger.warning("FORECAST: %s", words)
                self._record(events.ForecastPassed(what=what, forecast=forecast, allowed=allowed, message=words))
            case Stopping(reason, spent, budget):
                logger.warning("STOPPING: %s. Nothing new starts; what can't be over within it is ended", reason)
                self._record(events.BudgetReached(cost=spent, budget=budget, reason=reason))
            case Stopped():
                self._ending.stopped()

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _bring_up(self, name: str, size: int, reason: str) -> None:
        group = self._fleet.group(name)
        nodes = f"{size} node{'s' * (size > 1)}"
        doing = "ATTACHING TO" if self._external else "BRINGING UP"
        logger.info("%s MiniCluster %s (%s of flavour %s): %s", doing, name, nodes, group.flavour, reason)
        most = group.max_size if self._cluster.resizes else None
        self._record(
            events.MiniClusterAsked(
                minicluster=name, flavour=group.flavour, size=size, max_size=most, image=group.image, reason=reason
            )
        )
        flavour = self._flavours[group.flavour]
        minicluster = self._cluster.minicluster(name, flavour, size, image=group.image, max_size=most)
        if self._cluster.counts_nodes:
            self._count(name, 0)
            minicluster.on_nodes = partial(self._count, name)
        try:
            await asyncio.wait_for(minicluster.up(), self._timeout)
        except asyncio.CancelledError:
            await minicluster.down()
            raise
        except Exception as error:
            why = error.why if isinstance(error, MiniClusterError) else str(error)
            if isinstance(error, asyncio.TimeoutError):
                last = f"; it waited: {minicluster.waiting_for}" if minicluster.waiting_for else ""
                why = f"it was not up after {self._timeout:g} s{last}"
            if minicluster.refused if isinstance(error, asyncio.TimeoutError) else getattr(error, "final", False):
                self._hopeless[self._kind(name)] = why
            logger.error("FAILED bring-up of MiniCluster %s: %s", name, why)
            self._record(events.MiniClusterLost(minicluster=name, reason=why))
            self._miniclusters[name] = minicluster
            self._handle(Lost(name, f"MiniCluster {name} could not be brought up: {why}"))
            return
        hello = minicluster.client.hello
        scheduler = f"Flux {hello.version}" if hello.backend == "flux" else "the embedded scheduler"
        seconds = round(self._now() - self.account.asked(name), 3)
        nodes = f"{minicluster.size} node{'s' * (minicluster.size > 1)}"
        logger.info("MiniCluster %s is up after %.1f s: %s with %s", name, seconds, nodes, scheduler)
        self._record(events.MiniClusterUp(minicluster=name, seconds=seconds, nodes=minicluster.size, backend=scheduler))
        self._miniclusters[name] = minicluster
        self._start(self._watch(name, minicluster))
        self._handle(BroughtUp(name))

    async def _resize(self, name: str, size: int, reason: str, before: asyncio.Task[None] | None) -> None:
        """Change the size once it is up and earlier changes are over."""
        await asyncio.wait([task for task in (self._bring_ups[name], before) if task is not None])
        minicluster = self._miniclusters.get(name)
        if minicluster is None or self._fleet.phase(name) is not Phase.UP:
            return
        logger.info("RESIZING MiniCluster %s to %d node%s: %s", name, size, "s" * (size > 1), reason)
        self._record(events.MiniClusterResizing(minicluster=name, size=size, reason=reason))
        if size > minicluster.size:
            self._hold(name, size)
        why = None
        try:
            await asyncio.wait_for(minicluster.resize(size), self._timeout)
        except asyncio.TimeoutError:
            why = f"it did not have {size} nodes after {self._timeout:g} s"
        except MiniClusterError as error:
            why = str(error)
        if self._miniclusters.get(name) is not minicluster:
            return  # it is being torn down
        if why is not None:
            logger.warning("MiniCluster %s keeps %d nodes: %s", name, minicluster.size, why)
        self._record(events.MiniClusterResized(minicluster=name, size=minicluster.size, reason=why))
        self._hold(name, minicluster.size)
        self._handle(Resized(name, minicluster.size, why))

    async def _watch(self, name: str, minicluster: MiniCluster) -> None:
        """Tell the fleet when a MiniCluster ends although nobody asked it to."""
        reason = await minicluster.ended()
        if self._miniclusters.get(name) is minicluster:  # else it was to be torn down
            logger.error("LOST MiniCluster %s: %s", name, reason)
            self._record(events.MiniClusterLost(minicluster=name, reason=reason))
            self._handle(Lost(name, f"MiniCluster {name} was lost: {reason}"))

    async def _tear_down(self, name: str, reason: str) -> None:
        logger.info("%s MiniCluster %s: %s", "LEAVING" if self._external else "TEARING DOWN", name, reason)
        self._record(events.MiniClusterTearingDown(minicluster=name, reason=reason))
        minicluster = self._miniclusters.pop(name, None)
        if minicluster is None:  # it is still coming up
            self._bring_ups[name].cancel()
            await asyncio.wait([self._bring_ups[name]])
            minicluster = self._miniclusters.pop(name, None)  # it may have been up, or have failed, at that moment
        if minicluster is not None:
            await minicluster.down()
        logger.info("MiniCluster %s is %s", name, "left as it was" if self._external else "gone")
        self._record(events.MiniClusterGone(minicluster=name))
        self.account.end(name, self._now())
        self._resizes.pop(name, None)
        self._handle(TornDown(name))

    # what cannot come

    def _kind(self, name: str) -> tuple[str, str | None]:
        """What a MiniCluster's nodes are like: whether they can come is the same for all of a kind."""
        group = self._fleet.group(name)
        return group.flavour, group.image

    async def _refuse(self, name: str, why: str) -> None:
        """Answer for a MiniCluster that is not asked for, as the last one like it could not be brought up for good."""
        logger.error("MiniCluster %s is not asked for: one like it could not be brought up: %s", name, why)
        self._handle(Lost(name, f"MiniCluster {name} is not tried, as one like it could not be brought up: {why}"))

    async def _forget(self, name: str) -> None:
        self._handle(TornDown(name))

    # what is held

    def _now(self) -> float:
        """Seconds since the begin."""
        return asyncio.get_running_loop().time() - self._began

    def _hold(self, name: str, nodes: int) -> None:
        """From now on it holds so many nodes, unless it tells itself how many are there."""
        if not self._cluster.counts_nodes:
            self.account.hold(name, nodes, self._now())

    def _count(self, name: str, nodes: int) -> None:
        """So many of its nodes are there."""
        if self.account.has(name):  # else it is over for us: its nodes did not go in time
            self._record(events.MiniClusterNodes(minicluster=name, nodes=nodes))
            self.account.hold(name, nodes, self._now())
