"""The dead-man's switch: nothing goes on for long when nobody is there any more."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from streamflow_fluxop.agent.client.bootstrap import BOOT
from streamflow_fluxop.agent.client.client import AgentClient, AgentGone, JobRequest
from streamflow_fluxop.agent.client.transport import ByteStream, ProcessStream
from streamflow_fluxop.agent.system.processes import with_environment


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


class Controller:
    """One that can vanish: then nobody tells the agent anything."""

    def __init__(self, on_orphan: list[str] | None, env: dict[str, str] | None = None) -> None:
        self._stream: ProcessStream | None = None
        self._env = {**os.environ, **(env or {})}
        self.client = AgentClient(
            self._connect, name="mc", backend="flux" if env else "embedded", linger=None, heartbeat=0.1,
            orphan_timeout=1.0, on_orphan=on_orphan,
        )  # fmt: skip

    async def _connect(self) -> ByteStream:
        if self._stream is not None:
            raise AgentGone("the controller is dead")
        python = ["flux", "python"] if "FLUX_URI" in self._env else [sys.executable]
        self._stream = await ProcessStream.start([*python, "-u", "-c", BOOT], name="mc", env=self._env)
        return self._stream

    async def vanish(self) -> None:
        self.client.give_up("the controller is dead")
        await self.client.close()


@pytest.mark.parametrize("agent", ["waits", "is stuck", "was killed"])
async def test_a_controller_that_vanishes_is_noticed(
    folder: Path, agent: Literal["waits", "is stuck", "was killed"]
) -> None:
    controller = Controller(["touch", str(folder / "orphaned")])
    mark = f"FLUXOP_TEST={folder}"
    async with controller.client as client:
        job = asyncio.create_task(
            client.run_job(JobRequest(("sleep", "1000"), environment={"FLUXOP_TEST": str(folder)}))
        )
        await until(lambda: bool(with_environment(mark.encode())))
        if agent != "waits":
            os.kill(client.hello.pid, signal.SIGSTOP if agent == "is stuck" else signal.SIGKILL)
        await controller.vanish()
        await asyncio.wait([job])
    await until((folder / "orphaned").exists)
    assert not with_environment(mark.encode())
    await until(lambda: not any(path.name.startswith("fluxop") for path in folder.iterdir()))


async def test_it_does_nothing_while_the_controller_lives_nor_when_it_leaves_in_order(folder: Path) -> None:
    controller = Controller(["touch", str(folder / "orphaned")])
    async with controller.client as client:
        assert (await client.run_job(JobRequest(("sleep", "1.5")))).exit_code == 0
    await until(lambda: list(folder.iterdir()) == [])


async def test_an_orphaned_flux_instance_is_shut_down(folder: Path, flux: str) -> None:
    instance = subprocess.Popen(  # noqa: ASYNC220
        [flux, "start", "sh", "-c", 'echo "$FLUX_URI"; exec sleep 1000'], stdout=subprocess.PIPE, text=True
    )
    assert instance.stdout is not None
    controller = Controller(None, {"FLUX_URI": instance.stdout.readline().strip()})
    async with controller.client as client:
        await client.ping()
        await controller.vanish()
    await until(lambda: instance.poll() is not None, 30)
    instance.stdout.close()


@pytest.fixture
def flux() -> str:
    path = shutil.which("flux")
    if path is None:
        pytest.skip("no `flux` on the PATH")
    return path
