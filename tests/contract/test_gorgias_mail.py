"""Nothing that the Gorgias connector writes mails a customer, unless it is allowed to, and then only what is new."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.gorgias.sandbox.messages import SENDABLE
from syncd.connector import Changes
from syncd.errors import Gone, Refused
from syncd.http import BACKFILL
from syncd.model import Body, Comment, Marker, Person, Side, Ticket
from tests.fakes.gorgias import Town, town

ANN = Person("1", "Ann", "ann@customer.example")
AUTHORS = (None, ANN, Person("7", "Mia", "ops@acme.example", "user"), Person("8", "Rob", None, "user"))
TEXTS = ("Hello", "", "<b>bold</b>", "Rob · 2026-01-01 10:00 UTC · redmine:5\n\nquoted", "nul\x00byte")


@dataclass(frozen=True)
class Said:
    """A comment to be written, and how."""

    text: str
    private: bool
    author: Person | None
    old: bool
    kind: str

    def comment(self, number: int) -> Comment:
        """The comment as the engine hands it over."""
        when = datetime.now(UTC) - timedelta(days=30 if self.old else 0)
        marker = str(Marker("contract", Side.REMOTE, f"c{number}"))
        body = Body(self.text, f"<p>{self.text}</p>" if self.kind == "rich" else None)
        return Comment(f"c{number}", body, self.author, self.private, when, marker=marker, channel="redmine")


SAID = st.builds(
    Said, st.sampled_from(TEXTS), st.booleans(), st.sampled_from(AUTHORS), st.booleans(), st.sampled_from(["", "rich"])
)
STEP = st.one_of(
    st.tuples(st.just("create"), st.lists(SAID, max_size=3)),
    st.tuples(st.just("comment"), SAID),
    st.tuples(st.just("edit"), st.tuples(st.integers(0, 9), SAID)),
    st.tuples(st.just("update"), st.sampled_from([{"status": "closed"}, {"status": "open"}, {"subject": "New"}])),
    st.tuples(st.just("person"), st.sampled_from(["reply", "note", "customer_reply"])),
)


class Writer:
    """Takes steps in a town, and keeps which of the messages are private."""

    def __init__(self, place: Town, contact: Person | None) -> None:
        self.place, self.contact, self.made, self.count = place, contact, [], 0
        self.ticket: Ticket | None = None
        self.private: dict[str, bool] = {}

    def next(self, said: Said) -> Comment:
        """The comment, under a number of its own."""
        self.count += 1
        comment = said.comment(self.count)
        self.private[comment.marker or ""] = comment.private
        return comment

    async def create(self, said: Sequence[Said]) -> None:
        """A ticket with its conversation."""
        comments = tuple(map(self.next, said))
        draft = Ticket("5", "A parcel", comments=comments, contact=self.contact, created_at=datetime.now(UTC))
        self.ticket = await self.place.connector.create(draft, f"syncd:contract:remote:{self.count}", {})

    async def comment(self, said: Said) -> None:
        """One more comment."""
        assert self.ticket
        await self.place.connector.comment(self.ticket.id, self.next(said), [])

    async def edit(self, what: tuple[int, Said]) -> None:
        """Another text for any of the messages, whoever wrote it; it may have become private."""
        assert self.ticket
        comments = (await self.place.connector.get(self.ticket.id)).comments or ()
        comment = comments[what[0] % len(comments)]
        edited = replace(self.next(what[1]), id=comment.id, marker=comment.marker)
        try:
            await self.place.connector.edit_comment(self.ticket.id, edited)
        except Refused:
            return
        if comment.marker:
            # A ticket without words got a note of its title, which nobody said.
            self.private[comment.marker] = self.private.get(comment.marker, True) or edited.private

    async def update(self, fields: dict[str, Any]) -> None:
        """Fields."""
        assert self.ticket
        await self.place.connector.update(self.ticket, Changes(fields, frozenset({"a"})))

    async def person(self, what: str) -> None:
        """Somebody acts in the helpdesk."""
        assert self.ticket
        getattr(self.place.sandbox, what)(int(self.ticket.id), "by a person")

    def check(self) -> None:
        """What must hold at any time."""
        assert self.place.sandbox.outbox == []
        for message in self.place.written:
            quiet = message["channel"] == "internal-note" or not message["from_agent"] or message.get("sent_datetime")
            assert quiet, message
        for row in self.place.sandbox.messages:
            if self.private.get(row.get("external_id", "")):
                assert row["public"] is False
            if row["via"] == "api" and row["channel"] in SENDABLE:
                assert row.get("sent_datetime")


async def play(steps: Sequence[tuple[str, Any]], contact: Person | None) -> None:
    """Take all steps, and look after each."""
    async with town() as place:
        writer = Writer(place, contact)
        await writer.create([])
        for name, what in steps:
            await getattr(writer, name)(what)
            writer.check()


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(st.lists(STEP, min_size=1, max_size=8), st.sampled_from([None, ANN]))
def test_no_sequence_of_writes_mails_anybody(steps: Sequence[tuple[str, Any]], contact: Person | None) -> None:
    """Whatever is created, said, edited and changed: no mail leaves, and nothing private becomes public."""
    asyncio.run(play(steps, contact))


# -- with allow_send ----------------------------------------------------------------------------------------------


def reply(**more: Any) -> Comment:
    """A public answer of an agent on the other side, written just now."""
    author = Person("9", "Rob", "rob@dev.example", "user")
    fresh = Comment("c1", Body("It is on its way"), author, False, datetime.now(UTC), marker="syncd:contract:remote:c1")
    return replace(fresh, **more)


async def test_a_reply_is_mailed_where_that_is_allowed() -> None:
    """With allow_send a new public comment goes to the customer, from the account's own mailbox."""
    async with town(allow_send=True) as place:
        ticket = place.sandbox.create_ticket("Where is it?", "Hello", customer="ann@customer.example")
        written = (await place.connector.comment(str(ticket), reply(), [])).comment
        (mail,) = place.sandbox.outbox
        assert mail.deliverable
        assert (mail.to, mail.subject) == (("ann@customer.example",), "Where is it?")
        assert written.marker == "syncd:contract:remote:c1"
        assert place.written[0]["source"]["from"]["address"] == "support@sandbox.example"
        await asyncio.sleep(0.1)
        assert "sent_datetime" in place.sandbox.messages[int(written.id)]
        with pytest.raises(Refused):
            await place.connector.edit_comment(str(ticket), replace(written, body=Body("too late")))


@pytest.mark.parametrize(
    "comment",
    [
        reply(private=True),
        reply(author=ANN),
        reply(created_at=datetime.now(UTC) - timedelta(days=2)),
        reply(created_at=None),
    ],
    ids=["private", "the customer's own", "old", "of no time"],
)
async def test_what_is_no_new_reply_is_never_mailed(comment: Comment) -> None:
    """Even with allow_send a note, the customer's own words and history stay in the helpdesk."""
    async with town(allow_send=True) as place:
        ticket = place.sandbox.create_ticket("Where is it?", "Hello", customer="ann@customer.example")
        await place.connector.comment(str(ticket), comment, [])
        assert place.sandbox.outbox == []


async def test_a_first_load_mails_nothing() -> None:
    """Neither the conversation that a new ticket comes with, nor anything that a first load writes, is mailed."""
    async with town(allow_send=True) as place:
        draft = Ticket("5", "A parcel", comments=(reply(),), contact=ANN)
        made = await place.connector.create(draft, "syncd:contract:remote:5", {})
        token = BACKFILL.set(True)
        await place.connector.comment(made.id, reply(), [])
        BACKFILL.reset(token)
        assert place.sandbox.outbox == []


@pytest.mark.parametrize("hide", ["spam", "trash", "nobody"])
async def test_nobody_to_write_to_is_no_mail(hide: str) -> None:
    """A ticket that is spam or in the trash, or has no customer's address, gets the reply without a mail."""
    async with town(allow_send=True) as place:
        ticket = place.sandbox.create_ticket("Where is it?", "Hello")
        if hide == "spam":
            place.sandbox.mark_spam(ticket)
        elif hide == "trash":
            place.sandbox.trash(ticket)
        else:
            place.sandbox.tickets.change(place.sandbox.tickets[ticket], {"customer_id": None})
        written = await place.connector.comment(str(ticket), reply(), [])
        assert not written.comment.private
        assert place.sandbox.outbox == []


async def test_an_address_that_is_not_ours_is_refused() -> None:
    """A reply from an address without an integration would never leave: it is refused, and check says so before."""
    async with town(allow_send=True, reply_from="sales@acme.example") as place:
        ticket = place.sandbox.create_ticket("Where is it?", "Hello")
        with pytest.raises(Refused, match=r"support@sandbox\.example"):
            await place.connector.comment(str(ticket), reply(), [])
        assert len(place.sandbox.ticket(ticket)["messages"]) == 1
        wrong = [finding for finding in await place.connector.check() if not finding.ok]
        assert [finding.what for finding in wrong] == ["the address of replies"]
    async with town(allow_send=True, reply_from="Support@Sandbox.example") as place:
        assert all(finding.ok for finding in await place.connector.check())


async def test_a_reply_to_a_ticket_that_is_gone_is_not_mailed() -> None:
    """Without a ticket there is nobody to write to."""
    async with town(allow_send=True) as place:
        with pytest.raises(Gone):
            await place.connector.comment("4711", reply(), [])
        assert place.sandbox.outbox == []
