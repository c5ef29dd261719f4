"""Learn what is dirty: both sides' change feeds, read to their ends, and the sweep for what no feed shows."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from state.store import Notice
from syncd.bench import STAMP, Bench, all_ended, looks_the_same, settled
from syncd.connector import Change, Page
from syncd.errors import AccountError
from syncd.model import Marker, Side

#: So many tickets a pass are read whole by the sweep, at the most.
SWEEP_BATCH = 50


async def notice_all(bench: Bench) -> None:
    """Read every feed of both sides; a side that cannot be read is noted in the report as down."""
    marks = await bench.store.watermarks(bench.workspace)
    await all_ended(_notice_side(bench, side, {k: m.cursor for k, m in marks.items()}) for side in Side)
    await bench.store.forget_events(bench.lease, bench.now() - timedelta(seconds=max(3600, 4 * bench.sync.overlap)))
    await bench.store.forget_history(bench.lease)


async def _notice_side(bench: Bench, side: Side, cursors: dict[tuple[str, str], str]) -> None:
    account = bench.accounts[side]
    from_scratch = not any(cursors.get((side.value, stream)) for stream in account.streams)
    listed: set[str] = set()
    try:
        for stream in account.streams:
            async for page in account.changes(stream, cursors.get((side.value, stream))):
                listed.update(change.id for change in page.changes)
                await _take(bench, side, stream, page)
    except AccountError as error:
        bench.report.down[side] = str(error)
    else:
        if from_scratch:
            await _guard_listing(bench, side, len(listed))


async def _guard_listing(bench: Bench, side: Side, listed: int) -> None:
    """A whole listing that is much shorter than what is known looks like an accident, and is said to be one.

    Nothing is taken for deleted because it is absent; but who reads half a list should not go on as if all was well.
    """
    known = (await bench.store.counts(bench.workspace))[side]
    if known > bench.sync.guard_floor and listed < known * bench.sync.listing_share and not bench.force:
        bench.report.guard = (
            f"{side} lists only {listed} tickets while {known} are linked: nothing was written. Look whether the "
            "account, the project or the views are the right ones; if so, run `syncd once --force`"
        )


async def _take(bench: Bench, side: Side, stream: str, page: Page) -> None:
    """Store what a page says together with its cursor."""
    changes = await _named(bench, side, page.changes)
    for change in changes:
        if change.row is not None:
            bench.rows.put(side, change.row)
    await _adopt(bench, side, changes)
    notices = await _news(bench, side, changes)
    bench.report.noticed += await bench.store.notice(bench.lease, side, notices, stream, page.cursor)


async def _named(bench: Bench, side: Side, changes: Sequence[Change]) -> list[Change]:
    """The changes with the ticket they are about; what only repeats a comment we know is emptied of it."""
    comments = {change.comment for change in changes if change.comment}
    known = await bench.store.ticket_of(bench.workspace, side, comments) if comments else {}
    named = []
    for change in changes:
        if change.comment in known and not change.deep:
            named.append(Change("", change.updated_at, change.why, event=change.event))
            continue
        ticket_id = change.id or known.get(change.comment or "")
        if not ticket_id and change.comment:
            ticket_id = await bench.accounts[side].ticket_of(change.comment)
        named.append(
            Change(
                ticket_id or "",
                change.updated_at,
                change.why,
                change.deep or bool(change.comment),
                change.event,
                None,
                change.row,
            )
        )
    return named


async def _adopt(bench: Bench, side: Side, changes: Sequence[Change]) -> None:
    """A ticket that carries our marker is the copy of one that we know: link the two before anything is created."""
    marked = {}
    for change in changes:
        marker = Marker.parse(change.row.marker) if change.row else None
        if marker and marker.workspace == bench.workspace and marker.side is side.other:
            marked[change.id] = marker.id
    if not marked:
        return
    known = await bench.store.snapshots(bench.workspace, side, marked)
    for ticket_id, source_id in marked.items():
        if ticket_id not in known:
            await bench.store.adopt(bench.lease, side, ticket_id, source_id)


async def _news(bench: Bench, side: Side, changes: Sequence[Change]) -> list[Notice]:
    """What must be looked at: everything but rows that are exactly as we left them."""
    known = await bench.store.snapshots(bench.workspace, side, {change.id for change in changes if change.id})
    resolution = bench.accounts[side].capabilities.resolution
    notices = []
    for change in changes:
        link, snapshot = known.get(change.id, (None, None))
        echo = (link is not None and link.state != "linked") or (link is None and _too_old(bench, change))
        if change.row is not None and snapshot is not None and not change.deep:
            echo = echo or settled(change.row, snapshot, resolution) or looks_the_same(change.row, snapshot)
            if change.row.updated_at == snapshot.updated_at:
                # Nothing new is known: the stamp is too coarse to prove that nothing happened within it.
                change = replace(change, why=STAMP)  # noqa: PLW2901
        elif snapshot is not None and change.updated_at and snapshot.updated_at and not change.deep and resolution == 0:
            # The state we hold is that of a later moment of the same clock than this event.
            echo = echo or change.updated_at <= snapshot.updated_at
        ticket_id = "" if echo else change.id
        if ticket_id or change.event:
            notices.append(Notice(ticket_id, change.why, change.deep, change.event, change.updated_at))
    return notices


def _too_old(bench: Bench, change: Change) -> bool:
    """Whether a first load was told to leave this ticket alone."""
    return bench.since is not None and change.updated_at is not None and change.updated_at < bench.since


async def sweep(bench: Bench) -> None:
    """Read whole again what was not for the longest: edits and deletions that no feed shows."""
    for side, account in bench.accounts.items():
        if not account.capabilities.invisible:
            continue
        before = bench.now() - timedelta(seconds=bench.sync.sweep_interval)
        ids = await bench.store.longest_unread(bench.workspace, side, before, SWEEP_BATCH)
        await bench.store.mark(bench.workspace, side, [Notice(found, "sweep", deep=True) for found in ids])
