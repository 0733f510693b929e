"""The stream to a program in a pod: an exec websocket, as `kubectl exec -i` has one."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes_asyncio.client import ApiException, CoreV1Api
from kubernetes_asyncio.stream import WsApiClient
from kubernetes_asyncio.stream.ws_client import (
    ERROR_CHANNEL,
    STDERR_CHANNEL,
    STDIN_CHANNEL,
    STDOUT_CHANNEL,
    get_websocket_url,
)

from streamflow_fluxop.agent.client.stderr_tail import LastWords
from streamflow_fluxop.agent.wire.pace import Pace
from streamflow_fluxop.miniclusters.kubernetes.api import CONNECTION_ERRORS, Api

logger = logging.getLogger(__name__)

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_CLOSE_STDIN = bytes([255, STDIN_CHANNEL])  # v5 only: KEP 4006
_HEARTBEAT = 20.0
_CONNECT_TIMEOUT = 20.0
_FRAME = 256 * 1024
_HIGH_WATER = 1 << 20
_GRACE = 10.0

APART = 0.01
"""Seconds between two frames of one direction on a busy stream: API server, kubelet and containerd pass each one on,
which costs more than its bytes do."""


class _Sockets(WsApiClient):
    """kubernetes-asyncio's client, which knows only v4 and no proxy."""

    async def request(
        self,
        method: str,
        url: str,
        query_params: Any = None,
        headers: Any = None,
        post_params: Any = None,
        body: Any = None,
        _preload_content: bool = True,
        _request_timeout: Any = None,
    ) -> Any:
        """Open a websocket; the caller closes it, and then this client."""
        rest = self.rest_client
        return await rest.pool_manager.ws_connect(
            get_websocket_url(f"{url}?{urlencode(query_params or [], doseq=True)}"),
            headers=headers,
            protocols=_PROTOCOLS,
            heartbeat=_HEARTBEAT,
            max_msg_size=0,
            compress=0,
            proxy=rest.proxy,
            proxy_headers=rest.proxy_headers,
        )


class ExecStream:
    """A duplex byte stream to a program that runs in a pod; see `agent.stream.ByteStream`."""

    def __init__(self, sockets: WsApiClient, socket: aiohttp.ClientWebSocketResponse[Any], name: str) -> None:
        self._sockets = sockets
        self._socket = socket
        self._name = name
        self._last_words = LastWords(logger, name)
        self._unsent = bytearray()
        self._to_send = asyncio.Event()
        self._sent = asyncio.Event()
        self._sent.set()
        self._ended = asyncio.Event()
        self._being_read = False
        self._sending = asyncio.create_task(self._send(), name=f"exec of {name}")

    @classmethod
    async def start(cls, api: Api, pod: str, container: str, argv: Sequence[str], *, name: str) -> ExecStream:
        """Start a program in a running container.

        Args:
            api: with the pod's namespace.
            pod: its name.
            container: its name.
            argv: the program and its arguments.
            name: for the log.

        Raises:
            KubernetesError: it can't be started; 404: the pod is gone, 500: the container does not run.
        """
        sockets = _Sockets(api.configuration)
        connect: Any = CoreV1Api(sockets).connect_get_namespaced_pod_exec  # its types know neither lists nor sockets
        try:
            socket = await asyncio.wait_for(
                connect(
                    pod, api.namespace, container=container, command=list(argv), _preload_content=False,
                    stdin=True, stdout=True, stderr=True, tty=False,
                ),
                _CONNECT_TIMEOUT,
            )  # fmt: skip
        except aiohttp.WSServerHandshakeError as error:
            await sockets.close()
            refused = ApiException(status=error.status, reason=error.message)
            raise api.in_words("get and create", "pods/exec", refused) from None
        except CONNECTION_ERRORS as error:
            await sockets.close()
            raise api.in_words("get and create", "pods/exec", error) from None
        except BaseException:
            await sockets.close()
            raise
        return cls(sockets, socket, name)

    @property
    def last_words(self) -> str:
        """See `ByteStream.last_words`."""
        return str(self._last_words)

    @property
    def quiet(self) -> bool:
        """Whether what the program says on standard error is for debugging only."""
        return self._last_words.level == logging.DEBUG

    @quiet.setter
    def quiet(self, quiet: bool) -> None:
        self._last_words.level = logging.DEBUG if quiet else logging.INFO

    async def read(self) -> bytes:
        """See `ByteStream.read`."""
        self._being_read = True
        try:
            while not self._ended.is_set():
                message = await self._socket.receive()
                if message.type is not aiohttp.WSMsgType.BINARY:
                    self._end(message)
                    break
                channel, data = message.data[0], message.data[1:]
                if channel == STDOUT_CHANNEL and data:
                    return bytes(data)
                if channel == STDERR_CHANNEL:
                    self._last_words.feed(data)
                elif channel == ERROR_CHANNEL:
                    self._exited(data)
            return b""
        finally:
            self._being_read = False

    def write(self, data: bytes) -> None:
        """See `ByteStream.write`."""
        if not self._ended.is_set():
            self._unsent += data
            self._to_send.set()
            if len(self._unsent) > _HIGH_WATER:
                self._sent.clear()

    async def drain(self) -> None:
        """See `ByteStream.drain`."""
        await self._sent.wait()

    async def close(self, *, grace: float = _GRACE) -> None:
        """See `ByteStream.close`.

        Args:
            grace: seconds that the program gets to end by itself once its standard input has ended.
        """
        try:
            if self._socket.protocol == _PROTOCOLS[0] and not self._ended.is_set():
                await asyncio.wait_for(self._end_input(), grace)
        except CONNECTION_ERRORS as error:
            logger.debug("%s: %s", self._name, error)
        finally:
            self._end(None)
            self._sending.cancel()
            await asyncio.wait([self._sending])
            try:
                await asyncio.wait_for(self._socket.close(), 5)
            except CONNECTION_ERRORS as error:
                logger.debug("%s: %s", self._name, error)
            await self._sockets.close()

    async def _end_input(self) -> None:
        """End the program's standard input, and wait until the program has ended, which closes the socket."""
        while self._unsent:
            self._sent.clear()
            await self._sent.wait()
        await self._socket.send_bytes(_CLOSE_STDIN)
        if self._being_read:
            await self._ended.wait()
        while not self._ended.is_set():
            await self.read()  # what it still has to say must not keep it from ending

    async def _send(self) -> None:
        time = asyncio.get_running_loop().time
        pace = Pace(APART)
        try:
            while True:
                await self._to_send.wait()
                if len(self._unsent) < _FRAME and (early := pace.wait(time())):
                    await asyncio.sleep(early)
                pace.wrote(time())
                frame = bytes([STDIN_CHANNEL]) + self._unsent[:_FRAME]
                del self._unsent[:_FRAME]
                await self._socket.send_bytes(frame)
                if not self._unsent:
                    self._to_send.clear()
                if len(self._unsent) <= _HIGH_WATER // 2:
                    self._sent.set()
        except CONNECTION_ERRORS as error:  # whoever reads sees the end of the stream
            logger.debug("%s: %s", self._name, error)
            self._end(None)

    def _end(self, message: aiohttp.WSMessage | None) -> None:
        if message is not None and message.type is aiohttp.WSMsgType.ERROR:
            self._last_words.add(f"the exec stream broke: {message.data!r}")
        self._last_words.end()
        self._ended.set()
        self._unsent.clear()
        self._sent.set()

    def _exited(self, data: bytes) -> None:
        """The program's end: a `Status` object, of which only a failure is worth a line."""
        status = json.loads(data)
        if status.get("status") != "Success":
            self._last_words.add(status.get("message", "the program failed"))
