"""Calls as the handlers see them, and pages of a list: a keyset behind an opaque cursor."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any

import orjson
from aiohttp import web

from connectors.gorgias.operations import Operation
from connectors.gorgias.sandbox.table import Key, Row, Table, sort_value
from connectors.gorgias.sandbox.world import Act, Doc, World, wrong

#: Lists whose meta carries total_resources (live: always null).
COUNTED = frozenset({"tickets", "integrations"})
OFFSET = "+00:00"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")
LAST_ID = 2**63
Show = Callable[[World, Row], Doc]
Span = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has passed validation."""

    operation: Operation
    act: Act
    caller: Row
    path: Mapping[str, Any]
    query: Mapping[str, Any]
    body: Any
    request: web.Request


def listing(
    world: World,
    call: Call,
    table: Table,
    show: Show,
    fits: Callable[[Row], bool] | None = None,
    among: Iterable[Row] | None = None,
    span: Span | None = None,
) -> Doc:
    """The page that the call's cursor, limit and order_by ask for, in the list envelope.

    `fits` picks rows; `among` and `span`, the first and last sort value, only spare it work.
    """
    fields, descending = order_of(call)
    key, backward = _decoded(call.query.get("cursor"))
    limit = call.query.get("limit", _default(call, "limit", 30))
    try:
        rows = _spanned(table, fields, descending != backward, key, among, span)
    except TypeError as broken:  # the cursor of another order: its value does not compare
        raise wrong("cursor", "Invalid cursor.") from broken
    found = list(islice(filter(fits, rows), limit + 1))
    more = len(found) > limit
    found = found[:limit]
    if backward:
        found.reverse()
    before = bool(found) and (more if backward else key is not None)
    behind = bool(found) and (backward or more)
    meta = {
        "prev_cursor": _encoded("prev", found[0], fields) if before else None,
        "next_cursor": _encoded("next", found[-1], fields) if behind else None,
    }
    if table.name in COUNTED:
        meta["total_resources"] = None
    return {"object": "list", "uri": uri(call), "data": [show(world, row) for row in found], "meta": meta}


def _spanned(
    table: Table,
    fields: tuple[str, ...],
    descending: bool,
    after: Key | None,
    among: Iterable[Row] | None,
    span: Span | None,
) -> Iterable[Row]:
    if span is None:
        return table.scan(fields, descending=descending, after=after, among=among)
    low, high = span
    if descending:
        after = min(filter(None, (after, (high, LAST_ID))))
        return takewhile(
            lambda row: row[fields[0]] >= low, table.scan(fields, descending=True, after=after, among=among)
        )
    after = max(filter(None, (after, (low, 0))))
    return takewhile(lambda row: row[fields[0]] <= high, table.scan(fields, after=after, among=among))


def uri(call: Call) -> str:
    """The path and the query string as they were sent."""
    return f"{call.request.path.rstrip('/')}?{call.request.rel_url.raw_query_string}"


def order_of(call: Call) -> tuple[tuple[str, ...], bool]:
    """The fields of order_by and whether they descend; by id where the list has no order."""
    text = call.query.get("order_by") or _default(call, "order_by", "id:desc")
    parts = [part.partition(":") for part in text.split(",")]
    return tuple(field for field, _, _ in parts), parts[0][2] == "desc"


def _default(call: Call, name: str, otherwise: Any) -> Any:
    return next((p.default for p in call.operation.query if p.name == name and p.default is not None), otherwise)


def _encoded(direction: str, row: Row, fields: tuple[str, ...]) -> str:
    value = sort_value(row, fields)
    if isinstance(value, str):
        value = value.removesuffix(OFFSET)  # live cursors hold the moment without its offset
    return base64.b64encode(orjson.dumps([direction, value, row["id"]])).decode()


def _decoded(cursor: str | None) -> tuple[Key | None, bool]:
    if cursor is None:
        return None, False
    try:
        direction, value, row_id = orjson.loads(base64.b64decode(cursor, validate=True))
    except (binascii.Error, ValueError, TypeError) as broken:
        raise wrong("cursor", "Invalid cursor.") from broken
    if direction not in ("next", "prev") or not isinstance(row_id, int):
        raise wrong("cursor", "Invalid cursor.")
    if isinstance(value, str) and MOMENT.fullmatch(value):
        value += OFFSET
    return (tuple(value) if isinstance(value, list) else value, row_id), direction == "prev"
