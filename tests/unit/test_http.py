"""The transport at the wire: whatever a server does, a call ends as an answer or as one of our errors."""

import asyncio
import gzip
import shutil
import socket
import ssl
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import stamina
from aiohttp import web

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
from syncd.http import Gate, Transport
from tests.unit.http_servers import JSON, OK, Scripted, raw, says, scripted, serving

KEY = "a-very-secret-key"
HTML = b"<!doctype html><html>Please log in</html>"
ATTEMPTS = 3
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    """Three attempts without a pause between them."""
    with stamina.set_testing(True, attempts=ATTEMPTS):
        yield


def transport(url: str, **options: Any) -> Transport:
    """A transport with credentials."""
    headers = {"Authorization": aiohttp.encode_basic_auth("ops@acme.example", KEY)}
    return Transport(url, "Acme", headers=headers, **options)


async def failure(url: str, method: str = "GET", path: str = "/api/tickets/5", **options: Any) -> AccountError:
    """The error that a call raises."""
    async with transport(url, **options) as http:
        with pytest.raises(AccountError) as raised:
            async with asyncio.timeout(20):
                await http.json(method, path, json=None if method == "GET" else {"a": 1})
    return raised.value


# -- statuses -----------------------------------------------------------------------------------------------------

EXPECTED = {
    401: Unauthorized, 403: Forbidden, 404: Gone, 407: TryLater, 409: VersionConflict, 410: Gone,
    412: VersionConflict, 413: TooLarge, 421: TryLater, 423: TryLater, 425: TryLater, 451: Forbidden,
}  # fmt: skip


def expected(status: int, safe: bool) -> type[AccountError]:
    """The class that a status means."""
    if status >= 500 or status == 408:
        return TryLater if safe else OutcomeUnknown
    if status == 301:
        return Moved  # without a Location
    return TryLater if status < 400 else EXPECTED.get(status, Refused)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_every_status_has_its_class(method: str) -> None:
    """Each status from 300 to 599 is exactly one of our errors, and keeps its number and the answer's words."""
    async with scripted() as server, transport(server.url) as http:
        for status in (number for number in range(300, 600) if number != 429):
            server.last = (status, JSON, b"some words")
            with pytest.raises(AccountError) as raised:
                await http.json(method, "/x")
            assert type(raised.value) is expected(status, method == "GET"), status
            assert raised.value.status == status
            if status not in {304, *range(300, 400)}:
                assert "some words" in str(raised.value)


async def test_an_impossible_status_is_tried_later() -> None:
    """A status that HTTP does not have is an answer that broke."""
    async with raw(says(b"HTTP/1.1 1234 What\r\nContent-Length: 0\r\n\r\n")) as server:
        assert isinstance(await failure(server.url), TryLater)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("0", 0), ("-3", 0), ("2.5", 2.5), ("soon", None), ("", None), ("nan", None), ("inf", None)],
)
async def test_retry_after_in_seconds_is_kept(value: str, seconds: float | None) -> None:
    """`Retry-After` as a number is kept, and anything that is none is as if it were absent."""
    async with scripted(last=(503, {"Retry-After": value}, b"")) as server:
        error = await failure(server.url, "POST")
    assert isinstance(error, TryLater)
    assert error.retry_after == seconds


async def test_retry_after_as_a_date_is_kept() -> None:
    """`Retry-After` as a date is the time until then, and 0 when that has passed."""
    for ahead, low, high in ((100, 90, 101), (-100, 0, 0)):
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
        async with scripted(last=(503, {"Retry-After": date}, b"")) as server:
            error = await failure(server.url, "POST")
        assert isinstance(error, TryLater)
        assert error.retry_after is not None
        assert low <= error.retry_after <= high


# -- redirects ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "location", "to"),
    [
        ("/api/tickets/5", "/api/tickets/7/", "7"),
        ("/api/tickets/5/", "/api/tickets/7", "7"),
        ("/api/tickets/5/messages", "/api/tickets/7/", "7"),
        ("/api/tickets/5/messages", "https://acme.example/api/tickets/7/messages", "7"),
        ("/api/tickets/3000000000", "/api/tickets/3000000001/", "3000000001"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_merged_ticket_is_moved(method: str, path: str, location: str, to: str) -> None:
    """301 to the same path with another id is Moved there; nothing is followed."""
    async with scripted(last=(301, {"Location": location}, b"")) as server:
        error = await failure(server.url, method, path)
        assert len(server.asked) == 1
    assert isinstance(error, Moved)
    assert error.to == to


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (301, "https://acme.example/api/tickets/5"),  # http to https
        (301, "https://login.example/?next=/api/tickets/5&token=abc"),
        (301, "/api/customers/7/"),
        (302, "/api/tickets/7/"),
        (307, "/login"),
        (301, "http://[nonsense"),
    ],
)
async def test_any_other_redirect_is_a_hint(status: int, location: str) -> None:
    """No other redirect is followed or taken for a merge: it says where it leads, without the query, and once."""
    async with scripted(last=(status, {"Location": location}, b"")) as server:
        error = await failure(server.url)
        assert len(server.asked) == 1
    assert type(error) is TryLater
    assert "redirects to" in error.hint
    assert "token" not in str(error)


# -- what is repeated ---------------------------------------------------------------------------------------------


BREAKS = {
    "reset": says(),
    "no http": says(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "truncated": says(HEAD + b'Content-Length: 1000\r\n\r\n{"half": '),
    "truncated chunks": says(HEAD + b'Transfer-Encoding: chunked\r\n\r\n9\r\n{"half": \r\n'),
    "no chunks": says(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nnonsense"),
    "half JSON": says(HEAD + b'Content-Length: 9\r\n\r\n{"half": '),
    "HTML": says(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(HTML) + HTML),
    "no text": says(HEAD + b"Content-Length: 2\r\n\r\n\xff\xfe"),
    "no gzip": says(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!"),
    "bad header": says(b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 2\r\n\r\n{}"),
    "503": says(b"HTTP/1.1 503 Oops\r\nContent-Length: 0\r\n\r\n"),
    "408": says(b"HTTP/1.1 408 Slow\r\nContent-Length: 0\r\n\r\n"),
}


@pytest.mark.parametrize("talk", BREAKS.values(), ids=BREAKS)
async def test_a_read_is_repeated(talk: Any) -> None:
    """A read that breaks in any way is made again, three times in all, and is TryLater then."""
    async with raw(talk) as server:
        error = await failure(server.url)
        assert type(error) is TryLater
        assert len(server.heads) == ATTEMPTS


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("talk", BREAKS.values(), ids=BREAKS)
async def test_a_write_is_never_repeated(talk: Any, method: str) -> None:
    """A write whose answer breaks in any way may have landed: it is sent once, and its outcome is unknown."""
    async with raw(talk) as server:
        error = await failure(server.url, method)
        assert type(error) is OutcomeUnknown
        assert len(server.heads) == 1


async def test_a_silent_server_is_given_up() -> None:
    """A server that says nothing is left after `timeout`; a read is tried again, a write is not."""
    async with raw(says(b"", b"too late", pause=5)) as server:
        started = time.monotonic()
        assert type(await failure(server.url, timeout=0.1)) is TryLater
        assert type(await failure(server.url, "POST", timeout=0.1)) is OutcomeUnknown
        assert len(server.heads) == ATTEMPTS + 1
        assert time.monotonic() - started < 3


async def test_a_write_on_a_kept_connection_that_breaks_is_not_repeated() -> None:
    """Not even aiohttp repeats a PUT when the server closes a connection that was kept open."""
    asked = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.method)
        if request.method == "PUT" and request.transport:
            request.transport.abort()
        return web.json_response({})

    async with serving(handle) as url, transport(url) as http:
        await http.json("GET", "/x")
        with pytest.raises(OutcomeUnknown):
            await http.json("PUT", "/x", json={})
    assert asked == ["GET", "PUT"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_was_never_sent_is_repeated(method: str) -> None:
    """While nobody listens even a write is tried again: it cannot have landed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = await failure(f"http://127.0.0.1:{port}", method)
    assert type(error) is TryLater
    assert "is the server up?" in error.hint

    async def later() -> None:
        async with raw(says(HEAD + b"Content-Length: 2\r\n\r\n{}"), port) as server:
            while not server.heads:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)

    with stamina.set_testing(False):
        async with transport(f"http://127.0.0.1:{port}") as http:
            call = asyncio.ensure_future(http.json(method, "/x"))
            await asyncio.sleep(0.1)
            opened = asyncio.ensure_future(later())
            assert await call == {}
            await opened


async def test_a_repeated_read_can_succeed() -> None:
    """What passes is not an error."""
    async with scripted((500, {}, b""), (200, JSON, b"<html>")) as server, transport(server.url) as http:
        assert await http.json("GET", "/x") == {"id": 1}
        assert [status for _, status in http.counters.calls.elements()] == [500, 200, 200]


async def test_a_refused_call_is_not_repeated() -> None:
    """What the account said it says again."""
    async with scripted(last=(404, {}, b"")) as server:
        await failure(server.url)
        assert len(server.asked) == 1


async def test_a_safe_write_is_repeated() -> None:
    """A call that is said to be safe is repeated like a read, whatever its method."""
    async with scripted((502, {}, b"")) as server, transport(server.url) as http:
        assert await http.json("POST", "/x", json={}, safe=True) == {"id": 1}


async def test_a_pause_that_the_server_asks_for_is_kept() -> None:
    """Before a read is repeated after 503, `Retry-After` passes."""
    with stamina.set_testing(False):
        async with scripted((503, {"Retry-After": "0.3"}, b"")) as server, transport(server.url) as http:
            started = time.monotonic()
            await http.json("GET", "/x")
            assert time.monotonic() - started >= 0.3


# -- 429 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gate", [None, Gate()], ids=["no gate", "gate"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_429_is_waited_out(method: str, gate: Gate | None) -> None:
    """After 429 the same call is made again, a write as well, and not before `Retry-After` has passed."""
    limits = {"X-Gorgias-Account-Api-Call-Limit": "1/40"}
    steps = [(429, {"Retry-After": "0.2", **limits}, b"")] * 2
    async with scripted(*steps, last=(200, {**JSON, **limits}, b"{}")) as server:
        async with transport(server.url, gate=gate) as http:
            started = time.monotonic()
            assert await http.json(method, "/x", json={}) == {}
            assert time.monotonic() - started >= 0.4
            assert http.counters.rate_limited == 2
        assert {request.method for request in server.asked} == {method}


async def test_429_without_retry_after_waits_a_second() -> None:
    """Where the server does not say how long, a second passes."""
    async with scripted((429, {}, b"")) as server, transport(server.url) as http:
        started = time.monotonic()
        await http.json("POST", "/x", json={})
        assert 1 <= time.monotonic() - started < 3


async def test_429_that_asks_for_nothing_is_no_busy_loop() -> None:
    """`Retry-After: 0` for ever leads to pauses that grow, not to a storm of calls."""
    async with scripted(last=(429, {"Retry-After": "0"}, b"")) as server, transport(server.url) as http:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(http.json("GET", "/x"), 1)
        assert len(server.asked) <= 5


async def test_429_for_too_long_is_given_up() -> None:
    """A pause that is longer than we wait in all is passed on at once."""
    async with scripted(last=(429, {"Retry-After": "3600"}, b"")) as server:
        error = await failure(server.url)
        assert len(server.asked) == 1
    assert isinstance(error, RateLimited)
    assert error.retry_after == 3600


# -- size and time ------------------------------------------------------------------------------------------------


async def test_a_gzip_bomb_is_bounded() -> None:
    """An answer that unpacks to more than we read is given up, once, and never held whole in memory."""
    bomb = gzip.compress(bytes(200_000_000), 9)
    headers = {**JSON, "Content-Encoding": "gzip"}
    async with scripted(last=(200, headers, bomb)) as server:
        tracemalloc.start()
        try:
            error = await failure(server.url, max_answer=1_000_000)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert len(server.asked) == 1
    assert type(error) is TryLater
    assert "larger than 1000000 bytes" in str(error)
    assert peak < 20_000_000


async def test_an_endless_answer_is_bounded() -> None:
    """A body that never ends is left at the limit."""

    async def for_ever(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"\r\n[")
        while True:
            writer.write(b"1," * 5000)
            await writer.drain()

    async with raw(for_ever) as server:
        assert "larger than" in str(await failure(server.url, max_answer=1_000_000))


async def test_an_answer_at_the_limit_is_read() -> None:
    """The limit itself still fits."""
    async with scripted(last=(200, JSON, b'"' + b"x" * 998 + b'"')) as server:
        async with transport(server.url, max_answer=1000) as http:
            assert len(await http.json("GET", "/x")) == 998
        assert "larger than" in str(await failure(server.url, max_answer=999))


async def test_a_slow_drip_comes_to_an_end() -> None:
    """A server that always says a little is left after twice `timeout`."""
    async with raw(says(HEAD + b"Content-Length: 1000\r\n\r\n", *[b" "] * 1000, pause=0.05)) as server:
        started = time.monotonic()
        assert type(await failure(server.url, "POST", timeout=0.2)) is OutcomeUnknown
        assert 0.3 < time.monotonic() - started < 3
        assert len(server.heads) == 1


# -- content ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
@pytest.mark.parametrize(
    ("headers", "body", "value"),
    [
        (JSON, b'{"id": 3000000000}', {"id": 3000000000}),
        ({"Content-Type": "text/html"}, b"[1]", [1]),
        ({}, b" \n ", None),
        (JSON, b"null", None),
    ],
)
async def test_any_success_with_json_is_fine(status: int, headers: dict[str, str], body: bytes, value: Any) -> None:
    """Every 2xx counts, and the body rather than its type; an empty one is None."""
    step = (status, headers, b"" if status == 204 else body)
    async with scripted(last=step) as server, transport(server.url) as http:
        assert await http.json("POST", "/x") == (None if status == 204 else value)


async def test_gzip_is_read() -> None:
    """A packed answer is unpacked."""
    headers = {**JSON, "Content-Encoding": "gzip"}
    async with scripted(last=(200, headers, gzip.compress(b'{"a": 1}'))) as server, transport(server.url) as http:
        assert await http.json("GET", "/x") == {"a": 1}


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb"cut \ud83d", "cut \ufffd"),
        (rb"\uDE00 \ud83d\ude00 \ud83dx", "\ufffd \N{GRINNING FACE} \ufffdx"),
        (rb"\\ud83d \ud83d\n", "\\ud83d \ufffd\n"),
    ],
)
async def test_a_text_cut_within_a_character_is_read(sent: bytes, read: str) -> None:
    """Half a pair of surrogates in one row costs that character, and not the whole page."""
    body = b'[{"excerpt": "' + sent + b'"}]'
    async with scripted(last=(200, JSON, body)) as server, transport(server.url) as http:
        assert await http.json("GET", "/x") == [{"excerpt": read}]


async def test_a_login_page_is_said_to_be_one() -> None:
    """HTML with 200 says what to look at."""
    async with scripted(last=(200, {"Content-Type": "text/html"}, HTML)) as server:
        error = await failure(server.url)
    assert "not JSON" in str(error)
    assert "login page" in error.hint
    assert "Please log in" in error.detail


async def test_what_is_no_json_can_be_asked_for() -> None:
    """A call with an Accept of its own takes any content."""
    async with scripted(last=(200, {"Content-Type": "text/csv"}, b"a,b")) as server, transport(server.url) as http:
        assert (await http.request("GET", "/x", headers={"Accept": "text/csv"})).body == b"a,b"
    assert server.asked[0].headers["Accept"] == "text/csv"


async def test_a_call_is_sent_as_it_was_meant() -> None:
    """Path, query, body, type and credentials arrive; a value is quoted."""
    async with scripted() as server, transport(server.url + "/base/") as http:
        await http.request("PUT", "/x%2Fy", query=[("a", "1"), ("a", "2&=+ü")], json={"ü": None})
    request = server.asked[0]
    assert request.rel_url.raw_path == "/base/x%2Fy"
    assert request.rel_url.query.getall("a") == ["1", "2&=+ü"]
    assert await request.json() == {"ü": None}
    assert request.headers["Content-Type"] == "application/json"
    assert aiohttp.encode_basic_auth("ops@acme.example", KEY) == request.headers["Authorization"]


# -- connections --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
async def test_an_unknown_certificate_is_not_trusted(tmp_path: Path) -> None:
    """A certificate that nobody vouches for is refused with a hint, and nothing is sent."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    making = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await making.wait() == 0
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    silent = Scripted()
    async with serving(silent.handle, context) as url:
        error = await failure(url, "POST")
    assert type(error) is TryLater
    assert "certificate is not trusted" in error.hint
    assert silent.asked == []


async def test_cancellation_leaves_the_session_usable() -> None:
    """A call that was cancelled at any moment frees its place, its connection and the gate."""
    async with scripted() as server, transport(server.url, gate=Gate(5, 100.0)) as http:
        for rounds in range(12):
            call = asyncio.ensure_future(http.json("GET", "/x"))
            for _ in range(rounds):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        assert http.gate is not None
        http.gate.capacity = None
        assert await http.json("GET", "/x") == {"id": 1}


async def test_the_clocks_difference_is_measured() -> None:
    """`skew` is how far the account's clock is ahead; less than a second is none."""
    for ahead in (0, 100, -100):
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
        async with scripted(last=(200, {**JSON, "Date": date}, b"{}")) as server, transport(server.url) as http:
            await http.json("GET", "/x")
            assert http.skew == pytest.approx(ahead, abs=1.0)
    async with scripted(last=(200, {**JSON, "Date": "yesterday"}, b"{}")) as server, transport(server.url) as http:
        await http.json("GET", "/x")
        assert http.skew == 0


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
async def test_no_error_shows_a_secret(status: int) -> None:
    """A server that repeats our credentials, in any form, does not bring them into an error."""
    basic = aiohttp.encode_basic_auth("ops@acme.example", KEY)
    echo = f"wrong: {basic} {basic.partition(' ')[2]} {KEY}".encode()
    async with scripted(last=(status, {"Retry-After": "999"}, echo)) as server:
        error = await failure(server.url, "POST")
        assert KEY not in str(server.asked[0].url)
    shown = f"{error} {error.detail} {error.hint} {error.__cause__}"
    assert "wrong" in shown
    assert not any(secret in shown for secret in (KEY, basic, basic.partition(" ")[2]))


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment names a proxy calls go through it, and where it names none they do not."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert "cannot be reached" in str(await failure("http://elsewhere.invalid"))
    async with raw(says(HEAD + b"Content-Length: 2\r\n\r\n{}")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with transport("http://elsewhere.invalid") as http:
            assert await http.json("GET", "/x") == {}
        assert proxy.heads[0].startswith(b"GET http://elsewhere.invalid/x HTTP")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with scripted(last=OK) as server, transport(server.url) as http:
            assert await http.json("GET", "/x") == {"id": 1}
        assert len(proxy.heads) == 1
    assert "proxy" in (await failure("http://elsewhere.invalid", "POST")).hint
