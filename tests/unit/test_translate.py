"""Name tables: what follows from two vocabularies, what the configuration says, and that every way leads back."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.desk import Desk
from connectors.memory import MemoryConnector
from syncd.connector import Vocabulary
from syncd.model import Field, Side, Status, Team, User, Value
from syncd.plan import UNMAPPED
from syncd.settings import SyncSettings
from syncd.translate import Translation

G, R = Side.GORGIAS, Side.REMOTE
DESKS = {G: Desk("gorgias"), R: Desk("remote", subject_limit=60)}


def translation(gorgias: Vocabulary, remote: Vocabulary, **sync: Any) -> Translation:
    """A translation between two accounts with these words."""
    accounts = {side: MemoryConnector(desk, side, "acme") for side, desk in DESKS.items()}
    return Translation(SyncSettings(**sync), accounts, {G: gorgias, R: remote})


def across(words: Translation, source: Side, name: str, value: Value) -> Any:
    """A value of a field that both sides call the same."""
    return words.across(source, (name, name), value)


def statuses(*words: str) -> tuple[Status, ...]:
    """Statuses; those with a cross are closed."""
    return tuple(Status(word.removesuffix("×"), word.endswith("×")) for word in words)


GORGIAS = Vocabulary(
    statuses=statuses("open", "closed×"),
    priorities=("low", "normal", "high", "critical"),
    users=(User("1", "Ann", "ann@x.example"), User("2", "Bob"), User("3", "Eve"), User("4", "Eve")),
    teams=(Team("1", "Support"), Team("2", "Night")),
    fields=(Field("1", "Order"), Field("2", "Big", "boolean"), Field("3", "Weight", "number"), Field("4", "Level")),
)
REMOTE = Vocabulary(
    statuses=statuses("New", "In Progress", "Resolved×", "Closed×", "Rejected×"),
    priorities=("Low", "Normal", "High", "Urgent", "Immediate"),
    users=(
        User("51", "A. Gent", "ANN@x.example"),
        User("52", "bob"),
        User("53", "Eve"),
        User("54", "Zoe", "z@x.example"),
    ),
    teams=(Team("9", "support"),),
    fields=(
        Field("7", "order"),
        Field("8", "Big", "enum", ("true", "false")),
        Field("9", "Weight"),
        Field("10", "Stufe"),
    ),
)

DEFAULTS = (
    (G, "status", "open", "New"),
    (G, "status", "closed", "Closed"),  # an equal name comes before the first closed one
    (R, "status", "In Progress", "open"),
    (R, "status", "Rejected", "closed"),
    (R, "status", "unheard of", UNMAPPED),
    (G, "status", None, UNMAPPED),
    (G, "priority", "low", "Low"),
    (G, "priority", "critical", "Urgent"),  # the next above the last equal name
    (R, "priority", "Immediate", "critical"),
    (R, "priority", None, UNMAPPED),
    (G, "assignee", "1", "51"),  # by e-mail, whatever the case
    (G, "assignee", "2", "52"),  # by name
    (G, "assignee", "3", UNMAPPED),  # two bear this name
    (R, "assignee", "54", UNMAPPED),
    (R, "assignee", None, None),
    (G, "team", "Support", "support"),
    (G, "team", "Night", UNMAPPED),
    (G, "subject", "  a\n b ", "a b"),
)


@pytest.mark.promise("P34", "P27")
@pytest.mark.parametrize(("source", "name", "value", "said"), DEFAULTS)
def test_without_any_configuration(source, name, value, said) -> None:
    """Equal names first, then open or closed alike, then the order of priorities; users by e-mail, then by name."""
    assert across(translation(GORGIAS, REMOTE), source, name, value) == said


CONFIGURED = (
    (G, "status", "open", "In Progress"),  # the first of a list is written
    (R, "status", "New", "open"),  # all of them are read
    (R, "status", "Resolved", "open"),
    (G, "status", "closed", "Closed"),
    (G, "priority", "critical", "Immediate"),
    (R, "priority", "Urgent", "high"),
    (G, "assignee", "3", "54"),
    (R, "assignee", "53", "3"),
    (G, "team", "Night", "support"),
    (R, "team", "support", "Night"),
)


@pytest.mark.parametrize(("source", "name", "value", "said"), CONFIGURED)
def test_the_configuration_comes_first(source, name, value, said) -> None:
    """Whatever it leaves open follows as before; words are found whatever their case, agents by id, e-mail or name."""
    words = translation(
        GORGIAS,
        REMOTE,
        status={"open": ("in progress", "New", "Resolved")},
        priority={"critical": "Immediate"},
        users={"3": ("z@x.example", "Eve")},
        teams={"Night": "support"},
    )
    assert across(words, source, name, value) == said


def test_a_word_that_stands_in_two_lists_is_read_for_the_one_it_is_written_for() -> None:
    """Or a status would wander from one to the other."""
    words = translation(GORGIAS, REMOTE, status={"open": ("New", "Closed"), "closed": ("Closed", "New")})
    assert across(words, R, "status", "New") == "open"
    assert across(words, R, "status", "Closed") == "closed"


def test_which_fields_are_kept_the_same() -> None:
    """Those of equal names, whatever their case, unless that is off; and those that the configuration joins."""

    def custom(**sync: Any) -> set[tuple[str, str]]:
        return {pair for pair in translation(GORGIAS, REMOTE, **sync).fields if pair[0].startswith("field:")}

    equal = {("field:Order", "field:order"), ("field:Big", "field:Big"), ("field:Weight", "field:Weight")}
    assert custom() == equal
    assert custom(fields={"Level": "Stufe"}) == equal | {("field:Level", "field:Stufe")}
    assert custom(fields={"level": "order"}) == (equal - {("field:Order", "field:order")}) | {
        ("field:Level", "field:order")
    }
    assert custom(fields={"Level": "Stufe"}, auto_fields=False) == {("field:Level", "field:Stufe")}


TYPES = (
    ("string", (), True, "true"),
    ("string", (), 3.0, "3"),
    ("string", (), 2.5, "2.5"),
    ("string", (), None, None),
    ("string", (), "", ""),
    ("number", (), "1.50", 1.5),
    ("number", (), "7", 7),
    ("number", (), "12345678901234567890", 12345678901234567890),
    ("number", (), 12345678901234567890, 12345678901234567890),
    ("number", (), True, 1),
    ("number", (), "many", UNMAPPED),
    ("number", (), "nan", UNMAPPED),
    ("number", (), "inf", UNMAPPED),
    ("number", (), math.inf, UNMAPPED),
    ("number", (), "9" * 5000, UNMAPPED),
    ("boolean", (), " Yes ", True),
    ("boolean", (), 0, False),
    ("boolean", (), "perhaps", UNMAPPED),
    ("enum", ("Minor", "Major"), "minor", "Minor"),
    ("enum", ("Minor", "Major"), "huge", UNMAPPED),
    ("enum", ("1", "2"), 2.0, "2"),
)


@pytest.mark.promise("P40")
@pytest.mark.parametrize(("kind", "options", "value", "said"), TYPES)
def test_a_custom_field_arrives_in_the_type_of_the_one_that_takes_it(kind, options, value, said) -> None:
    """And where it cannot be said in that type, nothing is."""
    words = translation(Vocabulary(fields=(Field("1", "A"),)), Vocabulary(fields=(Field("2", "A", kind, options),)))
    got = across(words, G, "field:A", value)
    assert got == said
    assert type(got) is type(said)


def test_a_field_that_is_not_there_takes_nothing() -> None:
    """A configured name that the account does not have."""
    assert across(translation(Vocabulary(), Vocabulary()), G, "field:A", "x") is UNMAPPED


# -- every way leads back --------------------------------------------------------------------------------------------

NAME = st.text("abcD", min_size=1, max_size=4)


def some(words: st.SearchStrategy[Any], key: Any = str.casefold) -> st.SearchStrategy[tuple[Any, ...]]:
    """A few different words."""
    return st.lists(words, min_size=1, max_size=5, unique_by=key).map(tuple)


OF_TYPE: Mapping[str, Iterable[Value]] = {
    "string": ["", None, "1", "1.0", "1e3", "a", "B", "yes", "TRUE", "x y", "nan", "-0"],
    "number": [None, 0, 1, 2.5, -3, 10**20],
    "boolean": [None, True, False],
    "enum": [None, "a", "1", "true", "B"],
}


@st.composite
def vocabularies(draw: Any) -> Vocabulary:
    """An account's words."""
    named = lambda thing: thing.name.casefold()  # noqa: E731
    kinds = st.sampled_from([("string", ()), ("number", ()), ("boolean", ()), ("enum", ("a", "1", "true", "B"))])
    fields = draw(some(st.builds(lambda name, kind: Field(name, name, *kind), NAME, kinds), named))
    mails = st.none() | st.sampled_from(["a@x.example", "b@x.example", "C@x.example"])
    users = draw(st.lists(st.tuples(NAME, mails), max_size=5, unique_by=lambda user: user[1] or user))
    return Vocabulary(
        statuses=draw(some(st.builds(Status, NAME, st.booleans()), named)),
        priorities=draw(some(NAME)),
        users=tuple(User(str(number), name, mail) for number, (name, mail) in enumerate(users)),
        teams=draw(some(st.builds(Team, NAME, NAME), named)),
        fields=fields,
    )


def spoken(vocabulary: Vocabulary, name: str) -> Iterable[Value]:
    """The values that a field of this account may have."""
    known: Mapping[str, Iterable[Value]] = {
        "status": [status.name for status in vocabulary.statuses],
        "priority": [*vocabulary.priorities, None],
        "assignee": [*(user.id for user in vocabulary.users), None],
        "team": [*(team.name for team in vocabulary.teams), None],
        "subject": ["", "a", "  padded\r\n twice ", "x" * 300],
    }
    return (
        known[name] if name in known else OF_TYPE[next(f for f in vocabulary.fields if name == f"field:{f.name}").type]
    )


def leads_back(words: Translation, spoken_by: Mapping[Side, Vocabulary]) -> None:
    """Whatever is said across, said back and said across again is the same."""
    for names in words.fields:
        for source in Side:
            for value in spoken(spoken_by[source], names[0 if source is G else 1]):
                value = DESKS[source].clean(names[0 if source is G else 1], value)  # noqa: PLW2901
                there = words.across(source, names, value)
                back = UNMAPPED if there is UNMAPPED else words.across(source.other, names, there)
                if back is not UNMAPPED:
                    again = words.across(source, names, back)
                    assert again == there, (names, source, value, there, back)


@pytest.mark.promise("P25")
@given(vocabularies(), vocabularies())
@settings(max_examples=400, deadline=None)
def test_every_default_table_leads_back(gorgias, remote) -> None:
    """For any two vocabularies; and whatever has a word on the other side has one on the way back."""
    words = translation(gorgias, remote)
    leads_back(words, {G: gorgias, R: remote})
    for names in (("status", "status"), ("priority", "priority")):
        for value in spoken(gorgias, names[0]):
            there = words.across(G, names, value)
            assert there is UNMAPPED or words.across(R, names, there) is not UNMAPPED


@pytest.mark.promise("P25")
@given(vocabularies(), vocabularies(), st.data())
@settings(max_examples=200, deadline=None)
def test_every_configured_table_leads_back(gorgias, remote, data) -> None:
    """Whatever people write into it: what is written across stands, said back and across again."""

    def table(ours: Iterable[Any], theirs: Iterable[Any]) -> dict[str, Any]:
        if not ours or not theirs:
            return {}
        words = st.lists(st.sampled_from([*theirs]), min_size=1, max_size=3)
        return data.draw(st.dictionaries(st.sampled_from([*ours]), words, max_size=3))

    words = translation(
        gorgias, remote,
        status=table([s.name for s in gorgias.statuses], [s.name for s in remote.statuses]),
        priority=table(gorgias.priorities, remote.priorities),
        users=table([u.id for u in gorgias.users], [u.id for u in remote.users]),
    )  # fmt: skip
    for name in ("status", "priority", "assignee"):
        for value in spoken(gorgias, name):
            there = across(words, G, name, value)
            back = UNMAPPED if there is UNMAPPED else across(words, R, name, there)
            assert back is UNMAPPED or across(words, G, name, back) == there, (name, value, there, back)
