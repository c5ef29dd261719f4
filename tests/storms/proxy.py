"""A reverse proxy between syncd and a product; a storm decides which calls it strikes, and a kind of storm how."""

import random
import re
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

#: Headers that belong to one connection, or that the body's new form makes wrong.
OWN = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "accept-encoding"}
)
#: A connection that is reset: what was not sent yet is thrown away, and the other end is told so at once.
RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Product:
    """Where the lists of a product are, and what its rows are called."""

    rows: str
    feeds: re.Pattern[str]
    stamp: str
    search: re.Pattern[str]
    next_page: str


GORGIAS = Product(
    "data",
    re.compile(r"/api/(events|tickets|views/\d+/items)/?"),
    "updated_datetime",
    re.compile("external_id"),
    "cursor",
)
REDMINE = Product("issues", re.compile(r"(/.*)?/issues\.json"), "updated_on", re.compile(r"cf_\d+"), "offset")


@dataclass
class Storm:
    """Strikes a share of the calls that fit with one of its kinds each; the seed decides which.

    At most so many in all are struck, and so often the same one again.
    """

    kinds: Iterable[str]
    seed: float = 0
    share: float = 1.0
    most: int = 1_000_000
    again: int = 1_000_000
    only: Callable[[web.Request], bool] = lambda _request: True
    struck: Counter[str] = field(default_factory=Counter)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.kinds = tuple(self.kinds)
        self._rng = random.Random(self.seed)

    def picked(self, fitting: Callable[[str], bool], request: web.Request) -> str | None:
        """The kind that strikes this call, if any does."""
        candidates = [kind for kind in self.kinds if fitting(kind)]
        if self.struck.total() >= self.most or not candidates or not self.only(request):
            return None
        call = (request.method, request.path)
        if self._rng.random() >= self.share or self.calls[call] >= self.again:
            return None
        self.calls[call] += 1
        kind = self._rng.choice(candidates)
        self.struck[kind] += 1
        return kind


@dataclass(frozen=True)
class Passage:
    """One call on its way through."""

    proxy: "Proxy"
    request: web.Request
    body: bytes

    @property
    def is_feed(self) -> bool:
        """Whether it reads a change feed, and not single rows by their ids or markers."""
        query = self.request.query
        by_id = {"ticket_ids", "issue_id"} & set(query)
        listing = self.request.method == "GET" and self.proxy.product.feeds.fullmatch(self.request.path)
        return bool(listing) and not by_id and not self.is_search

    @property
    def is_search(self) -> bool:
        """Whether it looks for a marker."""
        return self.request.method == "GET" and any(map(self.proxy.product.search.fullmatch, self.request.query))

    @property
    def is_next_page(self) -> bool:
        """Whether it asks for a page behind the first one."""
        return self.request.query.get(self.proxy.product.next_page, "0") != "0"

    async def carried(self) -> web.Response:
        """The product's own answer."""
        headers = {name: value for name, value in self.request.headers.items() if name.lower() not in OWN}
        url = URL(self.proxy.target + self.request.raw_path, encoded=True)
        if self.proxy.page and self.is_feed:
            url = url.update_query(limit=str(self.proxy.page))
        options: dict[str, Any] = {"headers": headers, "data": self.body or None, "allow_redirects": False}
        options["skip_auto_headers"] = {"Accept-Encoding", "Content-Type"}
        async with self.proxy.session.request(self.request.method, url, **options) as answer:
            body = await answer.read()
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in OWN]
        return web.Response(status=answer.status, body=body, headers=CIMultiDict(kept))

    def reset(self) -> web.Response:
        """No answer: the connection is torn down; what is returned is never sent."""
        transport = self.request.transport
        if transport is not None:
            wire = transport.get_extra_info("socket")
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            transport.abort()
        return web.Response()

    async def bent(self, bend: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> web.Response:
        """The product's list with other rows in it."""
        response = await self.carried()
        if response.status != 200 or not isinstance(response.body, bytes):
            return response
        document = orjson.loads(response.body)
        key = self.proxy.product.rows
        before = document[key]
        document[key] = bend(list(before))
        if "total_count" in document:
            document["total_count"] += len(document[key]) - len(before)
        response.body = orjson.dumps(document)
        return response


Strike = Callable[[Passage], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Kind:
    """One kind of bad weather, and which calls it can strike.

    It is harmless where syncd need not notice anything, waited for where a call goes on as soon as it may; slow where
    each strike costs seconds.
    """

    strike: Strike
    fits: Callable[[Passage], bool] = lambda _passage: True
    harmless: bool = False
    waited_for: bool = False
    slow: bool = False


class Proxy:
    """Between syncd and one product.

    `silence` is how long a call hangs, `late` for how long lists and searches hide what is new (seconds); `page` is the
    largest page of a feed, where it is to be smaller than the product's.
    """

    def __init__(self, target: str, product: Product, kinds: dict[str, Kind]) -> None:
        self.target, self.product, self.kinds = target, product, kinds
        self.storm: Storm | None = None
        self.calls: list[tuple[str, str]] = []
        self.strayed: list[str] = []
        self.silence = 3.5
        self.late = 2.0
        self.page = 0
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.between: Callable[[], Awaitable[None]] | None = None
        self.url = ""
        self.port = 0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Proxy"]:
        """Stand between while the block runs."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as self.session:
            try:
                yield self
            finally:
                await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.url.host != "127.0.0.1":
            self.strayed.append(f"{request.method} {request.url} {sorted(request.headers)}")
        self.calls.append((request.method, request.path))
        passage = Passage(self, request, await request.read())
        storm = self.storm
        kind = storm.picked(lambda name: self.kinds[name].fits(passage), request) if storm else None
        if kind is None:
            return await passage.carried()
        return await self.kinds[kind].strike(passage)
