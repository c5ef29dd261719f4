"""An ASGI application behind an aiohttp handler: same process, same port, no second server."""

import asyncio
from typing import Any

from aiohttp import web

#: Seconds between two looks whether a client that listens is still there.
GLANCE = 1.0
STREAM = b"text/event-stream"


class Bridge:
    """Passes requests on to an application; streams that are still open end when `close` is called."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._streams: set[asyncio.Task[Any]] = set()

    def close(self) -> None:
        """End what would otherwise go on for as long as its client listens."""
        for task in self._streams:
            task.cancel()

    async def __call__(self, request: web.Request, body: bytes, state: dict[str, Any]) -> web.StreamResponse:
        """The application's answer; `state` is what it finds in its scope beside the request."""
        exchange = _Exchange(request, body, self._streams)
        try:
            await self._app(_scope(request) | state, exchange.receive, exchange.send)
        finally:
            self._streams.discard(exchange.task)
        return await exchange.finished()


def _scope(request: web.Request) -> dict[str, Any]:
    headers = [(name.lower(), value) for name, value in request.raw_headers]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.rel_url.raw_path.encode(),
        "query_string": request.rel_url.raw_query_string.encode(),
        "root_path": "",
        "headers": headers,
    }


class _Exchange:
    """One request and its answer, which is begun when the application begins it."""

    def __init__(self, request: web.Request, body: bytes, streams: set[asyncio.Task[Any]]) -> None:
        self.request = request
        self.task: asyncio.Task[Any] = request.task
        self._body: bytes | None = body
        self._streams = streams
        self._response: web.StreamResponse | None = None

    async def receive(self) -> dict[str, Any]:
        """The body, and later that the client is gone."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        while self.request.transport is not None and not self.request.transport.is_closing():
            await asyncio.sleep(GLANCE)
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        """Status and headers first, then the body in parts."""
        if message["type"] == "http.response.start":
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            self._response = web.StreamResponse(status=message["status"])
            self._response.headers.extend(headers)
            if any(STREAM in value for _, value in message["headers"]):
                self._streams.add(self.task)
            await self._response.prepare(self.request)
        elif self._response is not None and message.get("body"):
            await self._response.write(message["body"])

    async def finished(self) -> web.StreamResponse:
        """The answer, all of it sent."""
        if self._response is None:
            raise web.HTTPInternalServerError
        await self._response.write_eof()
        return self._response
