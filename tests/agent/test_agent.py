"""The agent itself, without the client: what only the protocol shows."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from streamflow_fluxop.agent.client.bootstrap import BOOT, program
from streamflow_fluxop.agent.client.client import AgentClient, AgentError, ConnectionLost, JobRequest
from streamflow_fluxop.agent.client.transport import ProcessStream
from streamflow_fluxop.agent.wire.protocol import Decoder, encode

PYTHONS = sorted(Path.home().glob(".pyenv/versions/3.*/bin/python"))  # whatever is there
# ruff: noqa: ASYNC240 - tests may look at files
OTHERS = [str(path) for path in PYTHONS if path.parts[-3].split(".")[1] not in ("6", "7")]


class RawAgent:
    """An agent at the other end of two pipes."""

    def __init__(self, python: str = sys.executable, **options: Any) -> None:
        self.process = subprocess.Popen(
            [python, "-u", "-c", BOOT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self._decoder = Decoder()
        self._frames: deque[tuple[Mapping[str, Any], bytes]] = deque()
        self.write(program())
        self.send(op="start", backend="embedded", nodes=[[2, 0]], **options)
        self.until("hello")

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, **message: Any) -> None:
        self.write(encode(message))

    def receive(self) -> tuple[Mapping[str, Any], bytes]:
        assert self.process.stdout is not None
        while not self._frames:
            assert select.select([self.process.stdout], [], [], 20)[0], "the agent is silent"
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, "the agent ended"
            self._frames.extend(self._decoder.feed(data))
        return self._frames.popleft()

    def until(self, op: str, **fields: Any) -> tuple[Mapping[str, Any], bytes]:
        while True:
            message, payload = self.receive()
            if message["op"] == op and fields.items() <= message.items():
                return message, payload

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(15)


@pytest.mark.parametrize("python", OTHERS, ids=lambda path: Path(path).parts[-3])
def test_it_runs_under_the_pythons_that_images_have(python: str) -> None:
    agent = RawAgent(python)
    agent.send(op="submit", job="1", argv=["echo", "hi"])
    _, output = agent.until("job", event="finished", exit_code=0)
    assert output == b"hi\n"
    agent.send(op="run", id=1, command="test -e /tmp && readlink -f /tmp")
    assert agent.until("result", id=1, exit_code=0)[1] == b"/tmp\n"
    agent.send(op="run", id=2, command="test -f /etc/passwd && sha1sum /etc/passwd | awk '{print $1}'")
    assert agent.until("result", id=2, exit_code=0)[1]
    agent.send(op="run", id=3, command="echo $((1+1))")
    assert agent.until("result", id=3, exit_code=0)[1] == b"2\n"
    agent.end()


def test_a_result_is_kept_until_it_is_acknowledged() -> None:
    agent = RawAgent()
    agent.send(op="submit", job="a", argv=["sh", "-c", "echo once; exit 3"])
    agent.until("job", job="a", event="finished")
    agent.send(op="attach", jobs=["a", "b"])
    message, output = agent.receive()
    assert (message["job"], message["event"], message["exit_code"], output) == ("a", "finished", 3, b"once\n")
    assert agent.receive()[0] == {"op": "job", "job": "b", "event": "unknown"}
    agent.send(op="submit", job="a", argv=["sh", "-c", "echo twice"])  # the client was not sure
    assert agent.receive() == (message, output)
    agent.send(op="ack", job="a")
    agent.send(op="attach", jobs=["a"])
    assert agent.receive()[0]["event"] == "unknown"
    agent.end()


def test_it_lingers_when_it_was_asked_to(tmp_path: Path) -> None:
    agent = RawAgent(linger=1.0)
    agent.send(op="submit", job="a", argv=["sh", "-c", f"sleep 0.3; touch {tmp_path}/done"])
    agent.send(op="submit", job="b", argv=["sh", "-c", f"sleep 60; touch {tmp_path}/late"])
    agent.until("job", job="b", event="started")
    agent.end()
    assert [path.name for path in tmp_path.iterdir()] == ["done"]


def test_a_job_that_cannot_be_is_answered_and_harms_nobody() -> None:
    agent = RawAgent()
    agent.send(op="submit", job="x", argv=[])
    assert "a job needs a command" in agent.until("error", job="x")[0]["text"]
    agent.send(op="ping", id=8)
    agent.until("pong", id=8)
    agent.end()


def test_noise_ends_it() -> None:
    agent = RawAgent()
    agent.write(b"this is no message\n")
    assert agent.process.wait(15) == 0
    agent.end()


def test_it_ends_with_its_stream_while_much_waits_to_be_sent() -> None:
    agent = RawAgent()
    for number in range(6):  # each may send 512 KiB; a MiB may wait
        agent.send(op="open", id=number, mode="r", command="cat /dev/zero")
    time.sleep(0.5)
    agent.end()


def test_a_byte_stream_flows_on_when_its_credit_comes_while_much_waits_to_be_sent(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(1 << 21))
    agent = RawAgent()
    agent.send(op="open", id=1, mode="r", command="head -c 600000 /dev/zero")
    data = 0
    while data < 512 * 1024:
        data += len(agent.until("data", id=1)[1])
    # the answer to the first makes the channel full before the second is looked at
    large = encode({"op": "run", "id": 2, "command": f"cat {tmp_path}/large"})
    agent.write(large + encode({"op": "credit", "id": 1, "count": data}))
    while data < 600000:
        data += len(agent.until("data", id=1)[1])
    agent.until("closed", id=1, exit_code=0)
    agent.end()


def test_what_is_printed_does_not_get_between_the_messages() -> None:
    agent = RawAgent()
    agent.send(op="submit", job="a", argv=["sh", "-c", "echo noise >/proc/$PPID/fd/1"])
    agent.until("job", event="finished", exit_code=0)
    agent.send(op="ping", id=1)
    assert agent.receive()[0]["op"] == "pong"
    agent.end()


def test_files_of_the_working_directory_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    agent = RawAgent()
    agent.end()


async def test_flux_that_does_not_answer_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUX_URI", "local:///nowhere")
    stream = await ProcessStream.start([sys.executable, "-u", "-c", BOOT], name="x")
    with pytest.raises(AgentError, match="no Flux instance"):
        async with AgentClient(stream, name="x", backend="flux"):
            raise AssertionError


async def test_the_last_words_are_in_the_error() -> None:
    script = "import sys; print('my last words', file=sys.stderr); sys.exit(3)"
    stream = await ProcessStream.start([sys.executable, "-c", script], name="x")
    with pytest.raises(ConnectionLost, match=r"(?s)MiniCluster x.*my last words"):
        async with AgentClient(stream, name="x"):
            raise AssertionError


async def test_an_agent_that_hangs_is_killed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamflow_fluxop.agent.client.connection.HELLO_TIMEOUT", 0.2)
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"
    stream = await ProcessStream.start([sys.executable, "-c", script], name="x")
    start = time.monotonic()
    with pytest.raises(ConnectionLost, match="no hello within"):
        await AgentClient(stream, name="x").start()
    await stream.close(grace=0.1)
    assert time.monotonic() - start < 6
    assert not Path(f"/proc/{stream.pid}").exists()


async def test_a_job_request_needs_a_started_client() -> None:
    stream = await ProcessStream.start(["cat"], name="x")
    client = AgentClient(stream, name="x")
    with pytest.raises(RuntimeError, match="has not been started"):
        await client.run_job(JobRequest(("true",)))
    await client.close()
    assert await asyncio.wait_for(client.wait_closed(), 1) == "it was closed"
