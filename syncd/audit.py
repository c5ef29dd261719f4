"""The audit trail: every write that landed, with what was there before where it is known."""

from typing import Any

from rich.console import Console

from state.store import Store
from state.tables import Audit
from syncd import wording
from syncd.model import Side
from syncd.reports import named
from syncd.settings import Settings, Workspace
from syncd.stores import looked_at


async def audit(settings: Settings, ticket: str | None) -> list[dict[str, Any]]:
    """The writes of each workspace, oldest first, or those of one ticket. Raises BadRequest, StoreError."""
    wanted = named(ticket) if ticket else None
    async with looked_at(settings) as store:
        return [row for workspace in settings.workspaces for row in await _written(store, workspace, wanted)]


async def _written(store: Store, workspace: Workspace, wanted: tuple[Side, str] | None) -> list[dict[str, Any]]:
    rows = await store.rows(Audit, workspace.name)
    if wanted:
        link = (await store.unit(workspace.name, *wanted)).link
        rows = [row for row in rows if link and row.link_id == link.id]
    tickets = await store.tickets(workspace.name, [row.link_id for row in rows])
    names = wording.products(workspace)
    return [
        {
            "workspace": workspace.name,
            "ticket": tickets.get(row.link_id, "?"),
            "side": row.side,
            "product": names[Side(row.side)],
            "kind": row.kind,
            "what": row.what,
            "at": row.at,
        }
        for row in sorted(rows, key=lambda row: row.id or 0)
    ]


def show(console: Console, rows: list[dict[str, Any]]) -> None:
    """A line for each write."""
    if not rows:
        console.print("nothing was written")
    for row in rows:
        what = ", ".join(f"{name} {value!r}" for name, value in row["what"].items())
        line = f"{row['at']:%Y-%m-%d %H:%M:%S} UTC {row['workspace']}: ticket {row['ticket']}, {row['kind']} in "
        console.print(f"{line}{row['product']}: {what}", highlight=False, markup=False)
