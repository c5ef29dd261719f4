"""The rate gate against a strict leaky bucket at the wire: nothing is refused, and nothing is wasted."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from connectors.gorgias.sandbox import RateLimit
from connectors.gorgias.sandbox.server import Bucket
from syncd.http import BACKFILL, Gate, Transport
from tests.unit.http_servers import scripted, serving

HEADER = "X-Gorgias-Account-Api-Call-Limit"
#: The documented bucket, a hundred times as fast: 40 calls at once, and 200 a second.
FAST = RateLimit(40, 200.0)
WINDOW = FAST.cap / FAST.leak


@dataclass
class Strict:
    """An account that counts calls in a bucket of its own and refuses what does not fit."""

    limit: RateLimit = FAST
    #: The longest that a call takes before, and after, it is counted.
    delay: float = 0.0
    shown: bool = True
    url: str = ""
    taken: int = 0
    refused: int = 0
    fullest: int = 0
    bucket: Bucket = field(default_factory=Bucket)
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    async def handle(self, _request: web.Request) -> web.StreamResponse:
        """Count a call."""
        await asyncio.sleep(self.chance.uniform(0, self.delay))
        used, wait = self.bucket.take(self.limit, time.monotonic())
        self.fullest = max(self.fullest, used)
        await asyncio.sleep(self.chance.uniform(0, self.delay))
        headers = {HEADER: f"{used}/{self.limit.cap}"} if self.shown else {}
        if wait:
            self.refused += 1
            return web.json_response({}, status=429, headers={**headers, "Retry-After": "0.05"})
        self.taken += 1
        return web.json_response({}, headers=headers)


@asynccontextmanager
async def account(clients: int = 1, **options: object) -> AsyncIterator[tuple[Strict, list[Transport]]]:
    """A strict account, and clients that share its key, each with a gate of its own."""
    strict = Strict(**options)  # type: ignore[arg-type]
    async with serving(strict.handle) as strict.url, AsyncExitStack() as stack:
        gates = [Gate(strict.limit.cap, strict.limit.cap / strict.limit.leak) for _ in range(clients)]
        yield strict, [await stack.enter_async_context(Transport(strict.url, "Acme", gate=gate)) for gate in gates]


async def work(http: Transport, seconds: float, workers: int = 20, pause: float = 0.0) -> None:
    """As many calls as the gate lets through in this time."""
    end = time.monotonic() + seconds

    async def worker() -> None:
        while time.monotonic() < end:
            await http.json("GET", "/x")
            await asyncio.sleep(pause)

    await asyncio.gather(*(worker() for _ in range(workers)))


async def test_the_allowance_is_used_and_never_exceeded() -> None:
    """Twenty workers at once are never answered 429, and use 95 % of all that the account allows."""
    async with account() as (strict, (http,)):
        started = time.monotonic()
        await work(http, 2.0)
        allowed = FAST.cap + FAST.leak * (time.monotonic() - started)
    assert strict.refused == 0
    assert strict.taken >= 0.95 * allowed


@pytest.mark.parametrize("delay", [0.01, 0.05])
async def test_a_network_that_wavers_leads_to_no_429(delay: float) -> None:
    """However long calls and answers take, and in whatever order they come, none is too early."""
    async with account(delay=delay) as (strict, (http,)):
        started = time.monotonic()
        await work(http, 1.5, workers=30)
        allowed = FAST.cap + FAST.leak * (time.monotonic() - started)
    assert strict.refused == 0
    assert strict.taken >= 0.8 * allowed


async def test_a_burst_at_the_start_is_not_slowed_down() -> None:
    """Eight calls at once go out at once, before anything is known of the account."""
    async with account(limit=RateLimit(40, 2.0)) as (strict, (http,)):
        started = time.monotonic()
        await asyncio.gather(*(http.json("GET", "/x") for _ in range(8)))
        assert time.monotonic() - started < 1
    assert strict.taken == 8


async def test_two_that_share_a_key_get_along() -> None:
    """Two clients of one account correct their levels by its header: hardly a call is refused, and all succeed."""
    async with account(clients=2, limit=RateLimit(40, 20.0)) as (strict, clients):
        started = time.monotonic()
        await asyncio.gather(*(work(http, 2.0, workers=8) for http in clients))
        allowed = 40 + 20.0 * (time.monotonic() - started)
    assert strict.refused <= 0.15 * strict.taken
    assert strict.taken >= 0.7 * allowed


async def test_the_header_corrects_the_level() -> None:
    """What others used is learnt from the first answer, and what has drained unseen as well."""
    gate = Gate(40, 20.0)
    gate.leave(await gate.enter(), "30/40")
    assert gate.used == pytest.approx(0.75, abs=0.01)
    gate.leave(await gate.enter(), "5/40")
    assert gate.used == pytest.approx(0.125, abs=0.01)


async def test_answers_that_overtake_each_other_are_counted() -> None:
    """Calls that the account may have counted after the one whose answer comes last stay in the bucket."""
    gate = Gate(40, 20.0)
    first, second, third = [await gate.enter() for _ in range(3)]
    gate.leave(second, "3/40")
    gate.leave(third, "2/40")
    gate.leave(first, "1/40")
    assert gate.level == pytest.approx(3, abs=0.1)


async def test_a_first_load_leaves_room_for_live_calls() -> None:
    """Backfill fills nine tenths of the bucket; a live call goes at once, past all that wait."""
    slow = RateLimit(40, 40.0)
    async with account(limit=slow) as (strict, (http,)):
        token = BACKFILL.set(True)
        filling = asyncio.ensure_future(work(http, 1.0, workers=20))
        BACKFILL.reset(token)
        await asyncio.sleep(0.5)
        assert 30 <= strict.fullest <= 36
        started = time.monotonic()
        await http.json("GET", "/live")
        assert time.monotonic() - started < 0.25
        await filling
    assert strict.refused == 0


async def test_no_header_means_no_limit() -> None:
    """An account that counts nothing is not slowed down by a bucket that it does not have."""
    async with scripted() as server, Transport(server.url, "Acme", gate=Gate(5, 1000.0)) as http:
        for _ in range(50):
            await http.json("GET", "/x")
        assert http.gate is not None
        assert http.gate.used == 0


async def test_a_failure_without_the_header_opens_nothing() -> None:
    """What a proxy answers says nothing about the account's bucket."""
    gate = Gate(40, 20.0)
    gate.leave(await gate.enter(), None, succeeded=False)
    assert gate.capacity == 40


@pytest.mark.parametrize("header", ["4000000/900000000", "1/1", "0/1", " 3 / 80 "])
async def test_any_capacity_is_believed(header: str) -> None:
    """A huge bucket does not slow down, a tiny one does not lock up."""
    gate = Gate(40, 0.02)
    for _ in range(3):
        async with asyncio.timeout(2):
            gate.leave(await gate.enter(), header)
    assert gate.capacity == float(header.partition("/")[2])


@pytest.mark.parametrize("header", ["", "x", "1/0", "/", "1/", "-1/40", "²/40", "1/2/3", "1" * 5000 + "/40"])
async def test_a_header_that_is_none_is_none(header: str) -> None:
    """Anything but two numbers is as if it were absent."""
    gate = Gate(40, 20.0)
    gate.leave(await gate.enter(), header, succeeded=False)
    assert gate.capacity == 40
    assert gate.level == pytest.approx(1, abs=0.1)


async def test_a_closed_gate_lets_nothing_through() -> None:
    """After `close` all wait, and then go one by one, as from a full bucket."""
    gate = Gate(40, 0.4)
    gate.close(0.2)
    started = time.monotonic()
    for _ in range(3):
        gate.leave(await gate.enter(), None, succeeded=False)
    assert 0.2 <= time.monotonic() - started < 1
    assert gate.used > 0.4


async def test_a_place_that_is_given_up_is_free() -> None:
    """Whoever stops waiting takes no place, and does not keep others from theirs."""
    gate = Gate(2, 60.0)
    gate.leave(await gate.enter(), None, succeeded=False)
    waiting = asyncio.ensure_future(gate.enter())
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert gate.level == pytest.approx(1, abs=0.1)
    gate.capacity = None
    async with asyncio.timeout(1):
        await gate.enter()
