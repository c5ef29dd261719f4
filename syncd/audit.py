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

#: What was done, for people; `product` is the one that was written to, `other` the one that it came from.
DEEDS = {
    "create": "made in {product}",
    "update": "{product}: {field} was {before!r}, is {after!r}",
    "close": "closed in {product}, as its other half is gone: {field} was {before!r}, is {after!r}",
    "delete": "deleted in {product}, as its other half is gone",
    "comment": "comment {of} of {other} copied to {product} as {id}{internal}",
    "edit": "{product}: comment {id} got the new text of comment {of} of {other}",
    "tags": "{product}: tags{added}{removed}",
}


async def audit(settings: Settings, ticket: str | None, limit: int | None = None) -> list[dict[str, Any]]:
    """Each workspace's writes or those of one ticket, oldest first; with `limit` the last ones. Raises StoreError."""
    wanted = named(ticket) if ticket else None
    async with looked_at(settings) as store:
        found = [await _written(store, workspace, wanted) for workspace in settings.workspaces]
    return [row for rows in found for row in rows[-limit if limit else 0 :]]


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
            "says": _says(row, names),
            "at": row.at,
        }
        for row in sorted(rows, key=lambda row: row.id or 0)
    ]


def _says(row: Audit, names: wording.Products) -> str:
    """What was done, in a sentence."""
    side, what = Side(row.side), dict(row.what)
    if "field" in what:
        what["field"] = wording.field(what["field"])
    said = {
        **what,
        "product": names[side],
        "other": names[side.other],
        "internal": ", internal" if what.get("private") else "",
        "added": _tags("added", what.get("add")),
        "removed": _tags("removed", what.get("remove")),
    }
    again = f" (the other value of conflict {what['conflict']}, taken back)" if "conflict" in what else ""
    return DEEDS[row.kind].format(**said) + again


def _tags(verb: str, tags: list[str] | None) -> str:
    return f" {verb}: {', '.join(tags)}" if tags else ""


def show(console: Console, rows: list[dict[str, Any]]) -> None:
    """A line for each write."""
    if not rows:
        console.print("nothing was written")
    for row in rows:
        line = f"{row['at']:%Y-%m-%d %H:%M:%S} UTC {row['workspace']}: ticket {row['ticket']}: {row['says']}"
        console.print(line, highlight=False, markup=False)
