"""Who means harm: an agent that sends what it likes, and jobs of a user who owns nothing here."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from streamflow_fluxop.agent.client.bootstrap import BOOT
from streamflow_fluxop.agent.wire.protocol import encode

HELLO = {
    "op": "hello", "protocol": 2, "backend": "embedded", "version": "x", "nodes": 1, "cores": 1, "gpus": 0,
    "hostname": "h", "pid": 1, "agent": "a" * 32, "received": 0,
}  # fmt: skip


class Adversary:
    """An agent that says hello and then `said`; it ends its stream, or falls silent until it has more to `say`."""

    def __init__(self, said: bytes = b"", *, ends: bool = False, hello: bytes = encode(HELLO)) -> None:
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        for piece in (hello, said):
            if piece:
                self._pieces.put_nowait(piece)
        if ends:
            self._pieces.put_nowait(b"")
        self.last_words = ""

    def say(self, data: bytes) -> None:
        self._pieces.put_nowait(data)

    async def read(self) -> bytes:
        return await self._pieces.get()

    def write(self, data: bytes) -> None:
        """Nobody reads."""

    async def drain(self) -> None:
        """Nobody reads."""

    async def close(self) -> None:
        """Nothing is open."""


class Nobody:
    """A user who owns nothing but a folder.

    Args:
        folder: which becomes theirs.
    """

    def __init__(self, folder: Path) -> None:
        self.uid = os.getuid() or 61000 + os.getpid() % 4000
        self.folder = folder
        self._become: list[str] = []
        if os.getuid() == 0:
            os.chown(folder, self.uid, self.uid)
            self._become = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]

    def command(self, argv: Sequence[str], processes: int = 0) -> list[str]:
        """`argv` as that user, who may have so many processes; 0: as many as they like."""
        limit = ["prlimit", f"--nproc={processes}"] if processes else []
        return [*self._become, *limit, *argv]

    def agent(self, processes: int = 0) -> list[str]:
        return self.command([self.python, "-u", "-c", BOOT], processes)

    @property
    def python(self) -> str:
        """A Python that they may run, too."""
        for python in (sys.executable, "/usr/bin/python3", shutil.which("python3") or ""):
            with open(os.devnull, "wb") as nothing:
                again = f"import os; os.execv({python!r}, [{python!r}, '-c', ''])"  # as they, who are they already
                if python and subprocess.call(self.command([python, "-c", again]), stderr=nothing) == 0:
                    return python
        raise FileNotFoundError("no Python that everybody may run")

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TMPDIR": str(self.folder)}

    def processes(self) -> list[str]:
        """What they still run."""
        if os.getuid() == self.uid:  # no other user here: ours are too many to tell
            return []
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and entry.stat().st_uid == self.uid:
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                    if state != "Z":
                        found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200])
            except OSError:
                continue
        return found
