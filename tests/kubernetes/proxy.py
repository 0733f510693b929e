"""A proxy between client and API server, for faults: cut streams, an API server that is away, answers that are errors.

Clients speak plain HTTP to it, it speaks TLS to the API server; one request a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

_HEAD = 1 << 16


@dataclass
class Fault:
    """What happens to the next `times` requests whose first line matches.

    Attributes:
        request: regular expression, such as ``GET .*/exec``.
        status: HTTP status of the answer; None: they reach the API server.
        cut_after: bytes of the answer after which the connection breaks.
        delay: seconds before the answer.
        event: sent as the only event of a watch, or as the answer, in place of the API server's.
        message: of the answer with `status`.
    """

    request: str
    status: int | None = None
    cut_after: int | None = None
    delay: float = 0.0
    event: dict[str, object] | None = None
    message: str = "the proxy says so"
    times: int = 1
    hits: int = 0


@dataclass
class Proxy:
    host: str
    port: int
    tls: ssl.SSLContext
    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    away: bool = False
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    def next(self, request: str, **what: object) -> Fault:
        fault = Fault(request, **what)  # type: ignore[arg-type]
        self.faults.append(fault)
        return fault

    def cut(self) -> None:
        """Break every connection that is open."""
        for writer in list(self._open):
            writer.transport.abort()

    @contextlib.contextmanager
    def _holding(self, writer: asyncio.StreamWriter):  # type: ignore[no-untyped-def]
        self._open.add(writer)
        try:
            yield
        finally:
            self._open.discard(writer)
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._holding(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            if self.away:
                writer.transport.abort()
                return
            head = await reader.readuntil(b"\r\n\r\n")
            line = head.split(b"\r\n", 1)[0].decode()
            self.requests.append(line)
            fault = next((f for f in self.faults if f.hits < f.times and re.search(f.request, line)), Fault(""))
            fault.hits += 1
            await asyncio.sleep(fault.delay)
            if fault.event is not None:
                writer.write(_answer(200, (json.dumps(fault.event) + "\n").encode()))
                return
            if fault.status is not None:
                status = {"kind": "Status", "status": "Failure", "message": fault.message, "code": fault.status}
                writer.write(_answer(fault.status, json.dumps(status).encode()))
                return
            await self._forward(head, reader, writer, fault.cut_after)

    async def _forward(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut_after: int | None
    ) -> None:
        upstream_reader, upstream = await asyncio.open_connection(self.host, self.port, ssl=self.tls)
        if b"upgrade: websocket" not in head.lower():
            head = head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        head = re.sub(rb"(?i)\r\nHost: [^\r]*", f"\r\nHost: {self.host}:{self.port}".encode(), head)
        with self._holding(upstream):
            upstream.write(head)
            up = asyncio.create_task(_pump(reader, upstream, None))
            try:
                await _pump(upstream_reader, writer, cut_after)
            finally:
                up.cancel()
                await asyncio.wait([up])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while data := await reader.read(_HEAD):
            if most is not None and len(data) >= most:
                writer.write(data[:most])
                await writer.drain()
                writer.transport.abort()
                return
            most = None if most is None else most - len(data)
            writer.write(data)
            await writer.drain()


def _answer(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} Fault\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return (head + "Retry-After: 1\r\nConnection: close\r\n\r\n").encode() + body


@contextlib.asynccontextmanager
async def proxy_to(address: str, ca: str) -> AsyncIterator[Proxy]:
    """A proxy to the API server at this address, such as https://10.0.0.1:6443."""
    host, _, port = address.removeprefix("https://").partition(":")
    proxy = Proxy(host, int(port or 443), ssl.create_default_context(cafile=ca))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=_HEAD)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def tunnel() -> AsyncIterator[Proxy]:
    """An HTTP proxy as companies have them: clients ask it to CONNECT, and speak TLS through it."""
    proxy = Proxy("", 0, ssl.create_default_context())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with proxy._holding(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n", 1)[0].decode()
            proxy.requests.append(line)
            host, _, port = line.split()[1].partition(":")
            upstream_reader, upstream = await asyncio.open_connection(host, int(port))
            with proxy._holding(upstream):
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                pumps = [_pump(reader, upstream, None), _pump(upstream_reader, writer, None)]
                tasks = [asyncio.create_task(pump) for pump in pumps]
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.wait(tasks)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=_HEAD)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        await asyncio.sleep(0)
