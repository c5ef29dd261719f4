"""JSON over one aiohttp session: the account's rate budget, retry of safe calls, and statuses as our errors.

A read is repeated on a passing fault; a write never is, because only the engine knows how to find out whether it
landed. A 429 was not carried out, so it is repeated whatever the method.
"""

import asyncio
import contextlib
import email.utils
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import aiohttp.abc
import orjson
import stamina
from yarl import URL

from syncd.addresses import PrivateAddress, PublicOnly, address, must_be_allowed
from syncd.answers import Answer, error_for, parsed, reach_hint, said, without_secrets
from syncd.errors import Forbidden, Moved, OutcomeUnknown, RateLimited, TryLater, Unauthorized
from syncd.gate import BACKFILL, Gate

__all__ = ["BACKFILL", "Answer", "Counters", "Gate", "Streamed", "Transport", "file_body"]

#: Headers to show from now on, or None for those that are in use; asked before each call, and when they were refused.
Renew = Callable[[bool], Awaitable[Mapping[str, str] | None]]
MAX_ANSWER = 64 * 1024 * 1024  # bytes of one JSON answer, after decompression
CHUNK = 64 * 1024
#: An account that has answered 429 for this many seconds is not ours to push any further.
MAX_RATE_LIMITED = 300.0
#: One pause after a 429, in seconds: a longer one is asked for again.
MAX_PAUSE = 60.0
#: A file on its way up or down takes no longer than this many seconds.
FILE_TIME = 900.0
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: These say that the request never left: even a write may be repeated.
NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)
#: A connection or an answer that broke. ValueError: a header or a chunk that is no HTTP.
BROKEN = (aiohttp.ClientError, TimeoutError, ConnectionError, ValueError)
#: A file is there; Gorgias answers 201 to a POST for one.
FILE_STATUSES = frozenset({200, 201, 202})
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Endless(ValueError):
    """An answer that is larger than any that we read."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """A successful answer whose content is read as it comes."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


@dataclass(slots=True)
class Counters:
    """What a transport did, for metrics and tests."""

    calls: Counter[tuple[str, int]] = field(default_factory=Counter)
    seconds: float = 0.0
    rate_limited: int = 0


class Transport:
    """The one way to an account: `label` names it in errors, `api` is its base URL without a trailing slash.

    `timeout` is how long the server may be silent, in seconds; a JSON call as a whole takes at most twice that.
    """

    def __init__(
        self,
        api: str,
        label: str,
        *,
        headers: Mapping[str, str] | None = None,
        gate: Gate | None = None,
        timeout: float = 60.0,
        attempts: int = 4,
        max_answer: int = MAX_ANSWER,
        limit_header: str = "X-Gorgias-Account-Api-Call-Limit",
        explain: Callable[[int, bytes], str] | None = None,
        renew: Renew | None = None,
    ) -> None:
        self.api = api.rstrip("/")
        self.label = label
        self.gate = gate
        self.skew = 0.0
        self.counters = Counters()
        self.credentials: dict[str, str] = dict(headers or {})
        self._renew = renew
        self._timeout = timeout
        self._attempts = attempts
        self._max_answer = max_answer
        self._limit_header = limit_header
        self._explain = explain or (lambda _status, body: body[:300].decode("utf-8", "replace"))
        self._date = ""
        self._session: aiohttp.ClientSession | None = None
        self._foreign: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = self._new_session(aiohttp.TCPConnector(limit=32))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in (self._session, self._foreign):
            if session:
                await session.close()
        self._session = self._foreign = None

    def _new_session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=self._patience(2 * self._timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "syncd", "Accept": "application/json"},
            # Looking for a proxy costs two trips to a thread for each call: only where there is one to find.
            trust_env=bool(urllib.request.getproxies()),
        )
        # aiohttp repeats PUT and DELETE by itself when a kept connection breaks; it has no public switch for that.
        session._retry_connection = False  # noqa: SLF001
        return session

    def _patience(self, total: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=total, sock_connect=10, sock_read=self._timeout)

    async def json(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of an answer; see `request`."""
        return (await self.request(method, path, **options)).json()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Iterable[tuple[str, str]] | Mapping[str, str] | None = None,
        json: Any = None,
        data: Callable[[], Any] | None = None,
        headers: Mapping[str, str] | None = None,
        safe: bool | None = None,
    ) -> Answer:
        """Send a call and return its 2xx answer. Raises the classes of `syncd.errors` for everything else.

        `data` makes a fresh body for each attempt. `safe` says that repeating the call changes nothing more; by
        default reads are safe and writes are not.
        """
        url = URL(self.api + path)
        if query:
            url = url.extend_query(list(query.items() if isinstance(query, Mapping) else query))
        call = _Call(method, url, method in SAFE if safe is None else safe, headers or {}, json, data)
        try:
            return await self._within_limits(call)
        except TryLater as error:
            if not _pause_before_repeat(error, call.safe):
                raise
            first = error
        return await self._repeat(call, first)

    async def _repeat(self, call: "_Call", first: TryLater) -> Answer:
        """The attempts after the first, which failed: only they need what counts attempts and sleeps."""
        async for attempt in stamina.retry_context(
            on=lambda error: _pause_before_repeat(error, call.safe),
            attempts=self._attempts,
            timeout=None,
            wait_initial=0.2,
            wait_max=5.0,
        ):
            with attempt:
                if attempt.num == 1:
                    raise first
                return await self._within_limits(call)
        raise AssertionError("unreachable")

    async def _within_limits(self, call: "_Call") -> Answer:
        """The answer, after as many 429 as fit into `MAX_RATE_LIMITED`."""
        waited, least = 0.0, 0.1
        while True:
            try:
                return await self._let_in(call)
            except RateLimited as error:
                self.counters.rate_limited += 1
                pause = max(1.0 if error.retry_after is None else error.retry_after, least)
                if waited + pause > MAX_RATE_LIMITED:
                    raise
                await self._wait(min(pause, MAX_PAUSE))
                waited += min(pause, MAX_PAUSE)
                least = min(2 * least, MAX_PAUSE)

    async def _let_in(self, call: "_Call") -> Answer:
        """The answer; credentials that are refused, and are others by now, are shown once more: nothing was done."""
        await self._renewed(refused=False)
        try:
            return await self._once(call)
        except Unauthorized:
            if not await self._renewed(refused=True):
                raise
        return await self._once(call)

    async def _renewed(self, *, refused: bool) -> bool:
        """Whether there are other credentials than those that were used last."""
        found = await self._renew(refused) if self._renew else None
        if found is None or found == self.credentials:
            return False
        self.credentials = dict(found)
        return True

    async def _wait(self, seconds: float) -> None:
        if self.gate:
            self.gate.close(seconds)
        else:
            await asyncio.sleep(seconds)

    async def _once(self, call: "_Call") -> Answer:
        number = await self.gate.enter() if self.gate else 0
        header: str | None = None
        started = time.monotonic()
        status = 0
        try:
            async with self._open(call) as response:
                status = response.status
                header = response.headers.get(self._limit_header)
                self._measure_skew(response.headers.get("Date", ""))
                body = await self._read_all(response)
        except NEVER_SENT as error:
            raise TryLater(
                f"{self.label} cannot be reached: {said(error, self.credentials)}", hint=reach_hint(error)
            ) from error
        except BROKEN as error:
            kind = TryLater if call.safe else OutcomeUnknown
            message = (
                f"{self.label} did not answer {call.method} {call.url.path} properly: {said(error, self.credentials)}"
            )
            raise kind(message, status=status) from error
        finally:
            if self.gate:
                self.gate.leave(number, header, 200 <= status < 300)
            self.counters.calls[call.method, status] += 1
            self.counters.seconds += time.monotonic() - started
        return self._judge(call, status, response.headers, body)

    def _open(self, call: "_Call") -> Any:
        if self._session is None:
            raise RuntimeError("the transport is not open")
        options: dict[str, Any] = {}
        headers = {**self.credentials, **call.headers}
        if call.data is not None:
            options |= {"data": call.data(), "timeout": self._patience(FILE_TIME)}
        elif call.json is not None:
            options["data"] = orjson.dumps(call.json)
            headers.setdefault("Content-Type", "application/json")
        return self._session.request(call.method, call.url, headers=headers, allow_redirects=False, **options)

    async def _read_all(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_any():
            parts.append(chunk)
            size += len(chunk)
            if size > self._max_answer:
                raise Endless(f"the answer is larger than {self._max_answer} bytes")
        return b"".join(parts)

    def _measure_skew(self, date: str) -> None:
        if date == self._date:
            return
        self._date = date
        with contextlib.suppress(TypeError, ValueError):  # a Date header that is no date says nothing
            theirs = email.utils.parsedate_to_datetime(date)
            skew = theirs.timestamp() + 0.5 - datetime.now(theirs.tzinfo).timestamp()
            # A Date header has whole seconds: less than a second apart is no skew.
            self.skew = skew if abs(skew) > 1.0 else 0.0

    def _judge(self, call: "_Call", status: int, headers: Mapping[str, str], body: bytes) -> Answer:
        if not 200 <= status < 300:
            detail = without_secrets(self._explain(status, body), self.credentials)
            error = error_for(status, headers, self.label, call.method, call.url, detail, call.safe)
            raise error.with_answer(headers, body)
        if not call.wants_json or not body or body.isspace():
            return Answer(status, headers, body)
        try:
            return Answer(status, headers, body, parsed(body))
        except orjson.JSONDecodeError as error:
            kind = TryLater if call.safe else OutcomeUnknown
            raise kind(
                f"{self.label} answered {call.method} {call.url.path} with something that is not JSON",
                status=status,
                detail=without_secrets(body[:200].decode("utf-8", "replace"), self.credentials),
                hint="is the URL that of the account itself, and not of a login page or a proxy?",
            ) from error

    # -- files --------------------------------------------------------------------------------------------------

    async def download(self, url: str, *, hosts: Iterable[str] = (), private: bool = False) -> AsyncIterator[bytes]:
        """The content behind `url` in chunks: from the account's own host with its credentials, else without.

        A foreign host must be named in `hosts` (or be a subdomain of one) and must not lead into a private network
        unless `private` is set; a proxy of the environment looks names up itself. One redirect is followed, by the same
        rules. Raises Forbidden for any other host.
        """
        async with self.fetched("GET", url, hosts=hosts, private=private) as file:
            async for chunk in file.chunks:
                yield chunk

    @asynccontextmanager
    async def fetched(
        self, method: str, url: str, *, json: Any = None, hosts: Iterable[str] = (), private: bool = False
    ) -> AsyncIterator[Streamed]:
        """What a read answers, with its headers and by the rules of `download`; asked for once."""
        allowed = tuple(hosts)
        own = URL(self.api).origin()
        target = address(own, url)
        async with self._fetching(method, target, allowed, private, json) as response:
            if response.status not in REDIRECTS:
                yield await self._begun(response, target)
                return
            following = address(target, response.headers.get("Location", ""))
        if target.scheme == "https" and following.scheme != "https":
            raise Forbidden(f"{self.label}: the download of {target.path} leads to an address that is not encrypted")
        async with self._fetching("GET", following, allowed, private) as response:
            yield await self._begun(response, following)

    async def _begun(self, response: aiohttp.ClientResponse, target: URL) -> Streamed:
        if response.status in FILE_STATUSES:
            return Streamed(response.status, response.headers, response.content.iter_chunked(CHUNK))
        body = await self._read_all(response)
        detail = without_secrets(self._explain(response.status, body), self.credentials)
        error = error_for(response.status, response.headers, self.label, "download of", target, detail, True)
        if isinstance(error, RateLimited) and self.gate and self._is_own(target):
            self.gate.close(min(error.retry_after or 1.0, MAX_PAUSE))
        if isinstance(error, Moved) or (response.status == 401 and not self._is_own(target)):
            # Neither a merged ticket nor our own key: this file only.
            error = Forbidden(str(error), status=response.status)
        raise error.with_answer(response.headers, body)

    def _is_own(self, target: URL) -> bool:
        return target.origin() == URL(self.api).origin()

    @asynccontextmanager
    async def _fetching(
        self, method: str, target: URL, hosts: tuple[str, ...], private: bool, json: Any = None
    ) -> AsyncIterator[Any]:
        own = self._is_own(target)
        session = self._session if own else self._foreign_session(target, hosts, private)
        if session is None:
            raise RuntimeError("the transport is not open")
        if own:
            await self._renewed(refused=False)
        headers = {**(self.credentials if own else {}), "Accept": "*/*"}
        options: dict[str, Any] = {"allow_redirects": False, "timeout": self._patience(FILE_TIME)}
        if json is not None:
            options["data"] = orjson.dumps(json)
            headers["Content-Type"] = "application/json"
        number = await self.gate.enter() if own and self.gate else None
        header: str | None = None
        try:
            async with session.request(method, target, headers=headers, **options) as response:
                header = response.headers.get(self._limit_header)
                yield response
        except aiohttp.InvalidURL as error:
            raise Forbidden(
                f"{self.label}: {target.host} is no host that can be asked; nothing was downloaded"
            ) from error
        except BROKEN as error:
            if isinstance(getattr(error, "os_error", None), PrivateAddress):
                raise Forbidden(f"{self.label}: {target.host} is a private address; nothing was downloaded") from error
            message = f"{self.label}: the download of {target.path} broke off: {said(error, self.credentials)}"
            raise TryLater(message) from error
        finally:
            if self.gate and number is not None:
                self.gate.leave(number, header, succeeded=False)

    def _foreign_session(self, target: URL, hosts: tuple[str, ...], private: bool) -> aiohttp.ClientSession:
        must_be_allowed(target, hosts, private, self.label)
        if self._foreign is None:
            resolver = None if private else PublicOnly()
            self._foreign = self._new_session(aiohttp.TCPConnector(limit=4, resolver=resolver))
        return self._foreign


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    url: URL
    safe: bool
    headers: Mapping[str, str]
    json: Any
    data: Callable[[], Any] | None

    @property
    def wants_json(self) -> bool:
        return "Accept" not in self.headers


def file_body(path: Path) -> Callable[[], AsyncIterator[bytes]]:
    """A request body that streams a file from disk, fresh for each attempt."""

    async def chunks() -> AsyncIterator[bytes]:
        with await asyncio.to_thread(path.open, "rb") as file:
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                yield chunk

    return chunks


def _pause_before_repeat(error: Exception, safe: bool) -> bool | float:
    if not isinstance(error, TryLater) or isinstance(error, OutcomeUnknown | RateLimited):
        return False
    if isinstance(error.__cause__, Endless) or 300 <= error.status < 400 or (error.status and not safe):
        return False
    # Not 0, which would read as "do not".
    return min(max(error.retry_after, 0.01), 30.0) if error.retry_after is not None else True
