"""Files at the wire: up as a stream that any parser takes, and down from nowhere but where the account keeps them."""

import asyncio
import gzip
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import stamina
from aiohttp import web

from syncd.errors import AccountError, Forbidden, Gone, RateLimited, Refused, TooLarge, TryLater, Unauthorized
from syncd.http import Gate, Transport, file_body
from tests.unit.http_servers import raw, says, scripted, serving

BIG = 30_000_000
OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    """No pause between attempts."""
    with stamina.set_testing(True, attempts=3):
        yield


def transport(url: str, **options: Any) -> Transport:
    """A transport with credentials."""
    return Transport(url, "Acme", headers={"Authorization": aiohttp.encode_basic_auth("me", "the-key")}, **options)


async def fetched(http: Transport, url: str, **options: Any) -> bytes:
    """The whole content of a file."""
    return b"".join([chunk async for chunk in http.download(url, **options)])


async def refusal(http: Transport, url: str, **options: Any) -> AccountError:
    """The error that a download raises."""
    with pytest.raises(AccountError) as raised:
        await fetched(http, url, **options)
    return raised.value


# -- down ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
async def test_an_own_file_is_fetched_with_credentials(whole: bool) -> None:
    """A file of the account's own host, by its whole address or by its path, is fetched as ourselves."""
    async with scripted(last=(200, OCTETS, b"\x00bytes")) as server, transport(server.url) as http:
        assert await fetched(http, (server.url if whole else "") + "/files/a%20b") == b"\x00bytes"
    assert server.asked[0].headers["Authorization"].startswith("Basic ")
    assert server.asked[0].rel_url.raw_path == "/files/a%20b"


async def test_a_foreign_file_is_fetched_without_credentials() -> None:
    """A host that is named is asked without our key; `private` says that it may be a private address."""
    async with scripted() as server, scripted(last=(200, OCTETS, b"bytes")) as other, transport(server.url) as http:
        assert await fetched(http, other.url + "/a", hosts=["127.0.0.1"], private=True) == b"bytes"
    assert "Authorization" not in other.asked[0].headers
    assert not server.asked


@pytest.mark.parametrize(
    "url",
    [
        "http://elsewhere.example/a",
        "http://files.example.evil.example/a",
        "http://evilfiles.example/a",
        "http://files.example@elsewhere.example/a",
        "file:///etc/passwd",
        "data:text/plain,x",
        "ftp://files.example/a",
        "http://[nonsense/a",
        "//elsewhere.example/a",
        "http://127.1/a",
    ],
)
async def test_any_other_address_is_forbidden(url: str) -> None:
    """A host that is not named, and what is no address on the web, is not asked at all."""
    async with scripted() as server, transport(server.url) as http:
        assert isinstance(await refusal(http, url, hosts=["files.example", "127.1"]), Forbidden)
        assert not server.asked


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:7f00:1]", "localhost"])
async def test_a_private_address_is_forbidden(host: str) -> None:
    """A host that is named and is, or leads to, a private address is Forbidden and hears nothing."""
    async with scripted() as server, scripted() as other, transport(server.url) as http:
        port = other.url.rpartition(":")[2]
        error = await refusal(http, f"http://{host}:{port}/a", hosts=[host.strip("[]")])
        assert isinstance(error, Forbidden)
        assert "private address" in str(error)
        assert not other.asked


async def test_one_redirect_is_followed_without_credentials() -> None:
    """An own file that is kept elsewhere is fetched there, without our key, where that host is named."""
    async with scripted(last=(200, OCTETS, b"bytes")) as store, scripted() as server, transport(server.url) as http:
        server.last = (302, {"Location": store.url + "/a?signature=x"}, b"")
        assert await fetched(http, "/file", hosts=["127.0.0.1"], private=True) == b"bytes"
        assert isinstance(await refusal(http, "/file"), Forbidden)
        assert "Authorization" in server.asked[0].headers
        assert ["Authorization" in request.headers for request in store.asked] == [False]


async def test_a_second_redirect_is_not_followed() -> None:
    """A file that leads on and on is given up, with no secret of its address."""
    async with scripted(last=(302, {"Location": "/again?signature=x"}, b"")) as server, transport(server.url) as http:
        error = await refusal(http, "/file")
        assert isinstance(error, TryLater)
        assert "signature" not in str(error)
        assert len(server.asked) == 2


async def test_a_redirect_to_nowhere_is_forbidden() -> None:
    """A redirect off the web is not followed."""
    async with scripted(last=(302, {"Location": "file:///etc/passwd"}, b"")) as server, transport(server.url) as http:
        assert isinstance(await refusal(http, "/file"), Forbidden)


@pytest.mark.parametrize(
    "inner", ["http://169.254.169.254/latest/meta-data", "http://[fd00::1]/x", "http://10.0.0.1/x"]
)
async def test_a_redirect_into_a_private_network_is_forbidden(inner: str) -> None:
    """Even where that host were named, which no account does: the metadata of a cloud's machine is not a file."""
    async with scripted(last=(302, {"Location": inner}, b"")) as server, transport(server.url) as http:
        for hosts in ([], ["169.254.169.254", "fd00::1", "10.0.0.1"]):
            assert isinstance(await refusal(http, "/file", hosts=hosts), Forbidden)


@pytest.mark.promise("P42")
@pytest.mark.parametrize("answers", [["127.0.0.1"], ["127.0.0.1", "10.0.0.1"], ["169.254.169.254", "::1"]])
async def test_a_name_that_leads_into_a_private_network_is_forbidden(
    answers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a name leads to is looked at when it is connected to, so that it cannot lead elsewhere a moment later."""
    asked = []

    async def resolve(_: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        asked.append(host)
        return [
            {"hostname": host, "host": one, "port": port, "family": family, "proto": 0, "flags": 0} for one in answers
        ]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    async with scripted() as server, scripted() as inner, transport(server.url) as http:
        port = inner.url.rpartition(":")[2]
        error = await refusal(http, f"http://files.example:{port}/a", hosts=["files.example"])
        assert isinstance(error, Forbidden)
        assert "private address" in str(error)
        assert (asked, inner.asked) == (["files.example"], [])


async def test_a_file_that_unpacks_without_end_is_left_in_the_middle() -> None:
    """A small file that unpacks to a huge one comes in chunks: whoever has enough leaves, and memory stays small."""
    bomb = gzip.compress(bytes(200_000_000), 9)
    async with (
        scripted(last=(200, {**OCTETS, "Content-Encoding": "gzip"}, bomb)) as server,
        transport(server.url) as http,
    ):
        tracemalloc.start()
        try:
            size = 0
            async for chunk in http.download("/file"):
                size += len(chunk)
                if size > 1_000_000:
                    break
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert 1_000_000 < size < 20_000_000
    assert peak < 40_000_000


@pytest.mark.parametrize(
    ("status", "own", "foreign"),
    [(401, Unauthorized, Forbidden), (403, Forbidden, Forbidden), (404, Gone, Gone), (400, Refused, Refused),
     (429, RateLimited, RateLimited), (500, TryLater, TryLater), (204, Refused, Refused)],
)  # fmt: skip
async def test_a_download_has_its_errors(status: int, own: type, foreign: type) -> None:
    """A status means what it means elsewhere; but another host's 401 is not about our key."""
    async with scripted(last=(status, {}, b"")) as server, scripted() as api:
        async with transport(server.url) as http:
            assert type(await refusal(http, "/file")) is own
        async with transport(api.url) as http:
            assert type(await refusal(http, server.url + "/file", hosts=["127.0.0.1"], private=True)) is foreign


async def test_a_download_that_breaks_off_is_no_file() -> None:
    """Less than was promised is an error, after the chunks that came."""
    async with (
        raw(says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")) as server,
        transport(server.url) as http,
    ):
        assert isinstance(await refusal(http, "/file"), TryLater)


async def test_a_download_counts_as_a_call() -> None:
    """An own file passes the gate and teaches it; 429 closes it."""
    limits = {"X-Gorgias-Account-Api-Call-Limit": "20/40"}
    steps = [(200, limits, b"x"), (429, {"Retry-After": "0.2"}, b"")]
    async with scripted(*steps) as server, transport(server.url, gate=Gate(40, 20.0)) as http:
        await fetched(http, "/file")
        assert http.gate is not None
        assert http.gate.used == pytest.approx(0.5, abs=0.05)
        assert isinstance(await refusal(http, "/file"), RateLimited)
        started = time.monotonic()
        await http.json("GET", "/x")
        assert time.monotonic() - started >= 0.15


async def test_a_reader_that_leaves_frees_the_connection() -> None:
    """A download that is left in the middle does not block the next one, and is never held whole."""
    async with scripted(last=(200, OCTETS, bytes(BIG))) as server, transport(server.url) as http:
        for _ in range(40):
            async for _chunk in http.download("/file"):
                break
        async with asyncio.timeout(5):
            assert len(await fetched(http, "/file")) == BIG


# -- up -----------------------------------------------------------------------------------------------------------


async def test_a_file_is_streamed(tmp_path: Path) -> None:
    """A body of any size goes out from disk in chunks, afresh for each attempt."""
    path = tmp_path / "file"
    path.write_bytes(bytes(BIG))
    sizes = []

    async def handle(request: web.Request) -> web.StreamResponse:
        sizes.append(sum([len(chunk) async for chunk in request.content.iter_any()]))
        return web.json_response({}, status=503 if len(sizes) == 1 else 200)

    async with serving(handle) as url, transport(url) as http:
        tracemalloc.start()
        try:
            await http.json("PUT", "/file", data=file_body(path), safe=True)
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()
    assert sizes == [BIG, BIG]


async def test_a_file_that_is_too_large_says_so(tmp_path: Path) -> None:
    """A server that answers 413 before it has read everything is heard."""
    path = tmp_path / "file"
    path.write_bytes(bytes(BIG))

    async def handle(request: web.Request) -> web.StreamResponse:
        await request.content.read(100)
        return web.Response(status=413, text="too large")

    async with serving(handle) as url, transport(url) as http:
        with pytest.raises(TooLarge):
            await http.json("POST", "/file", data=file_body(path))
