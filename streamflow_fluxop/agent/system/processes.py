"""Starts processes, sees each one's end, and leaves none behind.

Python's `subprocess` starts them; the ends are seen here, because asyncio's child watchers cost a thread or a file
descriptor a process, and because a daemon whose parent died becomes our child (see `Processes.start`), too.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from streamflow_fluxop.agent.system.log import log

MARK = b"FLUXOP_MINICLUSTER"
"""Environment variable that all processes of a local MiniCluster have, with a value that no other one has."""

SPARED = b"CLEANS_UP_AFTER_JOB=1"
"""Environment of processes that clean up after a job that was killed: what removes its container."""

_CLEANING = 3.0  # seconds
_PR_SET_DUMPABLE = 4  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


def to_bytes(text: str) -> bytes:
    """A path, argument or value as the kernel has it, whatever the locale is."""
    return text.encode("utf-8", "surrogateescape")


def to_text(data: bytes) -> str:
    """The inverse of `to_bytes`."""
    return data.decode("utf-8", "surrogateescape")


def shut() -> None:
    """Keep other processes of the same user out of this one's descriptors and memory (`/proc`, ptrace(2)).

    Children that are forked are shut, too; what they execute is not. Root, and who may trace all, still gets in.
    """
    _prctl(_PR_SET_DUMPABLE, 0, "others of the same user see its memory and descriptors")


def _prctl(option: int, value: int, otherwise: str) -> None:
    try:
        failed = ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
    except (OSError, AttributeError) as error:  # not Linux
        log(f"{otherwise}: {error}")
        return
    if failed:
        log(f"{otherwise}: {os.strerror(ctypes.get_errno())}")


class Usage(NamedTuple):
    """What a process and those below it used that it has waited for (`getrusage(2)`).

    `memory`: KiB that the largest one of them had at once, and not less than the agent had when it started it;
    `cpu`: milliseconds of all.
    """

    memory: int
    cpu: int


class Processes:
    """All processes of the agent. One event loop, in the main thread."""

    def __init__(self) -> None:
        self._ended: dict[int, tuple[Callable[[int], None], Callable[[Usage], None] | None]] = {}

    def start(self) -> None:
        """Begin to see ends, and become the parent of every descendant that loses its own (`prctl(2)`)."""
        _prctl(_PR_SET_CHILD_SUBREAPER, 1, "daemons escape")
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def spawn(
        self,
        argv: Sequence[bytes],
        *,
        ended: Callable[[int], None],
        used: Callable[[Usage], None] | None = None,
        cwd: bytes | None = None,
        env: Mapping[bytes, bytes] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
        keep: Sequence[int] = (),
    ) -> int:
        """Start a process in a session, and so a process group, of its own.

        Args:
            argv: the program, looked for in PATH, and its arguments.
            ended: is called with its wait status, from the event loop.
            used: is called, before that, with what it used.
            cwd: its directory.
            env: its whole environment.
            stdin: file descriptor.
            stdout: file descriptor.
            stderr: file descriptor.
            keep: more file descriptors that it inherits.

        Returns:
            Its process id.

        Raises:
            OSError: it cannot be started.
        """
        try:
            process = self._popen(argv, cwd, env, stdin, stdout, stderr, keep)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            # execvp(3), and so a shell and Flux, takes what has no magic number for a shell script
            program = _found_in_path(argv[0], (env or os.environb).get(b"PATH", os.defpath.encode()))
            process = self._popen([b"/bin/sh", program, *argv[1:]], cwd, env, stdin, stdout, stderr, keep)
        process.returncode = 0  # we reap it ourselves; else Popen's destructor would try to
        self._ended[process.pid] = ended, used
        return process.pid

    def _popen(
        self,
        argv: Sequence[bytes],
        cwd: bytes | None,
        env: Mapping[bytes, bytes] | None,
        stdin: int,
        stdout: int,
        stderr: int,
        keep: Sequence[int],
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True, pass_fds=keep
        )

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ended, used = self._ended.pop(pid, (None, None))
            if used is not None:
                used(Usage(usage.ru_maxrss, round(1000 * (usage.ru_utime + usage.ru_stime))))
            if ended is not None:
                ended(status)

    def strays(self) -> set[int]:
        """Our children that we did not start: daemons whose parents died. With all their descendants."""
        us = os.getpid()
        ours = {process.pid for process in _table() if process.parent == us} - set(self._ended)
        return descendants(ours) if ours else set()

    async def end_all(self, grace: float) -> None:
        """End every process below this one: SIGTERM, and after `grace` seconds SIGKILL; returns when none is left.

        Those that are marked `SPARED` clean up after others: they get `_CLEANING` seconds more, and are not ended.
        """
        deadline = time.monotonic() + grace
        signal_number = signal.SIGTERM
        signalled: set[int] = set()
        for _ in range(1000):  # a bound, should a process be beyond SIGKILL (uninterruptible sleep)
            self._reap()
            alive = descendants([os.getpid()], sessions=False) - {os.getpid()}
            spared = with_environment(SPARED, alive)
            if not alive or (alive == spared and time.monotonic() > deadline + _CLEANING):
                return
            if time.monotonic() > deadline and signal_number != signal.SIGKILL:
                signal_number, signalled = signal.SIGKILL, set()
            send_signal(alive - signalled - spared, signal_number)
            signalled |= alive if signal_number != signal.SIGKILL else set()
            await asyncio.sleep(0.01)


def descendants(pids: Iterable[int], *, sessions: bool = True) -> set[int]:
    """Every living process below `pids` or (`sessions`) in one of theirs, `pids` included.

    A daemon has left both; `Processes.strays` finds it.
    """
    wanted = set(pids)
    children: dict[int, list[int]] = {}
    found = set()
    for process in _table():
        children.setdefault(process.parent, []).append(process.pid)
        if process.pid in wanted or (sessions and process.session in wanted):
            found.add(process.pid)
    queue = list(found)
    while queue:
        for child in children.get(queue.pop(), ()):
            if child not in found:
                found.add(child)
                queue.append(child)
    return found


def with_environment(entry: bytes, among: Iterable[int] | None = None) -> set[int]:
    """The processes that were started with ``NAME=value`` in their environment.

    Args:
        entry: ``NAME=value``.
        among: process ids; None: all that we may look at.
    """
    pids = (process.pid for process in _table()) if among is None else among
    found = set()
    for pid in pids:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if entry in file.read().split(b"\0"):
                    found.add(pid)
        except OSError:  # it is gone, or another user's
            continue
    return found


def kill_with_environment(entry: bytes, spare: Iterable[int] = ()) -> None:
    """Kill the processes that were started with ``NAME=value`` in their environment; blocks for 0.2 s at most.

    Args:
        entry: ``NAME=value``.
        spare: process ids that stay.
    """
    for _ in range(10):  # what forks while we look is found the next time
        left = with_environment(entry).difference(spare)
        if not left:
            return
        send_signal(left, signal.SIGKILL)
        time.sleep(0.02)


def is_in_job(pid: int) -> bool:
    """Whether a process is, or descends from, a task of a job."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return b"\0FLUX_TASK_RANK=" in b"\0" + file.read()
    except OSError:
        return False


def name_of(pid: int) -> str:
    """The name of a process's program (`proc(5)`, comm); empty once it is gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def send_signal(pids: Iterable[int], number: int) -> None:
    """Signal each process; one that is gone already is no error."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        except PermissionError as error:  # set-uid programs
            log(f"cannot signal process {pid}: {error}")


def signal_groups(groups: Iterable[int], number: int) -> None:
    """Signal all processes of each process group; one that is gone already is no error."""
    for group in groups:
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            continue
        except PermissionError as error:
            log(f"cannot signal process group {group}: {error}")


def _found_in_path(program: bytes, path: bytes) -> bytes:
    if b"/" in program:
        return program
    candidates = (os.path.join(folder or b".", program) for folder in path.split(b":"))
    return next((candidate for candidate in candidates if os.access(candidate, os.X_OK)), program)


class _Process(NamedTuple):
    pid: int
    parent: int
    session: int


def _table() -> Iterator[_Process]:
    """All processes but those that have ended and wait to be reaped (`proc(5)`)."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if fields[0] not in (b"Z", b"X"):
            yield _Process(int(entry), int(fields[1]), int(fields[3]))
