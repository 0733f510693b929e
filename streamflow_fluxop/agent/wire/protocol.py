r"""What goes over the stream between client and agent; ``docs/agent-protocol.md`` describes it.

A message is one line of JSON (an object). Where it has the field ``bytes``, that many raw bytes follow the line: the
payload. Commands, paths and environment values may hold any bytes: they are decoded as ``os.fsdecode`` does in a UTF-8
locale (UTF-8 with ``surrogateescape``), and the JSON is pure ASCII, so that a byte which is no UTF-8 travels as
``\udc80`` to ``\udcff`` and comes out as it went in. Output travels as payload, untouched.

Standard library and Python 3.8 only: this module travels with the agent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeAlias

    Message: TypeAlias = Mapping[str, Any]

VERSION = 2
"""Of the protocol. Client and agent are of one release, as the client sends the agent; a reconnect may find another."""

SILENCE = 4
"""Heartbeats that may be missing until a stream counts as broken."""

OUTPUT_KEPT = 64 * 1024
"""Bytes of a job's output, and of a command's stderr, that are kept."""

COMMAND_OUTPUT_MAX = 64 * 1024 * 1024
"""Bytes of output above which a command is killed and answered with an error: `run` is for small commands."""

CHUNK = 64 * 1024
"""Bytes of a byte stream that one message carries at most, so that no stream keeps the others waiting."""

WINDOW = 8 * CHUNK
"""Bytes of a byte stream that may be under way before its receiver has granted more."""

PIPE_MAX = 1024 * 1024
"""Bytes that a pipe holds at most (pipe(7)): a command's last words, which may exceed its credit."""

LINE_MAX = 16 * 1024 * 1024
"""Bytes that a message's JSON may have; a job's command and environment are bounded by the kernel at a few MiB."""

ANSWER_MAX = 256 * 1024
"""The same for messages of the agent: they have no long fields. A MiB of JSON can become a hundred in memory."""

REASON_MAX = 8 * 1024
"""Characters of a reason or an error that the agent sends."""

PAYLOAD_MAX = COMMAND_OUTPUT_MAX + OUTPUT_KEPT
"""Bytes that a payload may have."""


class ProtocolError(Exception):
    """What came over the stream is no message."""


@dataclass(frozen=True)
class JobRequest:
    """One job, as Flux's jobspec (RFC 14, RFC 25) knows it.

    Args:
        argv: the command; no shell sees it.
        cwd: directory of the tasks; None: the agent's.
        environment: added to the agent's own environment.
        stdin: path that the tasks read as standard input; None: /dev/null. Relative paths count from `cwd`.
        stdout: path that takes the tasks' standard output, emptied first; None: it goes to `JobResult.output`.
        stderr: the same for standard error. Where it equals `stdout` both share one file offset.
        nodes: spread the tasks evenly over so many nodes; None: as few as they fit on.
        tasks: processes of the job.
        cores_per_task: cores of each.
        gpus_per_task: GPUs of each.
        exclusive: no other job on the job's nodes.
        time_limit: seconds from the start until the job is killed; None: no limit.
        name: for people, such as ``/analysis/0.3``.
        ranks: the only nodes that it may run on; none: any.

    Raises:
        ValueError: no such job can be; like Flux, we want at least one task a node.
    """

    argv: tuple[str, ...]
    cwd: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    nodes: int | None = None
    tasks: int = 1
    cores_per_task: int = 1
    gpus_per_task: int = 0
    exclusive: bool = False
    time_limit: float | None = None
    name: str = ""
    ranks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.argv:
            raise ValueError("a job needs a command")
        for count, least in ((self.tasks, 1), (self.cores_per_task, 1), (self.gpus_per_task, 0), (self.nodes or 1, 1)):
            if count < least:
                raise ValueError(f"a job of {self.tasks} tasks, {self.cores_per_task} cores each, cannot be")
        if self.nodes is not None and self.nodes > self.tasks:
            raise ValueError(f"the node count of a job must not be greater than its task count: {self.nodes}")
        if self.time_limit is not None and not (self.time_limit > 0 and math.isfinite(self.time_limit)):
            raise ValueError(f"a time limit of {self.time_limit} s cannot be")
        texts = [*self.argv, *self.environment, *self.environment.values()]
        texts += [text for text in (self.cwd, self.stdin, self.stdout, self.stderr) if text is not None]
        if any("\0" in text for text in texts):
            raise ValueError("a NUL byte cannot be in a command, its environment or a path")

    def to_message(self) -> dict[str, Any]:
        """As fields of a `submit` message; what has its default value is left out."""
        return {name: value for name, value in vars(self).items() if value != _JOB_DEFAULTS.get(name, _NOTHING)}

    @classmethod
    def from_message(cls, message: Message) -> JobRequest:
        """From the fields of a `submit` message.

        Raises:
            ValueError: where no such job can be.
        """
        values = {name: message[name] for name in cls.__dataclass_fields__ if name in message}
        values["argv"] = tuple(values.get("argv", ()))
        values["ranks"] = tuple(values.get("ranks", ()))
        return cls(**values)


_NOTHING = object()
_JOB_DEFAULTS = dict(vars(JobRequest(("true",))), argv=_NOTHING)


@dataclass(frozen=True)
class JobResult:
    """How a job ended.

    Args:
        exit_code: the largest of its tasks; 128 + n where signal n ended one, 142 where the time limit did.
        output: what it wrote and nobody redirected, decoded; the agent keeps a bounded part and says what it dropped.
        reason: why, if it is not the tasks' own doing: ``unsatisfiable request: …``, ``cancelled``,
            ``time limit of 5 s exceeded``.
        memory: KiB that the largest process of each of its tasks had at most, tasks added up; None: not measured.
        cpu: milliseconds of CPU time of all its processes; None: not measured.
    """

    exit_code: int
    output: str = ""
    reason: str | None = None
    memory: int | None = field(default=None, compare=False)
    cpu: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class CommandResult:
    """How a small command ended.

    Args:
        output: its standard output.
        exit_code: as the shell's ``$?``.
        errors: its standard error, the last `OUTPUT_KEPT` bytes.
    """

    output: bytes
    exit_code: int
    errors: bytes = b""


def encode(message: Message, payload: bytes = b"") -> bytes:
    """One message with its payload, as it goes over the stream."""
    if payload:
        message = {**message, "bytes": len(payload)}
    line = json.dumps(message, separators=(",", ":")).encode("ascii")
    return b"%b\n%b" % (line, payload) if payload else line + b"\n"


class Decoder:
    """Turns the stream's pieces, cut anywhere, into messages and their payloads.

    Args:
        check: looks at each message before its payload is read (`schema.check`), and raises `ProtocolError`.
        line_max: bytes that a message's JSON may have.
    """

    def __init__(self, check: Callable[[Message], None] | None = None, line_max: int = LINE_MAX) -> None:
        self._check = check
        self._line_max = line_max
        self._buffer = bytearray()
        self._message: Message | None = None  # its payload is still to come
        self._scanned = 0  # so far there is no newline in the buffer

    @property
    def unfinished(self) -> int:
        """Bytes of the message that has begun and not ended: those that there are, and those that it says follow."""
        return len(self._buffer) if self._message is None else max(1, self._message["bytes"])

    def feed(self, data: bytes) -> Iterator[tuple[Message, bytes]]:
        """Yield the messages that `data` completes.

        Raises:
            ProtocolError: the stream does not follow the protocol; nothing after that can be understood.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while True:
                if self._message is None:
                    end = buffer.find(b"\n", max(start, self._scanned))
                    if end < 0:
                        self._scanned = len(buffer)
                        if len(buffer) - start > self._line_max:
                            raise ProtocolError(f"a line of more than {self._line_max} bytes")
                        return
                    if end - start > self._line_max:
                        raise ProtocolError(f"a line of more than {self._line_max} bytes")
                    message = _parse(bytes(buffer[start:end]))
                    if self._check is not None:
                        self._check(message)
                    start = end + 1
                    if "bytes" not in message:
                        yield message, b""
                        continue
                    self._message = message
                size = self._message["bytes"]
                if len(buffer) - start < size:
                    return
                message, self._message = self._message, None
                payload = bytes(buffer[start : start + size])
                start += size
                yield message, payload
        finally:
            del buffer[:start]
            self._scanned = max(0, self._scanned - start)


_LONG_NUMBER = re.compile(rb"[0-9]{400}")  # more digits than any float has


def _parse(line: bytes) -> Message:
    if line[:1] != b"{":
        raise ProtocolError(f"not a message: {_start(line)}")
    try:
        if len(line) >= 400 and _LONG_NUMBER.search(line):
            message = json.loads(line, parse_int=_int)
        else:
            message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {_start(line)} ({type(error).__name__})") from None
    if not isinstance(message, dict) or not isinstance(message.get("op"), str):
        raise ProtocolError(f"not a message: {_start(line)}")
    size = message.get("bytes", 0)
    if type(size) is not int or not 0 <= size <= PAYLOAD_MAX:
        raise ProtocolError(f"a payload of {str(size)[:40]} bytes")
    return message


def _int(digits: str) -> int:
    """Old Pythons take minutes for a million digits."""
    if len(digits) > 400:
        raise ValueError("a number of too many digits")
    return int(digits)


def _start(line: bytes) -> str:
    return repr(line[:100])
