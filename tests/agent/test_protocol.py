from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow_fluxop.agent.client.bootstrap import BOOT, MODULES, program, source
from streamflow_fluxop.agent.wire.protocol import Decoder, JobRequest, ProtocolError, encode

texts = st.binary(max_size=20).map(lambda data: data.decode("utf-8", "surrogateescape"))
messages = st.fixed_dictionaries({"op": st.just("x"), "text": texts, "number": st.integers()})
frames = st.lists(st.tuples(messages, st.binary(max_size=300)), max_size=6)


def decode(data: bytes, cuts: list[int]) -> list[tuple[Mapping[str, Any], bytes]]:
    decoder = Decoder()
    places = sorted(cut % (len(data) + 1) for cut in cuts)
    pieces = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
    return [frame for piece in pieces for frame in decoder.feed(piece)]


@given(frames=frames, cuts=st.lists(st.integers(0, 10000), max_size=8))
def test_what_is_sent_arrives_wherever_the_stream_is_cut(
    frames: list[tuple[dict[str, Any], bytes]], cuts: list[int]
) -> None:
    data = b"".join(encode(message, payload) for message, payload in frames)
    arrived = [({k: v for k, v in m.items() if k != "bytes"}, p) for m, p in decode(data, cuts)]
    assert arrived == frames


@given(data=st.binary(max_size=50))
def test_any_bytes_travel_in_text(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    line = encode({"op": "x", "text": text})
    assert line.isascii()
    [(message, _)] = decode(line, [])
    assert message["text"].encode("utf-8", "surrogateescape") == data


@pytest.mark.parametrize(
    "line", [b"hello\n", b"[]\n", b'{"no":"op"}\n', b'{"op":"x","bytes":-1}\n', b'{"op":"x","bytes":99999999999}\n']
)
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(line, [])


def test_a_line_without_end_is_refused_before_memory_is_full() -> None:
    decoder = Decoder()

    def feed() -> None:
        for _ in range(1000):
            list(decoder.feed(b"x" * 100_000))

    with pytest.raises(ProtocolError, match="a line of more than"):
        feed()


jobs = st.builds(
    JobRequest,
    argv=st.lists(st.text("ab \udc80é", max_size=5), min_size=1).map(tuple),
    cwd=st.none() | st.just("/tmp"),
    environment=st.dictionaries(st.sampled_from("AB"), st.text("x \udcff", max_size=4)),
    stdout=st.none() | st.just("out"),
    tasks=st.integers(2, 9),
    nodes=st.none() | st.integers(1, 2),
    time_limit=st.none() | st.floats(0.1, 100),
)


@given(job=jobs)
def test_a_job_request_arrives_as_it_was(job: JobRequest) -> None:
    message = json.loads(json.dumps({"op": "submit", "job": "1", **job.to_message()}))
    assert JobRequest.from_message(message) == job


@pytest.mark.parametrize(
    "fields", [{"argv": ()}, {"tasks": 0}, {"cores_per_task": 0}, {"nodes": 2}, {"cwd": "a\0b"}, {"time_limit": 0}]
)
def test_a_job_that_cannot_be_is_no_request(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"job|NUL|node|limit"):
        JobRequest(**{"argv": ("true",), **fields})


def test_the_agent_travels_alone() -> None:
    """Only the standard library, each module after those that it imports, nothing newer than Python 3.8."""
    allowed = set()
    for name in MODULES:
        tree = ast.parse(source(name), feature_version=(3, 8))
        allowed.add(f"streamflow_fluxop.agent.{name}")
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("streamflow_fluxop"):
                imported = {node.module}
                if f"{node.module}.{node.names[0].name}" in allowed:
                    imported = {f"{node.module}.{alias.name}" for alias in node.names}
                assert imported <= allowed, name
    assert int(program()[:8], 16) == len(program()) - 8
    compile(BOOT, "boot", "exec")
