"""The store's promises, one by one, on SQLite and on PostgreSQL."""

import asyncio
import random
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import structlog

from state.leases import WAL_RESET_BUG
from state.store import Notice, Settlement, Store, Unit
from state.tables import (
    Audit,
    Child,
    Conflict,
    Dirty,
    File,
    Intent,
    Lease,
    Link,
    Parked,
    SeenEvent,
    Snapshot,
    Tombstone,
    Watermark,
)
from syncd.errors import LeaseHeld, SyncdError
from syncd.model import Side
from tests.databases import START, TTL, WORKSPACE, Clock

G, R = Side.GORGIAS, Side.REMOTE


def alive(_holder: str) -> bool:
    """Nobody is known to have ended."""
    return False


def dead(_holder: str) -> bool:
    """Whoever it was has ended."""
    return True


def link(gorgias: str | None = "g1", remote: str | None = None) -> Link:
    """A link that is not stored yet."""
    return Link(workspace=WORKSPACE, gorgias_id=gorgias, remote_id=remote, created_at=START)


def intent(key: str, kind: str = "create", **payload: Any) -> Intent:
    """A write that is about to be sent."""
    return Intent(workspace=WORKSPACE, link_id=0, side=R, kind=kind, key=key, payload=payload, sent_at=START)


def child(gorgias: str | None, remote: str | None = None) -> Child:
    """A comment's two ids."""
    return Child(workspace=WORKSPACE, link_id=0, gorgias_id=gorgias, remote_id=remote)


def parked(what: str, reason: str = "no such user") -> Parked:
    """A write that waits for a person."""
    return Parked(workspace=WORKSPACE, link_id=0, what=what, reason=reason, since=START)


async def linked(store: Store, lease: Lease, gorgias: str = "g1", remote: str | None = "r1") -> Link:
    """A link that is stored."""
    stored, _ = await store.begin(lease, link(gorgias, remote), [])
    return stored


async def mark(store: Store, side: Side, *ids: str) -> None:
    """Make tickets dirty."""
    await store.mark(WORKSPACE, side, [Notice(ticket_id, "changed") for ticket_id in ids])


async def only_due(store: Store) -> Unit:
    """The one unit that is due."""
    (unit,) = await store.due(WORKSPACE, 10)
    return unit


# -- leases ---------------------------------------------------------------------------------------------------------


@pytest.mark.promise("P29")
async def test_a_workspace_has_one_holder(store: Store, lease: Lease) -> None:
    """The second one is told who the first is."""
    with pytest.raises(LeaseHeld, match="worked on by this test"):
        await store.acquire(WORKSPACE, "another", TTL, alive)
    assert (await store.acquire("other workspace", "another", TTL, alive)).epoch == 1


@pytest.mark.parametrize("how", ["released", "expired", "dead"])
async def test_a_workspace_can_be_taken_over(store: Store, lease: Lease, clock: Clock, how: str) -> None:
    """When its holder let it go, said nothing for too long, or is known to have ended."""
    if how == "released":
        await store.release(lease)
    if how == "expired":
        clock.wait(TTL.total_seconds())
    taken = await store.acquire(WORKSPACE, "another", TTL, dead if how == "dead" else alive)
    assert taken.epoch == lease.epoch + 1
    await store.release(lease)
    with pytest.raises(LeaseHeld, match="worked on by another"):
        await store.acquire(WORKSPACE, "third", TTL, alive)


async def test_a_renewed_lease_lasts(store: Store, lease: Lease, clock: Clock) -> None:
    """Longer than the first one would have."""
    clock.wait(50)
    await store.renew(lease, TTL)
    clock.wait(50)
    with pytest.raises(LeaseHeld):
        await store.acquire(WORKSPACE, "another", TTL, alive)


@pytest.mark.promise("P29")
async def test_of_many_that_start_at_once_one_gets_the_workspace(store: Store, store_url: str, clock: Clock) -> None:
    """Also when nobody had it before; the others are told, not failed by the database."""
    others = [await Store(store_url, clock).open() for _ in range(3)]
    every = await asyncio.gather(
        *(s.acquire("new", f"holder {n}", TTL, alive) for n, s in enumerate([store, *others])), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in every) == ["Lease", "LeaseHeld", "LeaseHeld", "LeaseHeld"]
    for other in others:
        await other.close()


FENCED: dict[str, Callable[[Store, Lease], Awaitable[object]]] = {
    "renew": lambda store, lease: store.renew(lease, TTL),
    "notice": lambda store, lease: store.notice(lease, G, [Notice("1", "changed")], "events", "c"),
    "adopt": lambda store, lease: store.adopt(lease, R, "r9", "g9"),
    "forget_events": lambda store, lease: store.forget_events(lease, START),
    "begin": lambda store, lease: store.begin(lease, link("g9"), [intent("k")]),
    "settle": lambda store, lease: store.settle(lease, Settlement(audit=[audit()])),
    "postpone": lambda store, lease: store.postpone(lease, [Dirty(id=1, seq=1)], START, "why"),
}


def audit() -> Audit:
    """A write that landed."""
    return Audit(workspace=WORKSPACE, link_id=1, side=R, kind="update", what={"field": "subject"}, at=START)


@pytest.mark.promise("P29")
@pytest.mark.parametrize("method", FENCED)
async def test_a_former_holder_is_refused(store: Store, lease: Lease, method: str) -> None:
    """A process that was paused and wakes up writes nothing, whatever it was about to do."""
    await store.acquire(WORKSPACE, "another", TTL, dead)
    with pytest.raises(LeaseHeld, match="taken over"):
        await FENCED[method](store, lease)
    for table in (Dirty, Watermark, Link, Intent, Audit):
        assert await store.rows(table, WORKSPACE) == []


@pytest.mark.promise("P29")
async def test_a_former_holder_is_refused_among_others(store: Store, lease: Lease) -> None:
    """Also when its write and the take-over wait together and would share a commit."""
    gate = threading.Event()
    waiting = asyncio.create_task(store._run(lambda _session: gate.wait(5)))
    calls = (
        store.begin(lease, link("g8"), []),
        store.acquire(WORKSPACE, "another", TTL, dead),
        store.begin(lease, link("g9"), []),
    )
    tasks = [asyncio.create_task(call) for call in calls]  # type: ignore[arg-type,var-annotated]
    await asyncio.sleep(0)
    gate.set()
    before, taken, after = await asyncio.gather(*tasks, return_exceptions=True)
    assert await waiting
    assert isinstance(before, tuple)
    assert isinstance(taken, Lease)
    assert isinstance(after, LeaseHeld)
    await store.begin(taken, link("g9"), [])


@pytest.mark.promise("P29")
async def test_nobody_takes_over_in_the_middle_of_a_write(
    store: Store, store_url: str, lease: Lease, clock: Clock
) -> None:
    """Between the look at the lease and the commit the workspace cannot change hands."""
    gate = threading.Event()
    writing = asyncio.create_task(store._run(lambda _session: gate.wait(5), lease))
    await asyncio.sleep(0.1)
    async with Store(store_url, clock) as other:
        taking = asyncio.create_task(other.acquire(WORKSPACE, "another", TTL, dead))
        await asyncio.sleep(0.2)
        assert not taking.done()
        gate.set()
        assert await writing
        assert (await taking).epoch == lease.epoch + 1


async def test_two_writers_of_one_sqlite_file_are_warned_of(store: Store, store_url: str, lease: Lease) -> None:
    """Where the library has the WAL-reset bug; PostgreSQL is made for it."""
    with structlog.testing.capture_logs() as logs:
        await store.acquire("second", "this test", TTL, alive)
        await store.acquire("third", "another", TTL, alive)
    affected = store_url.startswith("sqlite") and sqlite3.sqlite_version_info <= WAL_RESET_BUG[1]
    assert [entry["others"] for entry in logs] == ([["this test"]] if affected else [])


# -- notice ---------------------------------------------------------------------------------------------------------


@pytest.mark.promise("P11")
async def test_a_notice_and_its_watermark_are_one(store: Store, lease: Lease) -> None:
    """What a page said and how far it was read stand together."""
    assert await store.watermarks(WORKSPACE) == {}
    news = [Notice("1", "changed", event="e1"), Notice("2", "changed", event="e2"), Notice("", "echo", event="e3")]
    assert await store.notice(lease, G, news, "events", "c1") == 2
    marks = await store.watermarks(WORKSPACE)
    assert {key: mark.cursor for key, mark in marks.items()} == {("gorgias", "events"): "c1"}
    assert {row.ticket_id for row in await store.rows(Dirty, WORKSPACE)} == {"1", "2"}
    assert len(await store.rows(SeenEvent, WORKSPACE)) == 3


@pytest.mark.promise("P11")
async def test_a_failed_notice_moves_no_watermark(store: Store, lease: Lease) -> None:
    """A page that cannot be stored is read again."""
    await store.notice(lease, G, [], "events", "c1")
    with pytest.raises(SyncdError):
        await store.notice(lease, G, [Notice("1", "changed"), Notice("2", "\ud800")], "events", "c2")
    assert (await store.watermarks(WORKSPACE))["gorgias", "events"].cursor == "c1"
    assert await store.rows(Dirty, WORKSPACE) == []


@pytest.mark.promise("P22")
async def test_a_look_that_nobody_asked_for_hides_no_news(store: Store) -> None:
    """A sweep, or a stamp too coarse to prove anything, leaves the reason of a change that waits."""
    await mark(store, G, "1")
    await store.mark(WORKSPACE, G, [Notice("1", "sweep", deep=True)])
    (unit,) = await store.due(WORKSPACE, 10)
    assert [(row.why, row.deep) for row in unit.dirty] == [("changed", True)]


@pytest.mark.promise("P8")
async def test_an_event_is_news_once(store: Store, lease: Lease, clock: Clock) -> None:
    """The overlap shows it again; once it is forgotten, it would be news again."""
    event = [Notice("1", "changed", event="e1", at=START)]
    assert [await store.notice(lease, G, event, "events", "c") for _ in range(2)] == [1, 0]
    assert await store.notice(lease, R, event, "events", "c") == 1
    await store.forget_events(lease, START)
    assert await store.notice(lease, G, event, "events", "c") == 0
    await store.forget_events(lease, START + timedelta(seconds=1))
    assert await store.notice(lease, G, event, "events", "c") == 1


async def test_a_newer_notice_is_not_cleared(store: Store, lease: Lease) -> None:
    """Work that began before it neither clears nor postpones it."""
    await mark(store, G, "1")
    before = await only_due(store)
    await mark(store, G, "1")
    await store.settle(lease, Settlement(clean=before.dirty))
    await store.postpone(lease, before.dirty, START + timedelta(hours=1), "later")
    after = await only_due(store)
    assert (after.dirty[0].seq, after.dirty[0].error) == (2, "")
    await store.settle(lease, Settlement(clean=after.dirty))
    assert await store.due(WORKSPACE, 10) == []


async def test_a_cleared_number_is_never_given_again(store: Store, lease: Lease) -> None:
    """Who still holds the old row cannot clear another ticket's by it."""
    await mark(store, G, "1")
    first = await only_due(store)
    await store.settle(lease, Settlement(clean=first.dirty))
    await mark(store, G, "2")
    await store.settle(lease, Settlement(clean=first.dirty))
    assert (await only_due(store)).id(G) == "2"


async def test_notices_of_one_ticket_are_one(store: Store, lease: Lease) -> None:
    """The last reason counts; deep stays deep until it was looked at; it is due at once again."""
    deep, shallow = Notice("1", "comment", deep=True), Notice("1", "changed")
    await store.notice(lease, G, [deep, shallow], "events", "c")
    await store.postpone(lease, (await only_due(store)).dirty, START + timedelta(hours=1), "error")
    assert await store.due(WORKSPACE, 10) == []
    await store.notice(lease, G, [shallow], "events", "c")
    (row,) = (await only_due(store)).dirty
    assert (row.why, row.deep, row.tries, row.error) == ("changed", True, 1, "error")


async def test_many_notices_at_once(store: Store, lease: Lease) -> None:
    """A first load of ten thousand rows, and the same ones again."""
    news = [Notice(str(n), "changed", event=f"e{n}") for n in range(10_000)]
    assert await store.notice(lease, G, news, "events", "c1") == 10_000
    assert await store.notice(lease, G, news[:1_000], "events", "c2") == 0
    assert (await store.counts(WORKSPACE))["dirty"] == 10_000


async def test_adopt_links_a_copy_to_its_original(store: Store, lease: Lease) -> None:
    """With or without a link of the original; one that is linked otherwise is left alone."""
    assert await store.adopt(lease, R, "r1", "g1")
    assert await store.adopt(lease, R, "r1", "g1")
    assert not await store.adopt(lease, R, "r1", "g2")
    assert not await store.adopt(lease, R, "r2", "g1")
    await store.begin(lease, link("g3"), [])
    assert await store.adopt(lease, R, "r3", "g3")
    await store.begin(lease, link(None, "r4"), [])
    assert await store.adopt(lease, G, "g4", "r4")
    assert {(row.gorgias_id, row.remote_id) for row in await store.rows(Link, WORKSPACE)} == {
        ("g1", "r1"), ("g3", "r3"), ("g4", "r4"),
    }  # fmt: skip


# -- plan -----------------------------------------------------------------------------------------------------------


async def test_the_longest_waiting_is_due_first(store: Store, clock: Clock) -> None:
    """In order, up to the limit, and without what was not yet due at the moment that is named."""
    for ticket in "abcd":
        await mark(store, G, ticket)
        clock.wait(1)
    units = await store.due(WORKSPACE, 2)
    assert [unit.id(G) for unit in units] == ["a", "b"]
    moment = clock() - timedelta(seconds=2)
    assert [unit.id(G) for unit in await store.due(WORKSPACE, 9, moment)] == ["a", "b", "c"]
    clock.wait(-1.5)
    assert [unit.id(G) for unit in await store.due(WORKSPACE, 9)] == ["a", "b", "c"]
    assert await store.due("another workspace", 2) == []


async def test_both_sides_of_a_link_are_one_unit(store: Store, lease: Lease) -> None:
    """With everything stored about the link, and with the other side's dirty row, due or not."""
    stored = await linked(store, lease)
    await store.begin(lease, stored, [intent("k1", note="é\0"), intent("k2")])
    settlement = Settlement(link=stored, snapshots=[Snapshot(link_id=0, side=R, fields={"subject": "a"}, tags=["x"])])
    settlement.children, settlement.parked = [child("c1"), child("c2")], [parked("remote:assignee")]
    await store.settle(lease, settlement)
    await mark(store, G, "g1", "new")
    await mark(store, R, "r1")
    both, new = await store.due(WORKSPACE, 10)
    assert {(row.side, row.ticket_id) for row in both.dirty} == {("gorgias", "g1"), ("remote", "r1")}
    assert (both.id(G), both.id(R), new.id(G), new.id(R), new.link) == ("g1", "r1", "new", None, None)
    assert (both.snapshots[R].fields, both.snapshots[R].tags) == ({"subject": "a"}, ["x"])
    assert [row.gorgias_id for row in both.children] == ["c1", "c2"]
    assert [(row.key, row.payload) for row in both.intents] == [("k1", {"note": "é\0"}), ("k2", {})]
    assert [row.what for row in both.parked] == ["remote:assignee"]
    remote = [row for row in both.dirty if row.side == R]
    await store.postpone(lease, remote, START + timedelta(hours=1), "later")
    joined = (await store.due(WORKSPACE, 10))[0]
    assert {row.side for row in joined.dirty} == {"gorgias", "remote"}


async def test_a_unit_can_be_asked_for(store: Store, lease: Lease) -> None:
    """Dirty or not, known or not."""
    await linked(store, lease)
    assert (await store.unit(WORKSPACE, R, "r1")).id(G) == "g1"
    unknown = await store.unit(WORKSPACE, G, "nobody")
    assert (unknown.link, unknown.id(G)) == (None, "nobody")
    assert await store.rows(Dirty, WORKSPACE) == []


async def test_lookups_by_many_ids(store: Store, lease: Lease) -> None:
    """Snapshots, comments and tombstones of more ids than fit into one statement; unknown ones are not listed."""
    stored = await linked(store, lease)
    settlement = Settlement(link=stored, snapshots=[Snapshot(link_id=0, side=G, fields={})], children=[child("c1")])
    settlement.tombstones = [Tombstone(workspace=WORKSPACE, side=G, ticket_id="dead", at=START)]
    await store.settle(lease, settlement)
    many = [str(n) for n in range(2_000)]
    ((found, snapshot),) = (await store.snapshots(WORKSPACE, G, ["g1", *many])).values()
    assert (found.remote_id, snapshot and snapshot.side) == ("r1", "gorgias")
    assert (await store.snapshots(WORKSPACE, R, ["r1"]))["r1"][1] is None
    assert await store.ticket_of(WORKSPACE, G, ["c1", *many]) == {"c1": "g1"}
    assert await store.tombstones(WORKSPACE, G, ["dead", *many]) == {"dead"}
    assert await store.tickets(WORKSPACE, [stored.id or 0, *range(10**6, 10**6 + 2_000)]) == {stored.id: "g1"}


async def test_a_file_is_known_by_bytes_and_name(store: Store, lease: Lease) -> None:
    """On its side; a later place replaces an earlier one."""
    for url in ("https://a/1", "https://a/2"):
        file = File(workspace=WORKSPACE, side=R, sha256="ab", file_name="slip.txt", url=url)
        await store.settle(lease, Settlement(files=[file]))
    assert await store.file_url(WORKSPACE, R, "ab", "slip.txt") == "https://a/2"
    assert await store.file_url(WORKSPACE, R, "ab", "other.txt") is None
    assert await store.file_url(WORKSPACE, G, "ab", "slip.txt") is None


@pytest.mark.promise("P22")
async def test_the_longest_unread_is_swept_first(store: Store, lease: Lease) -> None:
    """Never read comes first; what is dirty already, no longer linked or read lately is left out."""
    ages = {"never": None, "old": 5, "older": 9, "fresh": 0, "dirty": 9, "ended": 9}
    for name, age in ages.items():
        stored = await linked(store, lease, name, f"r-{name}")
        stored.state = "deleted" if name == "ended" else "linked"
        read_at = None if age is None else START - timedelta(hours=age)
        await store.settle(lease, Settlement(link=stored, snapshots=[Snapshot(link_id=0, side=G, read_at=read_at)]))
    await mark(store, G, "dirty")
    before = START - timedelta(hours=1)
    assert await store.longest_unread(WORKSPACE, G, before, 10) == ["never", "older", "old"]
    assert await store.longest_unread(WORKSPACE, G, before, 1) == ["never"]
    assert await store.longest_unread(WORKSPACE, R, before, 10) == []


# -- apply and settle -----------------------------------------------------------------------------------------------


async def test_begin_stores_a_new_link_with_its_intents(store: Store, lease: Lease) -> None:
    """And gives each its id; a known link is not made again."""
    new = link("g1")
    stored, intents = await store.begin(lease, new, [intent("k1", a=1), intent("k2")])
    assert stored.id is not None
    assert new.id == stored.id
    assert [(row.key, row.link_id, row.id is not None) for row in intents] == [
        ("k1", stored.id, True), ("k2", stored.id, True),
    ]  # fmt: skip
    again, (third,) = await store.begin(lease, stored, [intent("k3")])
    assert (again.id, third.link_id) == (stored.id, stored.id)
    assert len(await store.rows(Link, WORKSPACE)) == 1


@pytest.mark.promise("P28")
async def test_a_ticket_has_one_link_and_a_write_one_intent(store: Store, lease: Lease) -> None:
    """A second one is impossible, and says nothing about the database."""
    stored, _ = await store.begin(lease, link("g1", "r1"), [intent("k1")])
    second: tuple[tuple[Link, list[Intent]], ...] = (
        (link("g1"), []), (link("g2", "r1"), []), (link("g2"), [intent("k1")]), (stored, [intent("k1")]),
    )  # fmt: skip
    for one, intents in second:
        with pytest.raises(SyncdError, match="refused a row"):
            await store.begin(lease, one, intents)
    assert len(await store.rows(Link, WORKSPACE)) == len(await store.rows(Intent, WORKSPACE)) == 1


async def test_settle_records_all_of_a_write(store: Store, lease: Lease) -> None:
    """Link, snapshots, children, intents, conflicts, audit, notices: all of it at once."""
    await mark(store, G, "g1")
    unit = await only_due(store)
    stored, intents = await store.begin(lease, link("g1"), [intent("k1"), intent("k2")])
    stored.remote_id = "r1"
    done = Settlement(link=stored, done=[intents[0]], clean=unit.dirty)
    done.snapshots = [
        Snapshot(link_id=0, side=side, fields={"subject": "é"}, tags=["b"], read_at=START) for side in Side
    ]
    done.children, done.audit = [child("c1", "d1"), child("c2", "d2")], [audit()]
    done.conflicts = [conflict(("a", None), ["b"])]
    await store.settle(lease, done)
    after = await store.unit(WORKSPACE, R, "r1")
    assert after.id(G) == "g1"
    assert {side: (s.fields, s.tags, s.read_at) for side, s in after.snapshots.items()} == dict.fromkeys(
        Side, ({"subject": "é"}, ["b"], START)
    )
    assert [row.id for row in after.children] == [row.id for row in done.children]
    assert [row.key for row in after.intents] == ["k2"]
    assert [(row.link_id, row.what) for row in await store.rows(Audit, WORKSPACE)] == [
        (stored.id, {"field": "subject"})
    ]
    (kept,) = await store.rows(Conflict, WORKSPACE)
    assert (kept.gorgias_value, kept.remote_value) == (["a", None], ["b"])
    assert await store.due(WORKSPACE, 10) == []


def conflict(gorgias: Any, remote: Any) -> Conflict:
    """Both sides changed one field."""
    return Conflict(
        workspace=WORKSPACE, link_id=0, field="subject", gorgias_value=gorgias, remote_value=remote, winner="gorgias",
        why="later", at=START,
    )  # fmt: skip


async def test_settle_replaces_what_it_knows(store: Store, lease: Lease) -> None:
    """A snapshot and a child are rewritten in place, also when their values were changed where they stand."""
    stored = await linked(store, lease)
    done = Settlement(link=stored, snapshots=[Snapshot(link_id=0, side=G, fields={"a": 1}, tags=["x"])])
    done.children = [child("c1")]
    await store.settle(lease, done)
    unit = await store.unit(WORKSPACE, G, "g1")
    unit.snapshots[G].fields["b"] = [2]
    unit.snapshots[G].tags = None
    unit.children[0].remote_id = "d1"
    settlement = Settlement(link=unit.link, snapshots=list(unit.snapshots.values()))
    settlement.children = [*unit.children, child("c2")]
    await store.settle(lease, settlement)
    again = await store.unit(WORKSPACE, G, "g1")
    assert (again.snapshots[G].fields, again.snapshots[G].tags) == ({"a": 1, "b": [2]}, None)
    assert [(row.id, row.gorgias_id, row.remote_id) for row in again.children] == [
        (done.children[0].id, "c1", "d1"), (settlement.children[1].id, "c2", None),
    ]  # fmt: skip


async def test_a_comment_is_copied_once(store: Store, lease: Lease) -> None:
    """A second child with one of its ids is refused, and so is the rest of that settlement."""
    stored = await linked(store, lease)
    await store.settle(lease, Settlement(link=stored, children=[child("c1", "d1")]))
    stored.state = "unlinked"
    with pytest.raises(SyncdError):
        await store.settle(lease, Settlement(link=stored, children=[child("c2", "d1")]))
    unit = await store.unit(WORKSPACE, G, "g1")
    assert unit.link is not None
    assert (unit.link.state, len(unit.children)) == ("linked", 1)


async def test_a_parked_write_waits_once_and_since_the_first_time(store: Store, lease: Lease, clock: Clock) -> None:
    """Its reason is the latest; it goes when it is unparked, or when its link ends."""
    stored = await linked(store, lease)
    await store.settle(lease, Settlement(link=stored, parked=[parked("remote:assignee"), parked("remote:tags")]))
    later = parked("remote:assignee", "another\0 reason")
    later.since = START + timedelta(hours=1)
    await store.settle(lease, Settlement(link=stored, parked=[later], unparked=["remote:tags", "remote:unknown"]))
    (row,) = await store.rows(Parked, WORKSPACE)
    assert (row.what, row.reason, row.since) == ("remote:assignee", "another reason", START)
    stored.state = "deleted"
    await store.settle(lease, Settlement(link=stored))
    assert await store.rows(Parked, WORKSPACE) == []


async def test_a_ticket_without_a_link_can_be_settled(store: Store, lease: Lease) -> None:
    """A tombstone, twice, and the notices that led to it."""
    await mark(store, G, "1")
    for why in ("deleted", "merged"):
        tombstone = Tombstone(workspace=WORKSPACE, side=G, ticket_id="1", at=START, why=why)
        await store.settle(lease, Settlement(tombstones=[tombstone], clean=(await store.unit(WORKSPACE, G, "1")).dirty))
    assert [row.why for row in await store.rows(Tombstone, WORKSPACE)] == ["merged"]
    assert await store.due(WORKSPACE, 10) == []


async def test_a_postponed_ticket_waits_with_its_reason(store: Store, lease: Lease, clock: Clock) -> None:
    """Until its time, or until everything is woken."""
    await mark(store, G, "1", "2")
    units = await store.due(WORKSPACE, 10)
    until = START + timedelta(hours=1)
    await store.postpone(lease, [row for unit in units for row in unit.dirty], until, "try\0 later " * 500)
    assert await store.due(WORKSPACE, 10) == []
    assert await store.next_due(WORKSPACE) == until
    rows = await store.rows(Dirty, WORKSPACE)
    assert {(row.tries, row.error[:9], len(row.error)) for row in rows} == {(1, "try later", 2000)}
    assert (await store.counts(WORKSPACE))["waiting"] == 2
    await store.wake(WORKSPACE)
    assert len(await store.due(WORKSPACE, 10)) == 2
    await store.postpone(lease, [], until, "nothing")


# -- reports --------------------------------------------------------------------------------------------------------


async def test_counts_tell_how_much_there_is(store: Store, lease: Lease) -> None:
    """Of this workspace only."""
    names = ("links", "gorgias", "remote", "dirty", "waiting", "intents", "parked", "conflicts")
    zero = dict.fromkeys(names, 0)
    assert await store.counts(WORKSPACE) == zero
    stored, _ = await store.begin(lease, link("g1"), [intent("k")])
    await store.settle(lease, Settlement(link=stored, parked=[parked("x")], conflicts=[conflict(1, 2)]))
    await mark(store, G, "g1", "g2")
    assert await store.counts(WORKSPACE) == zero | {
        "links": 1, "gorgias": 1, "dirty": 2, "intents": 1, "parked": 1, "conflicts": 1,
    }  # fmt: skip
    assert await store.counts("another") == zero
    assert await store.next_due("another") is None


async def test_rows_and_names_for_people(store: Store, lease: Lease) -> None:
    """The newest first, as many as asked for; a ticket without a Gorgias id is named by its remote one."""
    first, second = await linked(store, lease), (await store.begin(lease, link(None, "r2"), []))[0]
    assert [row.id for row in await store.rows(Link, WORKSPACE)] == [second.id, first.id]
    assert [row.id for row in await store.rows(Link, WORKSPACE, limit=1)] == [second.id]
    assert [row.holder for row in await store.rows(Lease, WORKSPACE)] == ["this test"]
    names = await store.tickets(WORKSPACE, [first.id or 0, second.id or 0, 999])
    assert names == {first.id: "g1", second.id: "remote r2"}


async def test_a_copy_holds_one_workspace_and_is_apart(store: Store, lease: Lease, tmp_path: Any) -> None:
    """Everything but the lease, the audit and the conflicts; what is done to it is not done to the original."""
    await mark(store, G, "g1")
    await store.mark("another", G, [Notice("x", "changed")])
    stored, _ = await store.begin(lease, link("g1", "r1"), [intent("k", deep=[1, {"a": None}])])
    done = Settlement(link=stored, snapshots=[Snapshot(link_id=0, side=G, fields={"a": 1}, tags=None, read_at=START)])
    done.children, done.parked = [child("c1")], [parked("x")]
    await store.settle(lease, done)
    await store.notice(lease, G, [Notice("g1", "changed", event="e")], "events", "c")
    async with store.copied(WORKSPACE, tmp_path / "copy.db") as copy:
        mine, its = await store.unit(WORKSPACE, G, "g1"), await copy.unit(WORKSPACE, G, "g1")
        assert its == mine
        assert await copy.watermarks(WORKSPACE) == await store.watermarks(WORKSPACE)
        assert await copy.counts("another") == dict.fromkeys(await copy.counts("another"), 0)
        taken = await copy.acquire(WORKSPACE, "a dry run", TTL, alive)
        await copy.settle(taken, Settlement(clean=its.dirty))
        await copy.begin(taken, link("g2", "r2"), [])
    assert (await store.counts(WORKSPACE))["dirty"] == (await store.counts(WORKSPACE))["links"] == 1


# -- many at once ---------------------------------------------------------------------------------------------------


async def test_many_different_calls_at_once(store: Store, lease: Lease) -> None:
    """Two hundred tasks, readers and writers mixed: each does its own, and the whole adds up."""

    async def one(number: int) -> None:
        ticket = f"g{number}"
        await store.notice(lease, G, [Notice(ticket, "changed", event=f"e{number}")], f"s{number % 3}", str(number))
        stored, intents = await store.begin(lease, link(ticket), [intent(ticket)])
        await store.counts(WORKSPACE)
        unit = await store.unit(WORKSPACE, G, ticket)
        assert unit.link is not None
        assert [row.key for row in unit.intents] == [ticket]
        stored.remote_id = f"r{number}"
        done = Settlement(link=stored, done=intents, clean=unit.dirty, children=[child(f"c{number}")], audit=[audit()])
        done.snapshots = [Snapshot(link_id=0, side=G, fields={"n": number})]
        await store.settle(lease, done)
        ((_, snapshot),) = (await store.snapshots(WORKSPACE, R, [f"r{number}"])).values()
        assert snapshot is None

    await asyncio.gather(*(one(number) for number in range(200)))
    counts = await store.counts(WORKSPACE)
    assert (counts["links"], counts["dirty"], counts["intents"]) == (200, 0, 0)
    assert len(await store.rows(Audit, WORKSPACE)) == 200
    assert len({row.id for row in await store.rows(Child, WORKSPACE)}) == 200


async def test_a_cancelled_call_is_whole_or_nothing(store: Store, lease: Lease) -> None:
    """Whenever the caller is cancelled: the link with both its intents, or neither."""
    random.seed(1)
    for number in range(25):
        work = store.begin(lease, link(f"g{number}"), [intent(f"a{number}"), intent(f"b{number}")])
        task = asyncio.create_task(work)
        await asyncio.sleep(random.choice((0, 0, 0.0003, 0.001)))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    links = {row.id for row in await store.rows(Link, WORKSPACE)}
    intents = [row.link_id for row in await store.rows(Intent, WORKSPACE)]
    assert links
    assert sorted(intents) == sorted([*links, *links])  # type: ignore[type-var]
