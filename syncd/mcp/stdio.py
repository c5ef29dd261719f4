"""The protocol over standard input and output, without a thread between: a call takes half as long."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server import Server
from mcp.server.stdio import stdio_server

#: Bytes of one message: an upload in base64 is one line.
LONGEST = 64 * 1024 * 1024


class _Lines:
    """Standard input as lines of text."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    def __aiter__(self) -> "_Lines":
        return self

    async def __anext__(self) -> str:
        line = await self._reader.readline()
        if not line:
            raise StopAsyncIteration
        return line.decode("utf-8", "replace")


class _Writer:
    """Standard output."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def write(self, text: str) -> None:
        """Hand over a line."""
        self._writer.write(text.encode())

    async def flush(self) -> None:
        """Wait while the other end is slow."""
        await self._writer.drain()


@asynccontextmanager
async def _pipes() -> AsyncIterator[tuple[Any, Any]]:
    """Both ends, with descriptors 0 and 1 turned elsewhere, so that no stray print reaches the wire."""
    loop = asyncio.get_running_loop()
    wire_in, wire_out = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    with open(os.devnull, "rb") as nothing:  # noqa: ASYNC230, PTH123 - it never waits
        os.dup2(nothing.fileno(), 0)
    os.dup2(sys.stderr.fileno(), 1)
    reader = asyncio.StreamReader(limit=LONGEST)
    incoming, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), wire_in)
    outgoing, flow = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, wire_out)
    try:
        yield _Lines(reader), _Writer(asyncio.StreamWriter(outgoing, flow, None, loop))
    finally:
        incoming.close()
        outgoing.close()


async def serve(server: Server[Any]) -> None:
    """Serve until the client closes its end."""
    async with _pipes() as (lines, writer), stdio_server(lines, writer) as (read, write):
        await server.run(read, write, server.create_initialization_options())
