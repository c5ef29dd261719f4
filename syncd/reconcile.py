"""The full compare: both accounts read whole, beside what the store believes; it only makes tickets dirty.

It finds what no feed and no watermark would: tickets without a copy, links that lead nowhere, markers that two tickets
carry, and values, texts or files that differ although nothing waits.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from state.store import Notice, Store
from state.tables import Lease, Link
from syncd import wording
from syncd.bench import Bench, LoopBreaker
from syncd.compare import Reading, differences, read
from syncd.model import Marker, Side, Ticket
from syncd.plan import Rules
from syncd.runner import account, utc_now
from syncd.settings import Settings, Workspace
from syncd.stores import opened
from syncd.translate import Translation

WHY = "reconcile"


@dataclass(slots=True)
class Finding:
    """Something that is not as it should be: the tickets it is about, by side, and the sentence that says so."""

    workspace: str
    sentence: str
    tickets: dict[Side, str] = field(default_factory=dict)


async def reconcile(settings: Settings, *, apply: bool = False) -> list[Finding]:
    """Everything that differs. With `apply`, the tickets concerned are looked at by the next pass."""
    found: list[Finding] = []
    async with opened(settings) as store:
        for workspace in settings.workspaces:
            here = await _workspace(store, workspace)
            if apply:
                await _make_dirty(store, workspace.name, here)
            found += here
    return found


async def _workspace(store: Store, workspace: Workspace) -> list[Finding]:
    async with AsyncExitStack() as stack:
        accounts = {side: await stack.enter_async_context(account(workspace, side)) for side in Side}
        words = {side: await accounts[side].vocabulary() for side in Side}
        readings = {side: await read(accounts[side], files=False) for side in Side}
        loops = LoopBreaker(workspace.sync.loop_limit, workspace.sync.loop_window)
        lease = Lease(workspace=workspace.name, holder="", epoch=0, expires_at=utc_now())
        translation = Translation(workspace.sync, accounts, words)
        bench = Bench(
            workspace.name, workspace.sync, store, lease, accounts, translation, utc_now, Path.cwd(), loops
        )  # fmt: skip
        everything = await store.rows(Link, workspace.name)
        links = [row for row in everything if row.state == "linked"]
        return [
            *_lost(workspace, links, readings),
            *_alone(bench.rules, workspace, everything, readings),
            *_double(workspace, readings),
            *_different(bench.rules, workspace, links, readings),
        ]


def _by_id(readings: Mapping[Side, Reading]) -> dict[Side, dict[str, Ticket]]:
    return {side: {ticket.id: ticket for ticket in reading.tickets} for side, reading in readings.items()}


def _lost(workspace: Workspace, links: Iterable[Link], readings: Mapping[Side, Reading]) -> Iterable[Finding]:
    """Links of which one end is not listed (any more)."""
    known, names = _by_id(readings), wording.products(workspace)
    for link in links:
        ends = {Side.GORGIAS: link.gorgias_id, Side.REMOTE: link.remote_id}
        tickets = {side: found for side, found in ends.items() if found is not None}
        for side, ticket_id in tickets.items():
            if ticket_id not in known[side] and ticket_id not in readings[side].put_away:
                name = wording.ticket(names, side, ticket_id)
                sentence = f"{name} is linked and not listed there: deleted, moved, or out of reach"
                yield Finding(workspace.name, sentence, tickets)


def _alone(
    rules: Rules, workspace: Workspace, links: Collection[Link], readings: Mapping[Side, Reading]
) -> Iterable[Finding]:
    """Tickets that ought to have a copy; one whose link was ended has had it."""
    linked = {Side.GORGIAS: {link.gorgias_id for link in links}, Side.REMOTE: {link.remote_id for link in links}}
    scope, names = set(workspace.sync.tags), wording.products(workspace)
    for side in (side for side in Side if side.other in rules.to):
        for ticket in readings[side].tickets:
            wanted = side is Side.REMOTE or not scope or bool(ticket.tags & scope)
            if wanted and ticket.id not in linked[side] and _copy_of(workspace, side, ticket) is None:
                name = wording.ticket(names, side, ticket.id)
                yield Finding(workspace.name, f"{name} has no copy in {names[side.other]}", {side: ticket.id})


def _copy_of(workspace: Workspace, side: Side, ticket: Ticket) -> str | None:
    """The ticket of the other side that this one is marked as the copy of."""
    marker = Marker.parse(ticket.marker)
    ours = marker and marker.workspace == workspace.name and marker.side is side.other
    return marker.id if marker and ours else None


def _double(workspace: Workspace, readings: Mapping[Side, Reading]) -> Iterable[Finding]:
    """Markers that more than one ticket carries."""
    names = wording.products(workspace)
    for side, reading in readings.items():
        carriers: dict[str, list[str]] = defaultdict(list)
        for ticket in reading.tickets:
            if original := _copy_of(workspace, side, ticket):
                carriers[original].append(ticket.id)
        for original, copies in carriers.items():
            if len(copies) > 1:
                said = " and ".join(wording.ticket(names, side, copy) for copy in copies)
                whose = wording.ticket(names, side.other, original)
                sentence = f"{said} are all copies of {whose}: close all but one"
                yield Finding(workspace.name, sentence, {side.other: original})


def _different(
    rules: Rules, workspace: Workspace, links: Iterable[Link], readings: Mapping[Side, Reading]
) -> Iterable[Finding]:
    """What two linked tickets do not agree about."""
    known, names = _by_id(readings), wording.products(workspace)
    for link in links:
        mine, theirs = known[Side.GORGIAS].get(link.gorgias_id or ""), known[Side.REMOTE].get(link.remote_id or "")
        if mine is None or theirs is None:
            continue
        pair = [(mine.id, theirs.id)]
        said = differences(
            rules,
            replace(readings[Side.GORGIAS], tickets=(mine,)),
            replace(readings[Side.REMOTE], tickets=(theirs,)),
            links=pair,
        )
        tickets = {Side.GORGIAS: mine.id, Side.REMOTE: theirs.id}
        name, raw = wording.pair(names, link), f"{mine.id} = {theirs.id}"
        yield from (Finding(workspace.name, name + sentence.removeprefix(raw), tickets) for sentence in said)


async def _make_dirty(store: Store, workspace: str, found: Iterable[Finding]) -> None:
    for side in Side:
        ids = sorted({finding.tickets[side] for finding in found if side in finding.tickets})
        await store.mark(workspace, side, [Notice(ticket_id, WHY, deep=True) for ticket_id in ids])
