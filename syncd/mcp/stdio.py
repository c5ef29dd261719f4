"""The protocol over standard input and output, without a thread or a queue between: that halves what a call costs."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import orjson
from mcp import types
from mcp.server import Server
from mcp.shared.message import SessionMessage

#: Bytes of one message: an upload in base64 is one line.
LONGEST = 64 * 1024 * 1024


class _Stream:
    """What the SDK's own streams have in common."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Nothing: who opened the pipes closes them."""


class _Incoming(_Stream):
    """Messages, a line each; a line that is none is handed on as the exception that says why."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            line = await self._reader.readline()
        except ValueError as error:  # longer than LONGEST: the reader has thrown it away
            return error
        if not line:
            raise StopAsyncIteration
        try:
            return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
        except ValueError as error:
            return error

    async def receive(self) -> SessionMessage | Exception:
        """The next one."""
        return await self.__anext__()


class _Outgoing(_Stream):
    """Messages, each written as a line."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, item: SessionMessage, /) -> None:
        """Write it, and wait while the other end is slow."""
        said = item.message
        if isinstance(said, types.JSONRPCResponse):
            line = orjson.dumps({"jsonrpc": "2.0", "id": said.id, "result": said.result})
        else:
            line = said.model_dump_json(by_alias=True, exclude_unset=True).encode()
        self._writer.write(line + b"\n")
        await self._writer.drain()


@asynccontextmanager
async def _pipes() -> AsyncIterator[tuple[_Incoming, _Outgoing]]:
    """Both ends, with descriptors 0 and 1 turned elsewhere, so that no stray print reaches the wire."""
    loop = asyncio.get_running_loop()
    wire_in, wire_out = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(sys.stderr.fileno(), 1)
    reader = asyncio.StreamReader(limit=LONGEST)
    incoming, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), wire_in)
    outgoing, flow = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, wire_out)
    try:
        yield _Incoming(reader), _Outgoing(asyncio.StreamWriter(outgoing, flow, None, loop))
    finally:
        incoming.close()
        outgoing.close()


async def serve(server: Server[Any]) -> None:
    """Serve until the client closes its end."""
    async with _pipes() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())
