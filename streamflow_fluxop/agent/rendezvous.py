"""How a new stream finds the agent that lost its old one.

Who starts an agent for a session looks for one that is there already: it listens on a unix socket in a directory that
only its user may enter. Where there is one, the newcomer gives it its standard input, output and error (`SCM_RIGHTS`,
unix(7)), so that no byte has to be relayed, and stays until the agent lets them go. Where there is none, the newcomer
forks it, and stays likewise: whoever kills the process that came over the stream does not kill the agent.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import shutil
import socket
import stat
import tempfile
from typing import TYPE_CHECKING

from streamflow_fluxop.agent.channel import Link
from streamflow_fluxop.agent.log import log

if TYPE_CHECKING:
    from collections.abc import Callable

_PATH_MAX = 107  # bytes of a unix socket's path
_PATIENCE = 10.0  # seconds that an agent has to take our descriptors


class Meeting:
    """The place where an agent of a session can be found.

    Args:
        session: letters and digits, unguessable, chosen by the client.
    """

    def __init__(self, session: str) -> None:
        if not session.isalnum():
            raise ValueError(f"a session named {session!r}")
        self.folder = os.path.join(_users_folder(), session)
        _make_private(self.folder)
        self._path = os.path.join(self.folder, "socket")
        self._heard = os.path.join(self.folder, "heard")
        self._listener = socket.socket(socket.AF_UNIX)

    def hand_over(self) -> bool:
        """Give standard input, output and error to the agent, if there is one, and wait until it has done with them."""
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(_PATIENCE)
            try:
                agent.connect(self._path)
                agent.sendmsg([b"0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
            except OSError:  # nobody has ever been there, or nobody is any more
                return False
            self._unlock()
            agent.settimeout(None)
            try:
                agent.recv(1)
            except OSError as error:
                log(f"the agent broke off: {error}")
            return True

    def lock(self) -> None:
        """Wait until nobody else who comes to this place is about to become its agent."""
        self._lock = os.open(os.path.join(self.folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def _unlock(self) -> None:
        os.close(self._lock)

    def take(self) -> None:
        """Become the one who is found here."""
        if os.path.exists(self._path):
            os.unlink(self._path)
        self._listener.bind(self._path)
        self._listener.listen(8)
        self.hear()

    def taken(self, *, by_us: bool) -> None:
        """Let others look for the agent; close what is not ours (after a fork)."""
        self._unlock()
        if by_us:
            with open(os.path.join(self.folder, "agent"), "w", encoding="ascii") as file:
                file.write(f"{os.getpid()} {started(os.getpid())}")
        else:
            self._listener.close()

    def hear(self) -> None:
        """Note that the client was heard of, for the watchdog."""
        try:
            with open(self._heard, "a", encoding="ascii"):
                os.utime(self._heard)
        except OSError as error:  # the disk is full, or the folder was removed
            log(f"cannot note a sign of life: {error}")

    def listen(self, came: Callable[[Link], None]) -> None:
        """Call `came` with each new link."""
        self._listener.setblocking(False)
        loop = asyncio.get_running_loop()

        def accept() -> None:
            try:
                newcomer, _ = self._listener.accept()
            except OSError as error:
                log(f"nobody came after all: {error}")
                return
            newcomer.setblocking(False)
            loop.add_reader(newcomer, receive, newcomer)

        def receive(newcomer: socket.socket) -> None:
            loop.remove_reader(newcomer)
            descriptors = array.array("i")
            try:
                _, ancillary, _, _ = newcomer.recvmsg(1, socket.CMSG_SPACE(3 * descriptors.itemsize))
            except OSError as error:
                log(f"the newcomer left: {error}")
                ancillary = []
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
            if len(descriptors) != 3:
                newcomer.close()
                return
            source, sink, errors = descriptors
            came(Link(source, sink, errors, [newcomer.detach()]))

        loop.add_reader(self._listener, accept)

    def leave(self, *, forget: bool) -> None:
        """Be found no more.

        Args:
            forget: remove the place; else the watchdog goes on waiting for a sign of life.
        """
        self._listener.close()
        if forget:
            remove(self.folder)
        elif os.path.exists(self._path):
            os.unlink(self._path)


def meet(session: str, prepare: Callable[[Meeting], None]) -> tuple[Meeting, Link]:
    """Find the agent of a session, or become it: this returns in a new process that is the agent, and in no other.

    Args:
        session: see `Meeting`.
        prepare: is called before there is a new agent, in the process that stays behind.
    """
    meeting = Meeting(session)
    meeting.lock()
    if meeting.hand_over():
        os._exit(0)
    meeting.take()
    prepare(meeting)
    leash, ours = socket.socketpair()
    if os.fork():
        ours.close()
        meeting.taken(by_us=False)
        leash.recv(1)
        os._exit(0)
    leash.close()
    os.setsid()
    meeting.taken(by_us=True)
    return meeting, Link(os.dup(0), os.dup(1), os.dup(2), [ours.detach()])


def remove(folder: str) -> None:
    """Remove a session's folder, and the user's where it was the last one."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        os.rmdir(os.path.dirname(folder))
    except OSError:
        return  # other sessions are there


def started(pid: int) -> str:
    """When a process started, in the kernel's words: its id alone may be another's tomorrow."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _users_folder() -> str:
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        folder = os.path.join(parent, f"fluxop-{os.getuid()}")
        if len(os.fsencode(folder)) + 50 < _PATH_MAX:
            break
    return folder


def _make_private(folder: str) -> None:
    for path in (os.path.dirname(folder), folder):
        for _ in range(100):  # somebody who leaves may remove the parent between the two
            try:
                os.makedirs(path, mode=0o700, exist_ok=True)
                about = os.lstat(path)
                break
            except FileNotFoundError:
                continue
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
            raise PermissionError(f"{path} is not a directory of ours alone")
