"""What is kept for people to look back at, and for how long."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import delete, select
from sqlmodel import Session

from state.door import Door, core
from state.tables import ApiCall, Audit, Conflict, Lease

AUDIT, CALL, CONFLICT = core(Audit), core(ApiCall), core(Conflict)
#: Each table, and which of its rows may go: a conflict is kept until its loser was taken back.
HISTORY: tuple[tuple[Any, Any], ...] = (
    (AUDIT, True),
    (CALL, True),
    (CONFLICT, CONFLICT.c.taking == "taken"),
)
#: Rows that go in one transaction: others wait for it.
PART = 2000
EVERY = timedelta(days=1)


class History(Door):
    """Forgetting, once a day, what is older than `keep`; without `keep` nothing is forgotten."""

    keep: timedelta | None = None
    _forgot_at: dict[str, datetime] | None = None

    async def forget_history(self, lease: Lease) -> int:
        """Drop what is too old, if that was not done within a day; returns how many rows went."""
        now, forgot_at = self._now(), self._forgot_at or {}
        if not self.keep or now - forgot_at.get(lease.workspace, now - EVERY) < EVERY:
            return 0
        gone = 0
        for table, may_go in HISTORY:
            old = (table.c.workspace == lease.workspace, table.c.at < now - self.keep, may_go)
            while part := await self._run(partial(_drop, table=table, old=old), lease):
                gone += part
        self._forgot_at = {**(self._forgot_at or {}), lease.workspace: now}
        return gone


def _drop(session: Session, table: Any, old: tuple[Any, ...]) -> int:
    ids = select(table.c.id).where(*old).order_by(table.c.id).limit(PART)
    # PostgreSQL cannot delete with a limit of its own.
    return int(session.connection().execute(delete(table).where(table.c.id.in_(ids))).rowcount)
