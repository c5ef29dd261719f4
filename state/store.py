"""The one door to the database: one public method, one transaction, one sentence about the world.

Methods that record work take the `Lease` under which it was done and refuse (LeaseHeld) once somebody else holds the
workspace: a process that was paused and wakes up must not do harm.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import Session, SQLModel, col

from state.database import Database
from state.tables import (
    Audit,
    Child,
    Conflict,
    Dirty,
    File,
    Intent,
    Lease,
    Link,
    Parked,
    SeenEvent,
    Snapshot,
    Tombstone,
    Watermark,
)
from syncd.errors import LeaseHeld
from syncd.model import Side

T = TypeVar("T")
#: Ids in one IN (…): well below SQLite's limit of bound values.
BATCH = 500


@dataclass(frozen=True, slots=True)
class Notice:
    """A ticket to be looked at, and why; `event` is dropped when it was seen before."""

    ticket_id: str
    why: str
    deep: bool = False
    event: str | None = None
    at: datetime | None = None


@dataclass(slots=True)
class Unit:
    """A link and everything stored about it, with the dirty rows that led here; `link` is None for a new ticket."""

    link: Link | None
    dirty: list[Dirty] = field(default_factory=list)
    snapshots: dict[Side, Snapshot] = field(default_factory=dict)
    children: list[Child] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)

    def id(self, side: Side) -> str | None:
        """The ticket's id on a side, as far as it is known."""
        if self.link is not None:
            return self.link.gorgias_id if side is Side.GORGIAS else self.link.remote_id
        return next((row.ticket_id for row in self.dirty if row.side == side), None)


@dataclass(slots=True)
class Settlement:
    """What a piece of work did, to be recorded at once."""

    link: Link | None = None
    snapshots: list[Snapshot] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    done: list[Intent] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    unparked: list[str] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    audit: list[Audit] = field(default_factory=list)
    tombstones: list[Tombstone] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    clean: list[Dirty] = field(default_factory=list)


class Store:
    """The durable state of every workspace in one database. Raises StoreError and its kinds."""

    def __init__(self, url: str, now: Callable[[], datetime]) -> None:
        self._database = Database(url)
        self._now = now
        self._insert = sqlite_insert if self._database.dialect == "sqlite" else postgresql_insert

    async def open(self, *, upgrade: bool = True) -> Self:
        """Connect and bring the schema up to date. Raises StoreTooNew."""
        await self._database.open(upgrade=upgrade)
        return self

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        await self._database.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, work: Callable[[Session], T], lease: Lease | None = None) -> T:
        if lease is None:
            return await self._database.run(work)

        def fenced(session: Session) -> T:
            self._fence(session, lease)
            return work(session)

        return await self._database.run(fenced)

    def _fence(self, session: Session, lease: Lease) -> None:
        statement = select(col(Lease.epoch)).where(col(Lease.workspace) == lease.workspace)
        if session.execute(statement).scalar() != lease.epoch:
            raise LeaseHeld(f"workspace {lease.workspace} was taken over by another process; this one stops")

    def _upsert(
        self, session: Session, table: type[SQLModel], rows: Iterable[Mapping[str, Any]], keys: Sequence[str]
    ) -> None:
        for row in rows:
            statement = self._insert(table).values(**row)
            changes = {name: statement.excluded[name] for name in row if name not in keys}
            session.execute(
                statement.on_conflict_do_update(index_elements=list(keys), set_=changes)
                if changes
                else statement.on_conflict_do_nothing()
            )

    @asynccontextmanager
    async def copied(self, workspace: str, path: Path) -> AsyncIterator["Store"]:
        """A SQLite store at `path` with everything known of one workspace, to try things out on."""
        async with Store(f"sqlite:///{path}", self._now) as copy:
            for table in (Link, Snapshot, Child, File, Intent, Dirty, Watermark, SeenEvent, Tombstone, Parked):
                rows = await self._run(partial(self._dump, table=table, workspace=workspace))
                if rows:
                    await copy._run(partial(_fill, table=table, rows=rows))
            yield copy

    def _dump(self, session: Session, table: type[SQLModel], workspace: str) -> list[dict[str, Any]]:
        statement = select(table)
        if table is Snapshot:
            statement = statement.join(Link, col(Link.id) == col(Snapshot.link_id))
            statement = statement.where(col(Link.workspace) == workspace)
        else:
            statement = statement.where(col(table.workspace) == workspace)  # type: ignore[attr-defined]
        return [row.model_dump() for row in session.execute(statement).scalars()]

    # -- leases: one writer a workspace ---------------------------------------------------------------------------

    async def acquire(self, workspace: str, holder: str, ttl: timedelta, dead: Callable[[str], bool]) -> Lease:
        """Make `holder` the workspace's only writer. Raises LeaseHeld with the other's name.

        `dead` tells whether a holder of this machine is known to have ended, so that nobody waits for it.
        """

        def work(session: Session) -> Lease:
            now, row = self._now(), session.get(Lease, workspace, with_for_update=True)
            if row is None:
                row = Lease(workspace=workspace, holder=holder, epoch=0, expires_at=now)
                session.add(row)
            elif row.holder and row.expires_at > now and not dead(row.holder):
                raise LeaseHeld(
                    f"workspace {workspace} is already worked on by {row.holder}",
                    hint="stop that one first; two at once would write everything twice",
                )
            row.holder, row.epoch, row.expires_at = holder, row.epoch + 1, now + ttl
            session.flush()
            return Lease(**row.model_dump())

        return await self._run(work)

    async def renew(self, lease: Lease, ttl: timedelta) -> None:
        """Hold on to the workspace for another `ttl`. Raises LeaseHeld when somebody else has it."""

        def work(session: Session) -> None:
            session.execute(
                update(Lease).where(col(Lease.workspace) == lease.workspace).values(expires_at=self._now() + ttl)
            )

        await self._run(work, lease)

    async def release(self, lease: Lease) -> None:
        """Let the workspace go, so that the next one need not wait."""
        mine = (col(Lease.workspace) == lease.workspace, col(Lease.epoch) == lease.epoch)
        await self._run(lambda session: session.execute(update(Lease).where(*mine).values(holder="")) and None)

    # -- notice ---------------------------------------------------------------------------------------------------

    async def watermarks(self, workspace: str) -> dict[tuple[str, str], Watermark]:
        """How far each (side, stream) has been read."""

        def work(session: Session) -> dict[tuple[str, str], Watermark]:
            rows = session.execute(select(Watermark).where(col(Watermark.workspace) == workspace)).scalars()
            return {(row.side, row.stream): row for row in rows}

        return await self._run(work)

    async def notice(self, lease: Lease, side: Side, notices: Collection[Notice], stream: str, cursor: str) -> int:
        """Make tickets dirty and move the watermark past them, together; returns how many were news."""

        def work(session: Session) -> int:
            fresh = self._unseen(session, lease.workspace, side, notices)
            self._mark(session, lease.workspace, side, fresh)
            row = {"workspace": lease.workspace, "side": side.value, "stream": stream, "cursor": cursor}
            row["moved_at"] = self._now()  # type: ignore[assignment]
            self._upsert(session, Watermark, [row], ("workspace", "side", "stream"))
            return len(fresh)

        return await self._run(work, lease)

    async def adopt(self, lease: Lease, side: Side, ticket_id: str, source_id: str) -> bool:
        """Link a ticket to the one that its marker names; False when that one has another copy already."""

        def work(session: Session) -> bool:
            link = self._links(session, lease.workspace, side.other, [source_id]).get(source_id)
            column = "gorgias_id" if side is Side.GORGIAS else "remote_id"
            if link is None:
                other = "remote_id" if side is Side.GORGIAS else "gorgias_id"
                ids: dict[str, Any] = {column: ticket_id, other: source_id}
                session.add(Link(workspace=lease.workspace, created_at=self._now(), **ids))
                return True
            if getattr(link, column) is not None:
                return bool(getattr(link, column) == ticket_id)
            setattr(link, column, ticket_id)
            return True

        return await self._run(work, lease)

    async def mark(self, workspace: str, side: Side, notices: Collection[Notice]) -> None:
        """Make tickets dirty, at whatever moment and from whatever process."""
        await self._run(lambda session: self._mark(session, workspace, side, notices))

    async def forget_events(self, lease: Lease, before: datetime) -> None:
        """Drop the memory of events that no overlap reaches any more."""
        old = (col(SeenEvent.workspace) == lease.workspace, col(SeenEvent.at) < before)
        await self._run(lambda session: session.execute(delete(SeenEvent).where(*old)) and None, lease)

    def _unseen(self, session: Session, workspace: str, side: Side, notices: Collection[Notice]) -> list[Notice]:
        events = {n.event: n for n in notices if n.event is not None}
        here = (col(SeenEvent.workspace) == workspace, col(SeenEvent.side) == side.value)
        seen: set[str] = set()
        for ids in _batches(events):
            statement = select(col(SeenEvent.event_id)).where(*here, col(SeenEvent.event_id).in_(ids))
            seen.update(session.execute(statement).scalars())
        rows = [
            {"workspace": workspace, "side": side.value, "event_id": event, "at": notice.at or self._now()}
            for event, notice in events.items()
            if event not in seen
        ]
        if rows:
            session.execute(self._insert(SeenEvent).on_conflict_do_nothing(), rows)
        return [notice for notice in notices if notice.event not in seen and notice.ticket_id]

    def _mark(self, session: Session, workspace: str, side: Side, notices: Collection[Notice]) -> None:
        now = self._now()
        merged: dict[str, Notice] = {}
        for notice in notices:
            other = merged.get(notice.ticket_id)
            merged[notice.ticket_id] = Notice(notice.ticket_id, notice.why, notice.deep or bool(other and other.deep))
        for notice in merged.values():
            statement = self._insert(Dirty).values(
                workspace=workspace, side=side.value, ticket_id=notice.ticket_id, seq=1, why=notice.why,
                deep=notice.deep, tries=0, noticed_at=now, not_before=now, error="",
            )  # fmt: skip
            session.execute(
                statement.on_conflict_do_update(
                    index_elements=["workspace", "side", "ticket_id"],
                    set_={
                        "seq": col(Dirty.seq) + 1,
                        "why": notice.why,
                        "deep": or_(col(Dirty.deep), statement.excluded.deep),
                        "not_before": now,
                    },
                )
            )

    # -- plan -----------------------------------------------------------------------------------------------------

    async def due(self, workspace: str, limit: int, skip: Collection[int] = ()) -> list[Unit]:
        """The tickets to look at now, the longest waiting first, with everything stored about their links."""

        def work(session: Session) -> list[Unit]:
            statement = (
                select(Dirty)
                .where(col(Dirty.workspace) == workspace, col(Dirty.not_before) <= self._now())
                .order_by(col(Dirty.not_before), col(Dirty.id))
                .limit(limit)
            )
            if skip:
                statement = statement.where(col(Dirty.id).not_in(list(skip)))
            return self._units(session, workspace, list(session.execute(statement).scalars()))

        return await self._run(work)

    async def unit(self, workspace: str, side: Side, ticket_id: str) -> Unit:
        """Everything stored about one ticket."""

        def work(session: Session) -> Unit:
            here = (col(Dirty.workspace) == workspace, col(Dirty.side) == side.value, col(Dirty.ticket_id) == ticket_id)
            row = session.execute(select(Dirty).where(*here)).scalar()
            now = self._now()
            row = row or Dirty(
                workspace=workspace, side=side.value, ticket_id=ticket_id, noticed_at=now, not_before=now
            )
            return self._units(session, workspace, [row])[0]

        return await self._run(work)

    def _units(self, session: Session, workspace: str, dirty: Sequence[Dirty]) -> list[Unit]:
        links = {
            side: self._links(session, workspace, side, [d.ticket_id for d in dirty if d.side == side]) for side in Side
        }
        units: dict[Any, Unit] = {}
        for row in dirty:
            link = links[Side(row.side)].get(row.ticket_id)
            key = link.id if link else (row.side, row.ticket_id)
            units.setdefault(key, Unit(link)).dirty.append(row)
        by_link = {unit.link.id: unit for unit in units.values() if unit.link}
        self._fill(session, by_link)
        self._other_dirty(session, workspace, list(by_link.values()))
        return list(units.values())

    def _fill(self, session: Session, units: Mapping[Any, Unit]) -> None:
        for ids in _batches(units):
            for snapshot in session.execute(select(Snapshot).where(col(Snapshot.link_id).in_(ids))).scalars():
                units[snapshot.link_id].snapshots[Side(snapshot.side)] = snapshot
            for child in session.execute(
                select(Child).where(col(Child.link_id).in_(ids)).order_by(col(Child.id))
            ).scalars():
                units[child.link_id].children.append(child)
            for intent in session.execute(
                select(Intent).where(col(Intent.link_id).in_(ids)).order_by(col(Intent.id))
            ).scalars():
                units[intent.link_id].intents.append(intent)
            for parked in session.execute(select(Parked).where(col(Parked.link_id).in_(ids))).scalars():
                units[parked.link_id].parked.append(parked)

    def _other_dirty(self, session: Session, workspace: str, units: Sequence[Unit]) -> None:
        """The other side of a dirty link may be dirty too: one look serves both."""
        for side in Side:
            wanted = {
                unit.id(side): unit for unit in units if unit.id(side) and not any(d.side == side for d in unit.dirty)
            }
            here = (col(Dirty.workspace) == workspace, col(Dirty.side) == side.value)
            for ids in _batches(wanted):
                for row in session.execute(select(Dirty).where(*here, col(Dirty.ticket_id).in_(ids))).scalars():
                    wanted[row.ticket_id].dirty.append(row)

    def _links(self, session: Session, workspace: str, side: Side, ids: Collection[str]) -> dict[str, Link]:
        column = _id_column(side)
        found: dict[str, Link] = {}
        for batch in _batches(ids):
            rows = session.execute(select(Link).where(col(Link.workspace) == workspace, column.in_(batch))).scalars()
            found.update({str(row.gorgias_id if side is Side.GORGIAS else row.remote_id): row for row in rows})
        return found

    async def snapshots(
        self, workspace: str, side: Side, ids: Collection[str]
    ) -> dict[str, tuple[Link, Snapshot | None]]:
        """The links of these tickets, with the side's snapshot; an unknown ticket is not listed."""

        def work(session: Session) -> dict[str, tuple[Link, Snapshot | None]]:
            links = self._links(session, workspace, side, ids)
            by_link: dict[int | None, Snapshot] = {}
            for batch in _batches([link.id for link in links.values()]):
                where = (col(Snapshot.link_id).in_(batch), col(Snapshot.side) == side.value)
                by_link.update({row.link_id: row for row in session.execute(select(Snapshot).where(*where)).scalars()})
            return {ticket_id: (link, by_link.get(link.id)) for ticket_id, link in links.items()}

        return await self._run(work)

    async def ticket_of(self, workspace: str, side: Side, comments: Collection[str]) -> dict[str, str]:
        """The ticket ids of known comments, by comment id."""
        column = col(Child.gorgias_id) if side is Side.GORGIAS else col(Child.remote_id)

        def work(session: Session) -> dict[str, str]:
            found: dict[str, str] = {}
            for batch in _batches(comments):
                statement = select(column, _id_column(side)).join(Link, col(Link.id) == col(Child.link_id))
                rows = session.execute(statement.where(col(Child.workspace) == workspace, column.in_(batch)))
                found.update({comment: ticket for comment, ticket in rows if ticket})
            return found

        return await self._run(work)

    async def tombstones(self, workspace: str, side: Side, ids: Collection[str]) -> set[str]:
        """Which of these tickets are known to be gone."""
        here = (col(Tombstone.workspace) == workspace, col(Tombstone.side) == side.value)

        def work(session: Session) -> set[str]:
            found: set[str] = set()
            for batch in _batches(ids):
                found.update(
                    session.execute(
                        select(col(Tombstone.ticket_id)).where(*here, col(Tombstone.ticket_id).in_(batch))
                    ).scalars()
                )
            return found

        return await self._run(work)

    async def file_url(self, workspace: str, side: Side, sha256: str, file_name: str) -> str | None:
        """Where a side already holds these bytes under this name."""
        where = (col(File.workspace) == workspace, col(File.side) == side.value, col(File.sha256) == sha256)
        statement = select(col(File.url)).where(*where, col(File.file_name) == file_name)
        return await self._run(lambda session: session.execute(statement).scalar())

    async def longest_unread(self, workspace: str, side: Side, before: datetime, limit: int) -> list[str]:
        """The linked tickets that were not read whole since `before`, the longest ago first: the sweep's next."""
        column = _id_column(side)
        statement = (
            select(column)
            .join(Snapshot, col(Snapshot.link_id) == col(Link.id))
            .where(col(Link.workspace) == workspace, col(Link.state) == "linked", col(Snapshot.side) == side.value)
            .where(or_(col(Snapshot.read_at) < before, col(Snapshot.read_at).is_(None)), column.is_not(None))
            .order_by(col(Snapshot.read_at))
            .limit(limit)
        )
        return await self._run(lambda session: [str(found) for found in session.execute(statement).scalars()])

    # -- apply and settle -------------------------------------------------------------------------------------------

    async def begin(self, lease: Lease, link: Link, intents: Sequence[Intent]) -> tuple[Link, list[Intent]]:
        """Record writes that are about to be sent, and the link they are about if it is new."""

        def work(session: Session) -> tuple[Link, list[Intent]]:
            stored = Link(**link.model_dump())
            if stored.id is None:
                session.add(stored)
                session.flush()
            rows = [Intent(**{**intent.model_dump(), "link_id": stored.id}) for intent in intents]
            session.add_all(rows)
            session.flush()
            return stored, rows

        return await self._run(work, lease)

    async def settle(self, lease: Lease, settlement: Settlement) -> None:
        """Record what a write, or a look that found nothing to write, did; new children get their ids."""
        ids = await self._run(lambda session: self._settle(session, settlement), lease)
        for child, child_id in zip(settlement.children, ids, strict=True):
            child.id = child_id

    def _settle(self, session: Session, done: Settlement) -> list[int]:
        # Rows are copied, not added: a group of transactions that fails is run again, one by one.
        if done.link is not None:
            values = done.link.model_dump(include={"gorgias_id", "remote_id", "state"})
            session.execute(update(Link).where(col(Link.id) == done.link.id).values(**values))
        mine = {"link_id": done.link.id} if done.link is not None else {}
        self._upsert(session, Snapshot, [row.model_dump() | mine for row in done.snapshots], ("link_id", "side"))
        ids = [self._save_child(session, child.model_dump() | mine) for child in done.children]
        parked = [row.model_dump(exclude={"id"}) | mine for row in done.parked]
        self._upsert(session, Parked, parked, ("link_id", "what"))
        if done.unparked:
            gone = (col(Parked.link_id) == mine.get("link_id"), col(Parked.what).in_(done.unparked))
            session.execute(delete(Parked).where(*gone))
        tombstones = [row.model_dump() for row in done.tombstones]
        self._upsert(session, Tombstone, tombstones, ("workspace", "side", "ticket_id"))
        files = [row.model_dump(exclude={"id"}) for row in done.files]
        self._upsert(session, File, files, ("workspace", "side", "sha256", "file_name"))
        for table, rows in ((Conflict, done.conflicts), (Audit, done.audit)):
            if rows:
                session.execute(insert(table), [row.model_dump(exclude={"id"}) | mine for row in rows])
        if done.done:
            session.execute(delete(Intent).where(col(Intent.id).in_([intent.id for intent in done.done])))
        for dirty in done.clean:
            session.execute(delete(Dirty).where(col(Dirty.id) == dirty.id, col(Dirty.seq) == dirty.seq))
        return ids

    def _save_child(self, session: Session, values: dict[str, Any]) -> int:
        child_id = values.pop("id")
        if child_id is None:
            return int(session.execute(insert(Child).values(**values).returning(col(Child.id))).scalar_one())
        session.execute(update(Child).where(col(Child.id) == child_id).values(**values))
        return int(child_id)

    async def postpone(self, lease: Lease, dirty: Sequence[Dirty], until: datetime, error: str) -> None:
        """Look at these tickets again later, and say why they wait."""

        def work(session: Session) -> None:
            for row in dirty:
                where = (col(Dirty.id) == row.id, col(Dirty.seq) == row.seq)
                change = (
                    update(Dirty).where(*where).values(not_before=until, tries=col(Dirty.tries) + 1, error=error[:2000])
                )
                session.execute(change)

        await self._run(work, lease)

    async def wake(self, workspace: str) -> None:
        """Let everything that waits for its time be tried now."""
        change = update(Dirty).where(col(Dirty.workspace) == workspace).values(not_before=self._now())
        await self._run(lambda session: session.execute(change) and None)

    # -- reports ----------------------------------------------------------------------------------------------------

    async def rows(self, table: type[T], workspace: str, limit: int = 10_000) -> list[T]:
        """A workspace's rows of one table, the newest first."""
        workspace_column: Any = col(table.workspace)  # type: ignore[attr-defined]
        order = col(table.id).desc() if hasattr(table, "id") else workspace_column  # type: ignore[attr-defined]
        statement = select(table).where(workspace_column == workspace).order_by(order).limit(limit)
        return await self._run(lambda session: list(session.execute(statement).scalars()))

    async def tickets(self, workspace: str, links: Collection[int]) -> dict[int, str]:
        """How people name the tickets of these links: the Gorgias id, else the remote's."""

        def work(session: Session) -> dict[int, str]:
            found: dict[int, str] = {}
            for batch in _batches(set(links)):
                where = (col(Link.workspace) == workspace, col(Link.id).in_(batch))
                for row in session.execute(select(Link).where(*where)).scalars():
                    found[row.id or 0] = row.gorgias_id or f"remote {row.remote_id}"
            return found

        return await self._run(work)

    async def counts(self, workspace: str) -> dict[str, int]:
        """How many links, dirty tickets, waiting tickets, open intents, parked writes and conflicts there are."""
        now = self._now()
        wanted = {
            "links": (Link, [col(Link.state) == "linked"]),
            "dirty": (Dirty, []),
            "waiting": (Dirty, [col(Dirty.not_before) > now]),
            "intents": (Intent, []),
            "parked": (Parked, []),
            "conflicts": (Conflict, []),
        }

        def work(session: Session) -> dict[str, int]:
            found = defaultdict(int)
            for name, (table, where) in wanted.items():
                mine = col(table.workspace) == workspace  # type: ignore[attr-defined]
                found[name] = session.execute(select(func.count()).select_from(table).where(mine, *where)).scalar_one()
            return dict(found)

        return await self._run(work)

    async def next_due(self, workspace: str) -> datetime | None:
        """When the next waiting ticket wants to be looked at."""
        statement = select(func.min(col(Dirty.not_before))).where(col(Dirty.workspace) == workspace)
        return await self._run(lambda session: session.execute(statement).scalar())


def _fill(session: Session, table: type[SQLModel], rows: list[dict[str, Any]]) -> None:
    session.execute(insert(table), rows)


def _id_column(side: Side) -> Any:
    return col(Link.gorgias_id) if side is Side.GORGIAS else col(Link.remote_id)


def _batches(ids: Iterable[T]) -> Iterable[list[T]]:
    every = list(ids)
    return (every[start : start + BATCH] for start in range(0, len(every), BATCH))
