"""The engine on two desks, without faults: every kind of thing crosses, in both directions, exactly once."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete

from connectors.memory import OWN
from state.tables import Conflict, File, Parked, Tombstone, Watermark
from syncd.settings import SyncSettings
from tests.faults.world import ANN, BOB, G, R, World


@pytest.fixture
async def world(sqlite_template: Path) -> AsyncIterator[World]:
    """A fresh world."""
    made = World(sqlite_template)
    yield made
    await made.close()


def only(world: World, side: str) -> object:
    """The one ticket of a side."""
    (ticket,) = world.desks[side].tickets.values()
    return ticket


@pytest.mark.promise("P1", "P4", "P36", "P40")
async def test_a_gorgias_ticket_gets_its_copy(world: World) -> None:
    """Subject, status, priority, assignee, tags, fields, comments, files and privacy arrive at the remote."""
    gid = world.gorgias.add_ticket("Where is my parcel?", "It is late", tags=["vip"], files={"slip.txt": b"slip"})
    world.gorgias.edit(gid, status="closed", priority="critical", assignee="1", **{"field:Order": "A-1"})
    world.gorgias.say(gid, "Please check", author=ANN, private=True)
    await world.settle()
    copy = only(world, R)
    assert copy.subject == "Where is my parcel?"
    assert (copy.status, copy.priority, copy.assignee) == ("Closed", "Urgent", "51")
    assert copy.tags == {"vip"}
    assert copy.fields["Order"] == "A-1"
    assert [(c.body.text, c.private) for c in copy.comments] == [("It is late", False), ("Please check", True)]
    assert [world.remote.files[file.id] for c in copy.comments for file in c.attachments] == [b"slip"]


@pytest.mark.promise("P1", "P4", "P24")
async def test_a_remote_ticket_gets_its_copy(world: World) -> None:
    """What the remote says arrives at Gorgias as internal notes, in one create."""
    rid = world.remote.add_ticket("Machine broken", "No steam", author=BOB, tags=["urgent"])
    world.remote.say(rid, "Part ordered", author=BOB)
    await world.settle()
    copy = only(world, G)
    assert copy.subject == "Machine broken"
    assert [(c.body.text, c.private) for c in copy.comments] == [("No steam", True), ("Part ordered", True)]
    assert world.gorgias.calls["create"] == 1
    assert world.gorgias.calls["comment"] == 0


@pytest.mark.promise("P12", "P16", "P3")
async def test_edits_on_both_sides_meet(world: World) -> None:
    """Edits of different fields, tags added here and removed there, comments on both: all survive."""
    gid = world.gorgias.add_ticket("Coffee", "hello", tags=["a", "b"])
    await world.settle()
    rid = only(world, R).id
    world.gorgias.edit(gid, subject="Tea")
    world.gorgias.tag(gid, "c")
    world.gorgias.say(gid, "from gorgias")
    world.remote.edit(rid, priority="High")
    world.remote.untag(rid, "a")
    world.remote.say(rid, "from remote", author=BOB)
    await world.settle()
    ours, copy = only(world, G), only(world, R)
    assert (ours.subject, ours.priority) == ("Tea", "high")
    assert (copy.subject, copy.priority) == ("Tea", "High")
    assert ours.tags == copy.tags == {"b", "c"}
    assert world.texts(G) == world.texts(R) == {"hello": 1, "from gorgias": 1, "from remote": 1}


@pytest.mark.promise("P2")
async def test_a_quiet_pass_writes_nothing(world: World) -> None:
    """Own writes are no news: three more passes write nothing at all."""
    for number in range(5):
        world.gorgias.add_ticket(f"G{number}", f"text {number}", tags=["x"])
        world.remote.add_ticket(f"R{number}", f"remote text {number}", author=BOB)
    await world.settle()
    before = world.written()
    for report in await world.passes(3):
        assert not report.writes
    assert world.written() == before


@pytest.mark.promise("P13", "P15")
async def test_the_later_edit_of_one_field_wins(world: World) -> None:
    """By the field's own time, not by the record's; the loser is kept in the conflict log."""
    gid = world.gorgias.add_ticket("Old", "x")
    await world.settle()
    rid = only(world, R).id
    world.remote.edit(rid, subject="From remote")
    world.wait(30)
    world.gorgias.edit(gid, subject="From gorgias")
    world.wait(30)
    world.remote.edit(rid, priority="Low")
    await world.settle()
    assert only(world, G).subject == only(world, R).subject == "From gorgias"
    assert only(world, G).priority == "low"
    (lost,) = await world.rows(Conflict)
    assert (lost.gorgias_value, lost.remote_value, lost.winner) == ("From gorgias", "From remote", "gorgias")


@pytest.mark.promise("P39")
async def test_an_edited_comment_is_carried_over(world: World) -> None:
    """The copy gets the new text, once."""
    gid = world.gorgias.add_ticket("Subject", "first")
    note = world.gorgias.say(gid, "a note", author=ANN, private=True)
    await world.settle()
    world.gorgias.edit_comment(gid, note, "a better note")
    await world.settle()
    assert world.texts(R) == {"first": 1, "a better note": 1}


@pytest.mark.promise("P36", "P39")
async def test_an_edit_of_an_internal_copy_hides_no_original(world: World) -> None:
    """What the remote shows its customers is a note at Gorgias: its text may be edited there, and it stays public."""
    rid = world.remote.add_ticket("Pump", "it leaks", author=BOB)
    await world.settle()
    (note,) = only(world, G).comments
    world.gorgias.edit_comment(only(world, G).id, note.id, "it leaks badly")
    await world.settle()
    (original,) = world.remote.conversation(rid)
    assert (original.body.text, original.private) == ("it leaks badly", False)


@pytest.mark.promise("P22", "P31")
async def test_a_refused_field_is_parked_and_the_rest_goes_on(world: World) -> None:
    """One value that is not taken neither blocks the other fields nor the other tickets, and can be tried again."""
    gid = world.gorgias.add_ticket("A", "a")
    await world.settle()
    world.remote.users = tuple(replace(user, active=False) for user in world.remote.users)
    world.gorgias.edit(gid, subject="B", assignee="1")
    reports = await world.passes(3)
    assert only(world, R).subject == "B"
    assert sum(report.parked for report in reports) == 1
    world.remote.users = tuple(replace(user, active=True) for user in world.remote.users)
    world.gorgias.edit(gid, subject="C")
    await world.settle()
    assert (only(world, R).subject, only(world, R).assignee) == ("C", "51")
    assert not await world.rows(Parked)


@pytest.mark.promise("P19")
async def test_a_deleted_ticket_closes_its_copy(world: World) -> None:
    """`on_delete = "close"`; the copy of a deleted ticket is not copied back."""
    gid = world.gorgias.add_ticket("A", "a")
    await world.settle()
    world.gorgias.delete(gid)
    await world.settle()
    assert only(world, R).status == "Closed"
    assert not world.gorgias.tickets


@pytest.mark.promise("P19")
async def test_an_edit_beats_a_delete(world: World) -> None:
    """A copy that somebody went on working on is kept as it is."""
    gid = world.gorgias.add_ticket("A", "a")
    await world.settle()
    world.gorgias.delete(gid)
    world.remote.say(only(world, R).id, "still working on it", author=BOB)
    await world.settle()
    assert only(world, R).status == "New"


@pytest.mark.promise("P20")
async def test_the_mass_delete_guard_stops(world: World) -> None:
    """Too much gone at once looks like an accident: nothing is closed until somebody insists."""
    ids = [world.gorgias.add_ticket(f"T{n}", f"t{n}") for n in range(15)]
    await world.settle()
    for gid in ids[:12]:
        world.gorgias.delete(gid)
    (report,) = await world.passes(1)
    assert "12 of 15" in report.guard
    assert all(ticket.status == "New" for ticket in world.remote.tickets.values())


@pytest.mark.promise("P33", "P3")
async def test_a_lost_store_finds_its_copies_again(world: World) -> None:
    """With a fresh database the markers link what was linked: no ticket and no comment is made twice."""
    for number in range(3):
        world.gorgias.add_ticket(f"G{number}", f"g{number}")
        world.remote.add_ticket(f"R{number}", f"r{number}", author=BOB)
    await world.settle()
    await world.lose_store()
    await world.settle()
    assert len(world.gorgias.tickets) == len(world.remote.tickets) == 6
    assert set(world.texts(G).values()) == set(world.texts(R).values()) == {1}


@pytest.mark.promise("P35")
async def test_one_way_sync_writes_to_one_side_only(world: World) -> None:
    """`direction = "to_remote"` never writes to Gorgias."""
    world.sync = SyncSettings(direction="to_remote")
    gid = world.gorgias.add_ticket("A", "a")
    world.remote.add_ticket("B", "b", author=BOB)
    await world.settle()
    copy = next(t for t in world.remote.tickets.values() if t.subject == "A")
    world.remote.edit(copy.id, priority="Low")
    world.gorgias.edit(gid, subject="A2")
    await world.settle()
    assert world.remote.tickets[copy.id].subject == "A2"
    assert len(world.gorgias.tickets) == 1
    assert world.gorgias.tickets[gid].priority == "normal"


@pytest.mark.promise("P20")
async def test_a_listing_that_is_far_too_short_stops(world: World) -> None:
    """An account that shows almost nothing of what is known writes nothing, and nothing counts as deleted."""
    for number in range(12):
        world.gorgias.add_ticket(f"T{number}", f"t{number}")
    await world.settle()
    hidden, world.remote.log = world.remote.log, []
    await (await world.store())._run(lambda session: session.execute(delete(Watermark)) and None)
    (report,) = await world.passes(1)
    assert "lists only 0 tickets while 12 are linked" in report.guard
    world.remote.log = hidden
    await world.settle()
    assert all(ticket.status == "New" for ticket in world.remote.tickets.values())
    assert len(world.gorgias.tickets) == len(world.remote.tickets) == 12


@pytest.mark.promise("P26")
async def test_the_same_bytes_are_uploaded_once_and_too_many_stay_where_they_are() -> None:
    """A file that Gorgias holds already is named again; one over the limit is told of in the text, with its address."""
    world = World(max_attachment=100)
    rid = world.remote.add_ticket("Photos", "first", author=BOB, files={"p.txt": b"the same"})
    await world.settle()
    world.remote.say(rid, "again", author=BOB, files={"p.txt": b"the same"})
    world.remote.say(rid, "huge", author=BOB, files={"big.bin": b"x" * 200})
    await world.settle()
    (held,) = await world.rows(File)
    copy = only(world, G)
    assert [len(comment.attachments) for comment in copy.comments] == [1, 1, 0]
    assert held.file_name == "p.txt"
    assert "big.bin: too large to copy" in copy.comments[2].body.text
    await world.close()


@pytest.mark.promise("P30")
async def test_a_field_that_is_changed_back_each_time_is_stopped() -> None:
    """Something at the remote that undoes every write meets a limit, and a person hears of it."""
    world = World(loop_limit=3)
    gid = world.gorgias.add_ticket("A", "a")
    await world.settle()
    rid = only(world, R).id
    numbers = iter(range(100))

    def fight() -> None:
        world.remote.edit(rid, subject=f"theirs {next(numbers)}")
        world.wait(10)
        world.gorgias.edit(gid, subject=f"ours {next(numbers)}")

    await world.passes(8, between=fight)
    (parked,) = await world.rows(Parked)
    assert parked.what == "remote:subject"
    assert "looks like a loop" in parked.reason
    await world.close()


@pytest.mark.promise("P32")
async def test_two_changes_within_one_stamp_are_both_found(world: World) -> None:
    """The second comment bears the very second in which the first was read: it is found all the same."""
    gid = world.gorgias.add_ticket("A", "a")
    await world.settle()
    rid = only(world, R).id
    world.remote.say(rid, "one", author=BOB)
    await world.passes(1, pause=0)
    world.remote.say(rid, "two", author=BOB)
    await world.settle()
    assert world.texts(G) == {"a": 1, "one": 1, "two": 1}
    assert world.gorgias.tickets[gid].comment_count == 3


@pytest.mark.promise("P4", "P8")
async def test_what_our_own_account_says_is_news(world: World) -> None:
    """People and rules share syncd's account: what it says and changes is carried over like anybody's."""
    gid = world.gorgias.add_ticket("A", "a", author=OWN)
    await world.settle()
    world.gorgias.say(gid, "by a rule", author=OWN)
    world.remote.say(only(world, R).id, "by hand", author=OWN)
    await world.settle()
    assert world.texts(G) == world.texts(R) == {"a": 1, "by a rule": 1, "by hand": 1}


@pytest.mark.promise("P2", "P4")
async def test_an_edit_right_after_a_write_is_found(world: World) -> None:
    """What follows upon a write of ours within the same second is not taken for its echo."""
    gid = world.gorgias.add_ticket("A", "a")
    await world.passes(1, pause=0)
    world.remote.edit(only(world, R).id, priority="High")
    world.gorgias.edit(gid, subject="B")
    await world.settle()
    assert (only(world, G).priority, only(world, R).subject) == ("high", "B")
    await world.passes(1, pause=0)
    world.gorgias.edit(gid, subject="C")
    await world.passes(1, pause=0)
    world.gorgias.edit(gid, subject="D")
    await world.settle()
    assert only(world, R).subject == "D"


@pytest.mark.promise("P23", "P2")
async def test_a_subject_that_is_shortened_is_written_once(world: World) -> None:
    """The tracker keeps 60 characters: nothing is written again because of that, and nothing is cut at Gorgias."""
    whole = "A subject that is a good deal longer than what the tracker at the other end keeps of it"
    gid = world.gorgias.add_ticket("Short", "a")
    await world.settle()
    world.gorgias.edit(gid, subject=whole)
    before = world.remote.calls["update"]
    await world.settle()
    await world.passes(3)
    assert world.remote.calls["update"] == before + 1
    world.gorgias.edit(gid, subject=whole + ", truly")
    await world.settle()
    assert only(world, G).subject == whole + ", truly"
    assert only(world, R).subject == whole[:60].strip()
    assert not await world.rows(Parked)


@pytest.mark.promise("P19")
async def test_a_deleted_ticket_stays_deleted_whatever_happens_to_its_copy(world: World) -> None:
    """Its tombstone holds: work that goes on at the copy does not bring the ticket back."""
    gid = world.gorgias.add_ticket("A", "a")
    await world.settle()
    world.gorgias.delete(gid)
    await world.settle()
    rid = only(world, R).id
    world.remote.edit(rid, status="New", subject="B")
    world.remote.say(rid, "going on here", author=BOB)
    await world.settle()
    assert not world.gorgias.tickets
    assert [row.ticket_id for row in await world.rows(Tombstone)] == [gid]


@pytest.mark.promise("P19")
async def test_a_merged_tickets_link_goes_to_the_survivor() -> None:
    """A survivor that has no copy of its own takes over the merged one's: nothing is closed, nothing made again."""
    world = World(tags=["vip"])
    gid = world.gorgias.add_ticket("A", "a", tags=["vip"])
    survivor = world.gorgias.add_ticket("B", "b")
    await world.settle()
    world.gorgias.merge(gid, survivor)
    await world.settle()
    assert (only(world, R).status, only(world, R).subject) == ("New", "B")
    assert world.texts(R) == {"a": 1, "b": 1}
    await world.close()


@pytest.mark.promise("P9", "P14")
@pytest.mark.parametrize("skew", [-300.0, 300.0])
async def test_a_clock_that_is_wrong_hides_nothing(skew: float) -> None:
    """How far a feed was read is told by its own clock: what happens next is found, however wrong that clock is."""
    world = World(gorgias={"skew": skew}, remote={"skew": skew})
    gid = world.gorgias.add_ticket("A", "a")
    await world.settle()
    world.gorgias.add_ticket("B", "b")
    world.remote.add_ticket("C", "c", author=BOB)
    world.gorgias.edit(gid, subject="A2")
    await world.settle()
    assert sorted(t.subject for t in world.gorgias.tickets.values()) == ["A2", "B", "C"]
    assert sorted(t.subject for t in world.remote.tickets.values()) == ["A2", "B", "C"]
    await world.close()
