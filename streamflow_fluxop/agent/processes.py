"""Starts processes, sees each one's end, and leaves none behind.

Python's `subprocess` starts them; the ends are seen here, because asyncio's child watchers cost a thread or a file
descriptor a process, and because a daemon whose parent died becomes our child (see `Processes.start`), too.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def to_bytes(text: str) -> bytes:
    """A path, argument or value as the kernel has it, whatever the locale is."""
    return text.encode("utf-8", "surrogateescape")


def to_text(data: bytes) -> str:
    """The inverse of `to_bytes`."""
    return data.decode("utf-8", "surrogateescape")


class Processes:
    """All processes of the agent. One event loop, in the main thread."""

    def __init__(self) -> None:
        self._ended: dict[int, Callable[[int], None]] = {}
        self._orphan_ended: list[Callable[[], None]] = []

    def start(self) -> None:
        """Begin to see ends, and become the parent of every descendant that loses its own (`prctl(2)`)."""
        try:
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        except (OSError, AttributeError) as error:  # not Linux: daemons then escape
            print(f"no child subreaper here: {error}", file=sys.stderr)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def spawn(
        self,
        argv: Sequence[bytes],
        *,
        ended: Callable[[int], None],
        cwd: bytes | None = None,
        env: Mapping[bytes, bytes] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
    ) -> int:
        """Start a process in a session, and so a process group, of its own.

        Args:
            argv: the program, looked for in PATH, and its arguments.
            ended: is called with its wait status, from the event loop.
            cwd: its directory.
            env: its whole environment.
            stdin: file descriptor.
            stdout: file descriptor.
            stderr: file descriptor.

        Returns:
            Its process id.

        Raises:
            OSError: it cannot be started.
        """
        process = subprocess.Popen(
            argv, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
        )
        process.returncode = 0  # we reap it ourselves; else Popen's destructor would try to
        self._ended[process.pid] = ended
        return process.pid

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ended = self._ended.pop(pid, None)
            if ended is not None:
                ended(status)

    def descendants(self, pids: Iterable[int]) -> set[int]:
        """Every living process below `pids` or in one of their sessions, `pids` included.

        A daemon's session and parent are new, so it is not found here; `strays` finds it.
        """
        wanted = set(pids)
        parents: dict[int, list[int]] = {}
        found = set()
        for pid, parent, _, session in _table():
            parents.setdefault(parent, []).append(pid)
            if session in wanted:
                found.add(pid)
        queue = list(wanted | found)
        while queue:
            for child in parents.get(queue.pop(), ()):
                if child not in found:
                    found.add(child)
                    queue.append(child)
        return found | wanted

    def strays(self) -> set[int]:
        """Our children that we did not start: daemons whose parents died. With all their descendants."""
        ours = {pid for pid, parent, _, _ in _table() if parent == os.getpid()} - set(self._ended)
        return self.descendants(ours) if ours else set()

    async def end_all(self, grace: float) -> None:
        """End every process below this one: SIGTERM, and after `grace` seconds SIGKILL; returns when none is left."""
        deadline = time.monotonic() + grace
        signal_number = signal.SIGTERM
        signalled: set[int] = set()
        for _ in range(1000):  # a bound, should a process be beyond SIGKILL (uninterruptible sleep)
            self._reap()
            alive = self.descendants([os.getpid()]) - {os.getpid()}
            alive -= {pid for pid, _, state, _ in _table() if state == "Z"}
            if not alive:
                return
            if time.monotonic() > deadline and signal_number != signal.SIGKILL:
                signal_number, signalled = signal.SIGKILL, set()
            send_signal(alive - signalled, signal_number)
            signalled |= alive if signal_number != signal.SIGKILL else set()
            await asyncio.sleep(0.01)


def send_signal(pids: Iterable[int], number: int) -> None:
    """Signal each process; one that is gone already is no error."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        except PermissionError as error:  # set-uid programs
            print(f"cannot signal process {pid}: {error}", file=sys.stderr)


def _table() -> Iterable[tuple[int, int, str, int]]:
    """All processes: id, parent's id, state, session's id (`proc(5)`)."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()
        except OSError:
            continue
        yield int(entry), int(fields[1]), fields[0].decode(), int(fields[3])
