# ruff: noqa: S101 (a test asserts)
"""The contract of HTTP: whatever a server answers, the connector raises our errors and stays usable."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import stamina
from aiohttp import web
from aiohttp.test_utils import TestServer

from syncd.connector import Changes, Connector
from syncd.errors import (
    AccountError,
    Forbidden,
    Gone,
    OutcomeUnknown,
    RateLimited,
    Refused,
    TryLater,
    Unauthorized,
    VersionConflict,
)
from syncd.model import Body, Comment, Ticket

JSON = {"Content-Type": "application/json"}
HTML = b"<!doctype html><html><body>Please log in</body></html>"


@dataclass
class Wire:
    """A server that gives the same answer to every call, or breaks in the way that `fault` names."""

    url: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    fault: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    #: Answers that come before the standing one.
    first: list[tuple[int, Mapping[str, str], bytes]] = field(default_factory=list)

    def answer(self, status: int, body: bytes = b"{}", headers: Mapping[str, str] | None = None) -> None:
        """Give this answer to every call from now on."""
        self.status, self.body, self.headers, self.fault = status, body, headers or JSON, ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a call."""
        self.calls.append((request.method, request.path))
        await request.read()
        if self.fault == "hang":
            await asyncio.sleep(30)
        if self.fault == "reset" and request.transport:
            request.transport.abort()
        if self.fault == "half":
            return await self._half(request)
        status, headers, body = self.first.pop(0) if self.first else (self.status, self.headers, self.body)
        return web.Response(status=status, headers=headers, body=body)

    async def _half(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**JSON, "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"half": ')
        assert request.transport
        request.transport.close()
        return response


@dataclass(frozen=True, slots=True)
class Call:
    """One of the connector's calls, whatever it is about."""

    name: str
    make: Callable[[Connector], Awaitable[Any]]

    def __str__(self) -> str:
        return self.name


async def read_feeds(connector: Connector) -> None:
    """Read every feed from its start."""
    for stream in connector.streams:
        async for _ in connector.changes(stream, None):
            pass


READS = (
    Call("get", lambda connector: connector.get("1")),
    Call("get_many", lambda connector: connector.get_many(["1", "2"])),
    Call("find", lambda connector: connector.find("syncd:wire:gorgias:1")),
    Call("vocabulary", lambda connector: connector.vocabulary()),
    Call("changes", read_feeds),
)
DRAFT = Ticket("1", "A parcel is lost")
WRITES = (
    Call("create", lambda connector: connector.create(DRAFT, "syncd:wire:gorgias:1", {})),
    Call("update", lambda connector: connector.update(DRAFT, Changes({"subject": "Found"}))),
    Call("comment", lambda connector: connector.comment("1", Comment("2", Body("Where is it?")), [])),
)
every_read = pytest.mark.parametrize("call", READS, ids=str)
every_write = pytest.mark.parametrize("call", WRITES, ids=str)
every_call = pytest.mark.parametrize("call", READS + WRITES, ids=str)


class WireContract:
    """Inherit this and override `connect`; the server answers every call alike, so opening must work without one."""

    #: Set it when `connect` makes a connector that gives up on a silent server within this many seconds.
    read_timeout: float | None = None

    def connect(self, url: str) -> AbstractAsyncContextManager[Connector]:
        """The connector, configured for a server at this address."""
        raise NotImplementedError("override `connect`")

    @pytest_asyncio.fixture
    async def wire(self) -> AsyncIterator[Wire]:
        """The server, and no pauses between a connector's attempts."""
        wire = Wire()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", wire.handle)
        async with TestServer(app) as server:
            wire.url = str(server.make_url("")).rstrip("/")
            with stamina.set_testing(True, attempts=2):
                yield wire

    async def failure(self, wire: Wire, call: Call) -> AccountError:
        """The error that the call raises; anything but ours fails the test."""
        with pytest.raises(AccountError) as raised:
            async with asyncio.timeout(20), self.connect(wire.url) as connector:
                await call.make(connector)
        assert not isinstance(raised.value, aiohttp.ClientError | OSError)
        return raised.value

    @every_call
    @pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Forbidden)])
    async def test_credentials_that_do_not_reach_are_told_apart(
        self, wire: Wire, call: Call, status: int, kind: type[AccountError]
    ) -> None:
        """401 stops a side and 403 one object: neither is ever taken for an absence."""
        wire.answer(status)
        assert isinstance(await self.failure(wire, call), kind)

    async def test_404_is_gone(self, wire: Wire) -> None:
        """A ticket that answers 404 is Gone."""
        wire.answer(404)
        assert isinstance(await self.failure(wire, READS[0]), Gone)

    @pytest.mark.parametrize(("status", "kind"), [(409, VersionConflict), (422, Refused)])
    async def test_a_refused_update_says_why(self, wire: Wire, status: int, kind: type[AccountError]) -> None:
        """409 asks to look again, 422 is Refused; neither is repeated as it is."""
        wire.answer(status, b'{"error": "subject is not taken"}')
        assert isinstance(await self.failure(wire, WRITES[1]), kind)

    @every_call
    async def test_a_rate_limit_is_waited_out(self, wire: Wire, call: Call) -> None:
        """After 429 the same call is made again, not before `Retry-After` has passed."""
        wire.answer(403)
        wire.first = [(429, {**JSON, "Retry-After": "0.2"}, b"{}")]
        started = asyncio.get_running_loop().time()
        assert not isinstance(await self.failure(wire, call), RateLimited)
        assert asyncio.get_running_loop().time() - started >= 0.2
        assert wire.calls[0] == wire.calls[1]

    @every_read
    async def test_a_server_in_trouble_is_tried_later(self, wire: Wire, call: Call) -> None:
        """A read that answers 503 is TryLater and keeps `Retry-After`."""
        wire.answer(503, HTML, {"Retry-After": "0", "Content-Type": "text/html"})
        error = await self.failure(wire, call)
        assert isinstance(error, TryLater)
        assert error.retry_after == 0

    @every_write
    async def test_a_write_with_a_lost_answer_is_not_repeated(self, wire: Wire, call: Call) -> None:
        """A write whose answer is a 502 may have landed: it is sent once, and its outcome is unknown."""
        wire.answer(502, HTML, {"Content-Type": "text/html"})
        error = await self.failure(wire, call)
        assert isinstance(error, TryLater)
        sent = [method for method, _ in wire.calls if method not in {"GET", "HEAD"}]
        assert len(sent) <= 1
        assert isinstance(error, OutcomeUnknown) or not sent

    @every_call
    @pytest.mark.parametrize("body", [HTML, b'{"ticket": {"id": 1, "subj', b"\xff\xfe"], ids=["HTML", "half", "bytes"])
    async def test_a_success_that_is_no_json_is_a_failure(self, wire: Wire, call: Call, body: bytes) -> None:
        """A login page, or half an answer, is an error: never an empty list, and never an absence."""
        wire.answer(200, body)
        assert not isinstance(await self.failure(wire, call), Gone | Refused)

    @every_call
    @pytest.mark.parametrize("fault", ["reset", "half"])
    async def test_a_connection_that_breaks_is_tried_later(self, wire: Wire, call: Call, fault: str) -> None:
        """A connection that is reset, or ends in the middle of an answer, is TryLater."""
        wire.fault = fault
        assert isinstance(await self.failure(wire, call), TryLater)

    async def test_a_server_that_is_not_there_is_tried_later(self, wire: Wire) -> None:
        """A port where nobody listens is TryLater, with a hint."""
        wire.url = "http://127.0.0.1:1"
        error = await self.failure(wire, READS[0])
        assert isinstance(error, TryLater)
        assert error.hint

    async def test_a_silent_server_can_be_left(self, wire: Wire) -> None:
        """A call that hangs can be cancelled, and the session is usable afterwards."""
        async with self.connect(wire.url) as connector:
            wire.fault = "hang"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connector.get("1"), 0.3)
            wire.answer(404)
            with pytest.raises(Gone):
                await connector.get("1")

    async def test_a_silent_server_is_given_up(self, wire: Wire) -> None:
        """A call that hangs is TryLater after the connector's own time."""
        if self.read_timeout is None:
            pytest.skip("set `read_timeout` to that of a connector made for this test")
        wire.fault = "hang"
        assert isinstance(await self.failure(wire, READS[0]), TryLater)

    async def test_no_error_shows_a_secret(self, wire: Wire) -> None:
        """What an error says never holds the credentials that the call carried."""
        wire.answer(401)
        error = await self.failure(wire, READS[0])
        async with self.connect(wire.url) as connector:
            carried = connector.transport.credentials if connector.transport else {}
        text = f"{error} {error.detail} {error.hint}"
        assert not any(secret and secret in text for secret in carried.values())
