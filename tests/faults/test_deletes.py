"""Deleted, trashed, called spam, merged and split: what becomes of the other side, on two desks without faults."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from state.tables import Link, Tombstone
from syncd.model import Side, Ticket
from tests.faults.world import ANN, BOB, G, R, World

OPEN, CLOSED = {G: "open", R: "New"}, {G: "closed", R: "Closed"}
SIDES = pytest.mark.parametrize("side", list(Side))


@pytest.fixture
async def world(sqlite_template: Path) -> AsyncIterator[World]:
    """A fresh world."""
    made = World(sqlite_template)
    yield made
    await made.close()


def only(world: World, side: Side) -> Ticket:
    """The one ticket of a side."""
    (ticket,) = world.desks[side].tickets.values()
    return ticket


async def linked(world: World, side: Side) -> tuple[str, str]:
    """A ticket made on `side`, and its copy on the other."""
    made = world.desks[side].add_ticket("Kettle", "it leaks", author=BOB if side is R else ANN)
    await world.settle()
    return made, only(world, side.other).id


async def states(world: World) -> list[str]:
    """What became of the links."""
    return sorted(row.state for row in await world.rows(Link))


@pytest.mark.promise("P19")
@SIDES
@pytest.mark.parametrize("policy", ["close", "unlink", "delete"])
@pytest.mark.parametrize("original", [True, False], ids=["original", "copy"])
async def test_on_delete_decides(world: World, side: Side, policy: str, original: bool) -> None:
    """Deleted on either side, the original or the copy: the one that is left is closed, left alone, or deleted."""
    world.sync = world.sync.model_copy(update={"on_delete": policy})
    made, copy = await linked(world, side if original else side.other)
    world.desks[side].delete(made if original else copy)
    await world.settle()
    left = world.desks[side.other].tickets.values()
    wanted = {"close": [CLOSED[side.other]], "unlink": [OPEN[side.other]], "delete": []}[policy]
    assert [ticket.status for ticket in left] == wanted
    assert await states(world) == ["unlinked" if policy == "unlink" else "deleted"]
    assert not world.desks[side].tickets
    assert not any(report.writes for report in await world.passes(2))


def says(world: World, side: Side, ticket_id: str) -> None:
    """A new comment."""
    world.desks[side].say(ticket_id, "still at work", author=BOB)


def renames(world: World, side: Side, ticket_id: str) -> None:
    """A new subject."""
    world.desks[side].edit(ticket_id, subject="Teapot")


def fills_in(world: World, side: Side, ticket_id: str) -> None:
    """A new value of a custom field."""
    world.desks[side].edit(ticket_id, **{"field:Order": "A-1"})


def tags(world: World, side: Side, ticket_id: str) -> None:
    """A new tag."""
    world.desks[side].tag(ticket_id, "vip")


def rewrites(world: World, side: Side, ticket_id: str) -> None:
    """A new text of a comment that was there."""
    world.desks[side].edit_comment(ticket_id, world.desks[side].conversation(ticket_id)[0].id, "it leaks badly")


@pytest.mark.promise("P19", "P4")
@SIDES
@pytest.mark.parametrize("policy", ["close", "delete"])
@pytest.mark.parametrize("works", [says, renames, fills_in, tags, rewrites])
async def test_whatever_somebody_does_beats_a_delete(
    world: World, side: Side, policy: str, works: Callable[[World, Side, str], None]
) -> None:
    """A ticket that was worked on since both agreed stays as it is when the other one is deleted."""
    world.sync = world.sync.model_copy(update={"on_delete": policy})
    made, copy = await linked(world, side)
    world.desks[side].delete(made)
    works(world, side.other, copy)
    before = world.desks[side.other].tickets[copy]
    await world.settle()
    assert world.desks[side.other].tickets[copy] == before
    assert not world.desks[side].tickets


@pytest.mark.promise("P19", "P2")
@SIDES
@pytest.mark.parametrize("policy", ["close", "unlink", "delete"])
async def test_both_are_deleted(world: World, side: Side, policy: str) -> None:
    """There is nothing left to do, and nothing is made again."""
    world.sync = world.sync.model_copy(update={"on_delete": policy})
    made, copy = await linked(world, side)
    world.desks[side].delete(made)
    world.desks[side.other].delete(copy)
    await world.settle()
    assert not world.gorgias.tickets
    assert not world.remote.tickets
    assert "linked" not in await states(world)


@pytest.mark.promise("P19")
@SIDES
async def test_trash_is_no_delete(world: World, side: Side) -> None:
    """A trashed ticket keeps its copy and its link; work goes on when it comes back."""
    made, copy = await linked(world, side)
    world.desks[side].trash(made)
    await world.settle()
    world.desks[side].trash(made, False)
    world.desks[side].say(made, "here again", author=BOB)
    await world.settle()
    assert world.desks[side.other].tickets[copy].status == OPEN[side.other]
    assert world.texts(side.other) == {"it leaks": 1, "here again": 1}
    assert await states(world) == ["linked"]


@pytest.mark.promise("P19", "P4")
@SIDES
@pytest.mark.parametrize("where", ["trash", "hide"])
async def test_what_is_put_away_gets_no_copy_until_it_comes_back(world: World, side: Side, where: str) -> None:
    """Trash and spam are not copied; taken out, a ticket is like any other."""
    made = world.desks[side].add_ticket("Kettle", "it leaks", author=BOB)
    getattr(world.desks[side], where)(made)
    await world.settle()
    assert not world.desks[side.other].tickets
    getattr(world.desks[side], where)(made, False)
    await world.settle()
    assert only(world, side.other).subject == "Kettle"


@pytest.mark.promise("P19", "P4")
@SIDES
async def test_a_linked_ticket_that_becomes_spam_stays_linked(world: World, side: Side) -> None:
    """Its copy is neither closed nor deleted, and what is said on either side still crosses."""
    made, copy = await linked(world, side)
    world.desks[side].hide(made)
    world.desks[side.other].say(copy, "no spam at all", author=BOB)
    await world.settle()
    assert world.desks[side.other].tickets[copy].status == OPEN[side.other]
    assert world.texts(G) == world.texts(R) == {"it leaks": 1, "no spam at all": 1}


@pytest.mark.promise("P19", "P4", "P3")
@SIDES
async def test_merged_into_one_without_a_copy(world: World, side: Side) -> None:
    """The link goes to the survivor, and the copy holds both conversations once."""
    survivor = world.desks[side].add_ticket("Pot", "it is cold", author=BOB)
    world.desks[side].hide(survivor)
    made = world.desks[side].add_ticket("Kettle", "it leaks", author=BOB)
    await world.settle()
    world.desks[side].merge(made, survivor)
    await world.settle()
    assert only(world, side).id == survivor
    assert only(world, side.other).status == OPEN[side.other]
    assert world.texts(G) == world.texts(R) == {"it leaks": 1, "it is cold": 1}
    (link,) = await world.rows(Link)
    assert (link.gorgias_id if side is G else link.remote_id, link.state) == (survivor, "linked")


@pytest.mark.promise("P19", "P4")
@SIDES
@pytest.mark.parametrize("policy", ["close", "delete", "unlink"])
async def test_merged_into_one_with_a_copy(world: World, side: Side, policy: str) -> None:
    """The survivor's copy gets what was said; the merged one's copy is closed at the most, never deleted."""
    world.sync = world.sync.model_copy(update={"on_delete": policy})
    here, there = world.desks[side], world.desks[side.other]
    made = here.add_ticket("Kettle", "it leaks", author=BOB)
    survivor = here.add_ticket("Pot", "it is cold", author=BOB)
    await world.settle()
    here.merge(made, survivor)
    await world.settle()
    copies = {ticket.subject: ticket for ticket in there.tickets.values()}
    assert copies["Kettle"].status == (OPEN if policy == "unlink" else CLOSED)[side.other]
    assert [comment.body.text for comment in copies["Kettle"].comments or ()] == ["it leaks"]
    assert {comment.body.text for comment in copies["Pot"].comments or ()} == {"it leaks", "it is cold"}
    assert copies["Pot"].status == OPEN[side.other]
    assert [(row.ticket_id, row.why) for row in await world.rows(Tombstone)] == [(made, "merged")]


@pytest.mark.promise("P4", "P3")
@SIDES
async def test_what_is_split_off_is_a_new_ticket(world: World, side: Side) -> None:
    """It gets a copy of its own with its comment; nothing else is made, and the first one stays linked."""
    made, copy = await linked(world, side)
    second = world.desks[side].say(made, "and the lamp flickers", author=BOB)
    await world.settle()
    split = world.desks[side].split(made, second)
    await world.settle()
    others = {ticket.id: ticket for ticket in world.desks[side.other].tickets.values()}
    assert len(others) == 2
    (new,) = (ticket for ticket_id, ticket in others.items() if ticket_id != copy)
    assert [comment.body.text for comment in new.comments or ()] == ["and the lamp flickers"]
    assert len(world.desks[side].tickets) == 2
    assert split in world.desks[side].tickets
    assert await states(world) == ["linked", "linked"]


@pytest.mark.promise("P20", "P19")
@SIDES
async def test_the_guard_stops_until_somebody_insists(world: World, side: Side) -> None:
    """Its message says how to go on, and going on does what it held back, at once."""
    here, there = world.desks[side], world.desks[side.other]
    made = [here.add_ticket(f"T{number}", "text", author=BOB) for number in range(14)]
    await world.settle()
    for ticket_id in made[:12]:
        here.delete(ticket_id)
    (report,) = await world.passes(1)
    assert "syncd once --force" in report.guard
    assert {ticket.status for ticket in there.tickets.values()} == {OPEN[side.other]}
    await (await world.store()).wake("acme")  # as `syncd once --force` does
    (report,) = await world.passes(1, force=True)
    assert not report.guard
    assert sum(ticket.status == CLOSED[side.other] for ticket in there.tickets.values()) == 12
    await world.settle()


GORGIAS_HIDES = {"invisible": frozenset({"fields", "comment-edit", "comment-delete"})}
REMOTE_HIDES = {"invisible": frozenset({"comment-edit", "comment-delete", "attachment-delete"})}


@pytest.fixture
async def silent(sqlite_template: Path) -> AsyncIterator[World]:
    """A world whose feeds leave out what those of real products leave out."""
    made = World(sqlite_template, gorgias=GORGIAS_HIDES, remote=REMOTE_HIDES)
    yield made
    await made.close()


@pytest.mark.promise("P9", "P39")
async def test_the_sweep_finds_what_no_feed_shows(silent: World) -> None:
    """Values of custom fields and edited texts cross within `sweep_interval`, and not before it."""
    gid = silent.gorgias.add_ticket("Kettle", "it leaks")
    note = silent.gorgias.say(gid, "old note", author=ANN, private=True)
    await silent.settle()
    theirs = silent.remote.say(only(silent, R).id, "old answer", author=BOB)
    await silent.settle()
    silent.wait(60)
    await silent.settle()
    silent.gorgias.edit(gid, **{"field:Order": "A-1"})
    silent.gorgias.edit_comment(gid, note, "new note")
    silent.remote.edit_comment(only(silent, R).id, theirs, "new answer")
    await silent.passes(1)
    assert silent.texts(R)["new note"] == 0
    silent.wait(silent.sync.sweep_interval)
    await silent.settle()
    assert silent.texts(G) == silent.texts(R) == {"it leaks": 1, "new note": 1, "new answer": 1}
    assert (only(silent, R).fields or {})["Order"] == "A-1"


@pytest.mark.promise("P9", "P3", "P4")
async def test_the_sweep_makes_nothing_again(silent: World) -> None:
    """A message, or a file, that somebody deleted stays deleted there, and its copy stays: syncd deletes no words."""
    gid = silent.gorgias.add_ticket("Kettle", "it leaks")
    note = silent.gorgias.say(gid, "not for you", author=ANN, private=True)
    await silent.settle()
    rid = only(silent, R).id
    silent.remote.say(rid, "see there", author=BOB, files={"plan.txt": b"plan"})
    await silent.settle()
    silent.gorgias.delete_comment(gid, note)
    silent.remote.delete_attachment(rid, silent.remote.conversation(rid)[-1].attachments[0].id)
    silent.wait(silent.sync.sweep_interval)
    await silent.settle()
    assert silent.texts(G) == {"it leaks": 1, "see there": 1}
    assert silent.texts(R) == {"it leaks": 1, "see there": 1, "not for you": 1}
    assert [len(comment.attachments) for comment in only(silent, G).comments or ()] == [0, 1]
    assert [len(comment.attachments) for comment in only(silent, R).comments or ()] == [0, 0, 0]


@pytest.mark.promise("P9", "P2")
async def test_the_sweep_costs_one_call_for_each_ticket(silent: World) -> None:
    """All linked tickets are read once in `sweep_interval` on either side, and nothing is written."""
    for number in range(7):
        silent.gorgias.add_ticket(f"T{number}", "text")
    await silent.settle()
    silent.wait(60)
    await silent.settle()
    before, written = {side: silent.desks[side].calls["get"] for side in Side}, silent.written()
    silent.wait(silent.sync.sweep_interval)
    await silent.passes(3)
    assert {side: silent.desks[side].calls["get"] - before[side] for side in Side} == {G: 7, R: 7}
    assert silent.written() == written
