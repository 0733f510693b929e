"""What jobs in Flux use: their memory and CPU time, which Flux does not measure.

A task that is measured is started by a few lines of Python, which wait for it (`wait4(2)`) and write what it used
behind its output, where nobody else sees it. They are the parent of the shell that starts the task, so exit codes,
signals and messages stay what they are. That costs 10 ms of CPU time a task, a quarter of what Flux itself takes for a
job; so jobs of kinds that are known to be short are not measured.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamflow_fluxop.agent.wire.protocol import JobRequest

SHORT = 1.0
"""Seconds: jobs of a kind are measured unless the one that ended last ran for less."""

KINDS = 1000
"""Kinds that are remembered."""

_LOADER = "LD_"  # a job that sets one of these may keep our Python from starting (ld.so(8))

# posix and _signal are compiled in: os and signal would take as long again. Signals are sent to the whole process
# group; we have to outlive the task. 13 and 25, SIGPIPE and SIGXFSZ, are what Python itself ignores.
_MEASURE = """\
import posix, sys, time, _signal
where, argv = int(sys.argv[1]), sys.argv[2:]
try:
    import resource
    signals = [n for n in (1, 2, 3, 10, 12, 14, 15) if _signal.getsignal(n) != _signal.SIG_IGN]
    for n in signals:
        _signal.signal(n, _signal.SIG_IGN)
    began = time.monotonic()
    task = posix.posix_spawn(argv[0], argv, posix.environ, setsigdef=[*signals, 13, 25])
except (ImportError, OSError):
    posix.execv(argv[0], argv)
_, status, used = posix.wait4(task, 0)
took = time.monotonic() - began
told = (used.ru_maxrss, 1000 * (used.ru_utime + used.ru_stime), 1000 * took)
try:
    posix.write(where, b"\\0fluxop used %d %d %d\\0" % told)
except OSError:
    pass
posix._exit(128 + (status & 127) if status & 127 else status >> 8)
"""
_USED = re.compile(rb"\0fluxop used (\d{1,18}) (\d{1,18}) (\d{1,18})\0")

# where our Python is not on the node, the task runs unmeasured
_START = '[ -x "$0" ] || { shift 5; exec "$@"; }; exec "$0" "$@"'


class Used(NamedTuple):
    """What a task used.

    Attributes:
        memory: KiB that its largest process had at most.
        cpu: milliseconds of CPU time of all its processes.
        elapsed: milliseconds that it ran.
    """

    memory: int
    cpu: int
    elapsed: int


def can_be_measured(request: JobRequest) -> bool:
    """Whether there is a stream of the job that Flux keeps and the job does not, and nothing hinders our Python."""
    seen = request.tasks == 1 or request.stdout is None or request.stderr is None
    return seen and bool(sys.executable) and not any(name.startswith(_LOADER) for name in request.environment)


def measured(argv: Sequence[str], request: JobRequest) -> list[str]:
    """The command of a task, with what measures it around it.

    Args:
        argv: the command; it begins with a path.
        request: the job; `can_be_measured` holds.
    """
    stream = 2 if request.tasks == 1 or request.stderr is None else 1  # several tasks' files are Flux's to write
    return ["/bin/sh", "-c", _START, os.path.realpath(sys.executable), "-I", "-S", "-c", _MEASURE, str(stream), *argv]


def used_in(output: bytes) -> tuple[bytes, list[Used]]:
    """Part what a task has written from what is said of its use."""
    if b"\0fluxop used " not in output:
        return output, []
    return _USED.sub(b"", output), [Used(*map(int, numbers)) for numbers in _USED.findall(output)]


class Kinds:
    """Which kinds of job are worth measuring. Jobs of a kind have equal names but for their numbers.

    How long a job took that was not measured says only that it was not longer: Flux that is busy adds to it.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}

    def wanted(self, kind: str, at_once: int) -> bool:
        """Whether a job is to be measured; if so, `ended` has to be told of it.

        Args:
            kind: of the job.
            at_once: jobs of a kind that are measured before one of them has ended: as many as can run.
        """
        if kind not in self._kinds and len(self._kinds) >= KINDS:
            self._kinds.clear()
        known = self._kinds.setdefault(kind, _Kind())
        if known.seconds is None:
            wanted = known.under_way < at_once
        elif known.seconds < SHORT:
            wanted = known.in_doubt and not known.under_way
        else:
            wanted = True
        known.under_way += wanted
        return wanted

    def ended(self, kind: str, seconds: float | None, *, measured: bool) -> None:
        """A job of a kind has ended.

        Args:
            kind: of the job.
            seconds: that it took; None where it never started.
            measured: whether it was measured, so that this is how long it ran, and no more.
        """
        known = self._kinds.get(kind)
        if known is None:
            return
        if measured:
            known.under_way = max(0, known.under_way - 1)
        if seconds is None:
            return
        if measured or seconds < SHORT:
            known.seconds, known.in_doubt = seconds, False
        else:
            known.in_doubt = True


@dataclass
class _Kind:
    seconds: float | None = None
    under_way: int = 0  # jobs that are measured
    in_doubt: bool = False  # known as short, but one that was not measured was not


def kind_of(request: JobRequest) -> str:
    """What a job's name and program have in common with those of its kind: `/align/0.3` is an `/align`."""
    return f"{request.name.rstrip('0123456789.-_/')} {request.argv[0]}"


def total(used: Sequence[Used], tasks: int) -> Mapping[str, int]:
    """Memory and CPU time of a job, tasks added up; empty unless all of its tasks have told."""
    if not used or len(used) != tasks:
        return {}
    return {"memory": sum(u.memory for u in used), "cpu": sum(u.cpu for u in used)}
