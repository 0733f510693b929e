"""Streams break; what was asked for happens once, and every answer arrives."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamflow_fluxop.agent.client import connection
from streamflow_fluxop.agent.client.bootstrap import BOOT
from streamflow_fluxop.agent.client.client import AgentClient, AgentError, AgentGone, ConnectionLost, JobRequest
from streamflow_fluxop.agent.client.transport import ByteStream, ProcessStream
from streamflow_fluxop.agent.system.processes import with_environment

# ruff: noqa: ASYNC240 - tests may look at files, and wait for processes
BeforeCut = tuple[int, int]
"""Bytes that a stream carries to the agent, and from it, before it breaks."""


class CutStream:
    """A stream that breaks, in the middle of a message or not."""

    def __init__(self, inner: ByteStream, to_agent: float, from_agent: float) -> None:
        self._inner = inner
        self._out, self._in = to_agent, from_agent
        self._broken = asyncio.Event()

    def cut(self) -> None:
        self._broken.set()

    def write(self, data: bytes) -> None:
        if self._broken.is_set():
            return
        if len(data) >= self._out:
            data = data[: int(self._out)]
            self.cut()
        self._out -= len(data)
        self._inner.write(data)

    async def read(self) -> bytes:
        reading = asyncio.ensure_future(self._inner.read())
        broken = asyncio.ensure_future(self._broken.wait())
        try:
            await asyncio.wait({reading, broken}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return b""
        finally:
            broken.cancel()
            if not reading.done():
                reading.cancel()
        data = reading.result()
        if len(data) >= self._in:
            data = data[: int(self._in)]
            self.cut()
        self._in -= len(data)
        return data

    async def drain(self) -> None:
        await self._inner.drain()

    async def close(self) -> None:
        await self._inner.close()

    @property
    def last_words(self) -> str:
        return self._inner.last_words


class Host:
    """Where the agent runs: it makes streams to new processes there, which break as they are told to."""

    def __init__(self, command: list[str], env: Mapping[str, str]) -> None:
        self._command = command
        self._env = dict(env)
        self.cuts: deque[BeforeCut] = deque()
        self.streams: list[CutStream] = []
        self.reachable: asyncio.Event = asyncio.Event()
        self.reachable.set()

    async def connect(self) -> ByteStream:
        await self.reachable.wait()
        inner = await ProcessStream.start(self._command, name="host", env=self._env)
        cut = self.cuts.popleft() if self.cuts else (float("inf"), float("inf"))
        self.streams.append(CutStream(inner, *cut))
        return self.streams[-1]

    def cut(self) -> None:
        self.streams[-1].cut()

    def move(self, folder: str) -> None:
        """Let the next process look for the agent elsewhere, as if it ran on another host."""
        self._env["TMPDIR"] = folder


@pytest.fixture(scope="module")
def flux_uri() -> Iterator[str]:
    """A Flux instance that is there whatever happens to agents."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        instance = subprocess.Popen(
            ["flux", "start", f"--setattr=rundir={folder}", "sh", "-c", 'echo "$FLUX_URI"; exec cat'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert instance.stdout is not None
        assert instance.stdin is not None
        yield instance.stdout.readline().strip()
        instance.stdin.close()
        instance.stdout.close()
        instance.wait(20)


def _left(folder: str | Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith("fluxop")]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where agents are found; empty afterwards."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)
        deadline = time.monotonic() + 10
        while _left(folder) and time.monotonic() < deadline:
            time.sleep(0.02)  # no event tells the end of an agent whose stream is not there any more
        assert _left(folder) == []


@pytest.fixture
def host(backend: Literal["embedded", "flux"], folder: Path, request: pytest.FixtureRequest) -> Host:
    if backend == "embedded":
        return Host([sys.executable, "-u", "-c", BOOT], os.environ)
    uri = request.getfixturevalue("flux_uri")
    return Host(["flux", "python", "-u", "-c", BOOT], {**os.environ, "FLUX_URI": uri})


@pytest_asyncio.fixture
async def client(host: Host, backend: Literal["embedded", "flux"]) -> AsyncIterator[AgentClient]:
    async with AgentClient(host.connect, name="mc", backend=backend, linger=20.0, **FEW_CORES) as client:
        yield client


FEW_CORES: dict[str, Any] = {"nodes": [(2, 0)]}


def counted(folder: Path, number: int, then: str = "") -> JobRequest:
    """A job that leaves a mark each time it runs."""
    script = f"echo . >> {folder}/{number}; {then or 'true'}; echo out {number}; exit {number}"
    return JobRequest(("/bin/sh", "-c", script))


def runs(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size // 2 for path in folder.iterdir()}


# program 100 kB, messages after it
EXAMPLES = 6 if settings.default.max_examples <= 100 else 100
PROGRAM = len(connection.program(session="0" * 32, orphan_timeout=0.0, on_orphan=None))
TO_AGENT = st.one_of(st.integers(1, PROGRAM), st.integers(PROGRAM, PROGRAM + 3000))
CUTS = st.lists(st.tuples(TO_AGENT, st.one_of(st.integers(1, 400), st.integers(1, 5000))), max_size=6)


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CUTS)
async def test_wherever_streams_break_each_job_runs_once_and_every_answer_arrives(
    host: Host, backend: Literal["embedded", "flux"], cuts: list[BeforeCut]
) -> None:
    host.cuts.extend(cuts)
    with tempfile.TemporaryDirectory() as name, mock.patch.object(connection, "FIRST_ATTEMPTS", 10):
        folder = Path(name)
        async with AgentClient(host.connect, name="mc", backend=backend, linger=20.0, **FEW_CORES) as client:
            results = await asyncio.wait_for(
                asyncio.gather(*(client.run_job(counted(folder, n)) for n in range(6))), 60
            )
            assert [(r.exit_code, r.output) for r in results] == [(n, f"out {n}\n") for n in range(6)]
            assert runs(folder) == {str(n): 1 for n in range(6)}
            commands = await asyncio.wait_for(
                asyncio.gather(*(client.run_command(f"echo $(({n} + 1)) | tee -a {folder}/x{n}") for n in range(6))), 60
            )
            assert [c.output for c in commands] == [b"%d\n" % (n + 1) for n in range(6)]
            assert all(path.read_bytes().count(b"\n") == 1 for path in folder.iterdir())
    host.cuts.clear()


async def test_byte_streams_go_on_where_they_were(host: Host, client: AgentClient, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    host.cut()
    async with client.open_writer(f"cat > {tmp_path}/copy") as writer:
        for start in range(0, len(data), 100_000):
            await writer.write(data[start : start + 100_000])
            if start % 1_000_000 == 0:
                host.cut()
    assert (tmp_path / "copy").read_bytes() == data
    host.cut()
    async with client.open_reader(f"cat {tmp_path}/copy") as reader:
        back = await reader.read(1)
        host.cut()
        while piece := await reader.read(100_000):
            back += piece
            if len(host.streams) < 8:
                host.cut()
    assert back == data
    assert len(host.streams) > 5


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """For what no event tells: files and the process table."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


async def test_the_same_agent_is_found_again(host: Host, client: AgentClient) -> None:
    pid = client.hello.pid
    host.cut()
    await client.ping()
    assert client.hello.pid == pid


async def test_a_stream_that_breaks_before_it_is_used_does_not_make_the_agent_leave(
    host: Host, backend: Literal["embedded", "flux"], tmp_path: Path
) -> None:
    async with AgentClient(host.connect, name="mc", backend=backend, linger=2.0, **FEW_CORES) as client:
        job = asyncio.create_task(client.run_job(counted(tmp_path, 0, "sleep 4")))
        await until(lambda: runs(tmp_path) == {"0": 1})
        host.cuts.append((PROGRAM + 10, float("inf")))  # type: ignore[arg-type]
        host.cut()
        assert (await asyncio.wait_for(job, 20)).output == "out 0\n"
        assert len(host.streams) == 3


async def test_whoever_kills_the_process_of_the_stream_does_not_kill_the_agent(
    host: Host, client: AgentClient, tmp_path: Path
) -> None:
    job = asyncio.create_task(client.run_job(counted(tmp_path, 0, "sleep 0.5")))
    await until(lambda: runs(tmp_path) == {"0": 1})
    os.killpg(host.streams[0]._inner.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    assert (await job).output == "out 0\n"
    assert runs(tmp_path) == {"0": 1}


async def test_a_new_agent_finds_the_jobs_of_one_that_died(
    host: Host, client: AgentClient, backend: str, tmp_path: Path
) -> None:
    waits = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    marks = tmp_path / "marks"
    marks.mkdir()
    jobs = [asyncio.create_task(client.run_job(counted(marks, n, waits if n else ""))) for n in range(3)]
    command = asyncio.create_task(client.run_command("sleep 1000"))
    await until(lambda: len(runs(marks)) >= 2)
    pid = client.hello.pid
    host.reachable.clear()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not client.connected)
    late = asyncio.create_task(client.run_job(counted(marks, 9)))
    (tmp_path / "go").touch()
    host.reachable.set()
    results = await asyncio.wait_for(asyncio.gather(*jobs, command, return_exceptions=True), 30)
    assert client.hello.pid != pid
    assert isinstance(results[3], ConnectionLost)
    if backend == "flux":
        assert [r.exit_code for r in results[:3]] == [0, 1, 2]  # type: ignore[union-attr]
        assert all(runs(marks)[str(n)] == 1 for n in range(3))
    else:
        assert all(isinstance(r, ConnectionLost) for r in results[1:])
        assert "agent has died" in str(results[1])
    assert (await late).exit_code == 9
    assert runs(marks)["9"] == 1


async def test_a_new_agent_on_another_host_takes_the_jobs_and_the_old_one_leaves_them(
    host: Host, backend: str, tmp_path: Path
) -> None:
    if backend != "flux":
        pytest.skip("only Flux tells another agent of its jobs")
    waits = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    marks = tmp_path / "marks"
    marks.mkdir()
    async with AgentClient(host.connect, name="mc", backend="flux", linger=8.0) as client:
        job = asyncio.create_task(client.run_job(counted(marks, 3, waits)))
        await until(lambda: runs(marks) == {"3": 1})
        old = client.hello.pid
        with tempfile.TemporaryDirectory(dir="/tmp", prefix="o") as other:  # where the old agent is not found
            host.move(other)
            host.cut()
            await until(lambda: client.hello.pid != old)
            await until(lambda: not Path(f"/proc/{old}").exists())
            (tmp_path / "go").touch()
            result = await asyncio.wait_for(job, 20)
            assert (result.exit_code, result.reason, result.output) == (3, None, "out 3\n")
            assert runs(marks) == {"3": 1}
            await client.close()


async def test_a_job_that_is_cancelled_while_nobody_is_reached_ends(
    host: Host, client: AgentClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamflow_fluxop.agent.client.client.CANCEL_TIMEOUT", 0.1)
    environment = {"FLUXOP_TEST": f"cancelled-{tmp_path}"}
    job = asyncio.create_task(client.run_job(JobRequest(("sleep", "1000"), environment=environment)))
    entry = f"FLUXOP_TEST=cancelled-{tmp_path}".encode()
    await until(lambda: bool(with_environment(entry)))
    host.reachable.clear()
    host.cut()
    job.cancel()
    await asyncio.wait([job])
    assert with_environment(entry)
    host.reachable.set()
    await until(lambda: not with_environment(entry))


async def test_a_silent_stream_counts_as_broken(
    host: Host, backend: Literal["embedded", "flux"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HELLO_PATIENCE", 2.0)
    states: list[str] = []
    client = AgentClient(
        host.connect, name="mc", backend=backend, linger=20.0, heartbeat=0.2,
        on_connection=lambda state, why: states.append(f"{state}: {why}"), **FEW_CORES,
    )  # fmt: skip
    async with client:
        pid = client.hello.pid
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: bool(states))
        assert states[0].startswith("reconnecting: no sign of life")
        os.kill(pid, signal.SIGCONT)
        await asyncio.wait_for(client.ping(), 20)
        assert states[1] == "connected: it is the same agent"
        assert client.hello.pid == pid


async def test_gone_for_good_ends_it_at_once(host: Host, backend: Literal["embedded", "flux"]) -> None:
    gone = False

    async def connect() -> ByteStream:
        if gone:
            raise AgentGone("pod mc-0 was deleted")
        return await host.connect()

    states: list[str] = []
    client = AgentClient(
        connect, name="mc", backend=backend, on_connection=lambda state, why: states.append(state), **FEW_CORES
    )
    async with client:
        job = asyncio.create_task(client.run_job(JobRequest(("sleep", "1000"))))
        await client.ping()
        gone = True
        host.cut()
        with pytest.raises(ConnectionLost, match="pod mc-0 was deleted"):
            await asyncio.wait_for(job, 5)
        assert await client.wait_closed() == "pod mc-0 was deleted"
        assert states == ["reconnecting", "lost"]
        with pytest.raises(ConnectionLost, match="pod mc-0 was deleted"):
            await client.ping()


async def test_whoever_knows_that_it_is_gone_says_so(host: Host, backend: Literal["embedded", "flux"]) -> None:
    async with AgentClient(host.connect, name="mc", backend=backend, **FEW_CORES) as client:
        job = asyncio.create_task(client.run_job(JobRequest(("sleep", "1000"))))
        await client.ping()
        client.give_up("the node failed")
        with pytest.raises(ConnectionLost, match="the node failed"):
            await asyncio.wait_for(job, 5)


async def test_it_gives_up_after_a_while(host: Host, backend: Literal["embedded", "flux"]) -> None:
    down = False

    async def connect() -> ByteStream:
        if down:
            raise OSError("connection refused")
        return await host.connect()

    async with AgentClient(connect, name="mc", backend=backend, reconnect_timeout=0.5, **FEW_CORES) as client:
        down = True
        host.cut()
        with pytest.raises(ConnectionLost, match=r"connection refused; there was no new connection within 0.5 s"):
            await asyncio.wait_for(client.ping(), 5)


async def test_an_agent_that_cannot_start_is_not_tried_for_long(folder: Path) -> None:
    host = Host([sys.executable, "-c", "import sys; sys.exit('no luck today')"], os.environ)
    with pytest.raises(ConnectionLost, match="no luck today"):
        async with AgentClient(host.connect, name="mc"):
            raise AssertionError
    assert len(host.streams) == connection.FIRST_ATTEMPTS


async def test_a_refusal_is_final(folder: Path) -> None:
    host = Host([sys.executable, "-u", "-c", BOOT], {**os.environ, "FLUX_URI": "local:///nowhere"})
    with pytest.raises(AgentError, match="no Flux instance"):
        async with AgentClient(host.connect, name="mc", backend="flux", linger=100.0):
            raise AssertionError
    assert len(host.streams) == 1
    await until(lambda: _left(folder) == [])
