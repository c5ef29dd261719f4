"""What people and metrics ask: rows, names, counts; and a copy to try things out on."""

from collections.abc import Collection
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlmodel import Session, col

from state.door import Door, batches
from state.tables import Conflict, Dirty, Intent, Link, Parked

T = TypeVar("T")


class Reports(Door):
    """Reading for people."""

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
            for batch in batches(set(links)):
                where = (col(Link.workspace) == workspace, col(Link.id).in_(batch))
                for row in session.execute(select(Link).where(*where)).scalars():
                    found[row.id or 0] = row.gorgias_id or f"remote {row.remote_id}"
            return found

        return await self._run(work)

    async def counts(self, workspace: str) -> dict[str, int]:
        """How many links (of each side, too), dirty and waiting tickets, open intents, parked writes, conflicts."""
        numbers = {
            "links": _number(Link, workspace, col(Link.state) == "linked"),
            "gorgias": _number(Link, workspace, col(Link.state) == "linked", col(Link.gorgias_id).is_not(None)),
            "remote": _number(Link, workspace, col(Link.state) == "linked", col(Link.remote_id).is_not(None)),
            "dirty": _number(Dirty, workspace),
            "waiting": _number(Dirty, workspace, col(Dirty.not_before) > self._now()),
            "intents": _number(Intent, workspace),
            "parked": _number(Parked, workspace),
            "conflicts": _number(Conflict, workspace),
        }
        statement = select(*(number.label(name) for name, number in numbers.items()))
        return await self._run(lambda session: dict(session.execute(statement).mappings().one()))


def _number(table: Any, workspace: str, *where: Any) -> Any:
    return select(func.count()).select_from(table).where(col(table.workspace) == workspace, *where).scalar_subquery()
