"""What every part of the Store shares: transactions, the fence, and how rows are written."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Table, bindparam, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import Session, SQLModel, col

from state.database import Database
from state.tables import Lease, Link
from syncd.errors import LeaseHeld
from syncd.model import Side

T = TypeVar("T")
Row = dict[str, Any]
#: Ids in one IN (…): well below both databases' limits of bound values.
BATCH = 500
#: On PostgreSQL the row is locked, so that nobody takes the workspace over between the look and the commit; on SQLite
#: the transaction began with the only write lock there is.
EPOCH = select(col(Lease.epoch)).where(col(Lease.workspace) == bindparam("workspace")).with_for_update(read=True)


class Door:
    """The database and the clock. Raises StoreError and its kinds."""

    def __init__(self, url: str, now: Callable[[], datetime]) -> None:
        self._database = Database(url)
        self._now = now

    async def _run(self, work: Callable[[Session], T], lease: Lease | None = None) -> T:
        """One transaction, under a lease if one is given. Raises LeaseHeld."""
        if lease is None:
            return await self._database.run(work)

        def fenced(session: Session) -> T:
            _fence(session, lease)
            return work(session)

        return await self._database.run(fenced)


def _fence(session: Session, lease: Lease) -> None:
    # Nobody else changes the epoch before this transaction ends, so that a group of works asks once.
    epochs = session.info
    if lease.workspace not in epochs:
        epochs[lease.workspace] = session.connection().execute(EPOCH, {"workspace": lease.workspace}).scalar()
    if epochs[lease.workspace] != lease.epoch:
        raise LeaseHeld(f"workspace {lease.workspace} was taken over by another process; this one stops")


def core(table: type[SQLModel]) -> Table:
    """The table behind rows: statements on it cost a third of those on the class."""
    return table.metadata.tables[str(table.__tablename__)]


@cache
def _names(table: type[SQLModel]) -> tuple[str, ...]:
    return tuple(column.name for column in core(table).columns)


def row_of(stored: SQLModel, *exclude: str) -> Row:
    """A row's values, taken now: what is done to it later is not what was recorded."""
    return {name: getattr(stored, name) for name in _names(type(stored)) if name not in exclude}


def insert_into(dialect: str, table: type[SQLModel]) -> Any:
    """An INSERT that knows ON CONFLICT, which both databases write alike."""
    return (sqlite_insert if dialect == "sqlite" else postgresql_insert)(core(table))


@cache
def upsert(dialect: str, table: type[SQLModel], keys: tuple[str, ...], kept: tuple[str, ...] = ()) -> Any:
    """The statement that inserts whole rows, or replaces all of those that stand under `keys` but what is `kept`."""
    statement = insert_into(dialect, table)
    changed = [name for name in _names(table) if name not in {"id", *keys, *kept}]
    changes = {name: statement.excluded[name] for name in changed}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=changes)


@cache
def insert_new(dialect: str, table: type[SQLModel]) -> Any:
    """The statement that inserts the rows that are not there yet."""
    return insert_into(dialect, table).on_conflict_do_nothing()


def links_of(session: Session, workspace: str, side: Side, ids: Iterable[str]) -> dict[str, Link]:
    """The links of a side's tickets, by ticket id."""
    column = id_column(side)
    found: dict[str, Link] = {}
    for batch in batches(ids):
        rows = session.execute(select(Link).where(col(Link.workspace) == workspace, column.in_(batch))).scalars()
        found.update({str(row.gorgias_id if side is Side.GORGIAS else row.remote_id): row for row in rows})
    return found


def id_column(side: Side) -> Any:
    """A link's column of ids of a side."""
    return col(Link.gorgias_id) if side is Side.GORGIAS else col(Link.remote_id)


def batches(ids: Iterable[T]) -> Iterable[Sequence[T]]:
    """The ids, in parts that fit into one IN (…)."""
    every = list(ids)
    return (every[start : start + BATCH] for start in range(0, len(every), BATCH))
