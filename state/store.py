"""The one door to the database: one public method, one transaction, one sentence about the world.

Methods that record work take the `Lease` under which it was done and refuse (LeaseHeld) once somebody else holds the
workspace: a process that was paused and wakes up must not do harm.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, Table, insert, select

from state.door import core
from state.history import History
from state.leases import Leases
from state.notices import Notice, Notices
from state.reports import Reports
from state.settle import Settlement, Settling
from state.tables import (
    Child,
    Conflict,
    Dirty,
    File,
    Intent,
    Link,
    Parked,
    SeenEvent,
    Snapshot,
    Tombstone,
    Watermark,
)
from state.tokens import Tokens
from state.units import Unit, Units

__all__ = ["Notice", "Settlement", "Store", "Unit"]

#: What a copy holds, in the order in which rows refer to each other.
COPIED = tuple(
    core(table)
    for table in (Link, Snapshot, Child, File, Intent, Dirty, Watermark, SeenEvent, Tombstone, Parked, Conflict)
)
#: Rows copied at a time.
PART = 2000


class Store(Leases, Notices, Units, Settling, Reports, Tokens, History):
    """The durable state of every workspace in one database.

    Raises StoreError and its kinds, and SyncdError when a row contradicts what is stored.
    """

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

    @asynccontextmanager
    async def copied(self, workspace: str, path: Path) -> AsyncIterator["Store"]:
        """A SQLite store at `path` with everything known of one workspace, to try things out on."""
        async with Store(f"sqlite:///{path}", self._now) as copy:
            await self._database.snapshot(partial(_copy, into=copy._database.engine, workspace=workspace))
            yield copy


def _copy(source: Connection, into: Engine, workspace: str) -> None:
    with into.begin() as target:
        for table in COPIED:
            rows = source.execute(_of_workspace(table, workspace).execution_options(yield_per=PART))
            for part in rows.mappings().partitions():
                target.execute(insert(table), [dict(row) for row in part])


def _of_workspace(table: Table, workspace: str) -> Any:
    if "workspace" in table.c:
        return select(table).where(table.c.workspace == workspace)
    link = core(Link)
    return select(table).join(link, link.c.id == table.c.link_id).where(link.c.workspace == workspace)
