"""A fault at every step: each call of an account and each transaction, before its effect and after it.

A scenario is run once to count its steps, and then once for each step, moment and kind of fault. Afterwards both sides
must be in step, nothing lost, nothing doubled, every value exactly the one that a person last gave, and all quiet.
"""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.faults.world import ANN, BOB, Fault, G, R, World, run_through

Act = Callable[[World], None]
Check = Callable[[World], None]


@dataclass(frozen=True)
class Scenario:
    """What is there before, what people do, what they do while the process is down, and what must hold in the end.

    `habits` are those of both products, and `sync` the settings, where they must be others than usual.
    """

    name: str
    before: Act
    act: Act
    check: Check
    strike: Act | None = None
    habits: Mapping[str, Any] = field(default_factory=dict)
    sync: Mapping[str, Any] = field(default_factory=dict)


def ticket(world: World, side: str, number: int = 0) -> object:
    """A side's ticket, in the order in which they were made."""
    return list(world.desks[side].tickets.values())[number]


def nothing(_world: World) -> None:
    """Nothing happens."""


def one_each(*texts: str) -> Check:
    """Every one of these texts stands exactly once on each side, and nothing else does."""

    def check(world: World) -> None:
        assert world.texts(G) == dict.fromkeys(texts, 1)
        assert world.texts(R) == dict.fromkeys(texts, 1)

    return check


def add_gorgias(world: World) -> None:
    """A customer writes in; an agent adds a note with a file and closes."""
    gid = world.gorgias.add_ticket("Parcel", "where is it", tags=["vip", "Late"])
    world.gorgias.say(gid, "see slip", author=ANN, private=True, files={"slip.txt": b"slip"})
    world.gorgias.edit(gid, status="closed", priority="high", assignee="1", **{"field:Order": "A-1"})


def created(world: World) -> None:
    """One ticket a side, everything on it."""
    one_each("where is it", "see slip")(world)
    (copy,) = world.remote.tickets.values()
    assert (copy.subject, copy.status, copy.priority, copy.assignee) == ("Parcel", "Closed", "High", "51")
    assert copy.tags == {"vip", "Late"}
    assert copy.fields["Order"] == "A-1"
    assert [c.private for c in copy.comments] == [False, True]
    assert [world.remote.files[f.id] for c in copy.comments for f in c.attachments] == [b"slip"]


def add_remote(world: World) -> None:
    """Somebody opens a ticket in the tracker and says two things."""
    rid = world.remote.add_ticket("Pump", "it leaks", author=BOB, tags=["pump"])
    world.remote.say(rid, "photo", author=BOB, files={"p.png": b"png"})
    world.remote.edit(rid, status="In Progress", priority="Urgent")


def created_at_gorgias(world: World) -> None:
    """One ticket a side, all of it internal at Gorgias."""
    one_each("it leaks", "photo")(world)
    (copy,) = world.gorgias.tickets.values()
    assert (copy.subject, copy.status, copy.priority) == ("Pump", "open", "critical")
    assert copy.tags == {"pump"}
    assert all(c.private for c in copy.comments)
    assert [world.gorgias.files[f.id] for c in copy.comments for f in c.attachments] == [b"png"]


def linked(world: World) -> None:
    """A plain ticket that both sides have."""
    world.gorgias.add_ticket("Coffee", "hello", tags=["a", "b"])


def edit_fields(world: World) -> None:
    """Different fields on both sides."""
    world.gorgias.edit(ticket(world, G).id, subject="Tea", status="closed")
    world.remote.edit(ticket(world, R).id, priority="High")


def fields_met(world: World) -> None:
    """Both edits are on both sides."""
    ours, copy = ticket(world, G), ticket(world, R)
    assert (ours.subject, ours.status, ours.priority) == ("Tea", "closed", "high")
    assert (copy.subject, copy.status, copy.priority) == ("Tea", "Closed", "High")
    one_each("hello")(world)


def edit_tags(world: World) -> None:
    """One added here, one removed there."""
    world.gorgias.tag(ticket(world, G).id, "c")
    world.remote.untag(ticket(world, R).id, "a")


def tags_met(world: World) -> None:
    """Element by element."""
    assert ticket(world, G).tags == ticket(world, R).tags == {"b", "c"}


def talk(world: World) -> None:
    """A comment on each side, one with a file."""
    world.gorgias.say(ticket(world, G).id, "from gorgias", files={"a.txt": b"aaa"})
    world.remote.say(ticket(world, R).id, "from remote", author=BOB)


def files_met(world: World) -> None:
    """Each comment and its file once on each side."""
    one_each("hello", "from gorgias", "from remote")(world)
    for side, desk in world.desks.items():
        found = [desk.files[f.id] for t in desk.tickets.values() for c in t.comments for f in c.attachments]
        assert found == [b"aaa"], side


def rewrite(world: World) -> None:
    """A comment gets another text."""
    world.gorgias.edit_comment(ticket(world, G).id, ticket(world, G).comments[0].id, "hello again")


def rewrite_there(world: World) -> None:
    """A comment gets another text at the remote."""
    world.remote.edit_comment(ticket(world, R).id, ticket(world, R).comments[0].id, "hello again")


def revert_subject(world: World) -> None:
    """Whoever changed the subject takes it back."""
    world.gorgias.edit(ticket(world, G).id, subject="Coffee")


def subject_back(world: World) -> None:
    """The taken-back value stands on both sides."""
    assert ticket(world, G).subject == ticket(world, R).subject == "Coffee"


def change_subject(world: World) -> None:
    """The subject changes."""
    world.gorgias.edit(ticket(world, G).id, subject="Tea")


def revert_tag(world: World) -> None:
    """Whoever added the tag takes it off again."""
    world.gorgias.untag(ticket(world, G).id, "c")


def tag_back(world: World) -> None:
    """The tag is on neither side."""
    assert ticket(world, G).tags == ticket(world, R).tags == {"a", "b"}


def add_tag(world: World) -> None:
    """A tag is added."""
    world.gorgias.tag(ticket(world, G).id, "c")


def edit_copy(world: World) -> None:
    """Somebody works on the copy before the process knows that it made it."""
    for copy in world.remote.tickets.values():
        world.remote.edit(copy.id, subject="Edited at the remote")
        world.remote.calls["edit by a person"] += 1


def edit_survives(world: World) -> None:
    """An edit of a copy that was made but not yet known is not lost, whenever it happened."""
    ours, copy = ticket(world, G), ticket(world, R)
    expected = "Edited at the remote" if world.remote.calls["edit by a person"] else "Parcel"
    assert ours.subject == copy.subject == expected
    one_each("where is it", "see slip")(world)


LONG = "A subject that is a good deal longer than what the tracker at the other end keeps of it"


def lengthen(world: World) -> None:
    """The subject becomes longer than the tracker likes."""
    world.gorgias.edit(ticket(world, G).id, subject=LONG)
    world.wait(30)  # so that the shortened one is clearly the later


def kept_whole(world: World) -> None:
    """Nothing is cut where the subject was written."""
    assert (ticket(world, G).subject, ticket(world, R).subject) == (LONG, LONG[:60].strip())


def delete(world: World) -> None:
    """The ticket is deleted."""
    world.gorgias.delete(ticket(world, G).id)


def deleted(world: World) -> None:
    """The copy is closed and nothing comes back."""
    assert not world.gorgias.tickets
    assert [copy.status for copy in world.remote.tickets.values()] == ["Closed"]


def delete_there(world: World) -> None:
    """The copy is deleted."""
    world.remote.delete(ticket(world, R).id)


def deleted_there(world: World) -> None:
    """The original is closed and nothing comes back."""
    assert not world.remote.tickets
    assert [copy.status for copy in world.gorgias.tickets.values()] == ["closed"]


def two_linked(world: World) -> None:
    """Two tickets that both sides have."""
    world.gorgias.add_ticket("One", "first")
    world.gorgias.add_ticket("Two", "second")


def merge(world: World) -> None:
    """One is merged into the other."""
    one, two = list(world.gorgias.tickets)
    world.gorgias.merge(one, two)


def merged(world: World) -> None:
    """Nothing is made again; the survivor's conversation is on its copy."""
    assert len(world.gorgias.tickets) == 1
    assert len(world.remote.tickets) == 2
    assert max(world.texts(G).values()) == 1


def one_linked(world: World) -> None:
    """A ticket that both sides have, and one that the settings leave out."""
    world.gorgias.add_ticket("One", "first", tags=["vip"])
    world.gorgias.add_ticket("Two", "second")


def taken_over(world: World) -> None:
    """The survivor has the copy of the merged one, with both conversations."""
    (copy,) = world.remote.tickets.values()
    assert (copy.subject, copy.status) == ("Two", "New")
    one_each("first", "second")(world)


#: Neither does a feed's row show what was made, nor does a search for half a minute.
ONLY_IDS = {"short_rows": False, "index_lag": 30.0}
SCENARIOS = (
    Scenario("create at the remote", nothing, add_gorgias, created),
    Scenario("create at Gorgias", nothing, add_remote, created_at_gorgias),
    Scenario("fields", linked, edit_fields, fields_met),
    Scenario("tags", linked, edit_tags, tags_met),
    Scenario("comments and files", linked, talk, files_met),
    Scenario("comment edit", linked, rewrite, one_each("hello again")),
    Scenario("revert of a field during the crash", linked, change_subject, subject_back, revert_subject),
    Scenario("revert of a tag during the crash", linked, add_tag, tag_back, revert_tag),
    Scenario("edit of a copy not known yet", nothing, add_gorgias, edit_survives, edit_copy),
    Scenario("delete", linked, delete, deleted),
    Scenario("merge", two_linked, merge, merged),
    Scenario("merge into one without a copy", one_linked, merge, taken_over, sync={"tags": ["vip"]}),
    Scenario("comment edit at the remote", linked, rewrite_there, one_each("hello again")),
    Scenario("delete at the remote", linked, delete_there, deleted_there),
    Scenario("create where the feed tells only ids", nothing, add_gorgias, created, habits=ONLY_IDS),
    Scenario("create at a Gorgias that is slow to search", nothing, add_remote, created_at_gorgias, habits=ONLY_IDS),
    Scenario("a subject that is shortened", linked, lengthen, kept_whole),
)
#: `make test` takes every fifth step (a number that shares no factor with the four faults of a step), `make e2e` all.
EVERY = 1 if os.environ.get("SYNCD_ALL_STEPS") else 5


async def play(scenario: Scenario, fault: Fault | None, **where: Any) -> tuple[int, str]:
    """One run of a scenario with a fault; returns the number of steps and what was struck.

    `where` says in which database.
    """
    world = World(gorgias=scenario.habits, remote=scenario.habits, **where, **scenario.sync)
    try:
        scenario.before(world)
        await world.settle()
        scenario.act(world)
        if scenario.strike:
            world.steps.on_strike = lambda: scenario.strike and scenario.strike(world)
        steps = await run_through(world, fault)
        await world.settle()
        if steps.struck or scenario.strike is None:
            scenario.check(world)
        await quiet(world)
        return steps.number, steps.struck
    finally:
        await world.close()


async def quiet(world: World) -> None:
    """Two more passes write nothing."""
    before = world.written()
    await world.passes(2)
    assert world.written() == before, "a quiet pass wrote something"


def faults(steps: int, offset: int) -> Iterator[Fault]:
    """Every fault of a run of this many steps, or every EVERYth of them."""
    every = itertools.product(range(1, steps + 1), ("before", "after"), ("crash", "error"))
    yield from (Fault(*fault) for number, fault in enumerate(every) if number % EVERY == offset % EVERY)


@pytest.mark.promise("P3", "P4", "P5", "P6", "P7", "P11", "P16", "P17", "P37")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_every_step(scenario: Scenario, sqlite_template: Path) -> None:
    """Whatever breaks at whatever step: in the end it is as if nothing had."""
    steps, _ = await play(scenario, None, template=sqlite_template)
    assert steps > 5
    failures = []
    struck = 0
    for fault in faults(steps, SCENARIOS.index(scenario)):
        try:
            struck += bool((await play(scenario, fault, template=sqlite_template))[1])
        except AssertionError as error:
            failures.append(f"{fault}: {error}")
    assert not failures, f"{len(failures)} of {struck} faults:\n" + "\n".join(failures[:8])
    assert struck > 5
