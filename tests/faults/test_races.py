"""People act in the middle of a pass, at every step of it; other processes and odd feeds get in the way.

A product without conditional writes (Gorgias has none) leaves one moment open: an edit of the very field that is being
written, between our last reading of its ticket and our write. There our write stands, the product's own history shows
what it replaced, and our audit log says when and over what. Everything else survives, whenever it happens.
"""

import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from connectors.memory import MemoryConnector
from state.tables import Audit
from syncd.connector import Page
from syncd.errors import LeaseHeld, TryLater
from syncd.runner import LEASE
from tests.faults.test_every_step import quiet, ticket
from tests.faults.world import ANN, BOB, G, R, Steps, World

Act = Callable[[World], None]
#: `make test` takes every third moment; `make e2e` takes all.
EVERY = 1 if os.environ.get("SYNCD_ALL_STEPS") else 3
READS = frozenset({"get", "get_many", "changes"})


@dataclass(frozen=True)
class Race:
    """What somebody does in the middle of a pass, and what must hold in the end whenever they did it."""

    name: str
    act: Act
    check: Act


def before(world: World) -> None:
    """A ticket that both sides have."""
    gid = world.gorgias.add_ticket("Coffee", "hello", tags=["a", "b"])
    world.gorgias.say(gid, "a note", author=ANN, private=True)


def work(world: World) -> None:
    """What the pass is to carry: a field, a tag, a comment and the edit of one."""
    gid = ticket(world, G).id
    world.gorgias.edit(gid, subject="Tea", **{"field:Order": "A-1"})
    world.gorgias.tag(gid, "c")
    world.gorgias.say(gid, "from gorgias", files={"a.txt": b"aaa"})
    world.gorgias.edit_comment(gid, ticket(world, G).comments[1].id, "a better note")
    world.remote.edit(ticket(world, R).id, priority="High")


def carried(world: World, *also: str, subject: str = "Tea") -> None:
    """All of `work` is on both sides, once, and these texts too."""
    ours, copy = ticket(world, G), ticket(world, R)
    assert (ours.subject, ours.priority, ours.fields["Order"]) == (subject, "high", "A-1")
    assert (copy.subject, copy.priority, copy.fields["Order"]) == (subject, "High", "A-1")
    texts = dict.fromkeys(("hello", "a better note", "from gorgias", *also), 1)
    assert world.texts(G) == texts
    assert world.texts(R) == texts


def tags(world: World, *expected: str) -> None:
    """Both sides have these tags."""
    assert ticket(world, G).tags == ticket(world, R).tags == set(expected)


def same_status(world: World) -> None:
    """Another field, edited at the destination, is on both sides."""
    carried(world)
    assert (ticket(world, G).status, ticket(world, R).status) == ("closed", "Closed")


def tag_there(world: World) -> None:
    """A tag that was added and one that was taken off at the destination."""
    world.remote.tag(ticket(world, R).id, "d")
    world.remote.untag(ticket(world, R).id, "a")


def gone_at(side: str, left: str) -> Act:
    """The ticket is gone on one side and was not made again; the other one is closed, or kept for what is new on it."""

    def check(world: World) -> None:
        assert not world.desks[side].tickets
        assert len(world.desks[left].tickets) == 1

    return check


RACES = (
    Race("the same field at the source", lambda w: w.gorgias.edit(ticket(w, G).id, subject="Cocoa"),
         lambda w: carried(w, subject="Cocoa")),
    Race("another field at the destination", lambda w: w.remote.edit(ticket(w, R).id, status="Closed"), same_status),
    Race("another field at the source", lambda w: w.gorgias.edit(ticket(w, G).id, status="closed"), same_status),
    Race("a comment at the source", lambda w: w.gorgias.say(ticket(w, G).id, "and this"),
         lambda w: carried(w, "and this")),
    Race("a comment at the destination", lambda w: w.remote.say(ticket(w, R).id, "and this", author=BOB),
         lambda w: carried(w, "and this")),
    Race("tags at the destination", tag_there, lambda w: (carried(w), tags(w, "b", "c", "d"))),
    Race("a tag at the source", lambda w: w.gorgias.untag(ticket(w, G).id, "b"),
         lambda w: (carried(w), tags(w, "a", "c"))),
    Race("an edit of the comment", lambda w: w.gorgias.edit_comment(ticket(w, G).id, ticket(w, G).comments[0].id, "hi"),
         lambda w: set(w.texts(G)) == set(w.texts(R)) == {"hi", "a better note", "from gorgias"}),
    Race("a delete at the source", lambda w: w.gorgias.delete(ticket(w, G).id), gone_at(G, R)),
    Race("a delete at the destination", lambda w: w.remote.delete(ticket(w, R).id), gone_at(R, G)),
)  # fmt: skip


@pytest.fixture
async def world(sqlite_template: Path) -> AsyncIterator[World]:
    """A fresh world."""
    made = World(sqlite_template)
    yield made
    await made.close()


async def run(template: Path, act: Act, at: tuple[int, str] | None, **remote: object) -> tuple[World, Steps]:
    """A pass with `work` to do, in which somebody acts at a step; the world afterwards, settled."""
    world = World(template, remote=remote)
    before(world)
    await world.settle()
    world.wait(5)
    work(world)
    world.wait(5)
    world.steps = steps = Steps()

    def meanwhile(now: Steps, _what: str, moment: str) -> None:
        if at == (now.number, moment) and not now.struck:
            now.struck = f"acted {moment} step {now.number}"
            act(world)

    steps.meanwhile = meanwhile
    await world.passes(1)
    steps.meanwhile = None
    await world.settle()
    return world, steps


async def moments(template: Path) -> list[tuple[int, str]]:
    """Every step of such a pass, before and after its effect."""
    world, steps = await run(template, lambda _: None, None)
    await world.close()
    assert steps.number > 20
    every = [(step, moment) for step in range(1, steps.number + 1) for moment in ("before", "after")]
    return every[::EVERY]


@pytest.mark.promise("P18", "P4", "P12", "P16", "P19", "P3")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("race", RACES, ids=lambda race: race.name)
async def test_whenever_somebody_acts_nothing_is_lost(race: Race, sqlite_template: Path) -> None:
    """At every step of a pass that carries a bit of everything: what they did is on both sides, and so is the rest."""
    acted = 0
    for at in await moments(sqlite_template):
        world, steps = await run(sqlite_template, race.act, at)
        # Two steps run side by side here and there: the end of the first then bears the number of the second.
        acted += bool(steps.struck)
        try:
            assert not steps.struck or race.check(world) is not False
            await quiet(world)
        except AssertionError as error:
            raise AssertionError(f"{race.name} at {at}: {error}") from error
        finally:
            await world.close()
    assert acted > 30 / EVERY


@pytest.mark.promise("P18", "P13")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("conditional", [True, False])
async def test_an_edit_of_the_very_field_that_is_written(conditional: bool, sqlite_template: Path) -> None:
    """With conditional writes it always survives; without, but for the moment between our last reading and write."""
    lost = []
    for at in await moments(sqlite_template):
        world, steps = await run(sqlite_template, mate, at, conditional=conditional)
        subject = ticket(world, R).subject
        assert subject in {"Tea", "Mate"}
        carried(world, subject=subject)
        if subject == "Tea" and steps.struck:
            assert between_reading_and_writing(steps, at)
            audit = [row.what for row in await world.rows(Audit) if row.what.get("field") == "subject"]
            assert [(what["before"], what["after"]) for what in audit] == [("Coffee", "Tea")]
            lost.append(at)
        await world.close()
    assert bool(lost) is not conditional


def mate(world: World) -> None:
    """Somebody gives the copy's subject another value."""
    world.remote.edit(ticket(world, R).id, subject="Mate")


def between_reading_and_writing(steps: Steps, at: tuple[int, str]) -> bool:
    """Whether the remote was written to before it was read again."""
    number, moment = at
    rest = steps.trail[number - (moment == "before") :]
    calls = [what.partition(".")[2] for what in rest if what.startswith("remote.")]
    return next((call for call in calls if call in READS | {"update"}), None) == "update"


@pytest.mark.promise("P28", "P3", "P4")
@pytest.mark.timeout(300)
async def test_a_ticket_that_moves_while_it_is_first_loaded(sqlite_template: Path) -> None:
    """News of a ticket in the middle of the pass that makes its copy: one link, one copy, and the news on it."""
    step = 0
    while True:
        step += 1
        world = World(sqlite_template)
        world.gorgias.add_ticket("Parcel", "where is it")
        world.wait(5)
        world.steps.meanwhile = at_step(step, lambda w=world: news(w))
        number = world.steps
        await world.passes(1)
        acted = step <= number.number
        number.meanwhile = None
        await world.settle()
        if acted:
            assert len(world.gorgias.tickets) == len(world.remote.tickets) == 1, step
            assert set(world.texts(G).values()) == {1}
            assert world.texts(G) == world.texts(R)
            assert ticket(world, R).subject == ticket(world, G).subject == "Parcel, late"
        await world.close()
        if not acted:
            assert step > 10
            return


def at_step(step: int, act: Callable[[], None]) -> Callable[[Steps, str, str], None]:
    """Does something before a step."""

    def meanwhile(steps: Steps, _what: str, moment: str) -> None:
        if (steps.number, moment) == (step, "before"):
            act()

    return meanwhile


def news(world: World) -> None:
    """The customer writes again, and an agent changes the subject."""
    world.gorgias.say(ticket(world, G).id, "hello?")
    world.gorgias.edit(ticket(world, G).id, subject="Parcel, late")


# -- other processes ---------------------------------------------------------------------------------------------------


@pytest.mark.promise("P29")
async def test_a_second_process_is_refused(world: World) -> None:
    """Two at once would write everything twice; once the first has let go, or said nothing for long, there is one."""
    store = await world.store()
    first = await store.acquire("acme", "first", LEASE, lambda _holder: False)
    with pytest.raises(LeaseHeld, match="first"):
        await store.acquire("acme", "second", LEASE, lambda _holder: False)
    world.wait(LEASE.total_seconds() + 1)
    await store.acquire("acme", "second", LEASE, lambda _holder: False)
    with pytest.raises(LeaseHeld):
        await store.renew(first, timedelta(seconds=60))


@pytest.mark.promise("P29", "P3", "P4")
@pytest.mark.timeout(300)
async def test_a_process_that_lost_its_workspace_records_nothing_more(sqlite_template: Path) -> None:
    """At whatever step another one takes over: the former one stops there, and nothing is done twice."""
    step = 0
    while True:
        step += 1
        world = World(sqlite_template)
        world.gorgias.add_ticket("Parcel", "where is it", tags=["vip"])
        world.remote.add_ticket("Pump", "it leaks", author=BOB)
        await world.store()
        world.steps.meanwhile = at_step(step, lambda w=world: take_over(w))
        steps = world.steps
        refused = False
        try:
            await world.passes(1)
        except LeaseHeld:
            refused = True
        world.wait(10)
        steps.meanwhile = None
        await world.settle()
        assert len(world.gorgias.tickets) == len(world.remote.tickets) == 2, step
        assert world.texts(G) == world.texts(R) == {"where is it": 1, "it leaks": 1}
        await world.close()
        if step > steps.number:
            assert step > 15
            return
        assert refused or step in {1, steps.number}, step


def take_over(world: World) -> None:
    """Another process gets the workspace."""
    with sqlite3.connect(world.folder / "world.db") as other:
        other.execute("UPDATE lease SET epoch = epoch + 1")
    other.close()


# -- odd feeds ---------------------------------------------------------------------------------------------------------


class Restless(MemoryConnector):
    """A connector whose feed shows every page twice, and each of them in another order."""

    async def changes(self, stream: str, cursor: str | None) -> AsyncIterator[Page]:
        """The desk's log, turned about."""
        async for page in super().changes(stream, cursor):
            yield replace(page, changes=(*reversed(page.changes), *page.changes[::2]))
            yield page


@pytest.mark.promise("P8", "P10", "P2")
async def test_pages_that_come_twice_and_in_another_order(world: World) -> None:
    """The result is the same, and nothing is made twice."""
    world.connector = Restless
    world.gorgias.page_size = world.remote.page_size = 2
    before(world)
    for number in range(5):
        world.remote.add_ticket(f"T{number}", f"text {number}", author=BOB)
    await world.settle()
    world.wait(5)
    work(world)
    await world.settle()
    assert len(world.gorgias.tickets) == len(world.remote.tickets) == 6
    assert set(world.texts(G).values()) == {1}
    assert world.texts(G) == world.texts(R)
    await quiet(world)


class Broken(MemoryConnector):
    """A connector whose feed breaks off after its first page, every other time."""

    calls = 0

    async def changes(self, stream: str, cursor: str | None) -> AsyncIterator[Page]:
        """The desk's log, up to a point."""
        Broken.calls += 1
        async for page in super().changes(stream, cursor):
            yield page
            if Broken.calls % 2:
                raise TryLater("the connection broke", status=0)


@pytest.mark.promise("P10", "P11")
async def test_a_feed_that_breaks_off_goes_on_where_it_was(world: World) -> None:
    """What was read is kept, what was not is read next time; nobody takes the part for the whole."""
    world.connector = Broken
    world.gorgias.page_size = world.remote.page_size = 2
    for number in range(9):
        world.gorgias.add_ticket(f"T{number}", f"text {number}")
    for _ in range(12):
        await world.passes(1)
        world.wait(20)
    world.connector = MemoryConnector
    await world.settle()
    assert world.texts(G) == world.texts(R) == {f"text {number}": 1 for number in range(9)}
