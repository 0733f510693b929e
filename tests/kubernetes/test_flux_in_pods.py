"""What only a real Flux in the pods can do; the stand-in's pods have none."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from conftest import REAL_OPERATOR
from namespaces import Namespace
from test_faults import SMALL, fleet, job

from streamflow_fluxop.agent.client.client import JobRequest

pytestmark = pytest.mark.skipif(not REAL_OPERATOR, reason="there is no Flux in the pods of the stand-in operator")

VIEW = os.environ.get("FLUXOP_TEST_VIEW")
"""An image with a view of Flux in /opt/view, whose own PATH has no Flux."""


async def test_shrinking_lets_the_job_on_a_leaving_node_end(namespace: Namespace) -> None:
    async with fleet(namespace) as made:
        minicluster = made.minicluster(size=2, max_size=2)
        try:
            await asyncio.wait_for(minicluster.up(), 90)
            whole = [JobRequest(("/bin/sh", "-c", "sleep 6; hostname"), nodes=1, exclusive=True) for _ in range(2)]
            running = [asyncio.create_task(minicluster.client.run_job(w)) for w in whole]
            await asyncio.sleep(1)
            await asyncio.wait_for(minicluster.resize(1), 60)
            assert minicluster.size == 1
            assert all(task.done() for task in running[1:])
            hosts = {(await task).output.strip() for task in running}
            assert hosts == {f"{minicluster.object}-0", f"{minicluster.object}-1"}
            assert await namespace.pod(minicluster.object, 1) is None
            await asyncio.wait_for(minicluster.resize(2), 60)
            again = await asyncio.gather(*(minicluster.client.run_job(w) for w in whole))
            assert {r.output.strip() for r in again} == hosts
        finally:
            await minicluster.down()


async def test_the_state_of_a_group_is_there_again_in_its_next_minicluster(
    namespace: Namespace, shared_volume: Path
) -> None:
    volumes = {"work": {"claim": "shared", "path": "/data", "shared": True}}
    async with fleet(namespace, volumes=volumes, archive="/data/states") as made:
        jobs = []
        for n in range(2):
            minicluster = made.minicluster()
            try:
                await asyncio.wait_for(minicluster.up(), 90)
                assert (await minicluster.client.run_job(job(f"echo life {n}"))).output == f"life {n}\n"
                command = "flux jobs -a --no-header -o '{id.dec} {result}'"
                jobs.append((await minicluster.client.run_command(command)).output.decode().split("\n")[:-1])
            finally:
                await minicluster.down()
    assert [len(j) for j in jobs] == [1, 2]
    assert jobs[0][0] in jobs[1]
    assert [f.name for f in (shared_volume / "states").iterdir()] == ["one.tgz"]


@pytest.mark.skipif(VIEW is None, reason="no FLUXOP_TEST_VIEW: no image with a view of Flux")
async def test_flux_comes_into_the_applications_image_by_a_view(namespace: Namespace) -> None:
    async with fleet(namespace, flux={"view_image": VIEW, "environment": {"FROM_THE_VIEW": "yes"}}) as made:
        minicluster = made.minicluster(image=VIEW)
        try:
            await asyncio.wait_for(minicluster.up(), 90)
            assert minicluster.client.hello.backend == "flux"
            # only the view's environment file has it
            assert (await minicluster.client.run_job(job("echo $FROM_THE_VIEW"))).output == "yes\n"
        finally:
            await minicluster.down()


async def test_nodes_have_what_the_flavour_says_even_if_the_machine_has_less(namespace: Namespace) -> None:
    async with fleet(namespace, flavour={**SMALL, "cores": 64}) as made:
        minicluster = made.minicluster(size=2)
        try:
            await asyncio.wait_for(minicluster.up(), 90)
            hello = minicluster.client.hello
            assert (hello.nodes, hello.cores) == (2, 128)
        finally:
            await minicluster.down()
