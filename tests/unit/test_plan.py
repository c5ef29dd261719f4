"""The planner alone: two sides that once agreed are edited at will; its writes, in any order, make them agree again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.model import Body, Comment, Marker, Side, Ticket, Value, values
from syncd.plan import (
    UNMAPPED,
    Base,
    CommentEdit,
    CommentWrite,
    FieldWrite,
    Pair,
    Plan,
    Rules,
    State,
    TagWrite,
    Unmapped,
    blank,
    plan,
)

G, R = Side.GORGIAS, Side.REMOTE
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: A plan is made again after its writes; more rounds than this are no fixpoint.
ROUNDS = 4
TABLES: Mapping[str, Mapping[Side, Mapping[str, str]]] = {
    "status": {G: {"open": "New", "closed": "Done"}, R: {"New": "open", "Doing": "open", "Done": "closed"}},
    "priority": {G: {"low": "Minor", "high": "Major"}, R: {"Minor": "low", "Major": "high"}},
    "assignee": {G: {"1": "51"}, R: {"51": "1"}},
}
#: What each side's own pages let people choose; what no table holds has no word on the other side.
CHOICES = {
    G: {"status": ["open", "closed"], "priority": ["low", "high", "odd"], "assignee": [None, "1", "2"]},
    R: {"status": ["New", "Doing", "Done"], "priority": ["Minor", "Major", "Blocker"], "assignee": [None, "51", "52"]},
}
FIELDS = (("subject", "subject"), ("status", "status"), ("priority", "priority"), ("assignee", "assignee"),
          ("field:Order", "field:Ref"))  # fmt: skip
NAMES = {G: [g for g, _ in FIELDS], R: [r for _, r in FIELDS]}


class Words:
    """A lossy translator: the remote shortens subjects to six characters and writes tags in lower case."""

    fields = FIELDS

    def across(self, source: Side, names: tuple[str, str], value: Value) -> Value | Unmapped:
        """The other side's word."""
        if names[0] in TABLES:
            return None if value is None else TABLES[names[0]][source].get(str(value), UNMAPPED)
        return stored(source.other, names[0 if source is R else 1], value)

    def tag_across(self, source: Side, tag: str) -> str:
        """The other side's spelling."""
        return tag.lower() if source is G else tag


def stored(side: Side, name: str, value: Value) -> Value:
    """What a side makes of a value."""
    if name == "subject" and side is R:
        return str(value or "")[:6].strip()
    return value.strip() if isinstance(value, str) else value


def digest(comment: Comment) -> str:
    """What identifies a text."""
    return comment.body.text


RULES = Rules("acme", Words(), digest)


@dataclass
class Sim:
    """Two tickets, and what is stored about them: the planner's world without any account."""

    now: dict[Side, Ticket]
    base: dict[Side, Base] = field(default_factory=lambda: {G: Base(), R: Base()})
    pairs: list[Pair] = field(default_factory=list)
    made: int = 0

    def state(self) -> State:
        """What the planner is asked about."""
        return State(dict(self.now), dict(self.base), tuple(self.pairs))

    def settle(self, rules: Rules = RULES, random: Random | None = None, forgets: bool = False) -> list[Plan]:
        """Plan and write, the writes in any order, until nothing is left to write."""
        plans = []
        for _ in range(ROUNDS):
            todo = plan(self.state(), rules)
            plans.append(todo)
            if not todo.writes:
                self._rest(todo)
                return plans
            writes: list[Any] = [*todo.fields, *todo.tags, *todo.comments, *todo.edits]
            (random or Random(0)).shuffle(writes)
            for write in writes:
                self._do(write, forgets)
            for pair in todo.adopted:
                self._pair(pair)
        raise AssertionError(f"no rest after {ROUNDS} rounds: {todo}")

    def edit(self, side: Side, at: datetime = NOON, **changes: Value) -> None:
        """Somebody gives fields of a side other values."""
        ticket = self.now[side]
        cleaned = {name: stored(side, name, value) for name, value in changes.items()}
        custom = {name[6:]: value for name, value in cleaned.items() if name.startswith("field:")}
        built_in: dict[str, Any] = {name: value for name, value in cleaned.items() if not name.startswith("field:")}
        times = {**ticket.times, **dict.fromkeys(changes, at)}
        self.now[side] = replace(ticket, **built_in, fields={**(ticket.fields or {}), **custom}, times=times)

    def say(self, side: Side, text: str, private: bool = False, marker: str | None = None) -> str:
        """Somebody comments; returns the comment's id."""
        self.made += 1
        comment = Comment(f"{side[0]}{self.made}", Body(text), private=private, marker=marker)
        self.now[side] = replace(self.now[side], comments=(*(self.now[side].comments or ()), comment))
        return comment.id

    def rewrite(self, side: Side, comment_id: str, text: str, private: bool | None = None) -> None:
        """Somebody edits a comment."""
        changed = tuple(
            replace(c, body=Body(text), private=c.private if private is None else private) if c.id == comment_id else c
            for c in self.now[side].comments or ()
        )
        self.now[side] = replace(self.now[side], comments=changed)

    def texts(self, side: Side) -> list[str]:
        """What stands on a side."""
        return sorted(comment.body.text for comment in self.now[side].comments or ())

    def _do(self, write: Any, forgets: bool) -> None:
        if isinstance(write, FieldWrite):
            self.edit(write.side, **{write.name: write.value})
            self._advance(write.side, write.name, values(self.now[write.side])[write.name])
            self._advance(write.side.other, write.source, write.seen)
        elif isinstance(write, TagWrite):
            self._tag(write)
        elif isinstance(write, CommentWrite):
            copy = self.say(write.side, write.comment.body.text, write.comment.private, write.comment.marker)
            if not forgets:  # a crash between the write and its recording
                self._remember(write.side, copy, write.source)
        elif isinstance(write, CommentEdit):
            self.rewrite(write.side, write.comment.id, write.comment.body.text, write.comment.private)
            self._remember(write.side, write.comment.id, write.source)

    def _advance(self, side: Side, name: str, value: Value) -> None:
        self.base[side] = replace(self.base[side], values={**self.base[side].values, name: value})

    def _tag(self, write: TagWrite) -> None:
        tags = self.now[write.side].tags
        changed = tags | {write.tag} if write.kind == "add" else tags - {write.tag}
        self.now[write.side] = replace(self.now[write.side], tags=changed)
        for side, tag in ((write.side, write.tag), (write.side.other, write.source)):
            known = self.base[side].tags or frozenset()
            known = known | {tag} if write.kind == "add" else known - {tag}
            self.base[side] = replace(self.base[side], tags=known)

    def _remember(self, side: Side, copy: str, source: str) -> None:
        ids = {side: copy, side.other: source}
        texts = {at: next(digest(c) for c in self.now[at].comments or () if c.id == ids[at]) for at in Side}
        self._pair(Pair(ids[G], ids[R], texts[G], texts[R]))

    def _pair(self, pair: Pair) -> None:
        self.pairs = [old for old in self.pairs if not (pair.gorgias == old.gorgias or pair.remote == old.remote)]
        self.pairs.append(pair)

    def _rest(self, todo: Plan) -> None:
        for names in todo.agreed:
            for side, name in zip(Side, names, strict=True):
                self._advance(side, name, values(self.now[side])[name])
        if todo.tags_agree:
            self.base = {side: replace(self.base[side], tags=self.now[side].tags) for side in Side}
        for pair in todo.adopted:
            self._pair(pair)


# -- generated: a base, and what people on both sides did since ------------------------------------------------------

WORD = st.text("abc ", max_size=9).map(str.strip)
TAGS = st.frozensets(st.sampled_from(["a", "A", "b", "B", "c", "d"]), max_size=4)


def edits(side: Side) -> st.SearchStrategy[dict[str, Value]]:
    """Some fields of a side with new values."""
    choices = {name: st.sampled_from(given_) for name, given_ in CHOICES[side].items()}
    free = {"subject": WORD, "field:Order" if side is G else "field:Ref": WORD}
    return st.fixed_dictionaries({}, optional={**choices, **free})


def full(side: Side) -> st.SearchStrategy[dict[str, Value]]:
    """Every field of a side."""
    return edits(side).map(lambda some: {**start(side), **some})


def start(side: Side) -> dict[str, Value]:
    """A ticket's fields before anybody touched them."""
    return {name: CHOICES[side].get(name, [""])[0] for name in NAMES[side]}


@st.composite
def agreed(draw: Any) -> Sim:
    """Two sides in step: whatever they were when they first met, the planner has brought them there."""
    sim = Sim({side: Ticket(f"{side}-1", comments=(), tags=draw(TAGS) if side is G else frozenset()) for side in Side})
    for side in Side:
        sim.edit(side, NOON - timedelta(days=1), **draw(full(side)))
    sim.settle()
    return sim


def says_the_same(sim: Sim) -> bool:
    """Whether both sides agree in every field that both have a word for, and in the tags."""
    return all(field_agrees(sim, names) for names in FIELDS) and tags_agree(sim)


def field_agrees(sim: Sim, names: tuple[str, str]) -> bool:
    """Whether one of two values is the other's translation, or has none."""
    gorgias, remote = values(sim.now[G])[names[0]], values(sim.now[R])[names[1]]
    there, back = Words().across(G, names, gorgias), Words().across(R, names, remote)
    if isinstance(there, Unmapped) or isinstance(back, Unmapped):
        return True
    return blank(there) == blank(remote) or blank(back) == blank(gorgias)


def tags_agree(sim: Sim) -> bool:
    """Whether the tags are the same, but for the spelling."""
    return {tag.lower() for tag in sim.now[G].tags} == {tag.lower() for tag in sim.now[R].tags}


def retag(sim: Sim, side: Side, tags: Iterable[str]) -> None:
    """Somebody leaves a side with these tags."""
    sim.now[side] = replace(sim.now[side], tags=frozenset(t.lower() if side is R else t for t in tags))


@pytest.mark.promise("P1", "P2", "P23")
@given(agreed(), edits(G), edits(R), TAGS, TAGS, st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_two_sides_that_were_edited_at_will_meet_and_rest(sim, ours, theirs, our_tags, their_tags, random) -> None:
    """Whatever changed, and in whatever order the writes land: both say the same, and a second plan writes nothing."""
    sim.edit(G, **ours)
    sim.edit(R, NOON + timedelta(seconds=random.randint(-5, 5)), **theirs)
    retag(sim, G, our_tags)
    retag(sim, R, their_tags)
    sim.settle(random=random)
    assert says_the_same(sim)
    assert not plan(sim.state(), RULES).writes
    assert not plan(sim.state(), RULES).writes


@pytest.mark.promise("P12")
@given(agreed(), WORD, st.sampled_from(["Minor", "Major"]))
@settings(deadline=None)
def test_edits_of_different_fields_both_survive(sim, subject, priority) -> None:
    """Each side's edit is on both sides."""
    sim.edit(G, subject=subject)
    sim.edit(R, priority=priority)
    sim.settle()
    assert values(sim.now[R])["subject"] == stored(R, "subject", subject) or field_agrees(sim, FIELDS[0])
    assert sim.now[G].subject == subject
    assert sim.now[R].priority == priority
    assert sim.now[G].priority == TABLES["priority"][R][priority]


@pytest.mark.promise("P13", "P14", "P15")
@given(
    agreed(),
    st.integers(-3600, 3600),
    st.integers(-300, 300),
    st.booleans(),
    st.permutations(["subject", "field", "status"]),
)
@settings(max_examples=200, deadline=None)
def test_the_later_edit_of_a_field_wins(sim, gap, skew, noise, order) -> None:
    """By the field's own time in one common clock; within a second Gorgias does; the loser is in the plan's clashes."""
    rules = replace(RULES, skew={R: timedelta(seconds=skew)})
    at = {G: NOON, R: NOON + timedelta(seconds=gap + skew)}
    new = {"subject": ("gggg", "rrrr"), "status": ("closed", "Doing")}
    sim.edit(G, NOON - timedelta(days=1), status="open")
    sim.edit(R, NOON - timedelta(days=1), status="New")
    sim.settle(rules)
    for name in order:
        gorgias, remote = ("field:Order", "field:Ref") if name == "field" else (name, name)
        sim.edit(G, at[G], **{gorgias: new.get(name, ("G-1", "R-1"))[0]})
        sim.edit(R, at[R], **{remote: new.get(name, ("G-1", "R-1"))[1]})
    late = NOON + timedelta(days=2)  # something else happened to either ticket since: that says nothing about fields
    sim.now = {side: replace(t, updated_at=late if noise == (side is G) else NOON) for side, t in sim.now.items()}
    clashes = {clash.name: clash for todo in sim.settle(rules) for clash in todo.clashes}
    winner = R if gap > 1 else G
    assert {clash.winner for clash in clashes.values()} == {winner}
    assert (sim.now[G].subject, sim.now[R].subject) == (("rrrr",) * 2 if winner is R else ("gggg",) * 2)
    assert (sim.now[G].status, sim.now[R].status) == (("open", "Doing") if winner is R else ("closed", "Done"))
    assert (clashes["subject"].gorgias, clashes["subject"].remote) == ("gggg", "rrrr")


@pytest.mark.promise("P16")
@given(agreed(), TAGS, TAGS, st.frozensets(st.sampled_from("abcd")), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_tags_merge_element_by_element(sim, ours, theirs, removed, random) -> None:
    """What either side added is on both, what either side removed is on neither, and no other tag is touched."""
    before = {tag.lower() for tag in sim.now[G].tags}
    gone = {tag for tag in removed if tag in before}
    ours = {tag for tag in ours if tag.lower() not in before}
    theirs = {tag.lower() for tag in theirs if tag.lower() not in before}
    retag(sim, G, {tag for tag in sim.now[G].tags if tag.lower() not in gone or tag.lower() > "b"} | ours)
    retag(sim, R, {tag for tag in sim.now[R].tags if tag not in gone or tag <= "b"} | theirs)
    kept = {tag for tag in sim.now[G].tags if tag.lower() not in gone}
    sim.settle(random=random)
    assert sim.now[R].tags == (before - gone) | {tag.lower() for tag in ours} | theirs
    assert tags_agree(sim)
    assert kept <= sim.now[G].tags, "a tag lost its spelling"


@pytest.mark.promise("P34", "P27")
@given(agreed(), st.sampled_from([("priority", "odd"), ("assignee", "2")]), st.booleans())
@settings(deadline=None)
def test_a_value_without_a_word_changes_nothing_there(sim, change, then_none) -> None:
    """Neither when it is chosen, nor, for an agent whom the other side never had, when it is taken back."""
    name, value = change
    before = values(sim.now[R])[name]
    sim.edit(G, **{name: value})
    sim.settle()
    assert values(sim.now[R])[name] == before
    if name == "assignee" and then_none:
        sim.base[G] = replace(sim.base[G], values={**sim.base[G].values, name: value})
        sim.edit(G, **{name: None})
        sim.settle()
        assert values(sim.now[R])[name] == before


@pytest.mark.promise("P35")
@given(agreed(), edits(G), edits(R), TAGS, TAGS, st.sampled_from(list(Side)))
@settings(max_examples=200, deadline=None)
def test_one_way_sync_writes_to_one_side_only(sim, ours, theirs, our_tags, their_tags, target) -> None:
    """The other side keeps what it has; and what it has never keeps the source's own edits from being carried."""
    sim.edit(G, NOON, **ours)
    sim.edit(R, NOON + timedelta(seconds=90 if target is G else -90), **theirs)
    retag(sim, G, our_tags)
    retag(sim, R, their_tags)
    before = sim.now[target.other]
    edited = {name for name, value in (ours if target is R else theirs).items() if differs(sim, target.other, name)}
    sim.say(G, "ours")
    sim.say(R, "theirs")
    todo = plan(sim.state(), replace(RULES, to=frozenset({target})))
    assert {write.side for write in (*todo.fields, *todo.tags, *todo.comments, *todo.edits)} <= {target}
    assert {clash.winner for clash in todo.clashes} <= {target.other}
    sim.settle(replace(RULES, to=frozenset({target})))
    assert values(sim.now[target.other]) == values(before)
    for names in FIELDS:
        assert names[0 if target is R else 1] not in edited or field_agrees(sim, names), names


def differs(sim: Sim, side: Side, name: str) -> bool:
    """Whether a side's field was changed since the last agreement."""
    return blank(sim.base[side].values.get(name)) != blank(values(sim.now[side])[name])


TALK = st.lists(st.tuples(st.sampled_from(list(Side)), st.booleans()), max_size=6)


@pytest.mark.promise("P3", "P4", "P24", "P36")
@given(agreed(), TALK, st.booleans(), st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_every_comment_is_copied_once_and_never_less_private(sim, talk, public, forgets, random) -> None:
    """Also when a crash kept the copies from being recorded: their markers say whose copies they are."""
    rules = replace(RULES, public_to_gorgias=public)
    for number, (side, private) in enumerate(talk):
        sim.say(side, f"text {number}", private)
    sim.settle(rules, random, forgets)
    assert sim.texts(G) == sim.texts(R) == sorted(f"text {number}" for number in range(len(talk)))
    shown = {side: {c.body.text: c.private for c in sim.now[side].comments or ()} for side in Side}
    for number, (side, private) in enumerate(talk):
        copy = shown[side.other][f"text {number}"]
        assert copy == (private or (side is R and not public))


@pytest.mark.promise("P36", "P39")
@given(agreed(), TALK, st.data())
@settings(max_examples=200, deadline=None)
def test_edited_comments_follow_and_stay_as_private_as_they_were(sim, talk, data) -> None:
    """The copy gets the new text, may become private, and never becomes public."""
    for number, (side, private) in enumerate(talk):
        sim.say(side, f"text {number}", private)
    sim.settle()
    hidden = {side: {c.id for c in sim.now[side].comments or () if c.private} for side in Side}
    expected = set()
    for number, pair in enumerate(sim.pairs):
        sides = data.draw(st.sampled_from([(), (G,), (R,), (G, R)]))
        for side in sides:
            sim.rewrite(side, pair.id(side) or "", f"new {number} {side}", data.draw(st.sampled_from([None, True])))
        gorgias = next(c for c in sim.now[G].comments or () if c.id == pair.gorgias)
        expected.add(f"new {number} {G if G in sides else R}" if sides else gorgias.body.text)
    sim.settle()
    assert set(sim.texts(G)) == set(sim.texts(R)) == expected
    assert len(sim.texts(G)) == len(sim.texts(R)) == len(talk)
    for side in Side:
        assert hidden[side] <= {c.id for c in sim.now[side].comments or () if c.private}


@pytest.mark.promise("P36")
def test_a_comment_that_becomes_internal_makes_its_copy_internal() -> None:
    """Without any change of its text."""
    sim = Sim({side: Ticket(f"{side}-1", comments=()) for side in Side})
    comment = sim.say(G, "public at first")
    sim.settle()
    assert not sim.now[R].comments[0].private
    sim.rewrite(G, comment, "public at first", private=True)
    sim.settle()
    assert sim.now[R].comments[0].private


@pytest.mark.promise("P38")
@given(agreed(), edits(G), edits(R), TAGS, TAGS, TALK)
@settings(deadline=None)
def test_the_same_situation_gives_the_same_plan(sim, ours, theirs, our_tags, their_tags, talk) -> None:
    """So that a replay after a crash decides alike, in whatever order the sides and the base's fields are kept."""
    sim.edit(G, **ours)
    sim.edit(R, **theirs)
    retag(sim, G, our_tags)
    retag(sim, R, their_tags)
    for number, (side, private) in enumerate(talk):
        sim.say(side, f"text {number}", private)
    state = sim.state()
    turned = {s: replace(b, values=dict(reversed(b.values.items()))) for s, b in reversed(state.base.items())}
    other = replace(state, now=dict(reversed(state.now.items())), base=turned)
    assert plan(state, RULES) == plan(state, RULES) == plan(other, RULES)


# -- single cases ----------------------------------------------------------------------------------------------------


def one_field(names: tuple[str, str], base: tuple[Any, Any], now: tuple[Any, Any], **changes: Any) -> Plan:
    """A plan about one field alone; an absent base is `...`."""
    sim = Sim({side: Ticket(f"{side}-1", comments=()) for side in Side})
    for side in Side:
        sim.edit(side, **start(side))
    sim.settle()
    for side, name, was, value in zip(Side, names, base, now, strict=True):
        known = {n: v for n, v in sim.base[side].values.items() if n != name}
        sim.base[side] = Base(known if was is ... else {**known, name: was}, frozenset())
        sim.edit(side, **{name: value})
    return plan(replace(sim.state(), **changes), RULES)


CASES = (
    ("nothing changed", "status", ("open", "New"), ("open", "New"), []),
    ("one side changed", "status", ("open", "New"), ("closed", "New"), [(R, "Done")]),
    ("the other side changed", "status", ("open", "New"), ("open", "Done"), [(G, "closed")]),
    ("both changed alike", "status", ("open", "New"), ("closed", "Done"), []),
    ("a word that means the same", "status", ("open", "New"), ("open", "Doing"), []),
    ("both changed: a tie", "status", ("closed", "New"), ("open", "Done"), [(R, "New")]),
    ("shortened, then as it was", "subject", ("abcdefgh", "abcdef"), ("abcdefgh", "abcdef"), []),
    ("shortened, and edited there", "subject", ("abcdefgh", "abcdef"), ("abcdefgh", "abc"), [(G, "abc")]),
    ("unknown at one side", "subject", ("abc", ...), ("abc", ""), [(G, "")]),
    ("unknown at both sides", "subject", (..., ...), ("abc", "xyz"), [(R, "abc")]),
    ("unknown at both, and alike", "subject", (..., ...), ("abcdefgh", "abcdef"), []),
    ("no value is an empty text", "subject", ("", ""), (None, ""), []),
    ("no word there", "priority", ("low", "Minor"), ("odd", "Minor"), []),
    ("cleared", "assignee", ("1", "51"), (None, "51"), [(R, None)]),
    ("cleared, but never known there", "assignee", ("2", "51"), (None, "51"), []),
)


@pytest.mark.promise("P1", "P34")
@pytest.mark.parametrize(("name", "base", "now", "writes"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_one_field(name, base, now, writes) -> None:
    """The table of what is written when."""
    todo = one_field((name, name), base, now)
    assert [(write.side, write.value) for write in todo.fields] == writes


@pytest.mark.promise("P31")
def test_what_is_parked_is_not_planned() -> None:
    """Neither a field, nor the tags, nor a comment, nor an edit."""
    parked = frozenset({"remote:subject", "remote:tags", "remote:comment:g1", "gorgias:comment:r2"})
    sim = Sim({side: Ticket(f"{side}-1", comments=()) for side in Side})
    sim.edit(G, subject="x")
    sim.edit(R, subject="")
    sim.base = {side: Base({"subject": ""}, frozenset()) for side in Side}
    sim.say(G, "one")
    sim.say(R, "two")
    retag(sim, G, {"a"})
    assert not plan(replace(sim.state(), parked=parked), RULES).writes
    assert plan(sim.state(), RULES).writes


@pytest.mark.promise("P3")
def test_a_marker_of_another_workspace_is_a_comment_like_any_other() -> None:
    """Two syncd's in a row, each with its own workspace: what one wrote is news to the other."""
    sim = Sim({side: Ticket(f"{side}-1", comments=()) for side in Side})
    sim.say(R, "from elsewhere", marker=str(Marker("other", G, "7")))
    sim.settle()
    assert sim.texts(G) == sim.texts(R) == ["from elsewhere"]


@pytest.mark.promise("P39")
def test_an_edit_asks_for_a_side_that_was_read_short() -> None:
    """Whether the copy was edited too is unknown until its side was read whole."""
    sim = Sim({side: Ticket(f"{side}-1", comments=()) for side in Side})
    comment = sim.say(G, "old")
    sim.settle()
    sim.rewrite(G, comment, "new")
    short = {**sim.now, R: replace(sim.now[R], comments=None)}
    todo = plan(replace(sim.state(), now=short), RULES)
    assert todo.needs == {R}
    assert not todo.edits
