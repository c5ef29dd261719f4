"""Servers for the tests of the transport: one that answers by script, and one that speaks whatever bytes it is told."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer

JSON = {"Content-Type": "application/json"}
OK = (200, JSON, b'{"id": 1}')
Step = tuple[int, Mapping[str, str], bytes]


@dataclass
class Scripted:
    """Gives the answers of its script in turn, then `last` for ever, and keeps what it was asked."""

    url: str = ""
    script: list[Step] = field(default_factory=list)
    last: Step = OK
    asked: list[web.Request] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.asked.append(request)
        await request.read()
        status, headers, body = self.script.pop(0) if self.script else self.last
        return web.Response(status=status, headers=headers, body=body)


@asynccontextmanager
async def scripted(*steps: Step, last: Step = OK) -> AsyncIterator[Scripted]:
    """A server with this script."""
    server = Scripted(script=list(steps), last=last)
    async with serving(server.handle) as server.url:
        yield server


@asynccontextmanager
async def serving(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """The address of a server that handles every request like this."""
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", handle)
    server = TestServer(app, scheme="https" if tls else "http")
    await server.start_server(ssl=tls)
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()


@dataclass
class Raw:
    """A server below HTTP: the heads of the requests it got, one for each connection."""

    url: str = ""
    heads: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def raw(talk: Callable[[asyncio.StreamWriter], Awaitable[None]], port: int = 0) -> AsyncIterator[Raw]:
    """A server that reads each request's head and lets `talk` write whatever it likes; then the connection ends."""
    server = Raw()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server.heads.append(await reader.readuntil(b"\r\n\r\n"))
            await talk(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away, which is its right
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", port)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()


def says(*parts: bytes, pause: float = 0.0) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    """Writes these bytes, with a pause before each part but the first."""

    async def talk(writer: asyncio.StreamWriter) -> None:
        for number, part in enumerate(parts):
            await asyncio.sleep(pause if number else 0)
            writer.write(part)
            await writer.drain()

    return talk
