"""`/proxy/…`: a product's operations over HTTP, one to one, with its credentials, limits and pages looked after.

`GET /proxy/tickets` is the operation `list` of `tickets`, `PATCH /proxy/tickets/5` is `update`, and so on; see
`docs/http-api.md`. Everything that is wrong with a call is said before anything is sent.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from state.store import Store
from syncd import log
from syncd.access import Access
from syncd.errors import AccountError, BadRequest
from syncd.operations import FILES, Call, Operations, Result
from syncd.web import bodies, faults, query
from syncd.web.accounts import Account, AccountSource
from syncd.web.calls import answered, limits, record_of
from syncd.web.faults import Fault
from syncd.web.guard import permit
from syncd.web.query import Asked
from syncd.web.records import Records
from syncd.web.routes import STANDARD, Routes, Target, find, routes

#: Seconds that a call may take, with all waiting for the product's limit; files take as long as they take.
DEADLINE = 120.0
#: Where a query string may stand for a body: some clients send none with these.
BODILESS = frozenset({"GET", "DELETE"})

logger = log.get(__name__)


def add_routes(app: web.Application, accounts: AccountSource, store: Store) -> None:
    """Serve `/proxy/…` over these accounts; writes are recorded in the store."""
    proxy = Proxy(accounts, Records(store))
    for path in ("/proxy/{resource}", "/proxy/{resource}/{tail}"):
        app.router.add_route("*", path, proxy.handle)


class Proxy:
    """Answers the calls."""

    def __init__(self, accounts: AccountSource, records: Records) -> None:
        self._accounts = accounts
        self._records = records
        self._routes: dict[type[Operations], Routes] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One call, whatever becomes of it."""
        return await answered(request, self._accounts, self._answer)

    async def _answer(self, request: web.Request, account: Account) -> web.StreamResponse:
        doors = account.connector
        if not isinstance(doors, Operations):
            raise Fault(501, f"{account.connector.name} has no operations of its own here: use /unified")
        known = self._routes.get(type(doors)) or self._routes.setdefault(type(doors), routes(doors))
        place = request.match_info
        target = find(doors, known, request.method, place["resource"], place.get("tail", ""))
        access = Access.READ if target.operation.effect == "read" else Access.WRITE
        permit(request, account.workspace, target.operation.name, target.route, access)
        asked = _asked(request, target)
        async with _call(request, doors, target, asked) as call:
            _check(doors, call, asked)
            if doors.would_send(call):
                permit(request, account.workspace, target.operation.name, target.route, Access.SEND)
            if access is Access.READ:
                return await _read(request, account, target, call, asked)
            return await self._write(request, account, target, call, asked)

    async def _write(
        self, request: web.Request, account: Account, target: Target, call: Call, asked: Asked
    ) -> web.Response:
        record = record_of(request, account, call.name, _for_the_record(call), lambda: _digest(request, call))
        return await self._records.once(record, lambda: _buffered(account, target, call, asked))


# -- what is asked -------------------------------------------------------------------------------------------------


def _asked(request: web.Request, target: Target) -> Asked:
    asked = query.read(request.query.items(), target.operation, body_fields=request.method in BODILESS)
    if target.id is not None and target.id_name:
        if target.id_name in asked.texts:
            asked.problems.append(f"{target.id_name}: is given in the path and in the query")
        asked.texts[target.id_name] = target.id
    return asked


@asynccontextmanager
async def _call(request: web.Request, doors: Operations, target: Target, asked: Asked) -> AsyncIterator[Call]:
    """The call with its body; files stay on disk as long as this lasts."""
    name, operation = target.operation.name, target.operation
    call = Call(name, doors.typed(name, asked.texts), cursor=asked.cursor, extra=asked.extra)
    if not (asked.passthrough or operation.multipart):
        yield _with_body(doors, target, call, await bodies.read_json(request), asked)
        return
    with tempfile.TemporaryDirectory(prefix="syncd-api-") as folder:
        if asked.passthrough:
            yield replace(call, raw=await bodies.read_whole(request, Path(folder)))
        else:
            yield replace(call, files=await bodies.read_files(request, Path(folder)))


def _with_body(doors: Operations, target: Target, call: Call, body: Any, asked: Asked) -> Call:
    """The call with its JSON body; where the operation takes none, a POSTed object names parameters."""
    if body is bodies.NOTHING:
        if target.operation.body is not None and not asked.body:
            asked.problems.append("body: a JSON body is required")
        return replace(call, body=asked.body or None)
    if target.operation.body is None and target.method not in STANDARD and isinstance(body, dict):
        texts = {name: value if isinstance(value, str | list) else str(value) for name, value in body.items()}
        return replace(call, params={**call.params, **doors.typed(call.name, texts)})
    return replace(call, body=body)


def _check(doors: Operations, call: Call, asked: Asked) -> None:
    problems = list(asked.problems)
    try:
        doors.check_call(call)
    except BadRequest as error:
        problems += error.problems
    if problems:
        raise faults.wrong(BadRequest(f"{call.name} cannot be called like this", dict.fromkeys(problems)))


def _for_the_record(call: Call) -> dict[str, Any]:
    """The parameters, and of everything that may hold a secret only the names."""
    named = {
        "body": sorted(call.body) if isinstance(call.body, dict) else [],
        "files": [name for name, _ in call.files],
        "remote_query": [name for name, _ in call.extra],
    }
    return {"params": dict(call.params), **{name: value for name, value in named.items() if value}}


def _digest(request: web.Request, call: Call) -> str:
    """What makes two calls the same one: method, query and content."""
    files = [(name, file.file_name, file.sha256) for name, file in call.files]
    raw = call.raw.sha256 if call.raw else None
    same = (request.method, sorted(request.query.items()), call.body, files, raw)
    return hashlib.sha256(orjson.dumps(same, option=orjson.OPT_SORT_KEYS)).hexdigest()


# -- what is answered ----------------------------------------------------------------------------------------------


async def _read(request: web.Request, account: Account, target: Target, call: Call, asked: Asked) -> web.StreamResponse:
    if target.operation.kind in FILES or asked.format == "stream":
        return await _streamed(request, account, target, call)
    return await _buffered(account, target, call, asked)


async def _buffered(account: Account, target: Target, call: Call, asked: Asked) -> web.Response:
    writes = target.operation.effect != "read"
    try:
        async with asyncio.timeout(None if call.files or call.raw else DEADLINE):
            result = await _doors(account).call_operation(call)
    except AccountError as error:
        raise faults.remote(error) from error
    except TimeoutError as error:
        unknown = " It may have landed: look before you repeat it." if writes else ""
        raise Fault(504, f"no answer within {DEADLINE:.0f} seconds.{unknown}", happened=writes) from error
    status = result.status if asked.format != "normalized" or target.method == "create" else 200
    body = result.body if asked.format != "normalized" else _normalized(target, call, asked, result)
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json"} if body else None)


def _normalized(target: Target, call: Call, asked: Asked, result: Result) -> bytes:
    if target.method == "list":
        return orjson.dumps(_page(asked, result))
    if target.method == "delete":
        return orjson.dumps({"id": call.params.get(target.id_name or "")})
    if not result.body.strip():
        return b"{}"
    return orjson.dumps(_without(result.value, asked.exclude)) if asked.exclude else result.body


def _page(asked: Asked, result: Result) -> dict[str, Any]:
    """The envelope of every list; a report that is one object is a list of one."""
    rows = [result.value] if result.rows is None else list(result.rows)
    keyed: Any = [_without(row, asked.exclude) for row in rows]
    if asked.key_by is not None:
        try:
            keyed = {str(row[asked.key_by]): shown for row, shown in zip(rows, keyed, strict=True)}
        except (KeyError, TypeError) as error:
            raise Fault(400, f"key_by: the rows have no field {asked.key_by!r}") from error
    return {
        "result": keyed,
        "next_cursor": result.next_cursor,
        "prev_cursor": result.prev_cursor,
        "result_count": len(rows),
    }


def _without(row: Any, names: frozenset[str]) -> Any:
    return {name: value for name, value in row.items() if name not in names} if names and isinstance(row, dict) else row


async def _streamed(request: web.Request, account: Account, target: Target, call: Call) -> web.StreamResponse:
    response = web.StreamResponse()
    try:
        async with _doors(account).stream_operation(call) as streamed:
            response.headers.update(_headers(target, streamed.headers) | limits(account.connector))
            await response.prepare(request)
            async for chunk in streamed.chunks:
                await response.write(chunk)
            await response.write_eof()
    except AccountError as error:
        if not response.prepared:
            raise faults.remote(error) from error
        logger.warning("a download through the API broke off", operation=call.name, error=str(error))
        if request.transport:  # an end without the end: the client must not take it for whole
            request.transport.abort()
    return response


def _headers(target: Target, given: Mapping[str, str]) -> dict[str, str]:
    """What a file's answer says of it; a browser must never show a stranger's file as a page of ours."""
    headers = {"Content-Type": given.get("Content-Type", bodies.UNKNOWN)}
    if "Content-Length" in given and "Content-Encoding" not in given:
        headers["Content-Length"] = given["Content-Length"]
    if target.operation.kind in FILES:
        headers["Content-Disposition"] = given.get("Content-Disposition", "attachment")
    return headers


def _doors(account: Account) -> Operations:
    doors: Any = account.connector
    return doors  # type: ignore[no-any-return]
