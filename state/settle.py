"""Apply and settle: what is about to be written, and what came of it.

Both turn what they are given into rows at once: the transaction may run later, and more than once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, update
from sqlmodel import Session

from state.door import Door, Row, core, row_of, upsert
from state.tables import Audit, Child, Conflict, Dirty, File, Intent, Lease, Link, Parked, Snapshot, Tombstone

LINK, CHILD, INTENT, PARKED, DIRTY = core(Link), core(Child), core(Intent), core(Parked), core(Dirty)
NEW_LINK = insert(LINK).returning(LINK.c.id)
NEW_INTENTS = insert(INTENT).returning(INTENT.c.id, sort_by_parameter_order=True)
NEW_CHILDREN = insert(CHILD).returning(CHILD.c.id, sort_by_parameter_order=True)
NEW_CONFLICTS, NEW_AUDIT = insert(core(Conflict)), insert(core(Audit))
SAME_LINK = update(LINK).where(LINK.c.id == bindparam("its_id"))
SAME_CHILD = update(CHILD).where(CHILD.c.id == bindparam("its_id"))
DONE = delete(INTENT).where(INTENT.c.id == bindparam("its_id"))
TAKEN = update(core(Conflict)).where(core(Conflict).c.id == bindparam("its_id"))
UNPARKED = delete(PARKED).where(PARKED.c.link_id == bindparam("its_link"), PARKED.c.what == bindparam("its_name"))
ALL_UNPARKED = delete(PARKED).where(PARKED.c.link_id == bindparam("its_link"))
#: A newer notice has another number, and stays.
CLEAN = delete(DIRTY).where(DIRTY.c.id == bindparam("its_id"), DIRTY.c.seq == bindparam("its_seq"))


@dataclass(slots=True)
class Settlement:
    """What a piece of work did, to be recorded at once; `same_link` spares the link's row where it did not change."""

    link: Link | None = None
    same_link: bool = False
    snapshots: list[Snapshot] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    done: list[Intent] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    unparked: list[str] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    #: Conflicts about which a person's wish was fulfilled, or refused.
    answered: list[Conflict] = field(default_factory=list)
    audit: list[Audit] = field(default_factory=list)
    tombstones: list[Tombstone] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    clean: list[Dirty] = field(default_factory=list)


class Settling(Door):
    """Writing down what was done."""

    async def begin(self, lease: Lease, link: Link, intents: Sequence[Intent]) -> tuple[Link, list[Intent]]:
        """Record writes that are about to be sent, and the link they are about if it is new; all get their ids."""
        new_link, known = row_of(link, "id"), link.id
        rows = [row_of(intent, "id", "link_id") for intent in intents]

        def work(session: Session) -> tuple[int, Sequence[int]]:
            connection = session.connection()
            link_id = known or connection.execute(NEW_LINK, new_link).scalar_one()
            mine = [row | {"link_id": link_id} for row in rows]
            return link_id, connection.execute(NEW_INTENTS, mine).scalars().all() if mine else []

        link_id, ids = await self._run(work, lease)
        link.id = link_id
        for intent, its_id in zip(intents, ids, strict=True):
            intent.id, intent.link_id = its_id, link_id
        return link, list(intents)

    async def settle(self, lease: Lease, settlement: Settlement) -> None:
        """Record what a write, or a look that found nothing to write, did; new children get their ids."""
        writes, new = self._writes(settlement), [child for child in settlement.children if child.id is None]
        children = _rows(settlement, new, "id")

        def work(session: Session) -> Sequence[int]:
            connection = session.connection()
            _execute(connection, writes)
            return connection.execute(NEW_CHILDREN, children).scalars().all() if children else []

        ids = await self._run(work, lease)
        for child, child_id in zip(new, ids, strict=True):
            child.id = child_id

    def _writes(self, done: Settlement) -> list[tuple[Any, list[Row]]]:
        """The statements that record it, each with its rows."""
        link_id = done.link.id if done.link is not None else None
        ended = done.link is not None and done.link.state != "linked"
        known = [_its_id(_row(done, child, "id"), child.id) for child in done.children if child.id is not None]
        writes = [
            (SAME_LINK, [_its_id(_link(done.link), link_id)] if done.link and not done.same_link else []),
            (SAME_CHILD, known),
            (self._upsert(Snapshot, "link_id", "side"), _rows(done, done.snapshots)),
            (UNPARKED, [{"its_link": link_id, "its_name": what} for what in done.unparked]),
            (self._upsert(Parked, "link_id", "what", kept="since"), [_said(r) for r in _rows(done, done.parked, "id")]),
            # What waits at a link that has ended can never be written.
            (ALL_UNPARKED, [{"its_link": link_id}] if ended else []),
            (self._upsert(Tombstone, "workspace", "side", "ticket_id"), [row_of(row) for row in done.tombstones]),
            (self._upsert(File, "workspace", "side", "sha256", "file_name"), [row_of(row, "id") for row in done.files]),
            (NEW_CONFLICTS, _rows(done, done.conflicts, "id")),
            (TAKEN, [{"its_id": row.id, "taking": row.taking, "said": row.said} for row in done.answered]),
            (NEW_AUDIT, _rows(done, done.audit, "id")),
            (DONE, [{"its_id": intent.id} for intent in done.done]),
            (CLEAN, [{"its_id": row.id, "its_seq": row.seq} for row in done.clean]),
        ]
        return [(statement, rows) for statement, rows in writes if rows]

    def _upsert(self, table: Any, *keys: str, kept: str = "") -> Any:
        return upsert(self._database.dialect, table, keys, (kept,))


def _execute(connection: Connection, writes: Sequence[tuple[Any, list[Row]]]) -> None:
    for statement, rows in writes:
        connection.execute(statement, rows if len(rows) > 1 else rows[0])


def _rows(done: Settlement, stored: Sequence[Any], *exclude: str) -> list[Row]:
    return [_row(done, row, *exclude) for row in stored]


def _row(done: Settlement, stored: Any, *exclude: str) -> Row:
    """A row of the settlement's link, whatever it was made for: the link may have been new then."""
    row = row_of(stored, *exclude)
    if done.link is not None:
        row["link_id"] = done.link.id
    return row


def _link(link: Link) -> Row:
    return row_of(link, "id", "workspace", "created_at")


def _its_id(row: Row, its_id: int | None) -> Row:
    return row | {"its_id": its_id}


def _said(row: Row) -> Row:
    # PostgreSQL's text takes no NUL, which a product's answer may hold.
    return row | {"reason": row["reason"].replace("\0", "")}
