"""Carries out what the fleet decides: MiniClusters come and go on asyncio."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager

from streamflow_fluxop import events
from streamflow_fluxop.config import FleetConfig
from streamflow_fluxop.errors import FluxopError
from streamflow_fluxop.fleet.forecast import Forecast
from streamflow_fluxop.fleet.state import (
    BringUp,
    BroughtUp,
    Closing,
    Event,
    FailJob,
    Fleet,
    Gone,
    Instruction,
    JobAsked,
    JobEnded,
    Lost,
    Stage,
    StartJob,
    TearDown,
    Tick,
    WakeAt,
)
from streamflow_fluxop.grouping import Group
from streamflow_fluxop.miniclusters.base import Cluster, MiniCluster

logger = logging.getLogger(__name__)


class MiniClusterFailed(FluxopError):
    """A job's MiniCluster could not be brought up, or was lost while the job waited or ran."""


class FleetRunner:
    """The MiniClusters of one deployment, from the first job until `close`.

    Args:
        groups: what MiniClusters there can be.
        config: flavours, limits and time-outs.
        cluster: where the MiniClusters run.
        forecast: of what will be used when, see `Fleet`.
        record: is told of everything that happens to MiniClusters.
    """

    def __init__(
        self,
        groups: Iterable[Group],
        config: FleetConfig,
        cluster: Cluster,
        forecast: Forecast | None = None,
        record: events.Recorder = events.discard,
    ) -> None:
        self._record = record
        self._groups = {g.name: g for g in groups}
        keep_one = not config.controller_sees_storage
        self._fleet = Fleet(self._groups.values(), config.flavours, config.limits, forecast, keep_one=keep_one)
        self._timer: asyncio.TimerHandle | None = None
        self._flavours = config.flavours
        self._asked: dict[str, float] = {}
        self._lives = 0
        self._node_seconds = self._cost = 0.0
        self._timeout = config.bring_up_timeout
        self._cluster = cluster
        self._miniclusters: dict[str, MiniCluster] = {}
        self._starts: dict[str, asyncio.Future[MiniCluster]] = {}
        self._bring_ups: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def job(self, name: str, group: str, step: str | None = None) -> AsyncIterator[MiniCluster]:
        """Hold a group's MiniCluster for a job: wait until it is up, and keep it up meanwhile.

        Args:
            name: of the job; unique among those under way.
            group: name of the job's group.
            step: that it is a job of, as the forecast knows it.

        Raises:
            MiniClusterFailed: the MiniCluster did not come up, or the run is over.
        """
        start: asyncio.Future[MiniCluster] = asyncio.get_running_loop().create_future()
        self._starts[name] = start
        self._handle(JobAsked(name, group, step))
        try:
            yield await start
        finally:
            if self._starts.pop(name, None) is not None:  # else the fleet has failed it, and knows
                self._handle(JobEnded(name))

    def nearest(self, group: str) -> str:
        """The group whose MiniCluster answers first, `group` itself if it is up: all of them see the same files."""
        for stage in (Stage.UP, Stage.COMING):
            there = [name for name in self._groups if self._fleet.stage(name) is stage]
            if there:
                return group if group in there else there[0]
        return group

    async def close(self) -> None:
        """Take every MiniCluster down, all at the same time, and wait until they are gone."""
        self._handle(Closing())
        if self._timer is not None:
            self._timer.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._cluster.close()
        self._record(
            events.FleetEnded(miniclusters=self._lives, node_seconds=self._node_seconds, cost=self._cost),
        )
        if self._lives:
            logger.info(
                "The fleet had %d MiniCluster%s, %.0f node-seconds in all, for a cost of %.3g",
                self._lives, "s" * (self._lives > 1), self._node_seconds, self._cost,
            )  # fmt: skip

    def _handle(self, event: Event) -> None:
        for instruction in self._fleet.handle(event, asyncio.get_running_loop().time()):
            self._carry_out(instruction)

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case BringUp(group, reason):
                self._asked[group] = asyncio.get_running_loop().time()
                self._bring_ups[group] = self._start(self._bring_up(group, reason))
            case TearDown(group, reason):
                self._start(self._tear_down(group, reason))
            case StartJob(job, group):
                if not self._starts[job].done():
                    self._starts[job].set_result(self._miniclusters[group])
            case FailJob(job, reason):
                self._fail(job, reason)
            case WakeAt(when):
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = asyncio.get_running_loop().call_at(when, self._handle, Tick())

    def _fail(self, job: str, reason: str) -> None:
        start = self._starts.pop(job)
        if not start.done():
            start.set_exception(MiniClusterFailed(reason))

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _bring_up(self, name: str, reason: str) -> None:
        group = self._groups[name]
        nodes = f"{group.size} node{'s' * (group.size > 1)}"
        logger.info("BRINGING UP MiniCluster %s (%s of flavour %s): %s", name, nodes, group.flavour, reason)
        self._record(
            events.MiniClusterAsked(
                minicluster=name, flavour=group.flavour, size=group.size, image=group.image, reason=reason
            )
        )
        minicluster = self._cluster.minicluster(name, self._flavours[group.flavour], group.size, image=group.image)
        try:
            await asyncio.wait_for(minicluster.up(), self._timeout)
        except asyncio.CancelledError:
            await minicluster.down()
            raise
        except Exception as error:
            why = str(error)
            if isinstance(error, asyncio.TimeoutError):
                last = f"; it waited: {minicluster.waiting_for}" if minicluster.waiting_for else ""
                why = f"it was not up after {self._timeout:g} s{last}"
            logger.error("FAILED bring-up of MiniCluster %s: %s", name, why)
            self._record(events.MiniClusterLost(minicluster=name, reason=why))
            self._miniclusters[name] = minicluster
            self._handle(Lost(name, f"MiniCluster {name} could not be brought up: {why}"))
            return
        hello = minicluster.client.hello
        scheduler = f"Flux {hello.version}" if hello.backend == "flux" else "the embedded scheduler"
        seconds = round(asyncio.get_running_loop().time() - self._asked[name], 3)
        logger.info("MiniCluster %s is up after %.1f s: %d nodes with %s", name, seconds, hello.nodes, scheduler)
        self._record(events.MiniClusterUp(minicluster=name, seconds=seconds, nodes=hello.nodes, backend=scheduler))
        self._miniclusters[name] = minicluster
        self._start(self._watch(name, minicluster))
        self._handle(BroughtUp(name))

    async def _watch(self, name: str, minicluster: MiniCluster) -> None:
        """Tell the fleet when a MiniCluster ends although nobody asked it to."""
        reason = await minicluster.ended()
        if self._miniclusters.get(name) is minicluster:  # else it was to be torn down
            logger.error("LOST MiniCluster %s: %s", name, reason)
            self._record(events.MiniClusterLost(minicluster=name, reason=reason))
            self._handle(Lost(name, f"MiniCluster {name} was lost: {reason}"))

    async def _tear_down(self, name: str, reason: str) -> None:
        logger.info("TEARING DOWN MiniCluster %s: %s", name, reason)
        self._record(events.MiniClusterTearingDown(minicluster=name, reason=reason))
        minicluster = self._miniclusters.pop(name, None)
        if minicluster is None:  # it is still coming up
            self._bring_ups[name].cancel()
            await asyncio.wait([self._bring_ups[name]])
        else:
            await minicluster.down()
        logger.info("MiniCluster %s is gone", name)
        self._record(events.MiniClusterGone(minicluster=name))
        self._account(self._groups[name], asyncio.get_running_loop().time() - self._asked.pop(name))
        self._handle(Gone(name))

    def _account(self, group: Group, seconds: float) -> None:
        self._lives += 1
        self._node_seconds += group.size * seconds
        self._cost += group.size * seconds * self._flavours[group.flavour].price / 3600
