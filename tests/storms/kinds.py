"""The kinds of bad weather, by name."""

import asyncio
import email.utils
import functools
import hashlib
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NoReturn

import orjson
from aiohttp import web

from tests.storms.proxy import Kind, Passage

HTML = "<!doctype html><html><head><title>Sorry</title></head><body><h1>Something went wrong</h1></body></html>"
#: More than any answer that syncd reads, and a few hundred bytes for each of its megabytes on the wire.
BOMB = 80 * 1024 * 1024
PIECES = 8
Rows = list[dict[str, Any]]


def answering(status: int, body: str = "{}", kind: str = "application/json", **headers: str) -> Any:
    """Answer with this, before the product hears of the call."""

    async def strike(_passage: Passage) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=body, content_type=kind, headers=named)

    return strike


async def _limited_until(_passage: Passage) -> web.StreamResponse:
    until = email.utils.format_datetime(datetime.now().astimezone() + timedelta(seconds=1))
    return web.Response(status=429, headers={"Retry-After": until})


async def _reset_before(passage: Passage) -> web.StreamResponse:
    return passage.reset()


async def _reset_after(passage: Passage) -> web.StreamResponse:
    await passage.carried()
    return passage.reset()


async def _gateway(passage: Passage) -> web.StreamResponse:
    await passage.carried()
    return web.Response(status=502, text=HTML, content_type="text/html")


async def _hang_before(passage: Passage) -> web.StreamResponse:
    await asyncio.sleep(passage.proxy.silence)
    return passage.reset()


async def _hang_after(passage: Passage) -> web.StreamResponse:
    await passage.carried()
    await asyncio.sleep(passage.proxy.silence)
    return passage.reset()


async def _drip(passage: Passage) -> web.StreamResponse:
    answer = await passage.carried()
    return await _sent(passage, answer, slowly=True)


async def _broken_off(passage: Passage) -> web.StreamResponse:
    answer = await passage.carried()
    return await _sent(passage, answer, slowly=False)


async def _sent(passage: Passage, answer: web.Response, *, slowly: bool) -> web.StreamResponse:
    """The answer piece by piece; or its first half, and then the end of the connection."""
    body = answer.body if isinstance(answer.body, bytes) else b""
    if not body:
        return answer
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(body)
    await response.prepare(passage.request)
    if not slowly:
        await response.write(body[: len(body) // 2])
        return passage.reset()
    size = len(body) // PIECES + 1
    for start in range(0, len(body), size):
        await response.write(body[start : start + size])
        await asyncio.sleep(0.02)
    await response.write_eof()
    return response


async def _cut_short(passage: Passage) -> web.StreamResponse:
    """As a proxy does that has lost its upstream: a whole answer by its length, half of one by its content."""
    answer = await passage.carried()
    body = answer.body if isinstance(answer.body, bytes) else b""
    return web.Response(status=answer.status, body=body[: len(body) // 2], content_type="application/json")


async def _wrong_type(passage: Passage) -> web.StreamResponse:
    answer = await passage.carried()
    answer.headers["Content-Type"] = "text/html; charset=iso-8859-1"
    return answer


async def _elsewhere(passage: Passage) -> web.StreamResponse:
    raise web.HTTPFound(f"/maintenance?was={passage.request.path}")


async def _other_host(passage: Passage) -> NoReturn:
    raise web.HTTPTemporaryRedirect(f"http://localhost:{passage.proxy.port}{passage.request.raw_path}")


@functools.cache
def _bomb() -> bytes:
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(b'{"data": "')
    for _ in range(BOMB // 1024 // 1024):
        packed += packer.compress(b" " * 1024 * 1024)
    return packed + packer.flush()


async def _gzip_bomb(_passage: Passage) -> web.StreamResponse:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    return web.Response(body=_bomb(), headers=headers)


async def _doubled(passage: Passage) -> web.StreamResponse:
    """Each row twice, as where a page was repeated after its rows had moved."""
    return await passage.bent(lambda rows: [row for row in rows for _ in range(2)])


def is_late(passage: Passage, row: Mapping[str, Any]) -> bool:
    """Whether a row is not shown yet: half of those that are new, and always the same half."""
    stamp = str(row.get(passage.proxy.product.stamp) or row.get("created_datetime"))
    young = passage.proxy.now() - datetime.fromisoformat(stamp) < timedelta(seconds=passage.proxy.late)
    return young and hashlib.sha256(f"{row['id']} {stamp}".encode()).digest()[0] % 2 == 0


async def _late(passage: Passage) -> web.StreamResponse:
    return await passage.bent(lambda rows: [row for row in rows if not is_late(passage, row)])


async def _lagging(passage: Passage) -> web.StreamResponse:
    """A search that does not know yet what was made a moment ago."""
    since = passage.proxy.now() - timedelta(seconds=passage.proxy.late)

    def old(row: Mapping[str, Any]) -> bool:
        return datetime.fromisoformat(str(row.get("created_datetime") or row.get("created_on"))) < since

    return await passage.bent(lambda rows: [row for row in rows if old(row)])


async def _empty(passage: Passage) -> web.StreamResponse:
    """Nothing at all, in the shape of a list."""
    document: dict[str, Any] = {passage.proxy.product.rows: [], "total_count": 0, "meta": {"next_cursor": None}}
    return web.Response(body=orjson.dumps(document), content_type="application/json")


async def _moving(passage: Passage) -> web.StreamResponse:
    """Somebody works between one page and the next."""
    if passage.proxy.between:
        await passage.proxy.between()
    return await passage.carried()


def _is_feed(passage: Passage) -> bool:
    return passage.is_feed


def _is_search(passage: Passage) -> bool:
    return passage.is_search


def _is_next_page(passage: Passage) -> bool:
    return passage.is_feed and passage.is_next_page


def _is_read(passage: Passage) -> bool:
    return passage.request.method == "GET"


def _is_write(passage: Passage) -> bool:
    return passage.request.method != "GET"


def _is_no_file(passage: Passage) -> bool:
    """A bomb in a file's place is too large a file, and left where it is."""
    return "attachment" not in passage.request.path


def feeds_only(strike: Any, fits: Callable[[Passage], bool] = _is_feed, *, harmless: bool = True) -> Kind:
    """A kind that strikes lists."""
    return Kind(strike, fits, harmless)


EXPIRED = '{"error": {"msg": "Invalid cursor."}}'
KINDS: dict[str, Kind] = {
    "429 for a second": Kind(answering(429, Retry_After="1"), waited_for=True, slow=True),
    "429 until a date": Kind(_limited_until, waited_for=True, slow=True),
    "429 without a word": Kind(answering(429, ""), waited_for=True, slow=True),
    "429 for long": Kind(answering(429, Retry_After="3600")),
    "500": Kind(answering(500)),
    "503 with Retry-After": Kind(answering(503, "", "text/plain", Retry_After="0.2")),
    "500 in HTML": Kind(answering(500, HTML, "text/html")),
    "502 after the effect": Kind(_gateway),
    "200 with a login page": Kind(answering(200, HTML, "text/html")),
    "200 with an empty object": Kind(answering(200), _is_read),
    "reset before the effect": Kind(_reset_before),
    "reset after the effect": Kind(_reset_after),
    "a write whose answer is lost": Kind(_reset_after, _is_write, harmless=True),
    "hang before the effect": Kind(_hang_before, slow=True),
    "hang after the effect": Kind(_hang_after, slow=True),
    "drip": Kind(_drip, harmless=True),
    "an answer that breaks off": Kind(_broken_off),
    "an answer cut short": Kind(_cut_short),
    "another content type": Kind(_wrong_type, harmless=True),
    "a redirect": Kind(_elsewhere),
    "a redirect to another host": Kind(_other_host),
    "a gzip bomb": Kind(_gzip_bomb, _is_no_file),
    "rows twice": feeds_only(_doubled),
    "rows that show late": feeds_only(_late),
    "a search that lags": feeds_only(_lagging, _is_search),
    "rows that move between pages": feeds_only(_moving, _is_next_page),
    "a cursor that has expired": feeds_only(answering(400, EXPIRED), _is_next_page, harmless=False),
    "an empty list": feeds_only(_empty),
}
