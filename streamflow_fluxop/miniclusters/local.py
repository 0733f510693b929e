"""MiniClusters on this machine: a real Flux instance where there is a `flux`, else the embedded scheduler."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from streamflow_fluxop.agent.client.bootstrap import BOOT
from streamflow_fluxop.agent.client.client import AgentClient, AgentError, ConnectionLost
from streamflow_fluxop.agent.client.transport import ProcessStream
from streamflow_fluxop.agent.remote.rendezvous import started
from streamflow_fluxop.agent.system.processes import MARK, send_signal, to_text, with_environment
from streamflow_fluxop.miniclusters.base import Cluster, MiniCluster, MiniClusterError
from streamflow_fluxop.miniclusters.environment import job_environment
from streamflow_fluxop.miniclusters.scripts import here
from streamflow_fluxop.model import Flavour

logger = logging.getLogger(__name__)

MAX_BROKERS = 16
"""Nodes above which no real Flux instance is started: each needs a broker, some 20 MiB and a process, of its own."""

_PACKAGES = str(Path(__file__).parents[2])
_AFTER_FLUX = """\
python=$1 script=$2 path=$3 mark=$4; shift 4; "$@"; code=$?
rm -rf "$0"; [ $code -eq 0 ] || "$python" -c "$script" "$path" "$mark"; exit $code
"""
"""Runs Flux, and cleans up after it should our process be killed without mercy, or Flux have left in disorder.

An instance whose agent or broker was killed can end before its jobs: Flux then kills their shells, not what these run.
"""

_END_THE_REST = """\
import os,sys
sys.path[:]=[*filter(None,sys.path),sys.argv[1]]
from streamflow_fluxop.agent.system.processes import MARK, kill_with_environment
kill_with_environment(MARK+b'='+os.fsencode(sys.argv[2]),spare=(os.getpid(),os.getppid()))
"""


class LocalCluster(Cluster):
    """This machine.

    Args:
        backend: what runs the jobs, see `LocalMiniCluster`.
        preserve: what jobs see of this process's environment, see `job_environment`.
    """

    def __init__(self, backend: Literal["auto", "flux", "embedded"] = "auto", preserve: Sequence[str] = ()) -> None:
        self._backend = backend
        self._preserve = preserve
        self._told: set[str] = set()

    def minicluster(
        self, name: str, flavour: Flavour, size: int, *, image: str | None = None, max_size: int | None = None
    ) -> LocalMiniCluster:
        """See `Cluster.minicluster`."""
        return LocalMiniCluster(
            name,
            flavour,
            size,
            image=image,
            max_size=max_size,
            backend=self._backend,
            told=self._told,
            preserve=self._preserve,
        )

    async def shell(self, script: str, timeout: float) -> tuple[int, str]:
        """See `Cluster.shell`."""
        return await here(script, timeout)

    async def close(self) -> None:
        """See `Cluster.close`: nothing is shared."""


class LocalMiniCluster(MiniCluster):
    """See `MiniCluster`; its nodes are as the flavour says, whatever this machine has.

    With a `flux` on the PATH it is a Flux instance of its own, a broker a node, with the flavour as configured
    resources (flux-config-resource(5)); else, or with more than `MAX_BROKERS` nodes, the agent's embedded scheduler.
    The agent is the instance's initial program: when it ends, or this process does, the instance ends.

    Args:
        name: see `MiniCluster`.
        flavour: see `MiniCluster`.
        size: see `MiniCluster`.
        image: is not used: steps run with what this machine has.
        max_size: see `MiniCluster`.
        backend: "auto" chooses as said above.
        told: why the embedded scheduler is used has been said already.
        preserve: see `job_environment`.
    """

    def __init__(
        self,
        name: str,
        flavour: Flavour,
        size: int,
        *,
        image: str | None = None,
        max_size: int | None = None,
        backend: Literal["auto", "flux", "embedded"] = "auto",
        told: set[str] | None = None,
        preserve: Sequence[str] = (),
    ) -> None:
        super().__init__(name, flavour, size, image=image, max_size=max_size)
        self._backend = backend
        self._told = set() if told is None else told
        self._preserve = preserve
        self._folder: Path | None = None
        self._mark = ""
        self._agent = 0, ""  # its id and birth
        self._lock = asyncio.Lock()

    async def up(self) -> None:
        """See `MiniCluster.up`."""
        async with self._lock:
            if self._client is not None:
                return
            try:
                await self._unless_interrupted(self._up())
            except BaseException as error:
                await self._clean()
                if isinstance(error, (AgentError, ConnectionLost, OSError)):
                    raise MiniClusterError(self.name, str(error)) from error
                raise

    async def down(self) -> None:
        """See `MiniCluster.down`."""
        self._interrupt()
        async with self._lock:
            await self._clean()

    async def _up(self) -> None:
        flux = shutil.which("flux") if self._backend != "embedded" else None
        if self._backend == "flux" and flux is None:
            raise OSError("there is no `flux` on the PATH")
        self._mark = f"{self.name}-{uuid.uuid4().hex}"
        options: dict[str, Any] = {}
        if flux is not None and (self.size <= MAX_BROKERS or self._backend == "flux"):
            argv = self._flux_command(flux)
            # several MiniClusters share this machine's cores, and the flavour may have more than there are
            options.update(backend="flux", flux={"shell": {"cpu-affinity": "off"}})
        else:
            if self._backend == "embedded":
                why = "the file says `scheduler: embedded`"
            else:
                why = "no `flux` on the PATH" if flux is None else f"{self.size} brokers are too many for one machine"
            if why not in self._told:
                self._told.add(why)
                logger.info(
                    "MiniCluster %s: %s, so the embedded scheduler takes Flux's place. It keeps Flux's rules, but runs "
                    "every job as a process of this machine, whose cores and GPUs are not those of its nodes.",
                    self.name, why,
                )  # fmt: skip
            argv = [sys.executable, "-u", "-c", BOOT]
            options.update(backend="embedded", nodes=[(self.flavour.cores, self.flavour.gpus)] * self.size)
        stream = await ProcessStream.start(
            argv, name=self.name, env={**job_environment(self._preserve), to_text(MARK): self._mark}
        )
        self._client = AgentClient(stream, name=self.name, **options)
        await self._client.start()
        pid = self._client.hello.pid
        self._agent = pid, started(pid)

    def _flux_command(self, flux: str) -> list[str]:
        # the brokers' sockets are in there, and a socket's path has at most 107 bytes
        self._folder = Path(tempfile.mkdtemp(prefix="fluxop-"))
        run = self._folder / "run"
        run.mkdir(mode=0o700)
        config = self._folder / "config.toml"
        config.write_text(flavour_config(self.name, self.flavour, self.size))
        start = [flux, "start", f"--test-size={self.size}", f"--test-rundir={run}", f"--config-path={config}"]
        after = ["/bin/sh", "-c", _AFTER_FLUX, str(self._folder), sys.executable, _END_THE_REST, _PACKAGES, self._mark]
        # the agent leaves no job: what Flux would run to end them, four Pythons, takes most of a second
        by_itself = "FLUX_DISABLE_JOB_CLEANUP"
        agent = ["env", "-u", by_itself, flux, "python", "-u", "-c", BOOT]
        return ["env", f"{by_itself}=1", *after, *start, *agent]

    async def _clean(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        if self._mark:
            await self._kill_the_rest(MARK + b"=" + self._mark.encode())
            self._mark = ""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def _kill_the_rest(self, mark: bytes) -> None:
        """Nothing is left, unless somebody killed the agent, or the brokers, without mercy."""
        left = self._left(mark)
        if left:
            logger.warning("MiniCluster %s: killing %d processes that were left behind", self.name, len(left))
        for _ in range(200):
            if not left:
                return
            send_signal(left, signal.SIGKILL)
            await asyncio.sleep(0.01)  # no event tells the end of processes that are not our children
            left = self._left(mark)

    def _left(self, mark: bytes) -> set[int]:
        """What still runs; the agent's environment is nothing that others may read."""
        pid, birth = self._agent
        return with_environment(mark) | ({pid} if birth and started(pid) == birth else set())


def flavour_config(name: str, flavour: Flavour, size: int) -> str:
    """Flux's configuration for nodes as the flavour says, whatever the machine has (flux-config-resource(5))."""
    host = re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-") or "node"  # it may come from somebody else's document
    gpus = f'gpus = "{_ids(flavour.gpus)}"\n' if flavour.gpus else ""
    return (
        f'[resource]\nnoverify = true\n[[resource.config]]\nhosts = "{host}-[{_ids(size)}]"\n'
        f'cores = "{_ids(flavour.cores)}"\n{gpus}'
    )


def _ids(count: int) -> str:
    """The first `count` ids as a Flux idset (RFC 22), which knows no range of one."""
    return "0" if count == 1 else f"0-{count - 1}"
