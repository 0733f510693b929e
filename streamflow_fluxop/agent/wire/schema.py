"""What each message must have: who reads a stream believes nothing that has not been checked here.

Jobs run beside the agent, and may find a way to write where it does. What is no message of the protocol ends the stream
that it came over (`protocol.ProtocolError`), with what was wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.agent.wire.protocol import CHUNK, OUTPUT_KEPT, PAYLOAD_MAX, ProtocolError

if TYPE_CHECKING:
    from typing import TypeAlias

    from streamflow_fluxop.agent.wire.protocol import Message

    Check: TypeAlias = Callable[[Any], bool]

_MISSING = object()  # what no check takes

COUNT_MAX = 1 << 53
"""The largest count and id: what a double, and so any reader of JSON, holds exactly (RFC 8259)."""


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= COUNT_MAX


def _whole(value: Any) -> bool:
    return type(value) is int and -COUNT_MAX <= value <= COUNT_MAX


def _seconds(value: Any) -> bool:
    return (type(value) is int and 0 <= value <= COUNT_MAX) or (
        type(value) is float and math.isfinite(value) and value >= 0
    )


def _text(value: Any) -> bool:
    return type(value) is str


def _flag(value: Any) -> bool:
    return type(value) is bool


def _texts(value: Any) -> bool:
    return type(value) is list and all(type(item) is str for item in value)


def _counts(value: Any) -> bool:
    return type(value) is list and all(map(_count, value))


def _strings(value: Any) -> bool:
    return type(value) is dict and all(type(item) is str for item in value.values())


def _object(value: Any) -> bool:
    return type(value) is dict


def _sizes(value: Any) -> bool:
    """Cores and GPUs of each node."""
    return type(value) is list and all(_counts(node) and len(node) == 2 for node in value)


def _maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _one_of(*values: str) -> Check:
    return lambda value: type(value) is str and value in values


class Shape:
    """The fields that a kind of message has.

    Args:
        needed: those that must be there.
        optional: those that may be.
        payload: bytes that may follow.
        rule: what is wrong beyond single fields; empty: nothing.
    """

    def __init__(
        self,
        needed: Mapping[str, Check],
        optional: Mapping[str, Check] | None = None,
        payload: int = 0,
        rule: Callable[[Message], str] | None = None,
    ) -> None:
        self._needed = tuple(needed.items())
        self._optional = tuple((optional or {}).items())
        self._payload = payload
        self._rule = rule
        self._least = 1 + len(self._needed) if rule is None else 0  # fields of a message that has no others

    def check(self, message: Message) -> None:
        """Look at each field.

        Raises:
            ProtocolError: one is missing, or is not what it should be.
        """
        for name, check in self._needed:
            if not check(message.get(name, _MISSING)):
                raise ProtocolError(_wrong(message, name))
        if len(message) == self._least:
            return
        for name, check in self._optional:
            if name in message and not check(message[name]):
                raise ProtocolError(_wrong(message, name))
        if message.get("bytes", 0) > self._payload:
            raise ProtocolError(f"{_name(message)} with {message['bytes']} bytes behind it")
        if self._rule is not None:
            wrong = self._rule(message)
            if wrong:
                raise ProtocolError(f"{_name(message)} {wrong}")


def check(message: Message, shapes: Mapping[str, Shape]) -> None:
    """Check a message before its payload is read.

    Raises:
        ProtocolError: it is none of these.
    """
    shape = shapes.get(message["op"])
    if shape is None:
        raise ProtocolError(f"a message of an unknown kind, {_shown(message['op'])}")
    shape.check(message)


def _wrong(message: Message, name: str) -> str:
    if name not in message:
        return f"{_name(message)} without its {name!r}"
    return f"{_name(message)} with {_shown(message[name])} as its {name!r}"


def _name(message: Message) -> str:
    return f"a message {message['op']!r}"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python converts
        text = "a number too long to be shown"
    return text if len(text) <= 60 else text[:57] + "..."


def _job_rule(message: Message) -> str:
    return (
        "that finished without its 'exit_code'" if message["event"] == "finished" and "exit_code" not in message else ""
    )


def _result_rule(message: Message) -> str:
    return "with more errors than bytes" if message.get("errors", 0) > message.get("bytes", 0) else ""


_JOB = {"job": _text}
_ID = {"id": _count}

FROM_CLIENT: dict[str, Shape] = {
    "start": Shape(
        {},
        {
            "protocol": _count,
            "backend": _one_of("auto", "flux", "embedded"),
            "nodes": _sizes,
            "linger": _maybe(_seconds),
            "flux": _object,
            "heartbeat": _seconds,
            "apart": _seconds,
            "received": _count,
            "agent": _text,
            "jobs": _texts,
        },
    ),
    "seen": Shape({"count": _count}),
    "bye": Shape({}),
    "submit": Shape(
        {**_JOB, "argv": _texts},
        {
            "cwd": _maybe(_text),
            "environment": _strings,
            "stdin": _maybe(_text),
            "stdout": _maybe(_text),
            "stderr": _maybe(_text),
            "nodes": _maybe(_whole),
            "tasks": _whole,
            "cores_per_task": _whole,
            "gpus_per_task": _whole,
            "exclusive": _flag,
            "time_limit": _maybe(_seconds),
            "name": _text,
            "ranks": _counts,
        },
    ),
    "cancel": Shape(_JOB),
    "ack": Shape(_JOB),
    "attach": Shape({"jobs": _texts}),
    "run": Shape({**_ID, "command": _text}),
    "open": Shape({**_ID, "command": _text, "mode": _one_of("r", "w")}),
    "data": Shape(_ID, payload=CHUNK),
    "eof": Shape(_ID),
    "credit": Shape({**_ID, "count": _count}),
    "kill": Shape(_ID),
    "ping": Shape(_ID),
}
"""Messages to the agent."""

FROM_AGENT: dict[str, Shape] = {
    "hello": Shape(
        {
            "protocol": _count,
            "backend": _one_of("flux", "embedded"),
            "version": _text,
            "nodes": _count,
            "cores": _count,
            "gpus": _count,
            "hostname": _text,
            "pid": _count,
            "agent": _text,
            "received": _count,
        },
        {"recovers": _flag},
    ),
    "seen": Shape({"count": _count}),
    "job": Shape(
        {**_JOB, "event": _one_of("submitted", "started", "finished", "unknown")},
        {"exit_code": _whole, "reason": _text, "dropped": _whole, "memory": _count, "cpu": _count},
        payload=OUTPUT_KEPT,
        rule=_job_rule,
    ),
    "result": Shape(
        {**_ID, "exit_code": _whole}, {"errors": _count, "too_much": _count}, payload=PAYLOAD_MAX, rule=_result_rule
    ),
    "data": Shape(_ID, payload=CHUNK),
    "credit": Shape({**_ID, "count": _count}),
    "closed": Shape({**_ID, "exit_code": _whole}, payload=OUTPUT_KEPT),
    "pong": Shape(_ID),
    "error": Shape({"text": _text}, {"id": _count, "job": _text}),
}
"""Messages of the agent."""
