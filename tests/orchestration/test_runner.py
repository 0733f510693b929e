"""The fleet on real local MiniClusters with the embedded scheduler."""

import asyncio
import os
import signal

import pytest

from streamflow_fluxop.agent.client.client import ConnectionLost, JobRequest
from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.events import MiniClusterNodes, MiniClusterResizing, MiniClusterUp, discard
from streamflow_fluxop.grouping import Group
from streamflow_fluxop.miniclusters.base import Cluster, MiniClusterError
from streamflow_fluxop.miniclusters.local import LocalMiniCluster
from streamflow_fluxop.model import Needs
from streamflow_fluxop.orchestration.runner import FleetRunner, MiniClusterFailed

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


class Hopeless(Recorded):
    """Does not come up, and never will."""

    async def up(self):
        self.log.append(f"up {self.name}")
        raise MiniClusterError(self.name, "image nowhere:1 cannot be pulled: not found", final=True)


class Refused(Slow):
    """Waits for nodes that nobody has."""

    refused = True


class Counted(Recorded):
    """Tells how many of its nodes are there: none at first, and a moment longer than it is up."""

    async def up(self):
        await asyncio.sleep(0.2)
        self.on_nodes(self.size)
        await super().up()

    async def down(self):
        await super().down()
        self.on_nodes(0)
        await asyncio.sleep(0.2)


class SlowlyGrowing(Recorded):
    """Takes its time to come up, and changes its size at once."""

    async def up(self):
        await asyncio.sleep(0.5)
        await super().up()

    async def resize(self, size):
        self.size = size


class JustUp(Recorded):
    """Says so as it comes up."""

    async def up(self):
        await super().up()
        self.asked.set()


@pytest.fixture
async def fleet():
    """Make a runner; it is closed afterwards, and everything is down then."""
    runners = []

    def make(kind=Recorded, groups=GROUPS, record=discard, **more):
        log, asked = [], asyncio.Event()

        class Recording(Cluster):
            resizes = kind is SlowlyGrowing
            counts_nodes = kind is Counted

            def minicluster(self, name, flavour, size, *, image=None, max_size=None):
                made = kind(name, flavour, size, backend="embedded")
                made.log, made.asked = log, asked
                return made

            async def close(self):
                log.append("closed")

        runners.append(FleetRunner(groups, config(**more), Recording(), record=record))
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


@pytest.mark.parametrize("kind", [Hopeless, Refused])
async def test_what_can_never_come_up_is_not_tried_again(fleet, kind):
    runner = fleet(kind, bring_up_timeout=0.2, groups=[*GROUPS, Group("c", "cpu", 1, "other:1")])
    with pytest.raises(MiniClusterFailed, match=r"MiniCluster a could not be brought up: "):
        await run(runner, "1", "a", "true")
    for group in ("a", "b", "a"):  # b is of the same flavour and image
        with pytest.raises(MiniClusterFailed, match=rf"MiniCluster {group} is not tried, as one like it could not"):
            await run(runner, "2", group, "true")
    with pytest.raises(MiniClusterFailed, match=r"MiniCluster c could not be brought up: "):
        await run(runner, "3", "c", "true")
    await runner.close()
    assert [line for line in runner.log if line.startswith(("up", "down c"))] == ["up a", "up c", "down c"]
    runner.log.remove("up c")  # of which `fleet` does not know
    runner.log.remove("down c")
    assert runner.account.over == 2


async def test_a_bring_up_that_may_succeed_is_tried_again(fleet):
    runner = fleet(Broken)
    for _ in range(2):
        runner.log.append("up a")
        with pytest.raises(MiniClusterFailed, match=r"MiniCluster a could not be brought up: .*no node is left"):
            await run(runner, "1", "a", "true")


async def test_where_nodes_are_counted_those_that_are_there_are_paid(fleet):
    said = []
    runner = fleet(Counted, record=said.append)
    async with runner.job("1", "a", None, Needs()):
        await asyncio.sleep(0.3)
    await runner.close()
    (life,) = runner.account.lives
    assert 0.3 <= life.node_seconds <= life.gone - life.asked - 0.4, "0.2 s before and after there are none"
    assert [e.nodes for e in said if isinstance(e, MiniClusterNodes)] == [0, 1, 0]


async def test_a_resize_that_waits_for_the_bring_up_is_not_paid_before(fleet):
    said = []
    runner = fleet(SlowlyGrowing, groups=[Group("a", "cpu", 1, None, max_size=2)], record=said.append)
    first = asyncio.create_task(run(runner, "1", "a", "true"))
    await asyncio.sleep(0.1)
    async with runner.job("2", "a", None, Needs(nodes=2, tasks=2)):
        pass
    await first
    await runner.close()
    (life,) = runner.account.lives
    assert 2 * (life.gone - life.asked) - life.node_seconds > 0.4, "two nodes only from when it was up on"
    kinds = [type(e) for e in said]
    assert kinds.index(MiniClusterUp) < kinds.index(MiniClusterResizing)


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
