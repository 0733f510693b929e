from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamflow_fluxop.agent.client.client import AgentClient, ConnectionLost, JobRequest
from streamflow_fluxop.agent.system.processes import MARK, send_signal, with_environment
from streamflow_fluxop.miniclusters.base import MiniClusterError
from streamflow_fluxop.miniclusters.local import MAX_BROKERS, LocalCluster, LocalMiniCluster
from streamflow_fluxop.model import Flavour

# ruff: noqa: ASYNC240 - tests may look at files
FLAVOUR = Flavour(cores=2, memory=1024, gpus=1)
NEEDS_FLUX = pytest.mark.skipif(not shutil.which("flux"), reason="no `flux` on the PATH")
BACKENDS: list[Any] = ["embedded", pytest.param("flux", marks=NEEDS_FLUX)]


def made_by(cluster: LocalMiniCluster) -> set[int]:
    """Processes of a MiniCluster of that name, whichever."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                environment = Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(value.startswith(MARK + b"=" + cluster.name.encode() + b"-") for value in environment):
                found.add(int(entry))
    return found


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary folders are made; a socket's path is short, so it is not below `tmp_path`."""
    folder = Path(tempfile.mkdtemp(prefix="f", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr("streamflow_fluxop.agent.client.connection.HELLO_TIMEOUT", 30)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=BACKENDS)
async def cluster(request: pytest.FixtureRequest, folders: Path) -> Any:
    cluster = LocalMiniCluster(f"mc-{request.param}-{os.getpid()}", FLAVOUR, 2, backend=request.param)
    yield cluster
    await cluster.down()
    assert not made_by(cluster)
    assert list(folders.iterdir()) == []


async def test_up_run_down(cluster: LocalMiniCluster) -> None:
    await cluster.up()
    assert (cluster.client.hello.nodes, cluster.client.hello.cores, cluster.client.hello.gpus) == (2, 4, 2)
    assert (await cluster.client.run_job(JobRequest(("echo", "hi")))).output == "hi\n"
    await cluster.down()
    with pytest.raises(MiniClusterError, match="is not up"):
        _ = cluster.client


async def test_up_and_down_again_change_nothing(cluster: LocalMiniCluster) -> None:
    await cluster.down()
    await cluster.up()
    client: AgentClient = cluster.client
    await asyncio.gather(cluster.up(), cluster.up())
    assert cluster.client is client
    await asyncio.gather(cluster.down(), cluster.down())
    await cluster.up()
    assert cluster.client is not client


async def test_down_ends_what_runs(cluster: LocalMiniCluster) -> None:
    await cluster.up()
    started = asyncio.Event()

    def on_state(state: str) -> None:
        if state == "started":
            started.set()

    job = asyncio.create_task(cluster.client.run_job(JobRequest(("sleep", "1000")), on_state=on_state))
    await started.wait()
    await cluster.down()
    with pytest.raises(ConnectionLost):
        await job


@pytest.mark.parametrize("turns", [0, 1, 5, 50])
async def test_up_that_is_cancelled_leaves_nothing(cluster: LocalMiniCluster, turns: int) -> None:
    task = asyncio.create_task(cluster.up())
    for _ in range(turns):
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.wait([task])
    if task.cancelled():
        assert not made_by(cluster)


async def test_down_while_it_comes_up(cluster: LocalMiniCluster) -> None:
    task = asyncio.create_task(cluster.up())
    await asyncio.sleep(0.01)
    await cluster.down()
    with pytest.raises(MiniClusterError, match="taken down meanwhile"):
        await task
    assert not made_by(cluster)


async def test_down_never_raises_whatever_was_killed(cluster: LocalMiniCluster) -> None:
    await cluster.up()
    send_signal(made_by(cluster), signal.SIGKILL)
    await cluster.client.wait_closed()
    await cluster.down()


@pytest.mark.parametrize("cluster", BACKENDS[1:], indirect=True)
async def test_with_its_agent_a_flux_instance_ends_and_all_its_jobs(cluster: LocalMiniCluster) -> None:
    await cluster.up()
    started = asyncio.Event()
    request = JobRequest(("/bin/sh", "-c", "sleep 1000 & sleep 1000"))
    job = asyncio.create_task(
        cluster.client.run_job(request, on_state=lambda state: started.set() if state == "started" else None)
    )
    await started.wait()
    os.kill(cluster.client.hello.pid, signal.SIGKILL)
    await asyncio.wait([job])
    for _ in range(600):
        if not made_by(cluster):
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"still there: {made_by(cluster)}")


async def test_jobs_know_nothing_of_how_their_flux_ends(cluster: LocalMiniCluster) -> None:
    await cluster.up()
    assert "FLUX_DISABLE_JOB_CLEANUP" not in (await cluster.client.run_job(JobRequest(("env",)))).output


async def test_ctrl_c_in_the_terminal_is_not_the_agents_business(cluster: LocalMiniCluster) -> None:
    await cluster.up()
    assert all(os.getpgid(pid) != os.getpgrp() for pid in made_by(cluster))
    assert all(os.getsid(pid) != os.getsid(0) for pid in made_by(cluster))


async def test_an_agent_that_does_not_start_is_a_reason(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamflow_fluxop.miniclusters.local.BOOT", "raise SystemExit('no luck today')")
    with pytest.raises(MiniClusterError, match="no luck today"):
        await LocalMiniCluster("bad", FLAVOUR, 1, backend="embedded").up()


async def test_a_python_that_is_not_there_is_a_reason(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/no/python")
    with pytest.raises(MiniClusterError, match="/no/python"):
        await LocalMiniCluster("bad", FLAVOUR, 1, backend="embedded").up()


async def test_flux_that_is_asked_for_and_missing_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MiniClusterError, match="no `flux`"):
        await LocalMiniCluster("bad", FLAVOUR, 1, backend="flux").up()


async def test_the_embedded_scheduler_says_what_it_is_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    caplog.set_level(logging.INFO, "streamflow_fluxop.miniclusters")
    machine = LocalCluster()
    for cluster in (machine.minicluster("laptop", FLAVOUR, 3), machine.minicluster("another", FLAVOUR, 1)):
        await cluster.up()
        await cluster.down()
    [line] = [record.message for record in caplog.records if record.name.startswith("streamflow_fluxop.miniclusters")]
    assert "laptop" in line
    assert "embedded scheduler" in line
    assert "whose cores and GPUs are not those of its nodes" in line


async def test_more_nodes_than_brokers_fit_use_the_embedded_scheduler() -> None:
    cluster = LocalMiniCluster("wide", FLAVOUR, MAX_BROKERS + 1)
    await cluster.up()
    assert cluster.client.hello.backend == "embedded"
    assert cluster.client.hello.nodes == MAX_BROKERS + 1
    await cluster.down()


def test_a_mark_is_found_by_its_whole_value() -> None:
    assert os.getpid() not in with_environment(MARK + b"=none")
