"""Leases: one writer a workspace, and a fence against the one before."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog
from sqlalchemy import bindparam, select, update
from sqlmodel import Session

from state.door import Door, core, insert_new, row_of
from state.tables import Lease
from syncd.errors import LeaseHeld

log = structlog.get_logger(__name__)
LEASE = core(Lease)
MINE = (LEASE.c.workspace == bindparam("mine"), LEASE.c.epoch == bindparam("our_epoch"))
TAKE = select(LEASE).where(LEASE.c.workspace == bindparam("mine")).with_for_update()
TAKEN = update(LEASE).where(LEASE.c.workspace == bindparam("mine"))
LIVING = select(LEASE.c.holder).where(LEASE.c.expires_at > bindparam("now"))
EXTEND = update(LEASE).where(*MINE).values(expires_at=bindparam("until"))
LET_GO = update(LEASE).where(*MINE).values(holder="")
#: A commit at the moment of another connection's checkpoint can damage the file: sqlite.org/wal.html#walresetbug.
WAL_RESET_BUG = ((3, 7, 0), (3, 51, 2))


class Leases(Door):
    """Who works on a workspace. Times are those of the holders' clocks; what protects the data is the epoch."""

    async def acquire(self, workspace: str, holder: str, ttl: timedelta, dead: Callable[[str], bool]) -> Lease:
        """Make `holder` the workspace's only writer. Raises LeaseHeld with the other's name.

        `dead` tells whether a holder of this machine is known to have ended, so that nobody waits for it.
        """

        def work(session: Session) -> tuple[Lease, list[str]]:
            now, connection = self._now(), session.connection()
            free = {"workspace": workspace, "holder": "", "epoch": 0, "expires_at": now}
            connection.execute(insert_new(self._database.dialect, Lease), free)
            row = connection.execute(TAKE, {"mine": workspace}).one()
            if row.holder and row.expires_at > now and not dead(row.holder):
                raise LeaseHeld(
                    f"workspace {workspace} is already worked on by {row.holder}",
                    hint="stop that one first; two at once would write everything twice",
                )
            lease = Lease(workspace=workspace, holder=holder, epoch=row.epoch + 1, expires_at=now + ttl)
            connection.execute(TAKEN, {"mine": workspace, **row_of(lease, "workspace")})
            session.info.pop(workspace, None)
            living = connection.execute(LIVING, {"now": now}).scalars().all()
            return lease, sorted({name for name in living if name not in {"", holder} and not dead(name)})

        lease, others = await self._run(work)
        if others and self._database.dialect == "sqlite":
            _warn(others)
        return lease

    async def renew(self, lease: Lease, ttl: timedelta) -> None:
        """Hold on to the workspace for another `ttl`. Raises LeaseHeld when somebody else has it."""
        until = {"mine": lease.workspace, "our_epoch": lease.epoch, "until": self._now() + ttl}
        await self._run(lambda session: session.connection().execute(EXTEND, until) and None, lease)

    async def release(self, lease: Lease) -> None:
        """Let the workspace go, so that the next one need not wait."""
        mine = {"mine": lease.workspace, "our_epoch": lease.epoch}
        await self._run(lambda session: session.connection().execute(LET_GO, mine) and None)


def _warn(others: Sequence[str]) -> None:
    """Two daemons on one SQLite file write at the same time, which some versions of the library may not survive."""
    first, last = WAL_RESET_BUG
    if first <= sqlite3.sqlite_version_info <= last:
        log.warning(
            "two processes write to one SQLite file, which this version of SQLite may damage",
            sqlite=sqlite3.sqlite_version,
            others=list(others),
            hint="give all workspaces to one daemon, or use PostgreSQL, or SQLite 3.51.3 or later",
        )
