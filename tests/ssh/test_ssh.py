"""MiniClusters behind a real sshd, which the test starts on this machine."""

from __future__ import annotations

import asyncio
import getpass
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ssh_worlds import Sshd, instance, needs_flux, needs_sshd, sshd  # noqa: F401 - fixtures

from streamflow_fluxop.agent.client.client import JobRequest
from streamflow_fluxop.agent.system.processes import with_environment
from streamflow_fluxop.miniclusters.base import MiniClusterError
from streamflow_fluxop.miniclusters.external import AttachedCluster
from streamflow_fluxop.miniclusters.ssh.minicluster import SSHCluster
from streamflow_fluxop.model import Flavour

# ruff: noqa: F811 - tests may look at files; fixtures come from another module
FLAVOUR = Flavour(cores=2, memory=1024, gpus=1)


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


SCHEDULERS: list[Any] = ["embedded", pytest.param("flux", marks=needs_flux)]


@needs_sshd
@pytest.mark.parametrize("scheduler", SCHEDULERS)
async def test_up_run_break_run_down(sshd: Sshd, scheduler: Any, tmp_path: Path) -> None:
    cluster = SSHCluster(sshd.config(), scheduler)
    minicluster = cluster.minicluster("mc", FLAVOUR, 2)
    await minicluster.up()
    client = minicluster.client
    assert (client.hello.backend, client.hello.nodes, client.hello.cores) == (scheduler, 2, 4)
    assert (await client.run_job(JobRequest(("echo", "hi")))).output == "hi\n"
    script = f"echo . >> {tmp_path}/runs; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo done"
    job = asyncio.create_task(client.run_job(JobRequest(("sh", "-c", script))))
    await until((tmp_path / "runs").exists)
    sshd.stop()
    await until(lambda: not client.connected)
    (tmp_path / "go").touch()
    sshd.start()
    assert (await asyncio.wait_for(job, 30)).output == "done\n"
    assert (tmp_path / "runs").read_text() == ".\n"
    await minicluster.down()
    await cluster.close()
    await until(lambda: not sshd.running())


@needs_sshd
@needs_flux
async def test_a_launcher_starts_the_brokers(sshd: Sshd) -> None:
    cluster = SSHCluster(sshd.config(launcher=["env", "NODES={size}"]), "flux")
    minicluster = cluster.minicluster("mc", Flavour(cores=1, memory=1), 1)
    await minicluster.up()
    assert (await minicluster.client.run_job(JobRequest(("sh", "-c", "echo $NODES")))).exit_code == 0
    assert minicluster.client.hello.backend == "flux"
    await minicluster.down()
    await cluster.close()
    await until(lambda: not sshd.running())


@needs_sshd
@needs_flux
async def test_a_launcher_that_fails_is_a_reason(sshd: Sshd) -> None:
    cluster = SSHCluster(sshd.config(launcher=["sh", "-c", "echo no such partition >&2; exit 3"]), "flux")
    with pytest.raises(MiniClusterError, match=r"Flux does not start on 127\.0\.0\.1: no such partition"):
        await cluster.minicluster("mc", FLAVOUR, 1).up()
    await cluster.close()
    await until(lambda: not sshd.running())


@needs_sshd
async def test_an_unknown_host_is_refused_with_a_remedy(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    cluster = SSHCluster(sshd.config(known_hosts=str(tmp_path / "empty")))
    with pytest.raises(MiniClusterError, match=r"is not the host that .*empty knows.*add its key"):
        await cluster.minicluster("mc", FLAVOUR, 1).up()
    await cluster.close()


@needs_sshd
async def test_a_key_that_is_not_welcome_is_said(sshd: Sshd) -> None:
    cluster = SSHCluster(sshd.config(keys=[str(sshd.folder / "stranger")]))
    with pytest.raises(MiniClusterError, match="check user and keys"):
        await cluster.minicluster("mc", FLAVOUR, 1).up()
    await cluster.close()


@needs_sshd
async def test_it_goes_through_a_jump_host(sshd: Sshd) -> None:
    jump = {"host": "127.0.0.1", "port": sshd.port, "user": getpass.getuser()}
    cluster = SSHCluster(sshd.config(jump=jump), "embedded")
    minicluster = cluster.minicluster("mc", FLAVOUR, 1)
    await minicluster.up()
    assert (await minicluster.client.run_command("echo $((1 + 1))")).output == b"2\n"
    await minicluster.down()
    await cluster.close()


@pytest.mark.parametrize("how", ["local", pytest.param("ssh", marks=needs_sshd)])
@needs_flux
async def test_runs_share_an_instance_and_end_only_their_own_jobs(
    how: str, instance: tuple[str, subprocess.Popen[str]], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    uri, process = instance
    small = Flavour(cores=1, memory=1024)

    def attach() -> AttachedCluster | SSHCluster:
        if how == "local":
            return AttachedCluster(uri)
        return SSHCluster(request.getfixturevalue("sshd").config(), "flux", uri)

    clusters = [attach(), attach()]
    first, second = (cluster.minicluster("mc", small, 1) for cluster in clusters)
    await asyncio.gather(first.up(), second.up())
    assert first.external
    mine = asyncio.create_task(first.client.run_job(JobRequest(("sleep", "1000"), environment={"FLUXOP_TEST": "mine"})))
    waits = f"touch {tmp_path}/started; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo theirs"
    theirs = asyncio.create_task(second.client.run_job(JobRequest(("sh", "-c", waits))))
    await until((tmp_path / "started").exists)
    await first.down()
    await asyncio.wait([mine])
    await until(lambda: not with_environment(b"FLUXOP_TEST=mine"))
    (tmp_path / "go").touch()
    assert (await theirs).output == "theirs\n"
    await second.down()
    for cluster in clusters:
        await cluster.close()
    assert process.poll() is None


@needs_flux
async def test_an_instance_has_the_size_that_it_has(
    instance: tuple[str, subprocess.Popen[str]], caplog: pytest.LogCaptureFixture
) -> None:
    minicluster = AttachedCluster(instance[0]).minicluster("mc", FLAVOUR, 5)
    await minicluster.up()
    assert minicluster.size == minicluster.client.hello.nodes == 1
    assert "planned were 5, 10 and 5" in caplog.text
    assert "unsatisfiable" in str((await minicluster.client.run_job(JobRequest(("true",), nodes=2, tasks=2))).reason)
    await minicluster.down()


@needs_flux
async def test_an_instance_that_is_not_there_is_a_reason() -> None:
    with pytest.raises(MiniClusterError, match=r"local:///nowhere: .*no Flux instance"):
        await AttachedCluster("local:///nowhere").minicluster("mc", FLAVOUR, 1).up()
