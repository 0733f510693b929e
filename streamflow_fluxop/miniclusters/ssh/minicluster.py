"""MiniClusters on a host behind SSH: Flux instances there, or the embedded scheduler where there is no Flux."""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import shlex
from typing import Any, Literal

import asyncssh

from streamflow_fluxop.agent.client.bootstrap import BOOT
from streamflow_fluxop.agent.client.client import AgentClient, AgentError, AgentGone, ConnectionLost
from streamflow_fluxop.agent.client.stderr_tail import LastWords
from streamflow_fluxop.agent.client.transport import ByteStream
from streamflow_fluxop.config.ssh import SSHConfig
from streamflow_fluxop.miniclusters.base import Cluster, ClusterError, MiniCluster, MiniClusterError
from streamflow_fluxop.miniclusters.external import take_size
from streamflow_fluxop.miniclusters.ssh.flux_instance import RemoteInstance
from streamflow_fluxop.miniclusters.ssh.work_folder import NoFolder, own_folder
from streamflow_fluxop.model import Flavour

logger = logging.getLogger(__name__)

_READ = 1 << 18
_SHORT = 30.0  # seconds that a small command of ours may take there
_CLOSE = 10.0


class SSHStream:
    """The stream to a process on the other host."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes], name: str) -> None:
        self._process = process
        self._name = name
        self._last_words = LastWords(logger, name)
        self._logging = asyncio.ensure_future(self._log_errors())

    @property
    def last_words(self) -> str:
        """See `ByteStream.last_words`."""
        return str(self._last_words)

    async def read(self) -> bytes:
        """See `ByteStream.read`."""
        data: bytes = await self._process.stdout.read(_READ)
        if not data:
            await asyncio.wait([self._logging], timeout=1)  # why it ended is said there
        return data

    def write(self, data: bytes) -> None:
        """See `ByteStream.write`."""
        try:
            self._process.stdin.write(data)
        except OSError as error:  # whoever reads sees the end of the stream
            logger.debug("%s: %s", self._name, error)

    async def drain(self) -> None:
        """See `ByteStream.drain`."""
        try:
            await self._process.stdin.drain()
        except (OSError, asyncssh.Error) as error:
            logger.debug("%s: %s", self._name, error)

    async def close(self) -> None:
        """See `ByteStream.close`."""
        try:
            self._process.stdin.write_eof()
        except OSError as error:
            logger.debug("%s: %s", self._name, error)
        try:
            # what it still has to say must not keep it from ending
            await asyncio.wait_for(self._read_out(), _CLOSE)
        except (OSError, asyncssh.Error, asyncio.TimeoutError) as error:
            logger.debug("%s: %s", self._name, error)
        finally:
            self._process.close()
            self._logging.cancel()
            await asyncio.wait([self._logging])

    async def _read_out(self) -> None:
        while await self._process.stdout.read(_READ):
            continue
        await self._process.wait_closed()

    async def _log_errors(self) -> None:
        try:
            while data := await self._process.stderr.read(_READ):
                self._last_words.feed(data)
        except (OSError, asyncssh.Error) as error:
            logger.debug("%s: %s", self._name, error)
        self._last_words.end()


class SSHCluster(Cluster):
    """A host behind SSH; one connection carries all MiniClusters, and is made again when it breaks.

    Args:
        config: how to reach it.
        scheduler: what runs the jobs: "auto" takes Flux where the host has it.
        flux_uri: of an instance that is there, which all MiniClusters attach to; None: each starts its own.
    """

    def __init__(
        self,
        config: SSHConfig,
        scheduler: Literal["auto", "flux", "embedded"] = "auto",
        flux_uri: str | None = None,
    ) -> None:
        self.config = config
        self.scheduler = scheduler
        self.flux_uri = flux_uri
        self._connection: asyncssh.SSHClientConnection | None = None
        self._jump: asyncssh.SSHClientConnection | None = None
        self._lock = asyncio.Lock()

    def minicluster(
        self, name: str, flavour: Flavour, size: int, *, image: str | None = None, max_size: int | None = None
    ) -> SSHMiniCluster:
        """See `Cluster.minicluster`."""
        return SSHMiniCluster(self, name, flavour, size, image=image, max_size=max_size)

    async def work_folder(self) -> str:
        """See `Cluster.work_folder`: the user's alone, there and on this machine, where expressions work in it."""
        try:
            elsewhere = bool(self.config.launcher) or self.flux_uri is not None  # other nodes have to see it
            return await own_folder(self.run, "" if elsewhere else "/tmp")
        except (OSError, asyncssh.Error, asyncio.TimeoutError) as error:
            why = words(self.config, error)
        except NoFolder as error:
            why = (
                f"no work directory can be made on {self.config.host}: {error}\n  Name one: the deployment's `workdir`."
            )
        raise ClusterError(why)

    async def shell(self, script: str, timeout: float) -> tuple[int, str]:
        """See `Cluster.shell`."""
        try:
            return await self.run(script, timeout=timeout)
        except asyncio.TimeoutError:
            raise ClusterError(f"{self.config.host}: not done after {timeout:.0f} s") from None
        except (OSError, asyncssh.Error) as error:
            raise ClusterError(words(self.config, error)) from None

    async def close(self) -> None:
        """See `Cluster.close`."""
        for connection in (self._connection, self._jump):
            if connection is not None:
                connection.close()
                await asyncio.wait([asyncio.ensure_future(connection.wait_closed())], timeout=_CLOSE)
        self._connection = self._jump = None

    async def connection(self) -> asyncssh.SSHClientConnection:
        """Connect, if we are not.

        Raises:
            OSError: the host cannot be reached.
            asyncssh.Error: it is not the host that it should be, or does not let us in.
        """
        async with self._lock:
            if self._connection is None or self._connection.is_closed():
                await self.close()
                if self.config.jump is not None:
                    self._jump = await self._connect(
                        self.config.jump.host, self.config.jump.port, self.config.jump.user
                    )
                self._connection = await self._connect(self.config.host, self.config.port, self.config.user)
            return self._connection

    async def _connect(self, host: str, port: int, user: str | None) -> asyncssh.SSHClientConnection:
        options: dict[str, Any] = {"username": user or _our_name(host), "keepalive_interval": 15}
        if self.config.keys:
            options["client_keys"] = [self._readable(key, "key file") for key in self.config.keys]
        options["known_hosts"] = self._readable(self.config.known_hosts or "~/.ssh/known_hosts", "known_hosts")
        try:
            return await asyncssh.connect(host, port, tunnel=self._jump, connect_timeout=_SHORT, **options)
        except (ValueError, asyncssh.KeyEncryptionError) as error:  # ~/.ssh/config, a key or known_hosts
            raise SSHWords(f"what is configured for {host} (ssh keys, known_hosts, ~/.ssh/config): {error}") from None

    def _readable(self, text: str, what: str) -> str:
        """A file of ours.

        Raises:
            SSHWords: it can't be read.
        """
        path = _path(text)
        if os.path.isfile(path) and os.access(path, os.R_OK):
            return path
        remedy = "write its path to `ssh.keys`"
        if what == "known_hosts":
            remedy = (
                f"connect once with `ssh {self.config.host}` and look at its key, or write a file to `ssh.known_hosts`"
            )
        raise SSHWords(f"no {what} {text} that can be read: {remedy}")

    async def run(self, script: str, *arguments: str, timeout: float | None = _SHORT) -> tuple[int, str]:
        """Run a script there and give its exit code and output."""
        command = shlex.join(["/bin/sh", "-c", script, "sh", *arguments])
        connection = await self.connection()
        done = await asyncio.wait_for(connection.run(command, stderr=asyncssh.STDOUT), timeout)
        return (1 if done.returncode is None else done.returncode), str(done.stdout or "").strip()


class SSHWords(OSError):
    """What is wrong with what is configured, in words that need no more of them."""


def _our_name(host: str) -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        raise SSHWords(f"this account has no name here: write to `ssh.user` who you are on {host}") from None


def _path(text: str) -> str:
    return os.path.expanduser(text)


class SSHMiniCluster(MiniCluster):
    """See `MiniCluster`; its nodes are as the flavour says, unless a launcher brings real ones.

    Args:
        cluster: where it runs.
        name: see `MiniCluster`.
        flavour: see `MiniCluster`.
        size: see `MiniCluster`.
        image: is not used.
        max_size: see `MiniCluster`.
    """

    def __init__(
        self,
        cluster: SSHCluster,
        name: str,
        flavour: Flavour,
        size: int,
        *,
        image: str | None = None,
        max_size: int | None = None,
    ) -> None:
        super().__init__(name, flavour, size, image=image, max_size=max_size)
        self.external = cluster.flux_uri is not None
        self._cluster = cluster
        self._config = cluster.config
        self._instance: RemoteInstance | None = None
        self._lock = asyncio.Lock()

    @property
    def client(self) -> AgentClient:
        """See `MiniCluster.client`."""
        if self._client is None or self._work is not None:
            raise MiniClusterError(self.name, "is not up")
        return self._client

    async def up(self) -> None:
        """See `MiniCluster.up`."""
        async with self._lock:
            if self._client is not None:
                return
            try:
                await self._unless_interrupted(self._up())
            except BaseException as error:
                await self._clean()
                if isinstance(error, (AgentError, ConnectionLost, OSError, asyncssh.Error, asyncio.TimeoutError)):
                    raise MiniClusterError(self.name, words(self._config, error)) from error
                raise

    async def down(self) -> None:
        """See `MiniCluster.down`."""
        self._interrupt()
        async with self._lock:
            await self._clean()

    async def _up(self) -> None:
        uri, backend = self._cluster.flux_uri, self._cluster.scheduler
        if uri is None and backend != "embedded":
            found, _ = await self._cluster.run('command -v "$1"', self._config.flux)
            if found == 0:
                self._instance = RemoteInstance(self._cluster.run, self._config, self.name, self.flavour, self.size)
                uri = await self._instance.start()
            elif backend == "flux":
                raise MiniClusterError(
                    self.name, f"there is no `{self._config.flux}` on {self._config.host}", final=True
                )
        options: dict[str, Any]
        if uri is not None:
            argv = ["env", f"FLUX_URI={uri}", self._config.flux, "python", "-u", "-c", BOOT]
            shell = {} if self.external or self._config.launcher else {"cpu-affinity": "off"}
            options = {"backend": "flux", "flux": {"shell": shell}, "on_orphan": [] if self.external else None}
        else:
            logger.info(
                "MiniCluster %s: there is no `%s` on %s, so the embedded scheduler takes Flux's place, and runs every"
                " job as a process of that host.", self.name, self._config.flux, self._config.host,
            )  # fmt: skip
            argv = [self._config.python, "-u", "-c", BOOT]
            options = {"backend": "embedded", "nodes": [(self.flavour.cores, self.flavour.gpus)] * self.size}
        command = shlex.join(argv)

        async def connect() -> ByteStream:
            try:
                connection = await self._cluster.connection()
                process = await connection.create_process(command, encoding=None)
            except (asyncssh.HostKeyNotVerifiable, asyncssh.PermissionDenied, SSHWords) as error:
                raise AgentGone(words(self._config, error)) from error
            return SSHStream(process, self.name)

        orphan_timeout = self._config.orphan_timeout
        self._client = AgentClient(
            connect,
            name=self.name,
            linger=orphan_timeout or None,
            orphan_timeout=0.0 if self.external else orphan_timeout,
            reconnect_timeout=self._config.reconnect_timeout,
            **options,
        )
        await self._client.start()
        if self.external:
            take_size(self, self._client)

    async def _clean(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        if self._instance is not None:
            instance, self._instance = self._instance, None
            try:
                code, said = await instance.end()
            except (OSError, asyncssh.Error, asyncio.TimeoutError) as error:
                code, said = 1, str(error)
            if code:
                logger.warning(
                    "MiniCluster %s may still run on %s until its orphan_timeout: %s",
                    self.name, self._config.host, said,
                )  # fmt: skip


def words(config: SSHConfig, error: BaseException) -> str:
    """Why a host can't be used, for who reads the message."""
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        known = config.known_hosts or "~/.ssh/known_hosts"
        return f"{config.host} is not the host that {known} knows ({error}): add its key there if you trust it"
    if isinstance(error, asyncssh.PermissionDenied):
        user = config.user or _our_name(config.host)
        return f"{config.host} does not let {user} in ({error}): check user and keys"
    if isinstance(error, SSHWords):
        return str(error)
    if isinstance(error, asyncio.TimeoutError):
        return f"{config.host} does not answer"
    if isinstance(error, (OSError, asyncssh.Error)):
        return f"{config.host} port {config.port}: {error}"
    return str(error)
