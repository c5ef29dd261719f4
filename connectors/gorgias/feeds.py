"""The two change feeds of an account: events, and tickets by their last update; the second repairs the first.

An event says only that something happened to a ticket. Events that merely repeat what the second feed shows anyway (a
ticket or a message is new, a status, a subject or tags changed: recorded to move `updated_datetime`) are not asked for.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.gorgias.client import Client
from connectors.gorgias.mapping import change, event_time, iso, moment, updated
from syncd.connector import Change, Page
from syncd.errors import TryLater
from syncd.model import Ticket

#: What `updated_datetime` does not show, or was not recorded to show.
EVENT_TYPES = (
    "ticket-deleted",
    "ticket-merged",
    "ticket-split",
    "ticket-assigned",
    "ticket-unassigned",
    "ticket-team-assigned",
    "ticket-team-unassigned",
    "ticket-customer-updated",
    "ticket-snoozed",
    "ticket-self-unsnoozed",
    "ticket-trashed",
    "ticket-untrashed",
    "ticket-marked-spam",
    "ticket-unmarked-spam",
    "ticket-message-updated",
    "ticket-message-deleted",
)
#: Between two readings of the whole overlap, a short one is enough: events become visible within moments.
SHORT_OVERLAP = 10.0
FULL_EVERY = 60.0
#: An account's clock is not known any better.
AHEAD = timedelta(minutes=1)
#: An account that has listed so many tickets and then lists none at all has not lost them: something is wrong with it.
MANY = 10


class Feeds:
    """Reads the feeds of one account from stored cursors."""

    def __init__(self, client: Client, overlap: float) -> None:
        self._client = client
        self._overlap = overlap
        self._full_at: dict[str, float] = {}
        self._shown = 0

    def _since(self, stream: str, mark: datetime) -> datetime:
        now = time.monotonic()
        full = now - self._full_at.get(stream, -FULL_EVERY) >= FULL_EVERY
        if full:
            self._full_at[stream] = now
        return mark - timedelta(seconds=self._overlap if full else min(SHORT_OVERLAP, self._overlap))

    async def events(self, cursor: str | None) -> AsyncIterator[Page]:
        """Events since the cursor, oldest first; without a cursor, only where to begin."""
        if cursor is None:
            yield Page((), await self._newest_event())
            return
        mark = moment(cursor) or datetime.now(UTC)
        params = {
            "types": list(EVENT_TYPES),
            "created_datetime[gte]": iso(self._since("events", mark)),
            "order_by": "created_datetime:asc",
        }
        async for rows in self._client.pages("list_all_gorgias_events", params):
            mark = max([mark, *map(event_time, rows)])
            yield Page(tuple(found for row in rows if (found := change(row))), iso(mark))

    async def _newest_event(self) -> str:
        self._full_at["events"] = time.monotonic()
        newest = {"limit": 1, "order_by": "created_datetime:desc"}
        answer = await self._client.call("list_all_gorgias_events", newest)
        rows = answer.get("data") or []
        if rows:
            return iso(event_time(rows[0]))
        return iso(datetime.now(UTC) + timedelta(seconds=self._client.transport.skew) - timedelta(minutes=5))

    async def tickets(
        self,
        stream: str,
        operation: str,
        params: Mapping[str, Any],
        cursor: str | None,
        reader: Callable[[bool], Awaitable[Callable[[Any], Ticket]]],
    ) -> AsyncIterator[Page]:
        """Rows by `updated_datetime`, newest first, down to the cursor; it moves with the last page only.

        `reader` gives what turns a row into a ticket, told whether there is news.
        """
        mark = moment(cursor)
        since = self._since(stream, mark) if mark else None
        self._full_at.setdefault(stream, time.monotonic())
        newest, pending = mark, None
        async for rows in self._client.pages(operation, {**params, "order_by": "updated_datetime:desc"}):
            if pending is not None:
                yield pending
            elif stream == "tickets":  # a view may well be empty
                self._must_show(len(rows))
            times = [when for row in rows if (when := updated(row))]
            read = await reader(mark is None or any(when > mark for when in times))
            fresh = [row for row in rows if since is None or (updated(row) or since) >= since]
            newest = max([*times, *([newest] if newest else [])], default=None)
            pending = Page(tuple(_row_change(read(row)) for row in fresh), cursor or "")
            if len(fresh) < len(rows):
                break
        if pending is not None:
            yield Page(pending.changes, iso(self._not_ahead(newest)) if newest else cursor or "")

    def _must_show(self, rows: int) -> None:
        """Refuse a listing without any row where there were many at the last look. Raises TryLater."""
        if not rows and self._shown >= MANY:
            hint = "if all of them were deleted, start syncd again"
            raise TryLater(f"{self._client.transport.label} lists no tickets any more", hint=hint)
        self._shown = rows

    def _not_ahead(self, newest: datetime) -> datetime:
        """Whoever writes by the API may date a change ahead (reference): what happens until then must not be missed."""
        now = datetime.now(UTC) + timedelta(seconds=self._client.transport.skew)
        return now if newest > now + AHEAD else newest


def _row_change(row: Ticket) -> Change:
    return Change(row.id, row.updated_at, "changed", row=row)
