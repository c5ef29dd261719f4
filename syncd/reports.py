"""What is in step and what waits: the data behind `status`, `parked`, `conflicts` and `retry`."""

from datetime import datetime
from typing import Any

from state.store import Notice, Store
from state.tables import Conflict, Dirty, Lease, Link, Parked, Watermark
from syncd import log, wording
from syncd.errors import BadRequest
from syncd.model import Side
from syncd.runner import is_dead, utc_now
from syncd.settings import Settings, Workspace
from syncd.stores import looked_at
from syncd.taking import ONE_WAY, TAKEN, lost

#: How many waiting tickets `status` names.
NAMED = 20
MEND = "mend the cause, then `syncd retry`; a change to the ticket tries it again, too"


async def status(settings: Settings) -> list[dict[str, Any]]:
    """Each workspace's numbers, who works on it, how far its feeds are read, and what waits. Raises StoreError."""
    async with looked_at(settings) as store:
        return [await _status(store, workspace) for workspace in settings.workspaces]


def _credentials_end(workspace: Workspace) -> dict[str, datetime]:
    """When credentials end, by side, where they do."""
    ends = {"gorgias": workspace.gorgias.credentials_end(), "remote": workspace.remote.credentials_end()}
    return {side: end for side, end in ends.items() if end}


async def _status(store: Store, workspace: Workspace) -> dict[str, Any]:
    leases = await store.rows(Lease, workspace.name)
    holders = [lease.holder for lease in leases if lease.holder and lease.expires_at > utc_now()]
    marks = await store.rows(Watermark, workspace.name)
    waiting = [row for row in await store.rows(Dirty, workspace.name) if row.error]
    names = wording.products(workspace)
    return {
        "workspace": workspace.name,
        "worked_on_by": next((holder for holder in holders if not is_dead(holder)), None),
        **await store.counts(workspace.name),
        "credentials_end": _credentials_end(workspace),
        "read_until": {f"{mark.side}.{mark.stream}": mark.moved_at for mark in marks},
        "waits": [
            {
                "side": row.side,
                "ticket": row.ticket_id,
                "says": wording.ticket(names, Side(row.side), row.ticket_id),
                "why": log.masked(row.error),
                "until": row.not_before,
                "tries": row.tries,
            }
            for row in waiting[:NAMED]
        ],
    }


async def parked(settings: Settings) -> list[dict[str, Any]]:
    """Every write that waits for a person: the ticket, what, why, and what to do. Raises StoreError."""
    listed = []
    async with looked_at(settings) as store:
        for workspace in settings.workspaces:
            names = wording.products(workspace)
            for row, ticket, link in await _with_tickets(store, workspace, Parked):
                listed.append(
                    {
                        "workspace": workspace.name,
                        "ticket": ticket,
                        "tickets": wording.pair(names, link),
                        "what": row.what,
                        "says": wording.parked(row.what, names),
                        "reason": log.masked(row.reason),
                        "hint": log.masked(row.hint) or MEND,
                        "since": row.since,
                    }
                )
    return listed


async def conflicts(settings: Settings) -> list[dict[str, Any]]:
    """Every field that both sides had changed: both values, the winner, and why. Raises StoreError."""
    listed = []
    async with looked_at(settings) as store:
        for workspace in settings.workspaces:
            names = wording.products(workspace)
            for row, ticket, link in await _with_tickets(store, workspace, Conflict):
                listed.append(
                    {
                        "workspace": workspace.name,
                        "id": row.id,
                        "ticket": ticket,
                        "tickets": wording.pair(names, link),
                        "field": row.field,
                        "gorgias_value": row.gorgias_value,
                        "remote_value": row.remote_value,
                        "winner": row.winner,
                        "winner_product": names[Side(row.winner)] if row.winner in set(Side) else row.winner,
                        "remote_product": names[Side.REMOTE],
                        "why": row.why,
                        "at": row.at,
                        "taking": row.taking,
                        "said": log.masked(row.said or ""),
                    }
                )
    return listed


async def take(settings: Settings, conflict_id: int) -> list[dict[str, Any]]:
    """Have the next pass take a conflict's loser back. Raises BadRequest when that cannot be done, and StoreError."""
    async with looked_at(settings) as store:
        for workspace in settings.workspaces:
            rows = [row for row in await store.rows(Conflict, workspace.name) if row.id == conflict_id]
            for row in rows:
                return [await _take(store, workspace, row)]
    raise BadRequest(f"there is no conflict {conflict_id}: `syncd conflicts` lists them with their numbers")


async def _take(store: Store, workspace: Workspace, row: Conflict) -> dict[str, Any]:
    if row.taking == TAKEN:
        raise BadRequest(f"the other value of conflict {row.id} was taken back already")
    if workspace.sync.direction != "both":
        raise BadRequest(f"conflict {row.id} cannot be turned round: {ONE_WAY}")
    if row.field.startswith("comment "):
        raise BadRequest(f"conflict {row.id} is about a comment's text: edit the comment, `syncd conflicts` shows both")
    name = (await store.tickets(workspace.name, [row.link_id])).get(row.link_id)
    link = await _link(store, workspace, name) if name else None
    if link is None or link.state != "linked" or not (link.gorgias_id and link.remote_id):
        raise BadRequest(f"the tickets of conflict {row.id} are not kept the same any more")
    await store.ask_back(workspace.name, row.id or 0, Side.GORGIAS, link.gorgias_id)
    names = wording.products(workspace)
    return {
        "workspace": workspace.name,
        "id": row.id,
        "tickets": wording.pair(names, link),
        "field": row.field,
        "value": lost(row),
    }


async def _with_tickets(store: Store, workspace: Workspace, table: type[Any]) -> list[tuple[Any, str, Link | None]]:
    """The rows of a table, each with its ticket's short name and its link."""
    rows = await store.rows(table, workspace.name)
    tickets = await store.tickets(workspace.name, [row.link_id for row in rows])
    links = {link_id: await _link(store, workspace, name) for link_id, name in tickets.items()}
    return [(row, tickets.get(row.link_id, "?"), links.get(row.link_id)) for row in rows]


async def _link(store: Store, workspace: Workspace, name: str) -> Link | None:
    return (await store.unit(workspace.name, *_named(name))).link


def _named(name: str) -> tuple[Side, str]:
    """What `Store.tickets` calls a ticket, taken apart."""
    remote = name.startswith("remote ")
    return (Side.REMOTE, name.removeprefix("remote ")) if remote else (Side.GORGIAS, name)


def named(ticket: str) -> tuple[Side, str]:
    """A ticket as people write it: a Gorgias id, or `remote:` and the remote's. Raises BadRequest."""
    side, _, ticket_id = ticket.rpartition(":")
    if not ticket_id or side not in {"", *Side}:
        raise BadRequest(f"{ticket!r} names no ticket: write a Gorgias id, such as 1001, or remote:ID")
    return (Side(side) if side else Side.GORGIAS), ticket_id


async def retry(settings: Settings, ticket: str | None) -> list[dict[str, Any]]:
    """Have the next pass look again at what is parked or waits, or at one ticket; by workspace. Raises StoreError."""
    wanted = named(ticket) if ticket else None
    async with looked_at(settings) as store:
        return [await _retry(store, workspace, wanted) for workspace in settings.workspaces]


async def _retry(store: Store, workspace: Workspace, wanted: tuple[Side, str] | None) -> dict[str, Any]:
    rows = await store.rows(Dirty, workspace.name)
    if wanted is None:
        await store.wake(workspace.name)
        tickets = await _parked_tickets(store, workspace.name)
        waiting = {(Side(row.side), row.ticket_id) for row in rows}
    else:
        unit = await store.unit(workspace.name, *wanted)
        known = unit.link is not None or any(row.id for row in unit.dirty)
        tickets, waiting = {wanted} if known else set(), set()
    for side in Side:
        ids = sorted(ticket_id for at, ticket_id in tickets if at is side)
        await store.mark(workspace.name, side, [Notice(ticket_id, "retry", deep=True) for ticket_id in ids])
    return {"workspace": workspace.name, "tickets": len(tickets | waiting)}


async def _parked_tickets(store: Store, workspace: str) -> set[tuple[Side, str]]:
    links = [row.link_id for row in await store.rows(Parked, workspace)]
    return {_named(name) for name in (await store.tickets(workspace, links)).values()}


def plain(value: Any) -> Any:
    """A value as JSON takes it."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
