"""How a new stream finds the agent that lost its old one.

Who starts an agent for a session looks for one that is there already: it listens on a unix socket in a directory that
only its user may enter. Where there is one, the newcomer gives it its standard input, output and error (`SCM_RIGHTS`,
unix(7)), so that no byte has to be relayed, and stays until the agent lets them go. Where there is none, the newcomer
forks it, and stays likewise: whoever kills the process that came over the stream does not kill the agent.

Jobs of the same user reach that directory, too. So both prove to each other that they know the session's name, which
comes over the stream and is written nowhere: HMACs of two random challenges, as `multiprocessing.connection` has them.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import hashlib
import hmac
import os
import shutil
import socket
import stat
import tempfile
import time
from typing import TYPE_CHECKING

from streamflow_fluxop.agent.remote.channel import Link
from streamflow_fluxop.agent.system.log import log

if TYPE_CHECKING:
    from collections.abc import Callable

_PATH_MAX = 107  # bytes of a unix socket's path
_PATIENCE = 20.0  # seconds that an agent has to prove who it is, and to take our descriptors
_RANDOM = 32  # bytes of a challenge; a proof has as many
_ARRIVING = 16  # newcomers who have not proved who they are yet; of more, the first ones are sent away


class Meeting:
    """The place where an agent of a session can be found.

    Args:
        session: unguessable, chosen by the client.
    """

    def __init__(self, session: str) -> None:
        self._session = session.encode()
        self.folder = _private_folder(public_name(session))
        self._path = os.path.join(self.folder, "socket")
        self._heard = os.path.join(self.folder, "heard")
        self._listener = socket.socket(socket.AF_UNIX)

    def hand_over(self) -> bool:
        """Give standard input, output and error to the agent, if there is one, and wait until it has done with them."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with socket.socket(socket.AF_UNIX) as agent:
                try:
                    agent.connect(self._path)
                except OSError:  # nobody has ever been there, or nobody is any more
                    return False
                agent.settimeout(max(0.1, deadline - time.monotonic()))
                try:
                    self._know(agent)
                    agent.sendmsg([b"0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
                except PermissionError as error:
                    log(f"who listens here is not our agent: {error}")
                    return False
                except OSError as error:  # it ended just now, or too many came at once
                    log(f"the agent did not take the stream: {error}")
                    time.sleep(0.1)
                    continue
                self._unlock()
                agent.settimeout(None)
                try:
                    agent.recv(1)
                except OSError as error:
                    log(f"the agent broke off: {error}")
                return True
        return False

    def _know(self, agent: socket.socket) -> None:
        """Prove that we know the session, and see the same proof.

        Raises:
            OSError: there is none; `PermissionError` for a wrong one.
        """
        challenge, ours = _exactly(agent, _RANDOM), os.urandom(_RANDOM)
        agent.sendall(ours + self._proof(b"newcomer", challenge, ours))
        if not hmac.compare_digest(_exactly(agent, _RANDOM), self._proof(b"agent", challenge, ours)):
            raise PermissionError("a wrong proof")

    def _proof(self, who: bytes, challenge: bytes, answer: bytes) -> bytes:
        return hmac.new(self._session, who + challenge + answer, hashlib.sha256).digest()

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
        arriving: list[_Arrival] = []

        def accept() -> None:
            try:
                newcomer, _ = self._listener.accept()
            except OSError as error:
                log(f"nobody came after all: {error}")
                return
            if len(arriving) >= _ARRIVING:
                arriving[0].leave("too many came at once")
            arriving.append(_Arrival(newcomer, self._proof, came, arriving.remove))

        asyncio.get_running_loop().add_reader(self._listener, accept)

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


class _Arrival:
    """Somebody who came to the agent's socket, until it is known who.

    Args:
        newcomer: the connection.
        proof: of who knows the session.
        came: is called with the link that it brings.
        over: is called when it has come, or was sent away.
    """

    def __init__(
        self,
        newcomer: socket.socket,
        proof: Callable[[bytes, bytes, bytes], bytes],
        came: Callable[[Link], None],
        over: Callable[[_Arrival], None],
    ) -> None:
        self._newcomer = newcomer
        self._proof = proof
        self._came = came
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._challenge = os.urandom(_RANDOM)
        self._answer = b""
        self._known = False
        newcomer.setblocking(False)
        self._timer = self._loop.call_later(_PATIENCE, self.leave, "it says nothing")
        self._loop.add_reader(newcomer, self._readable)
        self._newcomer.send(self._challenge)

    def leave(self, why: str) -> None:
        """Send it away."""
        log(f"somebody came who is not our client: {why}")
        self._forget()
        self._newcomer.close()

    def _forget(self) -> None:
        self._loop.remove_reader(self._newcomer)
        self._timer.cancel()
        self._over(self)

    def _readable(self) -> None:
        try:
            if self._known:
                self._receive()
            else:
                self._look()
        except BlockingIOError:
            return
        except OSError as error:
            self.leave(str(error))

    def _look(self) -> None:
        data = self._newcomer.recv(2 * _RANDOM - len(self._answer))
        if not data:
            raise OSError("it left")
        self._answer += data
        if len(self._answer) < 2 * _RANDOM:
            return
        theirs, proof = self._answer[:_RANDOM], self._answer[_RANDOM:]
        if not hmac.compare_digest(proof, self._proof(b"newcomer", self._challenge, theirs)):
            raise OSError("a wrong proof")
        self._known = True
        self._newcomer.send(self._proof(b"agent", self._challenge, theirs))

    def _receive(self) -> None:
        descriptors = array.array("i")
        space = socket.CMSG_SPACE(3 * descriptors.itemsize)
        _, ancillary, _, _ = self._newcomer.recvmsg(1, space, socket.MSG_CMSG_CLOEXEC)
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        if len(descriptors) != 3:
            for descriptor in descriptors:
                os.close(descriptor)
            raise OSError("it brought no stream")
        source, sink, errors = descriptors
        self._forget()
        self._came(Link(source, sink, errors, [self._newcomer.detach()]))


def public_name(session: str) -> str:
    """What a session is called where others may read it: nobody finds the session from that."""
    return hashlib.sha256(b"fluxop " + session.encode()).hexdigest()[:16]


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise OSError("it left")
        data += piece
    return data


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


def _private_folder(name: str) -> str:
    """A folder of ours alone, the same one each time: where somebody has taken a place, the next one.

    Temporary directories come first: what is in XDG_RUNTIME_DIR goes with the user's last login, and an agent that lost
    its stream would not be found again.
    """
    user = f"fluxop-{os.getuid()}"
    places = [os.path.join(parent, user) for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp")]
    places += [os.path.join(parent, "fluxop") for parent in [os.environ.get("XDG_RUNTIME_DIR", "")] if parent]
    places.append(os.path.join(os.path.expanduser("~"), ".fluxop"))
    problem: OSError | None = None
    for place in dict.fromkeys(places):
        folder = os.path.join(place, name)
        if len(os.fsencode(folder)) + len("/socket") > _PATH_MAX:
            continue
        try:
            _make_private(folder)
        except OSError as error:
            problem = problem or error
        else:
            return folder
    raise problem or OSError("no place for a socket: all paths are too long")


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
