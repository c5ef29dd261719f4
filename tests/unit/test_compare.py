"""The comparison of two accounts finds each kind of difference, and none where there is none."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from syncd import compare
from syncd.bench import digest
from syncd.compare import Reading
from syncd.model import Attachment, Body, Comment, Marker, Side, Ticket, Value
from syncd.plan import UNMAPPED, Rules, Unmapped

THERE = {"open": "new", "closed": "done"}
BACK = {"new": "open", "in work": "open", "done": "closed"}


class Words:
    """Open and closed, said in other words at the remote; subjects cut to ten characters there."""

    fields = (("subject", "subject"), ("status", "status"))

    def across(self, source: Side, names: tuple[str, str], value: Value) -> Value | Unmapped:
        """As a connector's tables would."""
        if names[0] == "subject":
            return str(value)[:10] if source is Side.GORGIAS else value
        return (THERE if source is Side.GORGIAS else BACK).get(str(value), UNMAPPED)

    def tag_across(self, source: Side, tag: str) -> str:
        """Tags are small at the remote."""
        return tag.lower() if source is Side.GORGIAS else tag


RULES = Rules("acme", Words(), digest)
FILE = Attachment("f1", "a b.txt", url="/f1")
COPY = Attachment("f9", "a b.txt", url="/f9")


def mark(side: Side, one: str) -> str:
    """The marker of a copy."""
    return str(Marker("acme", side, one))


def comment(
    number: str, words: str, *, of: str = "", private: bool = False, files: Iterable[Attachment] = ()
) -> Comment:
    """A comment; `of` makes it a copy of a comment at Gorgias."""
    marker = mark(Side.GORGIAS, of) if of else None
    return Comment(number, Body(words), private=private, attachments=tuple(files), marker=marker)


MINE = Ticket(
    "1", "A subject that is long", "open", tags=frozenset({"VIP"}),
    comments=(comment("11", "hello", files=[FILE]), comment("12", "secret", private=True)),
)  # fmt: skip
THEIRS = Ticket(
    "7", "A subject ", "in work", tags=frozenset({"vip"}), marker=mark(Side.GORGIAS, "1"),
    comments=(comment("71", "hello", of="11", files=[COPY]), comment("72", "secret", of="12", private=True)),
)  # fmt: skip


def found(mine: Ticket = MINE, *theirs: Ticket, content: str = "x") -> list[str]:
    """The differences of these."""
    gorgias, remote = Reading((mine,), {"f1": "x"}), Reading(theirs or (THEIRS,), {"f9": content})
    return compare.differences(RULES, gorgias, remote)


def test_what_agrees_has_no_differences() -> None:
    """Other words, cut subjects and other spellings of tags are no differences."""
    assert found() == []


COMMENTS = THEIRS.comments or ()
DIFFERENT = [
    (replace(THEIRS, status="done"), "status is 'open' in Gorgias and 'done'"),
    (replace(THEIRS, subject="Another"), "subject is"),
    (replace(THEIRS, tags=frozenset()), "only gorgias has the tags VIP"),
    (replace(THEIRS, tags=frozenset({"vip", "more"})), "only remote has the tags more"),
    (replace(THEIRS, comments=COMMENTS[:1]), "'secret' stands 1 times in Gorgias and 0 times"),
    (
        replace(THEIRS, comments=(*COMMENTS, comment("73", "secret", of="12", private=True))),
        "and 2 times at the remote",
    ),
    (replace(THEIRS, comments=(COMMENTS[0], replace(COMMENTS[1], private=False))), "is private at gorgias and public"),
    (replace(THEIRS, comments=(replace(COMMENTS[0], attachments=()), COMMENTS[1])), "has the files a b.txt (x)"),
    (replace(THEIRS, marker=None), "gorgias 1 (A subject that is long) has no copy"),
]


@pytest.mark.parametrize(("theirs", "words"), DIFFERENT, ids=[words for _, words in DIFFERENT])
def test_each_kind_of_difference_is_found(theirs: Ticket, words: str) -> None:
    """One sentence that says what, and where."""
    sentences = found(MINE, theirs)
    assert any(words in sentence for sentence in sentences), sentences


def test_a_second_copy_and_another_content_are_found() -> None:
    """Two copies of one ticket, and a file whose bytes are others."""
    assert "gorgias 1 (A subject that is long) has 2 copies on the other side" in found(
        MINE, THEIRS, replace(THEIRS, id="8")
    )
    assert "1 = 7: 'hello' has the files a b.txt (x) in Gorgias and a b.txt (y) at the remote" in found(content="y")


def test_a_value_without_a_word_is_no_difference() -> None:
    """Where the other side has no word for a value, it stays as it is."""
    assert found(replace(MINE, status="snoozed")) == []


def test_links_and_pairs_may_be_told() -> None:
    """Whoever knows better than the markers says so."""
    bare = replace(THEIRS, marker=None, comments=tuple(replace(one, marker=None) for one in COMMENTS))
    readings = Reading((MINE,), {"f1": "x"}), Reading((bare,), {"f9": "y"})
    links, pairs = [("1", "7")], [("11", "71"), ("12", "72")]
    (sentence,) = compare.differences(RULES, *readings, links=links, pairs=pairs)
    assert "files" in sentence
