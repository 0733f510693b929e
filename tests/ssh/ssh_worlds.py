"""A real sshd, and a real Flux instance, for the tests."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from streamflow_fluxop.agent.system.processes import with_environment
from streamflow_fluxop.config.ssh import SSHConfig

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
FLUX = shutil.which("flux")
needs_sshd = pytest.mark.skipif(SSHD is None, reason="no `sshd` here: install openssh-server to test cluster: ssh")
needs_flux = pytest.mark.skipif(FLUX is None, reason="no `flux` on the PATH")


class Sshd:
    """An SSH server for this user, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for key in ("host", "user", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        host = " ".join((folder / "host.pub").read_text().split()[:2])
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host}\n")
        path = f"{os.path.dirname(FLUX)}:{os.environ['PATH']}" if FLUX else os.environ["PATH"]
        (folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/pid\n"
            f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            f"PermitRootLogin prohibit-password\nSetEnv PATH={path} FLUXOP_TEST=sshd-{self.port}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        assert SSHD is not None
        if os.getuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        self._process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(self.folder / "config")], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except ConnectionRefusedError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("sshd does not start")

    def stop(self) -> None:
        """End the server and break every connection that it serves."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._process.kill()
        self._process.wait()
        for child in children:
            with suppress(ProcessLookupError):  # a connection that was over
                os.kill(int(child), signal.SIGKILL)

    def config(self, **fields: Any) -> SSHConfig:
        values = {
            "host": "127.0.0.1", "port": self.port, "user": getpass.getuser(), "keys": [str(self.folder / "user")],
            "known_hosts": str(self.folder / "known_hosts"), "python": shutil.which("python3"),
        }  # fmt: skip
        return SSHConfig(**{**values, **fields})

    def running(self) -> set[int]:
        return with_environment(f"FLUXOP_TEST=sshd-{self.port}".encode())


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def instance() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A Flux instance that is there already, and its URI."""
    assert FLUX is not None
    instance = subprocess.Popen(
        [FLUX, "start", "sh", "-c", 'echo "$FLUX_URI"; exec cat'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert instance.stdout is not None
    assert instance.stdin is not None
    yield instance.stdout.readline().strip(), instance
    instance.stdin.close()
    instance.stdout.close()
    instance.wait(20)
