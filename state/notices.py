"""Notice: what is dirty and how far the feeds are read, in one transaction; and what waits for its time."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import bindparam, case, delete, func, or_, select, update
from sqlmodel import Session, col

from state.door import Door, Row, batches, core, insert_into, insert_new, links_of, upsert
from state.tables import Conflict, Dirty, Lease, Link, SeenEvent, Watermark
from state.units import ASKED
from syncd.model import Side

DIRTY = core(Dirty)
POSTPONED = (
    update(DIRTY)
    .where(DIRTY.c.id == bindparam("its_id"), DIRTY.c.seq == bindparam("its_seq"))
    .values(not_before=bindparam("until"), tries=DIRTY.c.tries + 1, error=bindparam("why_not"))
)


#: Reasons to look at a ticket that say nothing new about it; they never hide one that does.
UNASKED = frozenset({"stamp", "sweep"})


@dataclass(frozen=True, slots=True)
class Notice:
    """A ticket to be looked at, and why; `event` is dropped when it was seen before."""

    ticket_id: str
    why: str
    deep: bool = False
    event: str | None = None
    at: datetime | None = None


class Notices(Door):
    """What is to be looked at."""

    async def watermarks(self, workspace: str) -> dict[tuple[str, str], Watermark]:
        """How far each (side, stream) has been read."""

        def work(session: Session) -> dict[tuple[str, str], Watermark]:
            rows = session.execute(select(Watermark).where(col(Watermark.workspace) == workspace)).scalars()
            return {(row.side, row.stream): row for row in rows}

        return await self._run(work)

    async def notice(self, lease: Lease, side: Side, notices: Collection[Notice], stream: str, cursor: str) -> int:
        """Make tickets dirty and move the watermark past them, together; returns how many were news."""
        moved = {
            "workspace": lease.workspace, "side": side.value, "stream": stream, "cursor": cursor,
            "moved_at": self._now(),
        }  # fmt: skip

        def work(session: Session) -> int:
            fresh = self._unseen(session, lease.workspace, side, notices)
            self._mark(session, lease.workspace, side, fresh)
            statement = upsert(self._database.dialect, Watermark, ("workspace", "side", "stream"))
            session.connection().execute(statement, moved)
            return len(fresh)

        return await self._run(work, lease)

    async def adopt(self, lease: Lease, side: Side, ticket_id: str, source_id: str) -> bool:
        """Link a ticket to the one that its marker names; False when one of them is linked to another already."""
        mine, others = ("gorgias_id", "remote_id") if side is Side.GORGIAS else ("remote_id", "gorgias_id")

        def work(session: Session) -> bool:
            known = links_of(session, lease.workspace, side, [ticket_id]).get(ticket_id)
            if known is not None:
                return bool(getattr(known, others) == source_id)
            link = links_of(session, lease.workspace, side.other, [source_id]).get(source_id)
            if link is None:
                ids: dict[str, Any] = {mine: ticket_id, others: source_id}
                session.add(Link(workspace=lease.workspace, created_at=self._now(), **ids))
                return True
            if getattr(link, mine) is not None:
                return False
            setattr(link, mine, ticket_id)
            return True

        return await self._run(work, lease)

    async def mark(self, workspace: str, side: Side, notices: Collection[Notice]) -> None:
        """Make tickets dirty, at whatever moment and from whatever process."""
        await self._run(lambda session: self._mark(session, workspace, side, notices))

    async def ask_back(self, workspace: str, conflict_id: int, side: Side, ticket_id: str) -> None:
        """Want the loser of a conflict back, and have the ticket looked at; from whatever process."""
        change = update(core(Conflict)).where(core(Conflict).c.id == conflict_id).values(taking=ASKED, said=None)

        def work(session: Session) -> None:
            session.connection().execute(change)
            self._mark(session, workspace, side, [Notice(ticket_id, "take", deep=True)])

        await self._run(work)

    async def forget_events(self, lease: Lease, before: datetime) -> None:
        """Drop the memory of events that no overlap reaches any more."""
        old = (col(SeenEvent.workspace) == lease.workspace, col(SeenEvent.at) < before)
        await self._run(lambda session: session.execute(delete(core(SeenEvent)).where(*old)) and None, lease)

    async def postpone(self, lease: Lease, dirty: Sequence[Dirty], until: datetime, error: str) -> None:
        """Look at these tickets again later, and say why they wait; one noticed anew meanwhile does not wait."""
        # PostgreSQL's text takes no NUL, which a product's answer may hold.
        why = error.replace("\0", "")[:2000]
        rows = [{"its_id": row.id, "its_seq": row.seq, "until": until, "why_not": why} for row in dirty]
        if rows:
            await self._run(lambda session: session.connection().execute(POSTPONED, rows) and None, lease)

    async def wake(self, workspace: str) -> None:
        """Let everything that waits for its time be tried now."""
        now = self._now()
        change = update(DIRTY).where(DIRTY.c.workspace == workspace, DIRTY.c.not_before > now).values(not_before=now)
        await self._run(lambda session: session.connection().execute(change) and None)

    async def next_due(self, workspace: str) -> datetime | None:
        """When the next waiting ticket wants to be looked at."""
        statement = select(func.min(col(Dirty.not_before))).where(col(Dirty.workspace) == workspace)
        return await self._run(lambda session: session.execute(statement).scalar())

    def _unseen(self, session: Session, workspace: str, side: Side, notices: Collection[Notice]) -> list[Notice]:
        events = {n.event: n for n in notices if n.event is not None}
        here = (col(SeenEvent.workspace) == workspace, col(SeenEvent.side) == side.value)
        seen: set[str | None] = set()
        for ids in batches(events):
            statement = select(col(SeenEvent.event_id)).where(*here, col(SeenEvent.event_id).in_(ids))
            seen.update(session.execute(statement).scalars())
        rows = [
            {"workspace": workspace, "side": side.value, "event_id": event, "at": notice.at or self._now()}
            for event, notice in events.items()
            if event not in seen
        ]
        if rows:
            session.connection().execute(insert_new(self._database.dialect, SeenEvent), rows)
        return [notice for notice in notices if notice.event not in seen and notice.ticket_id]

    def _mark(self, session: Session, workspace: str, side: Side, notices: Iterable[Notice]) -> None:
        now, merged = self._now(), _merged(notices)
        # In one order, whoever marks: two processes that mark the same tickets must not wait for each other.
        rows: list[Row] = [
            {
                "workspace": workspace, "side": side.value, "ticket_id": ticket_id, "seq": 1, "tries": 0, "error": "",
                "why": notice.why, "deep": notice.deep, "noticed_at": now, "not_before": now,
            }
            for ticket_id, notice in sorted(merged.items())
        ]  # fmt: skip
        if rows:
            session.connection().execute(_marked(self._database.dialect), rows)


def _merged(notices: Iterable[Notice]) -> dict[str, Notice]:
    """One notice a ticket: the last, deep if any of them is."""
    merged: dict[str, Notice] = {}
    for notice in notices:
        before = merged.get(notice.ticket_id)
        merged[notice.ticket_id] = replace(notice, deep=notice.deep or bool(before and before.deep))
    return merged


@cache
def _marked(dialect: str) -> Any:
    """Insert dirty rows; one that is there gets a new number and is due at once."""
    statement = insert_into(dialect, Dirty)
    said = statement.excluded
    unasked = or_(*(said.why == reason for reason in sorted(UNASKED)))
    changes = {
        "seq": DIRTY.c.seq + 1,
        "why": case((unasked, DIRTY.c.why), else_=said.why),
        "deep": or_(DIRTY.c.deep, said.deep),
        "not_before": said.not_before,
    }
    return statement.on_conflict_do_update(index_elements=["workspace", "side", "ticket_id"], set_=changes)
