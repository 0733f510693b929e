"""`lifetime: job`: no two jobs meet in a MiniCluster, and those of a group never have more nodes than it has."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from streamflow_fluxop.agent.client.client import ConnectionLost, JobRequest
from streamflow_fluxop.miniclusters.base import Cluster, MiniCluster, MiniClusterError
from streamflow_fluxop.miniclusters.local import LocalCluster, LocalMiniCluster
from streamflow_fluxop.miniclusters.per_job import AloneCluster
from streamflow_fluxop.model import Flavour

FLAVOUR = Flavour(cores=2, memory=1024)
NEEDS_FLUX = pytest.mark.skipif(not shutil.which("flux"), reason="no `flux` on the PATH")
BACKENDS: list[Any] = ["embedded", pytest.param("flux", marks=NEEDS_FLUX)]


class Watched(Cluster):
    """A local cluster that notes when its MiniClusters come and go."""

    def __init__(self, backend: Any) -> None:
        self._inner = LocalCluster(backend)
        self.up: set[str] = set()
        self.came: list[str] = []
        self.nodes: dict[str, int] = {}
        self.most = 0

    def minicluster(self, name: str, *arguments: Any, **options: Any) -> MiniCluster:
        inner = self._inner.minicluster(name, *arguments, **options)
        come, go = inner.up, inner.down

        async def up() -> None:
            self.up.add(name)
            self.nodes[name] = inner.size
            self.most = max(self.most, sum(self.nodes.values()))
            self.came.append(name)
            await come()

        async def down() -> None:
            await go()
            self.up.discard(name)
            self.nodes.pop(name, None)

        inner.up, inner.down = up, down  # type: ignore[method-assign]
        return inner

    async def close(self) -> None:
        await self._inner.close()


@pytest.fixture(params=BACKENDS)
async def watched(request: pytest.FixtureRequest) -> AsyncIterator[Watched]:
    watched = Watched(request.param)
    yield watched
    assert not watched.up


@pytest.fixture
async def alone(watched: Watched) -> AsyncIterator[MiniCluster]:
    minicluster = AloneCluster(watched, {"mine": 1}).minicluster("mine", FLAVOUR, 1)
    yield minicluster
    await minicluster.down()


def sh(script: str, *ranks: int) -> JobRequest:
    nodes = len(ranks) if len(ranks) > 1 else None
    return JobRequest(("/bin/sh", "-c", script), ranks=ranks, nodes=nodes, tasks=nodes or 1)


async def test_each_job_has_a_minicluster_to_itself(alone: MiniCluster, watched: Watched) -> None:
    await alone.up()
    client = alone.client
    script = 'echo "${FLUXOP_MINICLUSTER%-*}"; exit '
    results = await asyncio.gather(*(client.run_job(sh(f"{script}{n}")) for n in range(3)))
    assert sorted(r.exit_code for r in results) == [0, 1, 2]
    assert sorted(r.output.strip() for r in results) == ["mine-1", "mine-2", "mine-3"]
    assert watched.most == 1


async def test_jobs_run_side_by_side_as_far_as_the_nodes_reach(watched: Watched, tmp_path: Path) -> None:
    minicluster = AloneCluster(watched, {"mine": 1}).minicluster("mine", FLAVOUR, 3)
    await minicluster.up()

    def meet(own: str, *others: str) -> str:
        waits = (f"until [ -e {tmp_path}/{other} ]; do sleep 0.05; done" for other in others)
        return "; ".join([f"touch {tmp_path}/{own}", *waits])

    jobs = [sh(meet("a", "b"), 0), sh(meet("b", "a", "c"), 2), sh(f"{meet('c')}; echo $FLUX_JOB_NNODES", 0, 1)]
    results = await asyncio.wait_for(asyncio.gather(*map(minicluster.client.run_job, jobs)), 60)
    assert [r.exit_code for r in results] == [0, 0, 0]
    assert results[2].output == "2\n2\n"
    assert watched.most == 3
    await minicluster.down()


async def test_where_miniclusters_are_limited_jobs_run_one_after_the_other(watched: Watched) -> None:
    minicluster = AloneCluster(watched, {"mine": 1}, several=False).minicluster("mine", FLAVOUR, 3)
    await minicluster.up()
    await asyncio.gather(*(minicluster.client.run_job(sh("true", rank)) for rank in range(3)))
    assert watched.most == 1
    await minicluster.down()


async def test_one_that_was_there_for_commands_gives_way_to_a_job_of_another_size(watched: Watched) -> None:
    minicluster = AloneCluster(watched, {"mine": 1}).minicluster("mine", FLAVOUR, 2)
    await minicluster.up()
    assert (await minicluster.client.run_job(sh("echo $FLUX_JOB_NNODES", 0, 1))).output == "2\n2\n"
    assert watched.most == 2
    assert (await minicluster.client.run_command("echo after")).output == b"after\n"
    await minicluster.down()


async def test_it_shrinks_when_the_nodes_are_free(watched: Watched) -> None:
    minicluster = AloneCluster(watched, {"mine": 1}).minicluster("mine", FLAVOUR, 2, max_size=2)
    await minicluster.up()
    jobs = [asyncio.create_task(minicluster.client.run_job(sh("sleep 0.3", rank))) for rank in range(2)]
    await asyncio.sleep(0)
    await minicluster.resize(1)
    assert sum(watched.nodes.values()) <= 1
    await asyncio.gather(*jobs)
    await minicluster.down()


async def test_small_commands_run_where_it_has_fewer_nodes_than_its_jobs_ask_for(watched: Watched) -> None:
    minicluster = AloneCluster(watched, {"mine": 2}).minicluster("mine", FLAVOUR, 2, max_size=2)
    await minicluster.up()
    await minicluster.resize(1)
    assert (await asyncio.wait_for(minicluster.client.run_command("echo here"), 60)).output == b"here\n"
    assert sum(watched.nodes.values()) == 1
    await minicluster.down()


async def test_small_commands_go_to_the_one_that_is_there(alone: MiniCluster, watched: Watched) -> None:
    await alone.up()
    client = alone.client
    assert (await client.run_command("echo 1")).output == b"1\n"
    assert (await client.run_job(sh("echo in; exit 3"))).exit_code == 3
    async with client.open_reader("echo 2; echo 3") as reader, client.open_writer("cat >/dev/null") as writer:
        await writer.write(await reader.read())
    await client.run_job(sh("true"))
    assert watched.came == ["mine-1", "mine-2"], "the second one takes the second job"


async def test_down_ends_it_whatever_it_does(alone: MiniCluster, watched: Watched) -> None:
    await alone.up()
    jobs = [asyncio.create_task(alone.client.run_job(sh("sleep 1000"))) for _ in range(2)]
    ended = asyncio.create_task(alone.ended())
    await alone.client.run_command("true")
    await alone.down()
    results: Sequence[Any] = await asyncio.gather(*jobs, return_exceptions=True)
    assert all(isinstance(result, (ConnectionLost, MiniClusterError)) for result in results)
    with pytest.raises(MiniClusterError, match="is not up"):
        _ = alone.client
    await asyncio.wait_for(ended, 10)


def test_other_groups_are_shared_as_always(watched: Watched) -> None:
    assert isinstance(AloneCluster(watched, {"mine": 1}).minicluster("other", FLAVOUR, 1), LocalMiniCluster)
