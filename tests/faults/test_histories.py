"""Random histories: people edit everything on both sides while processes crash, time moves and products show late.

`make test` plays a few dozen. SYNCD_HISTORIES says how many to play else, SYNCD_SEED which: another number gives other
ones, the same number the same. What fails is shrunk and printed, with its seed.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from connectors.memory import OWN
from state.tables import Dirty, Intent
from syncd.model import Marker, Person, Side, Ticket
from tests.faults.world import ANN, BOB, Fault, G, R, World, run_through

MANY = int(os.environ.get("SYNCD_HISTORIES", "0"))
SEED = int(os.environ.get("SYNCD_SEED", "1"))
#: They are played in so many parts, for as many processes as there are.
PARTS = 8
#: Between two things that people do; with stamps of a second the later of them is then always known.
GAP = 3.0
WORDS: dict[str, dict[Side, tuple[Any, ...]]] = {
    "status": {G: ("open", "closed"), R: ("New", "In Progress", "Closed")},
    "priority": {G: ("low", "normal", "high", "critical"), R: ("Low", "Normal", "High", "Urgent")},
    "assignee": {G: (None, "1", "2"), R: (None, "51", "52")},
}
SAME = {"New": "open", "In Progress": "open", "Closed": "closed", "51": "1", "52": "2", "Urgent": "critical",
        "Low": "low", "Normal": "normal", "High": "high"}  # fmt: skip
LONG = " and longer than a tracker likes its titles to be, by a good deal"
PEOPLE = (ANN, BOB, OWN)  # people and rules share syncd's own account: what it does is news like any other's


@dataclass(frozen=True)
class Open:
    """Somebody opens a ticket."""

    side: Side
    who: int


@dataclass(frozen=True)
class Edit:
    """Somebody changes a field; texts are always new ones, so that each value tells whose it is."""

    side: Side
    which: int
    name: str
    choice: int


@dataclass(frozen=True)
class Tag:
    """Somebody adds a new tag, or takes one off."""

    side: Side
    which: int
    take: int | None


@dataclass(frozen=True)
class Say:
    """Somebody comments."""

    side: Side
    which: int
    who: int
    private: bool
    file: bool


@dataclass(frozen=True)
class Rewrite:
    """Somebody edits a comment."""

    side: Side
    which: int
    comment: int


@dataclass(frozen=True)
class Delete:
    """Somebody deletes a ticket."""

    side: Side
    which: int


@dataclass(frozen=True)
class Wait:
    """Nobody does anything for a while."""

    seconds: int


@dataclass(frozen=True)
class Pass:
    """A process makes a pass, perhaps with a fault at one of its steps."""

    step: int | None
    moment: Literal["before", "after"]
    kind: Literal["crash", "error"]


SIDE, SOME = st.sampled_from(list(Side)), st.integers(0, 3)
PASS = st.builds(Pass, st.none() | st.integers(1, 40), st.sampled_from(["before", "after"]),
                 st.sampled_from(["crash", "error"]))  # fmt: skip
TEXTS = st.sampled_from(["subject", "subject", "field:Order"])
OPS = st.one_of(
    PASS, PASS, PASS, PASS,
    st.builds(Open, SIDE, SOME),
    st.builds(Edit, SIDE, SOME, TEXTS, SOME), st.builds(Edit, SIDE, SOME, st.sampled_from([*WORDS]), SOME),
    st.builds(Tag, SIDE, SOME, st.none() | SOME),
    st.builds(Say, SIDE, SOME, SOME, st.booleans(), st.booleans()),
    st.builds(Rewrite, SIDE, SOME, SOME),
    st.builds(Delete, SIDE, SOME),
    st.builds(Wait, st.sampled_from([1, 10, 60])),
)  # fmt: skip
HABITS = st.fixed_dictionaries(
    {},
    optional={
        "skew": st.sampled_from([-300.0, 300.0]),
        "late": st.just(20.0),
        "resolution": st.sampled_from([0.0, 1.0]),
        "index_lag": st.just(30.0),
        "page_size": st.just(2),
        "short_rows": st.booleans(),
        "nameless": st.just(True),
        "conditional": st.just(True),
        "lower_tags": st.just(True),
        "invisible": st.just(frozenset({"comment-edit"})),
    },
)


@dataclass
class Said:
    """A comment as it must stand on both sides: one of these texts, once."""

    texts: set[str]
    side: Side
    private: bool
    file: bytes | None
    edited: set[Side] = field(default_factory=set)


@dataclass
class Story:
    """What must be true of a ticket in the end."""

    texts: dict[str, str] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    tags: dict[str, Side] = field(default_factory=dict)
    gone: set[Side] = field(default_factory=set)


class Town:
    """The people on both sides, and what they remember."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.stories: dict[str, Story] = {}
        self.number = 0
        #: What a complete pass has left on both sides: only that do people take back on the other side. What a crashed
        #: process put there unrecorded, and is taken back before anybody looks, was never there for syncd.
        self.known: set[str] = set()
        self.known_tickets: set[tuple[Side, str]] = set()

    async def play(self, op: Any) -> None:
        """One thing happens."""
        if isinstance(op, Pass):
            await self._pass(op)
        elif isinstance(op, Wait):
            self.world.wait(op.seconds)
        else:
            self.world.wait(GAP)
            self._act(op)

    def story(self, side: Side, ticket: Ticket) -> Story:
        """What is remembered of a ticket, whichever of its copies this is."""
        marker = Marker.parse(ticket.marker)
        if marker is None:
            return self.stories.setdefault(f"{side}:{ticket.id}", Story())
        original = self.world.desks[marker.side].tickets.get(marker.id)
        if original is None:
            return self.stories.setdefault(f"{marker.side}:{marker.id}", Story())
        return self.story(marker.side, original)

    async def _pass(self, op: Pass) -> None:
        fault = Fault(op.step, op.moment, op.kind) if op.step else None
        steps = await run_through(self.world, fault, 1)
        note(f"{op}: {steps.struck or 'undisturbed'}")
        if not steps.struck and not await self.world.rows(Dirty) and not await self.world.rows(Intent):
            self.settled()

    def settled(self) -> None:
        """Both sides are known to syncd as they are."""
        self.known = self._marks(G) & self._marks(R)
        self.known_tickets = {(side, found) for side in Side for found in self.world.desks[side].tickets}
        for story in self.stories.values():
            for said in story.said:
                said.edited.clear()

    def _marks(self, side: Side) -> set[str]:
        tickets = self.world.desks[side].tickets.values()
        tags = {tag.lower() for ticket in tickets for tag in ticket.tags}
        return tags | {comment.body.text for ticket in tickets for comment in ticket.comments or ()}

    def _new(self, what: str) -> str:
        self.number += 1
        return f"{what} {self.number}"

    def _act(self, op: Any) -> None:
        desk = self.world.desks[op.side]
        if isinstance(op, Open):
            subject, text = self._new("subject"), self._new("text")
            opened = desk.add_ticket(subject, text, author=PEOPLE[op.who % 3])
            said = Said({text}, op.side, False, None)
            self.story(op.side, desk.tickets[opened]).texts["subject"] = subject
            self.story(op.side, desk.tickets[opened]).said.append(said)
        elif desk.tickets:
            ticket = list(desk.tickets.values())[op.which % len(desk.tickets)]
            getattr(self, f"_{type(op).__name__.lower()}")(op, ticket, self.story(op.side, ticket))

    def _edit(self, op: Edit, ticket: Ticket, story: Story) -> None:
        if op.name in WORDS:
            words = WORDS[op.name][op.side]
            self.world.desks[op.side].edit(ticket.id, **{op.name: words[op.choice % len(words)]})
            return
        # Some are longer than the remote takes.
        value = self._new("new") + LONG * (op.choice == 0)
        story.texts[op.name] = str(self.world.desks[op.side].clean(op.name, value))
        self.world.desks[op.side].edit(ticket.id, **{op.name: value})

    def _tag(self, op: Tag, ticket: Ticket, story: Story) -> None:
        if op.take is None:
            tag = self._new("Tag")
            story.tags[tag.lower()] = op.side
            self.world.desks[op.side].tag(ticket.id, tag)
            return
        found = sorted(t for t in ticket.tags if self._mine(op.side, t.lower(), story.tags.get(t.lower())))
        if found:
            tag = found[op.take % len(found)]
            self.world.desks[op.side].untag(ticket.id, tag)
            story.tags.pop(tag.lower(), None)

    def _mine(self, side: Side, mark: str, origin: Side | None) -> bool:
        return origin is side or mark in self.known

    def _say(self, op: Say, ticket: Ticket, story: Story) -> None:
        text = self._new("text")
        content = text.encode() if op.file else None
        who: Person = PEOPLE[op.who % 3]
        files = {"note.txt": content} if content else {}
        self.world.desks[op.side].say(ticket.id, text, author=who, private=op.private, files=files)
        story.said.append(Said({text}, op.side, op.private, content))

    def _rewrite(self, op: Rewrite, ticket: Ticket, story: Story) -> None:
        comments = [(c, said) for c in ticket.comments or () for said in story.said if c.body.text in said.texts]
        comments = [(c, said) for c, said in comments if self._mine(op.side, c.body.text, said.side)]
        if not comments:
            return
        comment, said = comments[op.comment % len(comments)]
        text = self._new("text")
        self.world.desks[op.side].edit_comment(ticket.id, comment.id, text)
        said.edited.add(op.side)
        said.texts = {text} if len(said.edited) == 1 else {*said.texts, text}

    def _delete(self, op: Delete, ticket: Ticket, story: Story) -> None:
        if ticket.marker is not None and (op.side, ticket.id) not in self.known_tickets:
            return  # a copy that comes and goes before anybody looks was never there for syncd: it is made again
        story.gone.add(op.side)
        self.world.desks[op.side].delete(ticket.id)

    # -- in the end ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Everything that people gave either side is on both, once, as they gave it last."""
        found: dict[int, dict[Side, list[Ticket]]] = {}
        for side in Side:
            for ticket in self.world.desks[side].tickets.values():
                found.setdefault(id(self.story(side, ticket)), {G: [], R: []})[side].append(ticket)
        for name, story in self.stories.items():
            tickets = found.get(id(story), {G: [], R: []})
            wanted = {side: 0 if side in story.gone else 1 for side in Side}
            if story.gone:
                assert all(len(tickets[side]) <= wanted[side] for side in Side), f"{name} was made again"
                continue
            assert {side: len(some) for side, some in tickets.items()} == wanted, name
            self._check_one(story, tickets[G][0], tickets[R][0])

    def _check_one(self, story: Story, gorgias: Ticket, remote: Ticket) -> None:
        for name in WORDS:
            ours, theirs = getattr(gorgias, name), getattr(remote, name)
            assert SAME.get(theirs, theirs) == ours, (name, ours, theirs)
        for name, value in story.texts.items():
            shown = {side: value_of(ticket, name) for side, ticket in ((G, gorgias), (R, remote))}
            assert shown == {side: self.world.desks[side].clean(name, value) for side in Side}, name
        for side, ticket in ((G, gorgias), (R, remote)):
            assert sorted(tag.lower() for tag in ticket.tags) == sorted(story.tags), (side, "tags")
            self._check_comments(side, ticket, story)

    def _check_comments(self, side: Side, ticket: Ticket, story: Story) -> None:
        shown = Counter(comment.body.text for comment in ticket.comments or ())
        assert set(shown.values()) <= {1}, f"twice at {side}: {shown}"
        assert len(shown) == len(story.said), (side, shown, story.said)
        by_text = {comment.body.text: comment for comment in ticket.comments or ()}
        for said in story.said:
            text = next((text for text in said.texts if text in by_text), None)
            assert text is not None, f"{said} is not at {side}: {shown}"
            comment = by_text[text]
            hidden = said.private or (side is G and said.side is R)
            assert comment.private == hidden, f"{said} at {side}"
            assert [self.world.desks[side].files[a.id] for a in comment.attachments] == [said.file] * bool(said.file)


def value_of(ticket: Ticket, name: str) -> Any:
    """A field's value."""
    return (ticket.fields or {}).get("Order") if name == "field:Order" else getattr(ticket, name)


async def history(world: World, ops: list[Any]) -> None:
    """Play a history, let everything come to rest, and look."""
    try:
        town = Town(world)
        for op in ops:
            await town.play(op)
        for _ in range(2):
            world.wait(130)  # what is shown late is shown by now, and the sweep comes by
            await world.settle()
        town.check()
        before = world.written()
        await world.passes(2)
        assert world.written() == before, "a quiet pass wrote something"
    finally:
        await world.close()


def play(number: int, examples: int, where: Callable[[], Mapping[str, Any]]) -> None:
    """So many histories under the seed of this number; `where` gives the database of each, anew and empty."""
    with asyncio.Runner() as runner:

        @seed(SEED * PARTS + number)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(gorgias=HABITS, remote=HABITS, ops=st.lists(OPS, max_size=20))
        def some(gorgias: Any, remote: Any, ops: Any) -> None:
            world = World(gorgias=gorgias, remote=remote, sweep_interval="120s", **where())
            runner.run(history(world, ops))

        print(f"{examples} histories: SYNCD_SEED={SEED}, part {number}")
        some()


@pytest.mark.promise("P1", "P2", "P3", "P4", "P5", "P6", "P7", "P9", "P10", "P11", "P13", "P14", "P15", "P36", "P37")
@pytest.mark.timeout(0 if MANY else 300)
@pytest.mark.parametrize("part", range(PARTS if MANY else 1))
def test_any_history_ends_well(sqlite_template: Path, part: int) -> None:
    """Everything of everybody on both sides, exactly once, at the value that was given last; and then quiet."""
    play(part, MANY // PARTS or 40, lambda: {"template": sqlite_template})


@pytest.mark.promise("P1", "P5")
@pytest.mark.timeout(0 if MANY else 300)
def test_any_history_ends_well_on_postgresql(postgres_url: str, wipe: Callable[[], None]) -> None:
    """Some others, on the other database."""

    def where() -> Mapping[str, Any]:
        wipe()
        return {"url": postgres_url}

    play(PARTS - 1, MANY // 20 or 4, where)
