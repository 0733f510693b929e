"""The dead-man's switch: a process beside the agent that acts when no client has been heard of for too long.

It is no child of the agent and shares nothing with it but a folder, so it acts when the agent is stuck or was killed,
too. Whoever ends in order removes the folder, and the watchdog leaves.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence

from streamflow_fluxop.agent.remote.rendezvous import Meeting, remove, started
from streamflow_fluxop.agent.system.log import log, log_exception
from streamflow_fluxop.agent.system.processes import kill_with_environment, send_signal

SESSION = b"FLUXOP_SESSION"
"""Environment variable that what the agent starts itself has, but no job of a real Flux."""

_LOOK = 5.0  # seconds between two looks at most
_TRIES = 5
_COMMAND_TIMEOUT = 120.0


def start(meeting: Meeting, name: str, timeout: float, on_orphan: Sequence[str] | None) -> None:
    """Start a watchdog for a session on this machine, unless there is one.

    Args:
        meeting: the session's place.
        name: its name where others may read it.
        timeout: seconds without a sign of life after which it acts.
        on_orphan: what it runs then; None: ``flux shutdown`` where FLUX_URI names an instance. Before that it kills
            the agent and what the agent started itself.
    """
    if os.fork():
        return
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        meeting.taken(by_us=False)
        with open(os.path.join(meeting.folder, "watchdog"), "a", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os._exit(0)
            if _orphaned(os.path.join(meeting.folder, "heard"), timeout):
                _end(meeting.folder, name, on_orphan)
    except BaseException:
        log_exception()
    os._exit(0)


def _orphaned(heard: str, timeout: float) -> bool:
    """Wait until nobody has touched the file for `timeout` seconds; False if it was removed before."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < timeout:
        try:
            stamp = os.stat(heard).st_mtime_ns
        except FileNotFoundError:
            return False
        if stamp != last:  # compared with itself only: the clock of the day may be set meanwhile
            last, since = stamp, time.monotonic()
        time.sleep(max(0.02, min(_LOOK, timeout / 10)))
    return True


def _end(folder: str, name: str, on_orphan: Sequence[str] | None) -> None:
    with open(os.path.join(folder, "agent"), encoding="ascii") as file:
        pid, _, birth = file.read().partition(" ")
    if started(int(pid)) == birth:
        send_signal([int(pid)], signal.SIGKILL)
    kill_with_environment(SESSION + b"=" + name.encode())
    if on_orphan is None:
        flux = shutil.which("flux")
        on_orphan = [flux, "shutdown"] if flux is not None and "FLUX_URI" in os.environ else []
    for number in range(_TRIES if on_orphan else 0):
        try:
            done = subprocess.run(on_orphan, stdin=subprocess.DEVNULL, timeout=_COMMAND_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            log(f"{on_orphan[0]}: {error}")
        else:
            if done.returncode == 0:
                break
        time.sleep(number)
    remove(folder)
