"""What is in step, what waits and why: the data behind `status`, `parked`, `conflicts`, `explain`, `check --live`."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from state.store import Store, Unit
from state.tables import Conflict, Dirty, Lease, Parked, Watermark
from syncd.bench import Bench, LoopBreaker, base
from syncd.connector import Connector, Finding
from syncd.errors import AccountError, Gone
from syncd.model import Side, Ticket, values
from syncd.plan import Pair, Plan, State, plan
from syncd.runner import account, is_dead, utc_now
from syncd.settings import Settings, Workspace
from syncd.translate import Translation


def open_store(settings: Settings) -> Store:
    """The store that these settings name."""
    return Store(settings.store.url.get_secret_value(), utc_now)


async def status(settings: Settings) -> list[dict[str, Any]]:
    """Each workspace's numbers, who works on it, how far its feeds are read, and what waits."""
    async with open_store(settings) as store:
        return [await _status(store, workspace) for workspace in settings.workspaces]


async def _status(store: Store, workspace: Workspace) -> dict[str, Any]:
    leases = await store.rows(Lease, workspace.name)
    holders = [lease.holder for lease in leases if lease.holder and lease.expires_at > utc_now()]
    marks = await store.rows(Watermark, workspace.name)
    waiting = [row for row in await store.rows(Dirty, workspace.name) if row.error]
    return {
        "workspace": workspace.name,
        "worked_on_by": next((holder for holder in holders if not is_dead(holder)), None),
        **await store.counts(workspace.name),
        "read_until": {f"{mark.side}.{mark.stream}": mark.moved_at for mark in marks},
        "waits": [
            {"side": row.side, "ticket": row.ticket_id, "why": row.error, "until": row.not_before, "tries": row.tries}
            for row in waiting[:20]
        ],
    }


async def parked(settings: Settings) -> list[dict[str, Any]]:
    """Every write that waits for a person: the ticket, what, why, and what to do."""
    return await _listed(settings, Parked, ("what", "reason", "hint", "since"))


async def to_retry(store: Store, workspace: str, ticket: str | None) -> dict[Side, list[str]]:
    """The tickets on which something is parked, or the one that is named, by side."""
    if ticket is not None:
        side, _, ticket_id = ticket.rpartition(":")
        return {Side(side) if side in set(Side) else Side.GORGIAS: [ticket_id]}
    found: dict[Side, list[str]] = {side: [] for side in Side}
    for row in await store.rows(Parked, workspace):
        named = (await store.tickets(workspace, [row.link_id])).get(row.link_id, "")
        side = Side.REMOTE if named.startswith("remote ") else Side.GORGIAS
        found[side].append(named.removeprefix("remote "))
    return {side: sorted(set(ids)) for side, ids in found.items()}


async def conflicts(settings: Settings) -> list[dict[str, Any]]:
    """Every field that both sides had changed: both values, the winner, and why."""
    return await _listed(settings, Conflict, ("field", "gorgias_value", "remote_value", "winner", "why", "at"))


async def _listed(settings: Settings, table: type[Any], names: Sequence[str]) -> list[dict[str, Any]]:
    listed = []
    async with open_store(settings) as store:
        for workspace in settings.workspaces:
            rows = await store.rows(table, workspace.name)
            tickets = await store.tickets(workspace.name, [row.link_id for row in rows])
            listed += [
                {
                    "workspace": workspace.name,
                    "ticket": tickets.get(row.link_id, "?"),
                    **{n: getattr(row, n) for n in names},
                }
                for row in rows
            ]
    return listed


async def check_live(settings: Settings) -> list[tuple[str, Side, Finding]]:
    """Both accounts of every workspace, tried out: credentials, rights, names."""
    found = []
    for workspace in settings.workspaces:
        for side in Side:
            try:
                async with account(workspace, side) as connector:
                    found += [(workspace.name, side, finding) for finding in await connector.check()]
            except AccountError as error:
                found.append((workspace.name, side, Finding("reachable", False, str(error))))
    return found


# -- one ticket ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Explanation:
    """Why a ticket is as it is: what is linked, both sides, the last agreement, what would be done, what waits."""

    workspace: str
    ticket: str
    sentences: list[str] = field(default_factory=list)
    fields: list[dict[str, Any]] = field(default_factory=list)
    would: list[str] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)


async def explain(settings: Settings, ticket: str) -> list[Explanation]:
    """The ticket in each workspace that knows it; `ticket` is a Gorgias id, or `remote:` and the remote's id."""
    side, _, ticket_id = ticket.rpartition(":")
    async with open_store(settings) as store:
        return [
            await _explain(store, workspace, Side(side) if side in set(Side) else Side.GORGIAS, ticket_id)
            for workspace in settings.workspaces
        ]


async def _explain(store: Store, workspace: Workspace, side: Side, ticket_id: str) -> Explanation:
    unit = await store.unit(workspace.name, side, ticket_id)
    said = Explanation(workspace.name, f"{side}:{ticket_id}")
    _say_links(unit, said, side)
    if await store.tombstones(workspace.name, side, [ticket_id]):
        said.sentences.append("It was deleted; a deleted ticket is never made again.")
    async with AsyncExitStack() as stack:
        accounts = {s: await stack.enter_async_context(account(workspace, s)) for s in Side}
        now = {s: t for s in Side if (t := await _read(accounts[s], unit.id(s), said))}
        if len(now) == 2:
            await _say_plan(workspace, store, accounts, unit, now, said)
        elif unit.link is None and side in now:
            _say_why_not(workspace, now[side], side, said)
    _say_waits(unit, said)
    return said


def _say_links(unit: Unit, said: Explanation, side: Side) -> None:
    if unit.link is None:
        said.sentences.append(f"It has no copy on the other side ({side.other}) and no link.")
        return
    link = unit.link
    said.sentences.append(
        f"Gorgias ticket {link.gorgias_id or '(not made yet)'} and remote ticket {link.remote_id or '(not made yet)'} "
        f"are one since {link.created_at:%Y-%m-%d %H:%M} UTC."
    )
    if link.state != "linked":
        said.sentences.append(f"The link is {link.state}: changes are not carried over any more.")


async def _read(connector: Connector, ticket_id: str | None, said: Explanation) -> Ticket | None:
    if ticket_id is None:
        return None
    try:
        return await connector.get(ticket_id)
    except Gone:
        said.sentences.append(f"{connector.label(ticket_id)} is not there (any more).")
    except AccountError as error:
        said.sentences.append(f"{connector.label(ticket_id)} could not be read: {error}")
    return None


def _say_why_not(workspace: Workspace, ticket: Ticket, side: Side, said: Explanation) -> None:
    if ticket.hidden or ticket.trashed:
        said.sentences.append("It is spam, in the trash or outside of the configured views: such tickets get no copy.")
    elif side is Side.GORGIAS and workspace.sync.tags and not ticket.tags & set(workspace.sync.tags):
        said.sentences.append(f"It carries none of the tags in [sync] tags ({', '.join(workspace.sync.tags)}).")
    else:
        said.sentences.append("The next pass makes its copy, unless something below waits.")


async def _say_plan(
    workspace: Workspace,
    store: Store,
    accounts: dict[Side, Connector],
    unit: Unit,
    now: dict[Side, Ticket],
    said: Explanation,
) -> None:
    words = {side: await accounts[side].vocabulary() for side in Side}
    translation = Translation(workspace.sync, accounts, words)
    lease = Lease(workspace=workspace.name, holder="", epoch=0, expires_at=utc_now())
    bench = Bench(
        workspace.name, workspace.sync, store, lease, accounts, translation, utc_now, workspace.file.parent,
        LoopBreaker(workspace.sync.loop_limit, workspace.sync.loop_window),
    )  # fmt: skip
    bases = {side: base(unit.snapshots.get(side)) for side in Side}
    pairs = tuple(Pair(c.gorgias_id, c.remote_id, c.gorgias_digest, c.remote_digest, c.private) for c in unit.children)
    shown = {side: values(now[side]) for side in Side}
    for gorgias, remote in translation.fields:
        if gorgias in shown[Side.GORGIAS] and remote in shown[Side.REMOTE]:
            said.fields.append(
                {
                    "field": gorgias,
                    "gorgias": shown[Side.GORGIAS][gorgias],
                    "gorgias_agreed": bases[Side.GORGIAS].values.get(gorgias),
                    "remote": shown[Side.REMOTE][remote],
                    "remote_agreed": bases[Side.REMOTE].values.get(remote),
                }
            )
    parked_now = frozenset(row.what for row in unit.parked)
    _say_writes(plan(State(now, bases, pairs, parked_now), bench.rules), said)


def _say_writes(todo: Plan, said: Explanation) -> None:
    said.would += [
        f"set {w.name} at {w.side} to {w.value!r}, because the other side says {w.seen!r}" for w in todo.fields
    ]
    said.would += [f"{t.kind} the tag {t.tag!r} at {t.side}" for t in todo.tags]
    said.would += [
        f"copy comment {c.source} to {c.side}{' as a private note' if c.comment.private else ''}" for c in todo.comments
    ]
    said.would += [f"carry the new text of comment {e.source} over to {e.side}" for e in todo.edits]
    said.would += [f"decide {c.name} for {c.winner}: {c.why}" for c in todo.clashes]
    said.waits += [
        f"{side}: {name} is {value!r}, for which the other side has no word" for side, name, value in todo.unmapped
    ]
    if not todo.writes:
        said.sentences.append("Both sides are in step: nothing would be written.")


def _say_waits(unit: Unit, said: Explanation) -> None:
    said.waits += [f"{row.what}: {row.reason} {row.hint}".strip() for row in unit.parked]
    said.waits += [
        f"a {intent.kind} at {intent.side} was sent at {intent.sent_at:%H:%M:%S} UTC and its answer is not known yet"
        for intent in unit.intents
    ]
    said.waits += [
        f"it is looked at again at {row.not_before:%Y-%m-%d %H:%M:%S} UTC: {row.error}"
        for row in unit.dirty
        if row.error
    ]


def plain(value: Any) -> Any:
    """A value as JSON takes it."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
