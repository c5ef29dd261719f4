"""JSON over one aiohttp session: the account's rate budget, retry of safe calls, and statuses as our errors.

A read is repeated on a passing fault; a write never is, because only the engine knows how to find out whether it
landed. A 429 was not carried out, so it is repeated whatever the method.
"""

import asyncio
import contextlib
import email.utils
import ipaddress
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextvars import ContextVar
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

from syncd.errors import (
    AccountError,
    Forbidden,
    Gone,
    Moved,
    OutcomeUnknown,
    RateLimited,
    Refused,
    TooLarge,
    TryLater,
    Unauthorized,
    VersionConflict,
)

#: Set while a first load runs: its calls leave a tenth of the allowance to live changes.
BACKFILL: ContextVar[bool] = ContextVar("BACKFILL", default=False)

MAX_ANSWER = 64 * 1024 * 1024  # bytes of one JSON answer, after decompression
CHUNK = 64 * 1024
#: An account that answers 429 this often in a row is not ours to push any further.
MAX_RATE_LIMITED = 30
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: These say that the request never left: even a write may be repeated.
NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
#: A connection or an answer that broke. ValueError: a header or a chunk that is no HTTP.
BROKEN = (aiohttp.ClientError, TimeoutError, ConnectionError, ValueError)


class Gate:
    """A leaky bucket that mirrors the account's own, so that a call is never refused for coming too early.

    `capacity` calls fit at once and drain within `window` seconds. The level is our own count, held between what an
    answer's `used/capacity` header proves at the least and at the most, because others may use the same key. Until
    the first answer the bucket is assumed; an answer without the header opens the gate.
    """

    def __init__(self, capacity: float | None = 40, window: float = 20.0, reserve: float = 0.1) -> None:
        self.capacity = capacity
        self.window = window
        self.reserve = reserve
        self.level = 0.0
        self._at = time.monotonic()
        self._closed_until = 0.0
        self._sent = 0
        self._in_flight: set[int] = set()
        self._queues = {True: asyncio.Lock(), False: asyncio.Lock()}

    @property
    def used(self) -> float:
        """The share of the bucket that is full, between 0 and 1; 0 where no limit is known."""
        self._drain()
        return min(1.0, self.level / self.capacity) if self.capacity else 0.0

    async def enter(self) -> int:
        """Wait for a place in the bucket; the ticket number belongs to `leave`."""
        backfill = BACKFILL.get()
        async with self._queues[backfill]:
            while (pause := self._pause(backfill)) > 0:
                await asyncio.sleep(pause)
            self.level += 1
            self._sent += 1
            self._in_flight.add(self._sent)
            return self._sent

    def leave(self, number: int, header: str | None, answered: bool = True) -> None:
        """Learn from the answer's `used/capacity` header, if there is one."""
        self._in_flight.discard(number)
        used, _, capacity = (header or "").partition("/")
        if used.strip().isdigit() and capacity.strip().isdigit() and int(capacity) > 0:
            self.capacity = float(capacity)
            self._drain()
            unseen = self._sent - number + sum(1 for other in self._in_flight if other < number)
            self.level = min(max(self.level, float(used)), float(used) + unseen)
        elif answered:
            self.capacity = None

    def close(self, seconds: float) -> None:
        """Let nothing pass for this long: the account said so."""
        self._closed_until = max(self._closed_until, time.monotonic() + seconds)
        if self.capacity:
            self.level = max(self.level, self.capacity)

    def _drain(self) -> None:
        now = time.monotonic()
        if self.capacity:
            self.level = max(0.0, self.level - (now - self._at) * self.capacity / self.window)
        self._at = now

    def _pause(self, backfill: bool) -> float:
        self._drain()
        closed = self._closed_until - self._at
        if closed > 0 or not self.capacity:
            return max(0.0, closed)
        # One call below the brim: the account's clock ticks in its own steps.
        brim = self.capacity * (1 - self.reserve) if backfill else self.capacity
        return (self.level + 2 - brim) * self.window / self.capacity


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer: status, headers and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; an empty body is None."""
        return orjson.loads(self.body) if self.body.strip() else None


@dataclass(slots=True)
class Counters:
    """What a transport did, for metrics and tests."""

    calls: Counter[tuple[str, int]] = field(default_factory=Counter)
    seconds: float = 0.0
    rate_limited: int = 0


class PublicOnly(aiohttp.abc.AbstractResolver):
    """A resolver that refuses names that lead into a private network."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[aiohttp.abc.ResolveResult]:
        """The public addresses of `host`; OSError when it has none."""
        found = await self._resolver.resolve(host, port, family)  # type: ignore[arg-type]
        public = [entry for entry in found if ipaddress.ip_address(entry["host"]).is_global]
        if not public:
            raise OSError(f"{host} leads to a private address")
        return public

    async def close(self) -> None:
        """Release the inner resolver."""
        await self._resolver.close()


class Transport:
    """The one way to an account: `label` names it in errors, `api` is its base URL without a trailing slash."""

    def __init__(
        self,
        api: str,
        label: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: aiohttp.BasicAuth | None = None,
        gate: Gate | None = None,
        timeout: float = 60.0,
        attempts: int = 4,
        limit_header: str = "X-Gorgias-Account-Api-Call-Limit",
        explain: Callable[[int, bytes], str] | None = None,
    ) -> None:
        self.api = api.rstrip("/")
        self.label = label
        self.gate = gate
        self.skew = 0.0
        self.counters = Counters()
        self.credentials: dict[str, str] = dict(headers or {})
        if auth:
            self.credentials["Authorization"] = auth.encode()
        self._timeout = timeout
        self._attempts = attempts
        self._limit_header = limit_header
        self._explain = explain or (lambda _status, body: body[:300].decode("utf-8", "replace"))
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
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=self._timeout)
        return aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "syncd", "Accept": "application/json"},
            # Looking for a proxy costs two trips to a thread for each call: only where there is one to find.
            trust_env=bool(urllib.request.getproxies()),
        )

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
        url = URL(self.api + path, encoded=False).extend_query(
            list(query.items() if isinstance(query, Mapping) else query or ())
        )
        safe = method in SAFE if safe is None else safe
        call = _Call(method, url, safe, dict(headers or {}), json, data)
        async for attempt in stamina.retry_context(
            on=lambda error: _pause_before_repeat(error, safe),
            attempts=self._attempts,
            timeout=None,
            wait_initial=0.2,
            wait_max=5.0,
        ):
            with attempt:
                return await self._within_limits(call)
        raise AssertionError("unreachable")

    async def _within_limits(self, call: "_Call") -> Answer:
        for _ in range(MAX_RATE_LIMITED):
            try:
                return await self._once(call)
            except RateLimited as error:
                self.counters.rate_limited += 1
                pause = 1.0 if error.retry_after is None else error.retry_after
                if not self.gate:
                    await asyncio.sleep(min(pause, 60.0))
                else:
                    self.gate.close(min(pause, 60.0))
        raise RateLimited(f"{self.label} keeps answering 429", status=429, retry_after=60.0)

    async def _once(self, call: "_Call") -> Answer:
        number = await self.gate.enter() if self.gate else 0
        header: str | None = None
        answered = False
        started = time.monotonic()
        status = 0
        try:
            async with self._open(call) as response:
                status, answered = response.status, True
                header = response.headers.get(self._limit_header)
                self._measure_skew(response.headers.get("Date"))
                body = await _read_all(response)
        except NEVER_SENT as error:
            raise TryLater(f"{self.label} cannot be reached: {_short(error)}", hint=_reach_hint(error)) from error
        except BROKEN as error:
            kind = TryLater if call.safe else OutcomeUnknown
            raise kind(f"{self.label} did not answer {call.what} properly: {_short(error)}", status=status) from error
        finally:
            if self.gate:
                self.gate.leave(number, header, answered and status < 500)
            self.counters.calls[call.method, status] += 1
            self.counters.seconds += time.monotonic() - started
        return self._judge(call, status, response.headers, body)

    def _open(self, call: "_Call") -> Any:
        if self._session is None:
            raise RuntimeError("the transport is not open")
        body: dict[str, Any] = {}
        headers = {**self.credentials, **call.headers}
        if call.data is not None:
            body["data"] = call.data()
        elif call.json is not None:
            body["data"] = orjson.dumps(call.json)
            headers.setdefault("Content-Type", "application/json")
        return self._session.request(call.method, call.url, headers=headers, allow_redirects=False, **body)

    def _measure_skew(self, date: str | None) -> None:
        with contextlib.suppress(TypeError, ValueError):  # a Date header that is absent or no date says nothing
            theirs = email.utils.parsedate_to_datetime(date or "")
            skew = theirs.timestamp() + 0.5 - datetime.now(theirs.tzinfo).timestamp()
            # A Date header has whole seconds: less than a second apart is no skew.
            self.skew = skew if abs(skew) > 1.0 else 0.0

    def _judge(self, call: "_Call", status: int, headers: Mapping[str, str], body: bytes) -> Answer:
        if 200 <= status < 300:
            if body.strip() and call.wants_json and not _is_json(body):
                kind = TryLater if call.safe else OutcomeUnknown
                raise kind(
                    f"{self.label} answered {call.what} with something that is not JSON",
                    status=status,
                    detail=body[:200].decode("utf-8", "replace"),
                    hint="is the URL that of the account itself, and not of a login page or a proxy?",
                )
            return Answer(status, headers, body)
        raise error_for(status, headers, self.label, call.what, self._explain(status, body), call.safe)

    async def download(self, url: str, *, hosts: Iterable[str] = (), private: bool = False) -> AsyncIterator[bytes]:
        """The content behind `url` in chunks: from the account's own host with its credentials, else without.

        A foreign host must be named in `hosts` (or be a subdomain of one) and must not lead into a private network
        unless `private` is set. Raises Forbidden for any other host.
        """
        own = URL(self.api).origin()
        target = own.join(URL(url))
        number = await self.gate.enter() if self.gate and target.origin() == own else None
        header: str | None = None
        try:
            async with await self._open_download(target, own, tuple(hosts), private) as response:
                header = response.headers.get(self._limit_header)
                if response.status != 200:
                    raise error_for(
                        response.status, response.headers, self.label, f"download of {target.path}", "", True
                    )
                async for chunk in response.content.iter_chunked(CHUNK):
                    yield chunk
        except BROKEN as error:
            raise TryLater(f"{self.label}: the download of {target.path} broke off: {_short(error)}") from error
        finally:
            if self.gate and number is not None:
                self.gate.leave(number, header, answered=header is not None)

    async def _open_download(self, target: URL, own: URL, hosts: tuple[str, ...], private: bool) -> Any:
        if target.origin() == own:
            if self._session is None:
                raise RuntimeError("the transport is not open")
            return self._session.get(target, headers={**self.credentials, "Accept": "*/*"}, allow_redirects=False)
        host = target.host or ""
        if target.scheme not in {"http", "https"} or not any(
            host == name or host.endswith("." + name) for name in hosts
        ):
            raise Forbidden(
                f"{self.label}: {host or 'this address'} is not a host of this account; nothing was downloaded"
            )
        if self._foreign is None:
            resolver = None if private else PublicOnly()
            self._foreign = self._new_session(aiohttp.TCPConnector(limit=4, resolver=resolver))
        with contextlib.suppress(ValueError):
            if not private and not ipaddress.ip_address(host).is_global:
                raise Forbidden(f"{self.label}: {host} is a private address; nothing was downloaded")
        return self._foreign.get(target, headers={"Accept": "*/*"}, allow_redirects=False)


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    url: URL
    safe: bool
    headers: dict[str, str]
    json: Any
    data: Callable[[], Any] | None

    @property
    def what(self) -> str:
        return f"{self.method} {self.url.path}"

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


def error_for(status: int, headers: Mapping[str, str], label: str, what: str, detail: str, safe: bool) -> AccountError:
    """The failure that a status outside 2xx means: one class for each thing the caller does next."""
    message = f"{label} answered {status} to {what}" + (f": {detail}" if detail else "")
    if status == 429:
        return RateLimited(message, status=status, detail=detail, retry_after=_retry_after(headers))
    if status >= 500 or status == 408:
        kind = TryLater if safe else OutcomeUnknown
        return kind(message, status=status, detail=detail, retry_after=_retry_after(headers))
    if 300 <= status < 400:
        return _redirected(status, headers, message)
    table: dict[int, type[AccountError]] = {
        401: Unauthorized,
        403: Forbidden,
        404: Gone,
        409: VersionConflict,
        410: Gone,
        412: VersionConflict,
        413: TooLarge,
        425: TryLater,
    }
    return table.get(status, Refused)(message, status=status, detail=detail)


def _redirected(status: int, headers: Mapping[str, str], message: str) -> AccountError:
    location = headers.get("Location", "")
    last = URL(location).path.rstrip("/").rpartition("/")[2] if location else ""
    if status in {301, 308} and last.isdigit():
        return Moved(message, status=status, to=last)
    if status == 301 and not location:
        return Moved(message, status=status)
    return TryLater(message, status=status, hint=f"the server redirects to {location or 'nowhere'}: is the URL right?")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return max(0.0, moment.timestamp() - time.time())
    except (TypeError, ValueError):  # neither seconds nor a date: as if it were absent
        return None


def _pause_before_repeat(error: Exception, safe: bool) -> bool | float:
    if not isinstance(error, TryLater) or isinstance(error, OutcomeUnknown | RateLimited):
        return False
    if not safe and error.status:
        return False
    return min(error.retry_after, 30.0) if error.retry_after is not None else True


async def _read_all(response: aiohttp.ClientResponse) -> bytes:
    parts = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK):
        parts += chunk
        if len(parts) > MAX_ANSWER:
            raise ValueError(f"the answer is larger than {MAX_ANSWER} bytes")
    return bytes(parts)


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def _short(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _reach_hint(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its TLS certificate is not trusted"
    return "is the URL right, and is the server up?"
