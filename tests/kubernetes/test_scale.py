"""Many MiniClusters at once; takes a minute or more, so FLUXOP_TEST_SCALE=1 asks for it."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from typing import Any

import pytest
from conftest import REAL_OPERATOR
from namespaces import Namespace
from test_faults import fleet, job, proxied

MINICLUSTERS, JOBS, MEMORY = 20, 1000, 300  # MiB
TINY: dict[str, Any] = {"cores": 4, "memory": 64, "resources": {"cpu": "20m"}}
if REAL_OPERATOR:  # brokers need more than the agent alone
    TINY = {"cores": 4, "memory": 256, "resources": {"cpu": "180m"}}


@pytest.mark.skipif("FLUXOP_TEST_SCALE" not in os.environ, reason="takes minutes: FLUXOP_TEST_SCALE=1 asks for it")
async def test_twenty_miniclusters_share_one_watch_and_little_memory(namespace: Namespace) -> None:
    async with proxied(namespace) as (proxy, kubeconfig), fleet(namespace, kubeconfig, TINY) as made:
        all_of_them = [made.minicluster(f"mc-{n}") for n in range(MINICLUSTERS)]
        begin = time.monotonic()
        try:
            await asyncio.gather(*(m.up() for m in all_of_them))
            up = time.monotonic()
            each = JOBS // MINICLUSTERS
            runs = [m.client.run_job(job(f"echo {n}")) for m in all_of_them for n in range(each)]
            results = await asyncio.gather(*runs)
            done = time.monotonic()
        finally:
            await asyncio.gather(*(m.down() for m in all_of_them))
        down = time.monotonic()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"up {up - begin:.1f} s, jobs {done - up:.1f} s, down {down - done:.1f} s, {memory:.0f} MiB at most")
    assert [r.output for r in results] == [f"{n}\n" for _ in all_of_them for n in range(each)]
    assert sum("/pods?" in line and "watch=True" in line for line in proxy.requests) == 1
    assert memory < MEMORY
