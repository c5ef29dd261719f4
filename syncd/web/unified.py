"""`/unified/…`: tickets and what belongs to them in the same shapes for every product; see `docs/unified-api.md`.

`GET /unified/ticketing/tickets` lists, `GET …/ID` gets, `POST` creates, `PATCH …/ID` updates, `DELETE …/ID` deletes.
Everything that is wrong with a call is said before the product is asked. What it cannot do answers 501 with a sentence.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from aiohttp import web

from state.store import Store
from syncd import log
from syncd.access import Access
from syncd.connector import Connector
from syncd.directory import File, Query, Shelf
from syncd.errors import AccountError, BadRequest
from syncd.unified import filters, schema
from syncd.unified.listing import Listing, collect
from syncd.unified.shelves import shelves_of
from syncd.web import bodies, faults
from syncd.web.accounts import Account, AccountSource, chosen
from syncd.web.calls import answered, limits
from syncd.web.faults import Fault
from syncd.web.guard import permit
from syncd.web.records import Records
from syncd.web.unified_answers import DOWNLOAD, WRITES, Target, answer, asked, found, shown
from syncd.web.unified_openapi import openapi_paths, openapi_schemas
from syncd.web.unified_query import Options, options_of
from syncd.web.unified_writes import Writer

__all__ = ["Unified", "add_routes", "openapi_paths", "openapi_schemas"]

logger = log.get(__name__)


def add_routes(app: web.Application, accounts: AccountSource, store: Store) -> None:
    """Serve `/unified/…` over these accounts; writes are recorded in the store."""
    unified = Unified(accounts, Records(store))
    app.router.add_get("/unified/{model}/capabilities", unified.capabilities)
    for path in ("/unified/{model}/{resource}", "/unified/{model}/{resource}/{tail}"):
        app.router.add_route("*", path, unified.handle)


class Unified:
    """Answers the calls."""

    def __init__(self, accounts: AccountSource, records: Records) -> None:
        self._accounts = accounts
        self._writer = Writer(records)
        self._shelves: WeakKeyDictionary[Connector, Mapping[str, Shelf]] = WeakKeyDictionary()

    def _shelves_of(self, connector: Connector) -> Mapping[str, Shelf]:
        if connector not in self._shelves:
            self._shelves[connector] = shelves_of(connector)
        return self._shelves[connector]

    async def capabilities(self, request: web.Request) -> web.Response:
        """What the chosen account can do, resource by resource, and why it cannot do the rest."""
        try:
            account = chosen(request, self._accounts)
            model = request.match_info["model"]
            permit(request, account.workspace, f"unified.{model}.capabilities", "capabilities.get", Access.READ)
            return answer(_capabilities(model, account, self._shelves_of(account.connector)))
        except Fault as fault:
            return fault.response()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One call, whatever becomes of it."""
        return await answered(request, self._accounts, self._answer)

    async def _answer(self, request: web.Request, account: Account) -> web.StreamResponse:
        target = found(request)
        permit(request, account.workspace, target.operation, target.route, target.access)
        options = options_of(request.query.items())
        if options.send:
            permit(request, account.workspace, target.operation, target.route, Access.SEND)
        shelf = self._shelves_of(account.connector)[target.resource.key]
        if target.method not in shelf.methods:
            raise Fault(501, str(shelf.cannot(target.method)))
        if target.method in WRITES:
            return await self._writer.write(request, account, target, shelf, options)
        if target.method == DOWNLOAD:
            return await _download(request, account, shelf, options)
        return await _read(target, shelf, options)


async def _read(target: Target, shelf: Shelf, options: Options) -> web.Response:
    if target.method == "list":
        query = _query(target, shelf, options)
        return answer(_page(target, shelf, options, await asked(lambda: collect(shelf, query))))
    options.refuse_the_rest()
    record = await asked(lambda: shelf.get(target.id or "", options.ticket))
    return answer(shown(target.resource, record, options))


def _query(target: Target, shelf: Shelf, options: Options) -> Query:
    problems = list(options.problems)
    query = filters.read(target.resource.key, options.texts, options.cursor, tuple(options.extra), problems)
    if shelf.needs_ticket and not query.only("ticket", "id"):
        problems.append(f"ticket[id]: say of which ticket; {shelf.product} lists {shelf.resource} by their ticket only")
    if query.extra and not shelf.takes_remote_data:
        problems.append(f"remote_query: {shelf.product} takes none here")
    if options.key_by is not None and options.key_by not in target.resource.fields:
        problems.append(f"key_by: there is no field {options.key_by!r}")
    if problems:
        raise faults.wrong(BadRequest("this list cannot be made", dict.fromkeys(problems)))
    return query


def _page(target: Target, shelf: Shelf, options: Options, listing: Listing) -> dict[str, Any]:
    """The envelope of every list."""
    rows = [shown(target.resource, record, options) for record in listing.records]
    result: Any = rows
    if options.key_by is not None:
        keys = [str(record.fields.get(options.key_by)) for record in listing.records]
        result = dict(zip(keys, rows, strict=True))
    return {
        "result": result,
        "next_cursor": listing.next_cursor,
        "prev_cursor": listing.prev_cursor,
        "result_count": len(rows),
        "is_partial_response": shelf.partial,
    }


def _capabilities(model: str, account: Account, shelves: Mapping[str, Shelf]) -> dict[str, Any]:
    resources = [one for one in schema.every().values() if one.model == model]
    if not resources:
        raise Fault(404, f"there is no model {model!r}: there are {', '.join(schema.MODELS)}")
    return {
        "model": model,
        "account": {
            "id": f"{account.workspace}:{account.side}",
            "workspace": account.workspace,
            "side": str(account.side),
            "product": account.connector.name,
        },
        "resources": {one.name: _of_shelf(shelves[one.key]) for one in resources},
    }


def _of_shelf(shelf: Shelf) -> dict[str, Any]:
    able = shelf.methods
    lists = "list" in able
    return {
        "methods": list(able),
        "unsupported": {name: str(shelf.cannot(name)) for name in schema.methods(shelf.resource) if name not in able},
        "filters": list(schema.FILTERS[shelf.resource]) if lists else [],
        "sort_by": list(schema.SORTS[shelf.resource]) if lists else [],
        "needs_ticket": shelf.needs_ticket,
        "is_partial": shelf.partial,
        "send": shelf.sends,
    }


# -- files ---------------------------------------------------------------------------------------------------------


async def _download(request: web.Request, account: Account, shelf: Shelf, options: Options) -> web.StreamResponse:
    file = await asked(lambda: _file(request, shelf, options))
    response = web.StreamResponse()
    try:
        first = await anext(file.chunks, b"")
        response.headers.update(_headers(file) | limits(account.connector))
        await response.prepare(request)
        await response.write(first)
        async for chunk in file.chunks:
            await response.write(chunk)
        await response.write_eof()
    except AccountError as error:
        if not response.prepared:
            raise faults.remote(error) from error
        logger.warning("a download through the API broke off", file=file.file_name, error=str(error))
        if request.transport:  # an end without the end: the client must not take it for whole
            request.transport.abort()
    return response


async def _file(request: web.Request, shelf: Shelf, options: Options) -> File:
    """The file that is meant: its id stands in the query, or in a JSON body."""
    given = await bodies.read_json(request)
    named = given if isinstance(given, dict) else {}
    options.refuse_the_rest("id")
    wanted = named.get("id") or options.texts.get("id")
    if not isinstance(wanted, str):
        raise BadRequest("which file?", ["id: give the id of an attachment, in the query or in a JSON body"])
    return await shelf.download(wanted, options.ticket)


def _headers(file: File) -> dict[str, str]:
    """A browser must never show a stranger's file as a page of ours."""
    name = f"attachment; filename*=UTF-8''{quote(file.file_name, safe='')}"
    return {"Content-Type": file.content_type, "Content-Disposition": name}
