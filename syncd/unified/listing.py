"""Lists of any shelf: filtered, sorted and cut into pages, however little of that the product does itself."""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from syncd.directory import MAX_LIMIT, Query, Record, Rows, Shelf
from syncd.errors import BadRequest, Refused
from syncd.unified.filters import in_order, matches, past_the_end

#: Calls to the product that one list may cost while few rows fit; then the page is short and has a cursor.
BUDGET = 10
#: Calls that sorting what the product does not sort may cost, and that are asked for at once.
MOST = 50


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a list."""

    records: Sequence[Record]
    next_cursor: str | None = None
    prev_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a list goes on: at a cursor of the shelf's, so many rows in. `of` tells lists apart."""

    of: str
    cursor: str | None = None
    skip: int = 0

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(orjson.dumps((self.of, self.cursor, self.skip))).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str | None, of: str) -> "Place":
        """The place that a caller names. Raises BadRequest for one that is of no, or of another, list."""
        if text is None:
            return cls(of)
        try:
            padded = text + "=" * (-len(text) % 4)
            given, cursor, skip = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (ValueError, TypeError, binascii.Error, UnicodeEncodeError) as error:
            raise BadRequest("this is no cursor of a list", ["next_cursor: take it from the page before"]) from error
        if given != of or not isinstance(cursor, str | None) or not isinstance(skip, int) or skip < 0:
            problem = "next_cursor: it belongs to another list; send the same filters and sorting with it"
            raise BadRequest("this cursor does not fit", [problem])
        return cls(of, cursor, skip)


async def collect(shelf: Shelf, query: Query) -> Listing:
    """A page. Raises BadRequest for a cursor of another list."""
    of = hashlib.sha256(repr((shelf.resource, query.filters, query.sort, query.extra)).encode()).hexdigest()[:12]
    place = Place.parse(query.cursor, of)
    if shelf.whole or (query.sort and query.sort[0] not in shelf.sorts):
        return await _sorted(shelf, query, place)
    return await _streamed(shelf, query, place)


async def _streamed(shelf: Shelf, query: Query, place: Place) -> Listing:
    """Rows in the product's own order, read until the page is full."""
    found: list[Record] = []
    first = place
    for _ in range(BUDGET):
        size = MAX_LIMIT if query.filters else min(MAX_LIMIT, query.limit + place.skip)
        rows = await shelf.rows(query, place.cursor, size)
        taken = _take(rows, query, place.skip, query.limit - len(found))
        found += taken.records
        following = _following(rows, place, taken)
        if following is None or len(found) == query.limit:
            previous = rows.previous if place == first and not first.skip and not query.filters else None
            back = str(Place(place.of, previous)) if previous else None
            return Listing(found, str(following) if following else None, back)
        place = following
    return Listing(found, str(place))


@dataclass(frozen=True, slots=True)
class _Taken:
    records: list[Record]
    seen: int
    ended: bool


def _take(rows: Rows, query: Query, skip: int, room: int) -> _Taken:
    """The rows that fit, until there is no room or nothing more can fit."""
    conditions = [one for one in query.filters if one.name not in rows.applied]
    found: list[Record] = []
    for number, record in enumerate(rows.records[skip:], skip):
        if past_the_end(record.fields, conditions, rows.order):
            return _Taken(found, number, True)
        if matches(record.fields, conditions):
            found.append(record)
        if len(found) == room:
            return _Taken(found, number + 1, False)
    return _Taken(found, len(rows.records), False)


def _following(rows: Rows, place: Place, taken: _Taken) -> Place | None:
    if taken.ended:
        return None
    if taken.seen < len(rows.records):
        return replace(place, skip=taken.seen)
    return Place(place.of, rows.next) if rows.next else None


async def _sorted(shelf: Shelf, query: Query, place: Place) -> Listing:
    """Everything, sorted here, from an offset on."""
    found: list[Record] = []
    cursor: str | None = None
    for _ in range(MOST):
        rows = await shelf.rows(replace(query, sort=None), cursor, MAX_LIMIT)
        conditions = [one for one in query.filters if one.name not in rows.applied]
        found += [record for record in rows.records if matches(record.fields, conditions)]
        cursor = rows.next
        if cursor is None:
            break
    else:
        hint = f"sort by {' or '.join(sorted(shelf.sorts)) or 'nothing'}, or filter"
        raise Refused(f"there are too many {shelf.resource} to sort them by {(query.sort or ('it',))[0]}", hint=hint)
    if query.sort:
        found = in_order(found, *query.sort)
    start = _start(found, place)
    end = start + query.limit
    last = str(found[end - 1].fields.get("id")) if 0 < end < len(found) else None
    back = str(Place(place.of, None, start - query.limit)) if start > query.limit else str(Place(place.of))
    return Listing(found[start:end], str(Place(place.of, last, end)) if last else None, back if start else None)


def _start(found: Sequence[Record], place: Place) -> int:
    """Behind the row that was shown last, wherever that is by now."""
    ids = [str(record.fields.get("id")) for record in found]
    return ids.index(place.cursor) + 1 if place.cursor in ids else place.skip
