"""The fleet on real local MiniClusters with the embedded scheduler."""

import asyncio
import os
import signal

import pytest

from streamflow_fluxop.agent.client import ConnectionLost, JobRequest
from streamflow_fluxop.config import FleetConfig
from streamflow_fluxop.fleet.runner import FleetRunner, MiniClusterFailed
from streamflow_fluxop.grouping import Group
from streamflow_fluxop.miniclusters.base import Cluster, MiniClusterError
from streamflow_fluxop.miniclusters.local import LocalMiniCluster
from streamflow_fluxop.model import Needs

GROUPS = [Group("a", "cpu", 1, None), Group("b", "cpu", 1, None)]


def config(**more):
    return FleetConfig.model_validate(
        {"cluster": "local", "flavours": {"cpu": {"cores": 2, "memory": 1024}}, **more}, strict=True
    )


class Recorded(LocalMiniCluster):
    """Notes when it comes up and when it is gone."""

    log: list[str]
    asked: asyncio.Event

    async def up(self):
        self.log.append(f"up {self.name}")
        await super().up()

    async def down(self):
        await super().down()
        self.log.append(f"down {self.name}")


class Broken(Recorded):
    """Does not come up."""

    async def up(self):
        raise MiniClusterError(self.name, "no node is left")


class Slow(Recorded):
    """Takes its time to come up."""

    async def up(self):
        self.log.append(f"up {self.name}")
        self.asked.set()
        await asyncio.Event().wait()


class JustUp(Recorded):
    """Says so as it comes up."""

    async def up(self):
        await super().up()
        self.asked.set()


@pytest.fixture
async def fleet():
    """Make a runner; it is closed afterwards, and everything is down then."""
    runners = []

    def make(kind=Recorded, **more):
        log, asked = [], asyncio.Event()

        class Recording(Cluster):
            def minicluster(self, name, flavour, size, *, image=None, max_size=None):
                made = kind(name, flavour, size, backend="embedded")
                made.log, made.asked = log, asked
                return made

            async def close(self):
                log.append("closed")

        runners.append(FleetRunner(GROUPS, config(**more), Recording()))
        runners[-1].log, runners[-1].asked = log, asked
        return runners[-1]

    yield make
    for runner in runners:
        await runner.close()
        assert runner.log.count("up a") + runner.log.count("up b") == sum(e.startswith("down") for e in runner.log)


async def run(runner, name, group, *argv):
    async with runner.job(name, group, None, Needs()) as (minicluster, _):
        return (await minicluster.client.run_job(JobRequest(name=name, argv=argv))).output


async def test_jobs_of_a_group_share_a_minicluster(fleet):
    runner = fleet()
    outputs = await asyncio.gather(*(run(runner, str(i), "a", "echo", str(i)) for i in range(5)))
    assert outputs == [f"{i}\n" for i in range(5)]
    assert runner.log == ["up a"]


async def test_an_idle_minicluster_goes_before_the_next_comes_where_the_limit_is_one(fleet):
    runner = fleet(limits={"miniclusters": 1})
    await run(runner, "1", "a", "true")
    await run(runner, "2", "b", "true")
    await run(runner, "3", "a", "true")
    assert runner.log == ["up a", "down a", "up b", "down b", "up a"]


async def test_jobs_fail_with_the_reason_when_their_minicluster_does_not_come_up(fleet):
    runner = fleet(Broken)
    runner.log.append("up a")  # `down` is called for it, too
    with pytest.raises(MiniClusterFailed, match=r"MiniCluster a could not be brought up: .*no node is left"):
        await run(runner, "1", "a", "true")


async def test_a_bring_up_has_a_limit(fleet):
    runner = fleet(Slow, bring_up_timeout=0.05)
    with pytest.raises(MiniClusterFailed, match=r"was not up after 0\.05 s"):
        await run(runner, "1", "a", "true")


async def test_jobs_of_a_lost_minicluster_fail_and_the_next_one_gets_another(fleet):
    runner = fleet()
    async with runner.job("1", "a", None, Needs()) as (minicluster, _):
        job = asyncio.create_task(minicluster.client.run_job(JobRequest(name="1", argv=("sleep", "60"))))
        await minicluster.client.ping()
        os.kill(minicluster.client.hello.pid, signal.SIGKILL)
        with pytest.raises(ConnectionLost):
            await job
    assert await run(runner, "2", "a", "echo", "again") == "again\n"
    assert runner.log == ["up a", "down a", "up a"]


async def test_a_job_that_gives_up_waiting_leaves_no_trace(fleet):
    runner = fleet(Slow)
    waiting = asyncio.create_task(run(runner, "1", "a", "true"))
    await runner.asked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_closing_ends_bring_ups_under_way_and_fails_who_waits(fleet):
    runner = fleet(Slow)
    waiting = asyncio.create_task(run(runner, "1", "a", "true"))
    await runner.asked.wait()
    await runner.close()
    with pytest.raises(MiniClusterFailed, match="the run is over"):
        await waiting
    with pytest.raises(MiniClusterFailed, match="the run is over"):
        await run(runner, "2", "a", "true")


async def test_closing_takes_down_what_comes_up_at_that_moment(fleet):
    runner = fleet(JustUp)
    waiting = asyncio.create_task(run(runner, "1", "a", "true"))

    async def close():
        await runner.asked.wait()
        await runner.close()

    await asyncio.wait_for(close(), 10)
    with pytest.raises(MiniClusterFailed, match="the run is over"):
        await waiting
    assert runner.log == ["up a", "down a", "closed"]
