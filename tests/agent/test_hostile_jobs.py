"""Jobs that mean harm, as a user who owns nothing but a folder: the next job is fine, the run ends, nothing is left."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from adversaries import Nobody

from streamflow_fluxop.agent.client import connection
from streamflow_fluxop.agent.client.client import AgentClient, ConnectionLost, JobRequest, JobResult
from streamflow_fluxop.agent.client.transport import ByteStream, ProcessStream
from streamflow_fluxop.agent.system.processes import MARK
from streamflow_fluxop.miniclusters.local import LocalMiniCluster
from streamflow_fluxop.model import Flavour

FLAVOUR = Flavour(cores=4, memory=1000)
pytestmark = pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv(1) to be somebody else with")
# ruff: noqa: ASYNC240 - tests may look at files


@pytest.fixture
def nobody() -> Iterator[Nobody]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        somebody = Nobody(Path(folder))
        yield somebody
        deadline = time.monotonic() + 15
        while (left := somebody.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)  # no event tells the end of what is not our child
        assert left == []


async def stream_of(nobody: Nobody, processes: int = 0) -> ProcessStream:
    argv = nobody.agent(processes)
    return await ProcessStream.start(argv, name="mc", env=nobody.environment, cwd=str(nobody.folder))


@asynccontextmanager
async def minicluster(nobody: Nobody, processes: int = 0, **options: Any) -> AsyncIterator[AgentClient]:
    stream = await stream_of(nobody, processes)
    async with AgentClient(stream, name="mc", nodes=[(4, 0)], **options) as client:
        yield client


def script(text: str, *arguments: str, **fields: Any) -> JobRequest:
    return JobRequest(("/bin/sh", "-c", text, "sh", *arguments), **fields)


async def next_job(client: AgentClient) -> JobResult:
    return await asyncio.wait_for(client.run_job(JobRequest(("echo", "fine"))), 20)


FORGED = r"""
for target in /proc/$PPID/fd/* /proc/$PPID/mem; do
  for line in 'a line' '{"op":"seen"}' '{"op":"seen","count":1000000}' '{"op":"nonsense"}'; do
    echo "$line" >"$target"
  done
done 2>/dev/null
echo tried
"""


async def test_what_a_job_writes_to_its_parents_descriptors_reaches_nobody(nobody: Nobody) -> None:
    async with minicluster(nobody) as client:
        other = asyncio.create_task(client.run_job(script("sleep 0.5; echo mine")))
        result = await asyncio.wait_for(client.run_job(script(FORGED)), 20)
        assert (result.exit_code, result.output) == (0, "tried\n")
        assert (await other).output == "mine\n"
        assert (await next_job(client)).output == "fine\n"


STEAL = r"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
parent = os.getppid()
pidfd = libc.syscall(434, parent, 0)
stolen = [fd for fd in range(64) if libc.syscall(438, pidfd, fd, 0) >= 0]
traced = libc.ptrace(16, parent, 0, 0)
print(pidfd >= 0, stolen, traced)
"""


async def test_a_job_can_neither_take_its_parents_descriptors_nor_trace_it(nobody: Nobody) -> None:
    if nobody.uid == 0:
        pytest.skip("root may do all that")
    async with minicluster(nobody) as client:
        result = await client.run_job(JobRequest((nobody.python, "-c", STEAL)))
        assert result.output == "True [] -1\n"


async def test_a_job_inherits_no_descriptor_and_no_secret(nobody: Nobody) -> None:
    connect, sessions = reconnecting(nobody)
    async with AgentClient(connect, name="mc", nodes=[(4, 0)]) as client:
        result = await client.run_job(script("ls -l /proc/$$/fd; env; cat /proc/$PPID/environ; find $TMPDIR"))
        [session] = sessions(client)
        assert session not in result.output
        inherited = [line.rpartition("-> ")[2] for line in result.output.splitlines() if "->" in line]
        assert sorted({target.partition(":")[0] for target in inherited}) == ["/dev/null", "pipe"], result.output


KNOCK = r"""
import array, glob, os, socket, sys
[path] = glob.glob(os.environ["TMPDIR"] + "/fluxop-*/*/socket")
for knocks in range(40):
    ours, theirs = os.pipe(), os.pipe()
    agent = socket.socket(socket.AF_UNIX)
    agent.connect(path)
    agent.settimeout(5)
    os.write(theirs[1], b'{"op":"start","protocol":2}\n{"op":"submit","job":"x","argv":["touch","done"]}\n')
    pieces = [os.urandom(64), b"0"] if knocks % 2 else [b"0"]
    try:
        agent.recv(32)
        for piece in pieces:
            descriptors = array.array("i", [theirs[0], ours[1], 2])
            agent.sendmsg([piece], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        if knocks % 2:
            assert agent.recv(32) == b"", "let in"
    except OSError:
        pass
    if knocks > 35:
        os.set_blocking(ours[0], False)
        try:
            assert os.read(ours[0], 100) == b"", "answered"
        except BlockingIOError:
            pass
print("not let in")
"""


def reconnecting(nobody: Nobody) -> tuple[Any, Any]:
    async def connect() -> ByteStream:
        return await stream_of(nobody)

    def sessions(client: AgentClient) -> list[str]:
        program = client._connection._program
        return [program.partition(b'"session": "')[2].partition(b'"')[0].decode()]

    return connect, sessions


async def test_who_does_not_know_the_session_cannot_start_anything(nobody: Nobody) -> None:
    streams: list[ProcessStream] = []

    async def connect() -> ByteStream:
        streams.append(await stream_of(nobody))
        return streams[-1]

    async with AgentClient(connect, name="mc", nodes=[(4, 0)], linger=20.0) as client:
        pid = client.hello.pid
        result = await asyncio.wait_for(client.run_job(JobRequest((nobody.python, "-c", KNOCK))), 60)
        assert result.output == "not let in\n"
        assert not (nobody.folder / "done").exists()
        streams[0]._stdin.transport.abort()  # the stream breaks
        assert (await next_job(client)).output == "fine\n"  # our own newcomer is let in
        assert client.hello.pid == pid


IMPOSTOR = r"""
import glob, os, socket
[path] = glob.glob(os.environ["TMPDIR"] + "/fluxop-*/*/socket")
os.unlink(path)
place = socket.socket(socket.AF_UNIX)
place.bind(path)
place.listen()
open("ready", "w").close()
while True:
    newcomer, _ = place.accept()
    got = b"", []
    try:
        newcomer.send(os.urandom(32))
        newcomer.recv(64)
        newcomer.send(os.urandom(32))
        got = newcomer.recvmsg(1, 100)
    except OSError:  # the newcomer has left
        pass
    open("got", "a").write(repr(got[:2]) + "\n")
"""


async def test_who_takes_the_agents_place_gets_no_stream(nobody: Nobody, monkeypatch: pytest.MonkeyPatch) -> None:
    streams: list[ProcessStream] = []

    async def connect() -> ByteStream:
        streams.append(await stream_of(nobody))
        return streams[-1]

    async with AgentClient(connect, name="mc", nodes=[(4, 0)], linger=5.0) as client:
        pid = client.hello.pid
        job = asyncio.create_task(client.run_job(JobRequest((nobody.python, "-c", IMPOSTOR))))
        while not (nobody.folder / "ready").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.02)
        streams[0]._stdin.transport.abort()  # the stream breaks
        with pytest.raises(ConnectionLost, match="agent has died"):
            await asyncio.wait_for(job, 60)
        assert (await next_job(client)).output == "fine\n"
        assert client.hello.pid != pid
        got = nobody.folder / "got"  # absent where the newcomer has killed it before it could write
        assert not got.exists() or set(got.read_text().split("\n")) <= {"(b'', [])", ""}


@pytest.mark.parametrize("number", ["STOP", "KILL"])
async def test_a_job_that_stops_or_kills_its_agent_ends_its_minicluster_only(nobody: Nobody, number: str) -> None:
    environment = {**nobody.environment, MARK.decode(): "hostile"}
    local = LocalMiniCluster("mc", FLAVOUR, 1)  # which ends what such an agent leaves behind
    stream = await ProcessStream.start(nobody.agent(), name="mc", env=environment, cwd=str(nobody.folder))
    client = AgentClient(stream, name="mc", nodes=[(4, 0)], heartbeat=0.2)
    await client.start()
    why = "no sign of life" if number == "STOP" else "the stream ended"
    with pytest.raises(ConnectionLost, match=why):
        await asyncio.wait_for(client.run_job(script(f"kill -{number} $PPID; sleep 600")), 20)
    await client.close()
    await local._kill_the_rest(MARK + b"=hostile")


async def test_an_agent_that_dies_right_after_each_hello_is_given_up(
    nobody: Nobody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "DELAY_MAX", 0.05)
    hellos = 0

    class Dies(ProcessStream):
        async def read(self) -> bytes:
            nonlocal hellos
            data = await super().read()
            if b'"hello"' in data:
                hellos += 1
                os.kill(int(data.partition(b'"pid":')[2].partition(b",")[0]), signal.SIGKILL)
            return data

    async def connect() -> ByteStream:
        return await Dies.start(nobody.agent(), name="mc", env=nobody.environment, cwd=str(nobody.folder))

    async with AgentClient(connect, name="mc", nodes=[(1, 0)], reconnect_timeout=1000.0) as client:
        assert "times in a row" in await asyncio.wait_for(client.wait_closed(), 60)
        with pytest.raises(ConnectionLost, match="times in a row"):
            await client.ping()
    assert hellos <= connection.SHORT_LIVES + 1


async def test_a_gigabyte_on_one_line_is_read_and_forgotten(nobody: Nobody) -> None:
    async with minicluster(nobody) as client:
        result = await asyncio.wait_for(client.run_job(script("head -c 1G /dev/zero | tr '\\0' x")), 120)
        assert result.exit_code == 0
        assert len(result.output) < 70_000
        assert "bytes of output before this were dropped" in result.output
        status = Path(f"/proc/{client.hello.pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0])
        assert peak < 100_000, f"{peak} KiB"
        assert (await next_job(client)).output == "fine\n"


async def test_a_hundred_thousand_outputs_are_listed(nobody: Nobody) -> None:
    many = "import os\nfor n in range(100_000): os.close(os.open(f'many/{n}', os.O_CREAT))"
    async with minicluster(nobody) as client:
        (nobody.folder / "many").mkdir()
        os.chown(nobody.folder / "many", nobody.uid, nobody.uid)
        assert (await client.run_job(JobRequest((nobody.python, "-c", many)))).exit_code == 0
        listed = await client.run_command(f"find {nobody.folder}/many -mindepth 1 -maxdepth 1 -type f")
        assert listed.output.count(b"\n") == 100_000
        assert (await next_job(client)).output == "fine\n"


@pytest.mark.parametrize("bomb", ["bomb() { bomb | bomb & }; bomb; wait", 'b() { setsid sh -c "$0" "$0" & }; b; b'])
async def test_a_fork_bomb_under_a_limit_of_processes_is_ended(nobody: Nobody, bomb: str) -> None:
    if nobody.uid == 0 or os.getuid() == nobody.uid:
        pytest.skip("a limit of processes is one a user, and root has none")
    async with minicluster(nobody, processes=60) as client:
        request = JobRequest(("/bin/sh", "-c", bomb, bomb), time_limit=1.0)
        result = await asyncio.wait_for(client.run_job(request), 60)
        assert result.exit_code in (142, 2, 0), result
        assert (await next_job(client)).output == "fine\n"
