"""Whatever comes over the stream, either way: it ends in words, in time, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import time
from typing import Any

import pytest
from adversaries import HELLO, Adversary
from hypothesis import event, given, settings
from hypothesis import strategies as st
from test_agent import RawAgent

from streamflow_fluxop.agent.client.client import AgentClient, AgentError, ConnectionLost, JobRequest
from streamflow_fluxop.agent.client.stderr_tail import LastWords
from streamflow_fluxop.agent.wire.protocol import ANSWER_MAX, CHUNK, LINE_MAX, WINDOW, Decoder, ProtocolError, encode
from streamflow_fluxop.agent.wire.schema import FROM_AGENT, FROM_CLIENT, check

DEEP = b'{"op":"seen","count":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
DIGITS = b'{"op":"seen","count":' + b"9" * 200_000 + b"}\n"

NO_ANSWERS = {
    "noise": b"a line that a job printed\n",
    "no object": b"[]\n",
    "unknown op": b'{"op":"nonsense"}\n',
    "control message without its field": b'{"op":"seen"}\n',
    "a count that is a text": b'{"op":"seen","count":"1"}\n',
    "a count that is true": b'{"op":"seen","count":true}\n',
    "a count below nothing": b'{"op":"seen","count":-1}\n',
    "a count of more than was sent": b'{"op":"seen","count":1000000}\n',
    "depth": DEEP,
    "digits": DIGITS,
    "no number": b'{"op":"seen","count":NaN}\n',
    "job without event": b'{"op":"job","job":"x"}\n',
    "end without exit code": b'{"op":"job","job":"x","event":"finished"}\n',
    "job that is a list": b'{"op":"job","job":[],"event":"started"}\n',
    "unhashable id": b'{"op":"pong","id":{}}\n',
    "output without end": b'{"op":"job","job":"x","event":"finished","exit_code":0,"bytes":67108864}\n',
    "more errors than bytes": b'{"op":"result","id":1,"exit_code":0,"errors":5}\n',
    "a second hello": encode(HELLO),
    "a long line": b'{"op":"' + b"x" * (ANSWER_MAX + 1),
    "a payload that is a text": b'{"op":"data","id":1,"bytes":"5"}\n',
}
NO_REQUESTS = {
    **{name: line for name, line in NO_ANSWERS.items() if name not in ("a second hello", "a long line")},
    "a mode that is none": encode({"op": "open", "id": 1, "mode": "rw", "command": "true"}),
    "run without command": b'{"op":"run","id":1}\n',
    "arguments that are a text": b'{"op":"submit","job":"x","argv":"true"}\n',
    "an environment of numbers": b'{"op":"submit","job":"x","argv":["true"],"environment":{"A":1}}\n',
    "a limit without end": b'{"op":"submit","job":"x","argv":["true"],"time_limit":Infinity}\n',
    "a long line": b'{"op":"' + b"x" * (LINE_MAX + 1),
}
del NO_REQUESTS["a count of more than was sent"], NO_REQUESTS["end without exit code"]
NOT_NOW = {
    "the client sent a message of an unknown kind, 'nonsense'": b'{"op":"nonsense"}\n',
    "the client sent a message 'seen' without its 'count'": b'{"op":"seen"}\n',
    "the client sent word that it has received 1000000 messages": b'{"op":"seen","count":1000000}\n',
    "the client sent credit for": encode({"op": "open", "id": 1, "mode": "r", "command": "sleep 100"})
    + encode({"op": "credit", "id": 1, "count": WINDOW}),
    "the client sent bytes of stream 1 beyond its credit": encode(
        {"op": "open", "id": 1, "mode": "w", "command": "sleep 100"}
    )
    + encode({"op": "data", "id": 1}, bytes(CHUNK)) * 10,
    "the client sent bytes of stream 1 after its end": encode(
        {"op": "open", "id": 1, "mode": "w", "command": "cat; sleep 100"}
    )
    + encode({"op": "eof", "id": 1})
    + encode({"op": "data", "id": 1}, b"x"),
    "the client sent a second stream 1": encode({"op": "open", "id": 1, "mode": "r", "command": "sleep 100"}) * 2,
}


@pytest.mark.parametrize("said", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_what_is_no_answer_ends_the_connection_with_a_reason(
    said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with AgentClient(Adversary(said, ends=False), name="mc") as client:
        with pytest.raises(ConnectionLost, match="MiniCluster mc: the agent sent ") as lost:
            await asyncio.wait_for(client.run_job(JobRequest(("true",))), 5)
        assert len(str(lost.value)) < 500
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    "hello",
    [
        b'{"op":"hello"}\n',
        encode({**HELLO, "nodes": "1"}),
        encode({**HELLO, "agent": None}),
        b'{"op":"job","job":"x","event":"started"}\n',
        b"Welcome to this login node!\n",
    ],
)
async def test_who_says_no_hello_is_no_agent(hello: bytes) -> None:
    client = AgentClient(Adversary(b"", ends=False, hello=hello), name="mc")
    try:
        with pytest.raises((ConnectionLost, AgentError), match="the agent sent"):
            await asyncio.wait_for(client.start(), 5)
    finally:
        await client.close()


async def test_the_agents_own_reason_is_told() -> None:
    said = encode({"op": "error", "text": "the client sent a message of an unknown kind"})
    async with AgentClient(Adversary(said, ends=False), name="mc") as client:
        with pytest.raises(ConnectionLost, match="the agent ended the stream: the client sent a message of an unknown"):
            await asyncio.wait_for(client.ping(), 5)


@pytest.mark.parametrize("half", [b'{"op":"seen","cou', b'{"op":"data","id":1,"bytes":5}\nab'])
async def test_half_a_message_ends_the_connection_when_no_more_comes(half: bytes) -> None:
    async with AgentClient(Adversary(half, ends=True), name="mc") as client:
        with pytest.raises(ConnectionLost, match="the stream ended within a message"):
            await asyncio.wait_for(client.ping(), 5)
    async with AgentClient(Adversary(half, ends=False), name="mc", heartbeat=0.05) as client:
        with pytest.raises(ConnectionLost, match="no sign of life"):
            await asyncio.wait_for(client.ping(), 5)


async def test_a_message_that_swallows_all_that_follows_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamflow_fluxop.agent.client.connection.MESSAGE_TIMEOUT", 0.2)
    monkeypatch.setattr("streamflow_fluxop.agent.client.connection.SLOWEST", 1e12)

    agent = Adversary(b'{"op":"result","id":1,"exit_code":0,"bytes":67108864}\n')
    async with AgentClient(agent, name="mc", heartbeat=0.05) as client:
        answer = asyncio.ensure_future(client.ping())
        while not answer.done():
            agent.say(encode({"op": "seen", "count": 0}))
            await asyncio.sleep(0.02)
        with pytest.raises(ConnectionLost, match="a message did not come to its end"):
            await answer


@pytest.mark.parametrize("op", ["r", "w"])
async def test_what_nobody_granted_ends_the_connection(op: str) -> None:
    agent = Adversary()
    async with AgentClient(agent, name="mc") as client:
        opened: Any = client.open_reader("yes") if op == "r" else client.open_writer("cat")
        with pytest.raises(ConnectionLost, match=r"the agent sent (bytes|credit)"):  # noqa: PT012
            async with opened as stream:
                for _ in range(40):
                    agent.say(encode({"op": "data", "id": stream.identifier}, bytes(CHUNK)))
                    agent.say(encode({"op": "credit", "id": stream.identifier, "count": 1 if op == "w" else 0}))
                await asyncio.wait_for(client.ping(), 5)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
fields = st.sampled_from(
    ["count", "id", "job", "jobs", "event", "exit_code", "bytes", "errors", "text", "argv", "environment", "mode"]
)


def lines(ops: list[str]) -> st.SearchStrategy[bytes]:
    message = st.builds(
        lambda op, rest: encode({**rest, "op": op}), st.sampled_from(ops), st.dictionaries(fields, values, max_size=4)
    )
    return st.lists(message | st.binary(max_size=30), max_size=6).map(b"".join)


@settings(max_examples=settings.default.max_examples // 2)  # type: ignore[union-attr]
@given(said=lines(list(FROM_AGENT)))
async def test_any_answers_end_in_words(said: bytes) -> None:
    async with AgentClient(Adversary(said, ends=True), name="mc") as client:
        calls = (client.run_job(JobRequest(("true",))), client.run_command("true"), client.ping())
        results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
    for result in results:
        assert not isinstance(result, BaseException) or isinstance(result, (ConnectionLost, AgentError)), result


@given(said=lines([*FROM_CLIENT, "nonsense"]))
def test_any_requests_are_requests_or_refused_in_words(said: bytes) -> None:
    decoder = Decoder(lambda message: check(message, FROM_CLIENT))
    try:
        for message, _ in decoder.feed(said):
            assert message["op"] in FROM_CLIENT
            if message["op"] == "submit":
                _request(message)
    except ProtocolError as error:
        said = str(error).encode()
        event("refused")
    assert len(said) < 2000


def _request(message: Any) -> None:
    try:
        JobRequest.from_message(message)
    except ValueError:
        return


@pytest.mark.parametrize("said", NO_REQUESTS.values(), ids=NO_REQUESTS)
def test_what_is_no_request_is_refused_in_words(said: bytes) -> None:
    with pytest.raises(ProtocolError) as error:
        list(Decoder(lambda message: check(message, FROM_CLIENT)).feed(said))
    assert len(str(error.value)) < 400


def test_what_cannot_be_now_ends_the_stream_with_a_reason_and_all_that_ran() -> None:
    agents = [RawAgent() for _ in NOT_NOW]
    for agent, said in zip(agents, NOT_NOW.values(), strict=True):
        agent.write(said)
    for agent, why in zip(agents, NOT_NOW, strict=True):
        assert agent.until("error")[0]["text"].startswith(why)
        assert agent.process.wait(20) == 0
        agent.end()


def test_a_small_command_that_leaves_a_flood_behind_in_its_pipe_is_over_when_it_is_over() -> None:
    agent = RawAgent()
    agent.send(op="run", id=1, command="(exec yes) & echo done >/dev/null")
    _, output = agent.until("result", id=1, exit_code=0)
    assert len(output) <= 2 << 20
    agent.send(op="ping", id=2)
    agent.until("pong", id=2)
    agent.end()


def test_a_flood_without_a_line_costs_what_it_weighs_and_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    words = LastWords(logging.getLogger("flood"), "mc")
    start = time.process_time()
    for _ in range(2000):
        words.feed(b"x" * 65536)  # 125 MiB
    assert time.process_time() - start < 2
    words.feed(b"\nthe \x1b[2Jend\n")
    words.end()
    first, last = str(words).splitlines()
    assert len(first) < 5000
    assert "bytes more]" in first
    assert last == r"the \x1b[2Jend"


def test_a_flood_of_lines_is_counted_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    words = LastWords(logging.getLogger("flood"), "mc")
    words.feed(b"again\n" * 100_000)
    words.end()
    assert len(caplog.records) < 1000
    assert "lines more, too many to be logged" in caplog.text


def test_nobody_waits_for_an_agent_whose_stream_is_full() -> None:
    """Who does not read what it asked for gets no more; the agent still ends with its stream."""
    agent = RawAgent()
    for number in range(200):
        agent.send(op="ping", id=number)
    assert select.select([agent.process.stdout], [], [], 10)[0]
    assert os.read(agent.process.stdout.fileno(), 10)  # type: ignore[union-attr]
    agent.end()


@settings(max_examples=30)
@given(data=st.binary(max_size=2000))
def test_any_bytes_on_stderr_become_lines_that_a_terminal_only_shows(data: bytes) -> None:
    words = LastWords(logging.getLogger("any"), "mc")
    words.feed(data)
    words.end()
    assert all(line.isprintable() for line in str(words).split("\n"))
