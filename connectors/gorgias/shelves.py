"""What the resources of the unified API share: pages of a list operation, and bodies that are never sent to anybody."""

import contextlib
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from connectors.gorgias import mapping, unified
from connectors.gorgias.account import Account
from connectors.gorgias.client import Client
from syncd.directory import Draft, Query, Record, Rows, Shelf
from syncd.errors import BadRequest, Forbidden, Gone
from syncd.operations import Call, Operations
from syncd.unified.drafts import Json
from syncd.unified.shapes import Row

PRODUCT = "gorgias"
#: Seconds that the members of teams are believed.
FRESH = 60.0
Doc = Mapping[str, Any]


class Place:
    """What the shelves of one account share: its operations, its client, its words."""

    def __init__(self, operations: Operations, client: Client, account: Account, base: str) -> None:
        self.operations = operations
        self.client = client
        self.account = account
        self.base = base
        self._members: dict[str, list[str]] = {}
        self._members_at = -FRESH

    def forget_teams(self) -> None:
        """They have changed."""
        self._members_at = -FRESH

    async def teams_of(self) -> Mapping[str, Sequence[str]]:
        """The ids of the teams by the ids of their members, listed from time to time; none where they are hidden."""
        if time.monotonic() - self._members_at > FRESH:
            found: dict[str, list[str]] = {}
            with contextlib.suppress(Forbidden, Gone):
                async for rows in self.client.pages("list_all_gorgias_teams"):
                    for team_id, member in (
                        (row.get("id"), one) for row in rows for one in unified.items(row, "members")
                    ):
                        found.setdefault(str(member.get("id")), []).append(str(team_id))
            self._members, self._members_at = found, time.monotonic()
        return self._members


class Kept(Shelf):
    """A resource whose rows are those of a list operation, page by page."""

    listed: ClassVar[str]
    #: The product's name for what a list is sorted by.
    orders: ClassVar[Mapping[str, str]] = {"created_at": "created_datetime"}
    sorts = frozenset({"created_at"})
    takes_remote_data = True

    def __init__(self, resource: str, place: Place) -> None:
        super().__init__(resource, PRODUCT)
        self.place = place

    @abstractmethod
    def shown(self, doc: Doc) -> Row:
        """A row as the unified API has it."""

    def record(self, doc: Doc) -> Record:
        """With the product's own record."""
        return Record(self.shown(doc), doc)

    def narrowed(self, query: Query) -> tuple[dict[str, Any], frozenset[str]]:
        """The parameters that narrow a list, and the names of the filters that its rows cannot show."""
        return {}, frozenset()

    def order(self, query: Query) -> tuple[str, bool] | None:
        """By what the list is sorted, and whether downwards: so that a bounded one can end early."""
        bounded = next((name for name in reversed([*self.orders]) if query.bounds(name)), None)
        return query.sort or ((bounded, True) if bounded else None)

    async def rows(self, query: Query, cursor: str | None, size: int) -> Rows:
        """One page."""
        params, applied = self.narrowed(query)
        order = self.order(query)
        if order:
            params["order_by"] = f"{self.orders[order[0]]}:{'desc' if order[1] else 'asc'}"
        call = Call(self.listed, {**params, "limit": size}, cursor=cursor, extra=query.extra)
        found = await self.place.operations.call_operation(call)
        records = [record for doc in found.rows or () for record in self.records(doc)]
        return Rows(records, found.next_cursor, found.prev_cursor, order, applied)

    def records(self, doc: Doc) -> list[Record]:
        """What a row holds: itself."""
        return [self.record(doc)]


# -- bodies ---------------------------------------------------------------------------------------------------------


def number_of(value: str, where: str) -> int:
    """An id of Gorgias's. Raises BadRequest."""
    if not mapping.is_number(str(value)):
        raise BadRequest("an id does not fit", [f"{where}: {value!r} is no id of Gorgias: those are numbers"])
    return int(value)


def remote(body: Json) -> Row:
    """What the caller wants to be merged into what Gorgias gets."""
    return dict(body.get("remote_data") or {})


def now() -> str:
    """The time, as Gorgias writes it."""
    return mapping.iso(datetime.now(UTC))


async def uploaded(place: Place, draft: Draft) -> list[Row]:
    """The files of a draft, stored, as a message names them."""
    return [mapping.file_of(file, await place.client.upload(file)) for file in draft.files]


def quiet(message: Any) -> Any:
    """The message, such that Gorgias sends it to nobody: a note, a customer's, or one that counts as sent already."""
    if not isinstance(message, dict) or message.get("from_agent") is False or message.get("channel") == mapping.NOTE:
        return message
    return {**message, "sent_datetime": message.get("sent_datetime") or message.get("created_datetime") or now()}
