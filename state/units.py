"""What is known of tickets, read for planning: a unit is a link and everything stored about it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Select, exists, or_, select
from sqlmodel import Session, col

from state.door import Door, batches, core, id_column, links_of
from state.tables import Child, Conflict, Dirty, File, Intent, Link, Parked, Snapshot, Tombstone
from syncd.model import Side

DIRTY = core(Dirty)
#: What `Conflict.taking` says between the wish and the pass that fulfils it.
ASKED = "asked"


@dataclass(slots=True)
class Unit:
    """A link and everything stored about it, with the dirty rows that led here; `link` is None for a new ticket."""

    link: Link | None
    dirty: list[Dirty] = field(default_factory=list)
    snapshots: dict[Side, Snapshot] = field(default_factory=dict)
    children: list[Child] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    #: Conflicts whose loser a person wants back.
    asked: list[Conflict] = field(default_factory=list)

    def id(self, side: Side) -> str | None:
        """The ticket's id on a side, as far as it is known."""
        if self.link is not None:
            return self.link.gorgias_id if side is Side.GORGIAS else self.link.remote_id
        return next((row.ticket_id for row in self.dirty if row.side == side), None)


class Units(Door):
    """Reading for the plan."""

    async def due(self, workspace: str, limit: int, until: datetime | None = None) -> list[Unit]:
        """The tickets to look at now, the longest waiting first, with everything stored about their links.

        With `until`, only those that were due at that moment: a pass takes each ticket once.
        """
        waiting = (
            select(DIRTY.c.id)
            .where(DIRTY.c.workspace == workspace, DIRTY.c.not_before <= (until or self._now()))
            .order_by(DIRTY.c.not_before, DIRTY.c.id)
        )

        def work(session: Session) -> list[Unit]:
            return _units(session, workspace, _first(session, waiting, limit))

        return await self._run(work)

    async def unit(self, workspace: str, side: Side, ticket_id: str) -> Unit:
        """Everything stored about one ticket."""
        here = (col(Dirty.workspace) == workspace, col(Dirty.side) == side.value, col(Dirty.ticket_id) == ticket_id)

        def work(session: Session) -> Unit:
            now = self._now()
            row = session.execute(select(Dirty).where(*here)).scalar() or Dirty(
                workspace=workspace, side=side.value, ticket_id=ticket_id, noticed_at=now, not_before=now
            )
            return _units(session, workspace, [row])[0]

        return await self._run(work)

    async def snapshots(
        self, workspace: str, side: Side, ids: Collection[str]
    ) -> dict[str, tuple[Link, Snapshot | None]]:
        """The links of these tickets, with the side's snapshot; an unknown ticket is not listed."""

        def work(session: Session) -> dict[str, tuple[Link, Snapshot | None]]:
            links = links_of(session, workspace, side, ids)
            by_link: dict[int | None, Snapshot] = {}
            for batch in batches(link.id for link in links.values()):
                where = (col(Snapshot.link_id).in_(batch), col(Snapshot.side) == side.value)
                by_link.update({row.link_id: row for row in session.execute(select(Snapshot).where(*where)).scalars()})
            return {ticket_id: (link, by_link.get(link.id)) for ticket_id, link in links.items()}

        return await self._run(work)

    async def ticket_of(self, workspace: str, side: Side, comments: Collection[str]) -> dict[str, str]:
        """The ticket ids of known comments, by comment id."""
        column = col(Child.gorgias_id) if side is Side.GORGIAS else col(Child.remote_id)
        statement = select(column, id_column(side)).join(Link, col(Link.id) == col(Child.link_id))
        statement = statement.where(col(Child.workspace) == workspace)

        def work(session: Session) -> dict[str, str]:
            found: dict[str, str] = {}
            for batch in batches(comments):
                rows = session.execute(statement.where(column.in_(batch)))
                found.update({comment: ticket for comment, ticket in rows if ticket})
            return found

        return await self._run(work)

    async def tombstones(self, workspace: str, side: Side, ids: Collection[str]) -> set[str]:
        """Which of these tickets are known to be gone."""
        column = col(Tombstone.ticket_id)
        here = select(column).where(col(Tombstone.workspace) == workspace, col(Tombstone.side) == side.value)

        def work(session: Session) -> set[str]:
            found: set[str] = set()
            for batch in batches(ids):
                found.update(session.execute(here.where(column.in_(batch))).scalars())
            return found

        return await self._run(work)

    async def file_url(self, workspace: str, side: Side, sha256: str, file_name: str) -> str | None:
        """Where a side already holds these bytes under this name."""
        where = (col(File.workspace) == workspace, col(File.side) == side.value, col(File.sha256) == sha256)
        statement = select(col(File.url)).where(*where, col(File.file_name) == file_name)
        return await self._run(lambda session: session.execute(statement).scalar())

    async def longest_unread(self, workspace: str, side: Side, before: datetime, limit: int) -> list[str]:
        """The linked tickets that were not read whole since `before`, the longest ago first: the sweep's next.

        One that is dirty is looked at anyway, in its own time: a ticket that keeps failing holds up no other.
        """
        column = id_column(side)
        dirty = exists().where(
            col(Dirty.workspace) == workspace, col(Dirty.side) == side.value, col(Dirty.ticket_id) == column
        )
        statement = (
            select(column)
            .join(Snapshot, col(Snapshot.link_id) == col(Link.id))
            .where(col(Link.workspace) == workspace, col(Link.state) == "linked", col(Snapshot.side) == side.value)
            .where(or_(col(Snapshot.read_at) < before, col(Snapshot.read_at).is_(None)), column.is_not(None), ~dirty)
            .order_by(col(Snapshot.read_at).nulls_first(), col(Link.id))
            .limit(limit)
        )
        return await self._run(lambda session: [str(found) for found in session.execute(statement).scalars()])


def _first(session: Session, due: Select[int], limit: int) -> list[Dirty]:
    wanted = list(session.execute(due.limit(limit)).scalars())
    found = {row.id: row for part in batches(wanted) for row in _dirty(session, part)}
    return [found[its_id] for its_id in wanted]


def _dirty(session: Session, ids: Sequence[int]) -> Iterable[Dirty]:
    return session.execute(select(Dirty).where(col(Dirty.id).in_(ids))).scalars()


def _units(session: Session, workspace: str, dirty: Sequence[Dirty]) -> list[Unit]:
    links = {side: links_of(session, workspace, side, [d.ticket_id for d in dirty if d.side == side]) for side in Side}
    units: dict[Any, Unit] = {}
    for row in dirty:
        link = links[Side(row.side)].get(row.ticket_id)
        key = link.id if link else (row.side, row.ticket_id)
        units.setdefault(key, Unit(link)).dirty.append(row)
    by_link = {unit.link.id: unit for unit in units.values() if unit.link}
    _fill(session, by_link)
    for side in Side:
        _join_dirty(session, workspace, side, by_link.values())
    return list(units.values())


def _fill(session: Session, units: Mapping[Any, Unit]) -> None:
    for ids in batches(units):
        for snapshot in session.execute(select(Snapshot).where(col(Snapshot.link_id).in_(ids))).scalars():
            units[snapshot.link_id].snapshots[Side(snapshot.side)] = snapshot
        for child in _of_links(session, Child, ids):
            units[child.link_id].children.append(child)
        for intent in _of_links(session, Intent, ids):
            units[intent.link_id].intents.append(intent)
        for parked in _of_links(session, Parked, ids):
            units[parked.link_id].parked.append(parked)
        for conflict in session.execute(
            select(Conflict).where(col(Conflict.link_id).in_(ids), col(Conflict.taking) == ASKED)
        ).scalars():
            units[conflict.link_id].asked.append(conflict)


def _of_links(session: Session, table: Any, ids: Sequence[int]) -> Iterable[Any]:
    return session.execute(select(table).where(table.link_id.in_(ids)).order_by(table.id)).scalars()


def _join_dirty(session: Session, workspace: str, side: Side, units: Iterable[Unit]) -> None:
    """The other side of a dirty link may be dirty too: one look serves both."""
    wanted = {unit.id(side): unit for unit in units if unit.id(side) and not any(d.side == side for d in unit.dirty)}
    here = (col(Dirty.workspace) == workspace, col(Dirty.side) == side.value)
    for ids in batches(wanted):
        for row in session.execute(select(Dirty).where(*here, col(Dirty.ticket_id).in_(ids))).scalars():
            wanted[row.ticket_id].dirty.append(row)
