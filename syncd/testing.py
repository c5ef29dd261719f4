# ruff: noqa: S101 (a test asserts)
"""The suite that every connector inherits: what the engine relies on, as tests. Needs pytest and pytest-asyncio.

    class TestMine(ConnectorContract):
        @pytest_asyncio.fixture
        async def account(self):
            async with MyConnector.open(config, Side.REMOTE, "test") as connector:
                yield Account(connector, MyPeople())

`WireContract` holds a connector that speaks HTTP to what it makes of broken answers.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from syncd.connector import Change, Changes, Connector, Page, Upload
from syncd.errors import (
    Gone,
    Refused,
    VersionConflict,
)
from syncd.model import Body, Comment, Marker, Person, Side, Ticket

T = TypeVar("T")

SUBJECTS = {
    "empty": "",
    "300 characters": "x" * 300,
    "words up to 300 characters": "word " * 60,
    "emoji": "Parcel 📦 lost 👩‍👧 naïve",
    "markup": "<b>bold</b> & *stars* _lines_ [link](http://a.example) #1 @me",
    "padding": "  padded  ",
    "line ends": "first\r\nsecond",
    "NUL": "nul\x00byte",
}
BODIES = {
    "plain": "Hello, where is my parcel?",
    "lines": "first\nsecond\n\nthird",
    "line ends": "first\r\nsecond",
    "emoji": "thanks 🙏 naïve",
    "markup": "<b>bold</b> & *stars* _lines_ `code` h1. # not a heading",
    "NUL": "nul\x00byte",
}
FILE_NAMES = ("invoice.pdf", "../../x", "📦 parcel.png", "n" * 196 + ".txt", 'a "quoted"; name.txt')


class People:
    """How a person acts on the product beside the connector; a method that is left out skips the tests that need it.

    Every id is the one that the connector uses.
    """

    async def create(self, subject: str, text: str) -> str:
        """Open a ticket with a first comment and return its id."""
        raise NotImplementedError("people cannot create a ticket here")

    async def edit(self, ticket_id: str, name: str, value: str) -> None:
        """Change one field, such as `subject` or `status`."""
        raise NotImplementedError("people cannot edit a ticket here")

    async def say(self, ticket_id: str, text: str, *, private: bool = False) -> str:
        """Add a comment and return its id."""
        raise NotImplementedError("people cannot comment here")

    async def edit_comment(self, ticket_id: str, comment_id: str, text: str) -> None:
        """Rewrite a comment."""
        raise NotImplementedError("people cannot edit a comment here")

    async def delete_comment(self, ticket_id: str, comment_id: str) -> None:
        """Delete a comment."""
        raise NotImplementedError("people cannot delete a comment here")

    async def delete(self, ticket_id: str) -> None:
        """Delete a ticket for good."""
        raise NotImplementedError("people cannot delete a ticket here")

    async def wait(self, seconds: float) -> None:
        """Let time pass; a fake whose clock is its own moves that instead."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Account:
    """What the suite works on: an open connector, and people beside it."""

    connector: Connector
    people: People = field(default_factory=People)


async def skipping(action: Awaitable[T]) -> T:
    """What a person's action returns, or a skipped test that says what is not possible here."""
    try:
        return await action
    except NotImplementedError as error:
        pytest.skip(str(error) or "not possible here")


class ConnectorContract:
    """Inherit this, override `account`, and every test here holds your connector to the port."""

    #: More tickets than one page of any feed shows.
    beyond_a_page = 105
    #: How long, in seconds, a change may take to appear in a feed.
    patience = 5.0

    @pytest_asyncio.fixture
    async def account(self) -> AsyncIterator[Account]:
        """The account to test, opened afresh for each test or shared: the suite makes its own tickets."""
        raise NotImplementedError("override the fixture `account`")
        yield

    # -- words of the suite -------------------------------------------------------------------------------------

    _made = 0

    def marker(self) -> str:
        """A marker that nothing else carries."""
        ConnectorContract._made += 1
        return str(Marker("contract", Side.GORGIAS, f"{datetime.now(UTC).timestamp():.6f}-{self._made}"))

    async def made(self, account: Account, marker: str | None = None, **fields: Any) -> Ticket:
        """A ticket that the connector made, with an opening comment where it takes one."""
        draft = Ticket("source-1", **{"subject": "A parcel is lost", **fields})
        if draft.comments == () or draft.comments is None:
            draft = replace(draft, comments=(self.remark("Opening words", "source-opening"),))
        comments = (draft.comments or ())[: account.connector.capabilities.comments_on_create]
        return await account.connector.create(replace(draft, comments=comments), marker or self.marker(), {})

    def remark(self, text: str, comment_id: str = "source-2", *, private: bool = False) -> Comment:
        """A comment as the other side would hand it over."""
        author = Person("7", "Carla Customer", "carla@customer.example")
        return Comment(comment_id, Body(text), author, private, marker=self.marker())

    async def look(self, connector: Connector, cursors: dict[str, str]) -> list[Change]:
        """Every change since `cursors`, which move on."""
        found: list[Change] = []
        for stream in connector.streams:
            async for page in connector.changes(stream, cursors.get(stream)):
                found += page.changes
                cursors[stream] = page.cursor
        return found

    async def appears(self, account: Account, ticket_id: str, cursors: dict[str, str]) -> Change:
        """The change that a feed shows of this ticket, within `patience`."""
        waited = 0.0
        while True:
            for change in await self.look(account.connector, cursors):
                if change.id == ticket_id:
                    return change
            assert waited < self.patience, f"no feed shows ticket {ticket_id}: declare it in capabilities.invisible?"
            await account.people.wait(0.5)
            waited += 0.5

    async def found(self, account: Account, marker: str) -> list[str]:
        """The ids of the tickets with this marker, looked up after the product's index lag."""
        await account.people.wait(account.connector.capabilities.index_lag)
        return [ticket.id for ticket in await account.connector.find(marker)]

    # -- writing and reading back -------------------------------------------------------------------------------

    @pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
    async def test_a_created_subject_comes_back_canonical(self, account: Account, subject: str) -> None:
        """A new ticket reads back with the subject that `canonical` foretold."""
        ticket = await self.made(account, subject=subject)
        expected = account.connector.canonical("subject", subject)
        assert ticket.subject == expected
        assert (await account.connector.get(ticket.id)).subject == expected

    @pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
    async def test_an_updated_subject_comes_back_canonical(self, account: Account, subject: str) -> None:
        """An update returns the subject that `canonical` foretold, and so does the next read."""
        ticket = await self.made(account)
        written = await account.connector.update(ticket, Changes({"subject": subject}))
        expected = account.connector.canonical("subject", subject)
        assert written.subject == expected
        assert (await account.connector.get(ticket.id)).subject == expected

    async def test_each_status_comes_back_canonical(self, account: Account) -> None:
        """Every status of the vocabulary can be written and reads back as `canonical` foretold."""
        ticket = await self.made(account)
        for status in (await account.connector.vocabulary()).statuses:
            ticket = await account.connector.update(ticket, Changes({"status": status.name}))
            assert ticket.status == account.connector.canonical("status", status.name)
            assert (await account.connector.get(ticket.id)).status == ticket.status

    async def test_each_priority_comes_back_canonical(self, account: Account) -> None:
        """Every priority of the vocabulary can be written and reads back as `canonical` foretold."""
        ticket = await self.made(account)
        for priority in (await account.connector.vocabulary()).priorities:
            ticket = await account.connector.update(ticket, Changes({"priority": priority}))
            assert ticket.priority == account.connector.canonical("priority", priority)

    async def test_an_assignee_comes_and_goes(self, account: Account) -> None:
        """An active user can be assigned, and the ticket can be nobody's again."""
        users = [user for user in (await account.connector.vocabulary()).users if user.active]
        if not users:
            pytest.skip("the account has no users to assign")
        ticket = await self.made(account)
        ticket = await account.connector.update(ticket, Changes({"assignee": users[0].id}))
        assert ticket.assignee == users[0].id
        assert (await account.connector.update(ticket, Changes({"assignee": None}))).assignee is None

    async def test_a_new_ticket_takes_its_fields_along(self, account: Account) -> None:
        """A create call writes status and priority, except for those that `create_ignores` names."""
        words = await account.connector.vocabulary()
        wanted = {"status": words.statuses[-1].name, "priority": words.priorities[-1] if words.priorities else None}
        ticket = await self.made(account, **wanted)
        for name in set(wanted) - account.connector.capabilities.create_ignores:
            assert getattr(ticket, name) == account.connector.canonical(name, wanted[name]) or wanted[name] is None

    async def test_canonical_is_a_fixpoint(self, account: Account) -> None:
        """What was read back is written unchanged: `canonical` of its own result is that result."""
        words = await account.connector.vocabulary()
        canonical = account.connector.canonical
        samples = [("subject", text) for text in SUBJECTS.values()]
        samples += [("status", status.name) for status in words.statuses]
        samples += [(f"field:{known.name}", text) for known in words.fields for text in BODIES.values()]
        for name, value in samples:
            assert canonical(name, canonical(name, value)) == canonical(name, value)

    async def test_canonical_is_a_fixpoint_for_any_text(self, account: Account) -> None:
        """No text at all makes `canonical` or `canonical_tag` waver."""
        hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")

        def wavers_not(text: str) -> None:
            once = account.connector.canonical("subject", text)
            assert account.connector.canonical("subject", once) == once
            tag = account.connector.canonical_tag(text)
            assert account.connector.canonical_tag(tag) == tag

        calm = hypothesis.settings(max_examples=200, deadline=None, database=None, derandomize=True)
        calm(hypothesis.given(hypothesis.strategies.text(max_size=400))(wavers_not))()

    async def test_a_write_returns_what_the_next_read_shows(self, account: Account) -> None:
        """`create` and `update` return the ticket as read back, never as asked for."""
        created = await self.made(account, subject="  padded  ")
        assert fields_of(created) == fields_of(await account.connector.get(created.id))
        updated = await account.connector.update(created, Changes({"subject": "y" * 300}))
        assert fields_of(updated) == fields_of(await account.connector.get(created.id))

    async def test_an_update_leaves_other_fields_alone(self, account: Account) -> None:
        """Writing one field keeps what a person wrote to another one meanwhile."""
        ticket = await self.made(account)
        await skipping(account.people.edit(ticket.id, "subject", "Renamed by a person"))
        status = (await account.connector.vocabulary()).statuses[-1].name
        written = await account.connector.update(ticket, Changes({"status": status}))
        assert written.subject == "Renamed by a person"

    async def test_an_unknown_field_is_refused(self, account: Account) -> None:
        """A custom field that does not exist is Refused, and the ticket stays readable and unchanged."""
        ticket = await self.made(account)
        with pytest.raises(Refused):
            await account.connector.update(ticket, Changes({"field:No Such Field": "x"}))
        assert fields_of(await account.connector.get(ticket.id)) == fields_of(ticket)

    async def test_an_unknown_status_is_refused(self, account: Account) -> None:
        """A status that does not exist is Refused, and the ticket stays readable and unchanged."""
        ticket = await self.made(account)
        with pytest.raises(Refused):
            await account.connector.update(ticket, Changes({"status": "no such status"}))
        assert (await account.connector.get(ticket.id)).status == ticket.status

    # -- reading ------------------------------------------------------------------------------------------------

    async def test_reading_changes_nothing(self, account: Account) -> None:
        """No read moves `updated_at` or anything else of a ticket."""
        marker = self.marker()
        ticket = await self.made(account, marker)
        before = await account.connector.get(ticket.id)
        await account.connector.get_many([ticket.id])
        await self.found(account, marker)
        await self.look(account.connector, {})
        assert await account.connector.get(ticket.id) == before

    async def test_times_are_aware(self, account: Account) -> None:
        """Every stamp carries its zone, so that two accounts can be compared."""
        ticket = await account.connector.get((await self.made(account)).id)
        assert ticket.updated_at is not None
        assert ticket.updated_at.tzinfo is not None
        assert all(comment.created_at is None or comment.created_at.tzinfo for comment in ticket.comments or ())

    async def test_a_missing_ticket_is_gone(self, account: Account) -> None:
        """A ticket that was deleted is Gone to `get` and unlisted by `get_many`, which lists the others."""
        doomed, other = await self.made(account), await self.made(account)
        await self.delete(account, doomed.id)
        with pytest.raises(Gone):
            await account.connector.get(doomed.id)
        assert set(await account.connector.get_many([doomed.id, other.id])) == {other.id}

    async def delete(self, account: Account, ticket_id: str) -> None:
        """Delete by whoever can."""
        if account.connector.capabilities.delete:
            await account.connector.delete(ticket_id)
        else:
            await skipping(account.people.delete(ticket_id))

    async def test_many_are_read_at_once(self, account: Account) -> None:
        """`get_many` lists each ticket under its own id, with the fields that `get` shows."""
        tickets = [await self.made(account, subject=f"Parcel {number}") for number in range(3)]
        many = await account.connector.get_many([ticket.id for ticket in tickets])
        assert {ticket_id: ticket.subject for ticket_id, ticket in many.items()} == {
            ticket.id: ticket.subject for ticket in tickets
        }

    async def test_none_are_read_at_once(self, account: Account) -> None:
        """`get_many` of nothing is nothing, not everything."""
        assert not await account.connector.get_many([])

    # -- markers ------------------------------------------------------------------------------------------------

    async def test_find_recognises_exactly_what_was_made(self, account: Account) -> None:
        """`find` returns the ticket that carries the marker, and none for a prefix, a longer one or another case."""
        marker = self.marker()
        ticket = await self.made(account, marker)
        assert await self.found(account, marker) == [ticket.id]
        for other in (marker[:-1], marker + "0", marker.upper(), self.marker()):
            assert await self.found(account, other) == []

    async def test_find_lists_the_oldest_first(self, account: Account) -> None:
        """Two tickets with one marker, as after a lost answer, are both found in order of age."""
        marker = self.marker()
        try:
            made = [await self.made(account, marker) for _ in range(2)]
        except (VersionConflict, Refused):
            pytest.skip("the product itself keeps a marker unique")
        assert await self.found(account, marker) == [ticket.id for ticket in made]

    async def test_markers_with_odd_ids_are_found(self, account: Account) -> None:
        """A marker whose id holds colons, quotes and wildcards finds its own ticket only."""
        marker = f"{self.marker()}:a'b\"c%d_e*f"
        ticket = await self.made(account, marker)
        assert await self.found(account, marker) == [ticket.id]
        assert await self.found(account, marker.replace("_", "x").replace("%", "y")) == []

    async def test_a_ticket_reads_back_with_its_marker(self, account: Account) -> None:
        """The marker of a ticket that we made is there when it is read."""
        marker = self.marker()
        ticket = await self.made(account, marker)
        assert (await account.connector.get(ticket.id)).marker == marker

    async def test_comments_read_back_with_their_markers(self, account: Account) -> None:
        """The marker of a comment that we made is there when the ticket is read."""
        ticket = await self.made(account)
        remark = self.remark("with a marker")
        written = await account.connector.comment(ticket.id, remark, [])
        stored = next(c for c in await self.conversation(account, ticket.id) if c.id == written.comment.id)
        assert written.comment.marker == stored.marker == remark.marker

    # -- comments -----------------------------------------------------------------------------------------------

    async def conversation(self, account: Account, ticket_id: str) -> tuple[Comment, ...]:
        """The ticket's comments as read afresh."""
        comments = (await account.connector.get(ticket_id)).comments
        assert comments is not None, "get must return the whole conversation"
        return comments

    async def test_comments_keep_their_order(self, account: Account) -> None:
        """Comments read back in the order in which they were written, the opening one first."""
        ticket = await self.made(account)
        written = [(await account.connector.comment(ticket.id, self.remark(f"No. {n}"), [])).comment for n in range(4)]
        ids = [comment.id for comment in await self.conversation(account, ticket.id)]
        assert ids[-4:] == [comment.id for comment in written]
        assert len(set(ids)) == len(ids)

    @pytest.mark.parametrize("text", BODIES.values(), ids=BODIES)
    async def test_a_comments_text_comes_back(self, account: Account, text: str) -> None:
        """What people wrote is all there when it is read back, whatever markup the product has."""
        ticket = await self.made(account)
        written = (await account.connector.comment(ticket.id, self.remark(text), [])).comment
        stored = (await self.conversation(account, ticket.id))[-1]
        assert plain(text) in plain(stored.body.text)
        assert stored.body.text == written.body.text

    async def test_the_opening_comment_comes_back(self, account: Account) -> None:
        """What `create` takes along of the conversation is stored, once, with its marker."""
        if not account.connector.capabilities.comments_on_create:
            pytest.skip("create carries no comment here")
        opening = self.remark("Opening words of a customer", "source-opening")
        ticket = await self.made(account, comments=(opening,))
        stored = await self.conversation(account, ticket.id)
        assert len(stored) == 1
        assert plain(opening.body.text) in plain(stored[0].body.text)

    async def test_comments_name_their_author(self, account: Account) -> None:
        """A comment shows who wrote it: as its author, or in a line of its text."""
        ticket = await self.made(account)
        await account.connector.comment(ticket.id, self.remark("Who wrote this?"), [])
        stored = (await self.conversation(account, ticket.id))[-1]
        author = stored.author.name if stored.author else ""
        assert "Carla Customer" in (author, *stored.body.text.splitlines()) or "Carla" in stored.body.text

    async def test_private_comments_never_come_back_public(self, account: Account) -> None:
        """A private comment stays private; a product that has none refuses it."""
        ticket = await self.made(account)
        before = await self.conversation(account, ticket.id)
        remark = self.remark("For colleagues only", private=True)
        if not account.connector.capabilities.private:
            with pytest.raises(Refused):
                await account.connector.comment(ticket.id, remark, [])
            assert await self.conversation(account, ticket.id) == before
            return
        written = await account.connector.comment(ticket.id, remark, [])
        assert written.comment.private
        assert (await self.conversation(account, ticket.id))[-1].private

    async def test_a_persons_comment_is_read(self, account: Account) -> None:
        """What somebody writes in the product is read with its text and privacy, and carries no marker of ours."""
        ticket = await self.made(account)
        comment_id = await skipping(account.people.say(ticket.id, "Written by a person"))
        stored = next(c for c in await self.conversation(account, ticket.id) if c.id == comment_id)
        assert plain(stored.body.text) == "Written by a person"
        assert not stored.private
        assert stored.marker is None

    async def test_a_comment_on_a_missing_ticket_is_gone(self, account: Account) -> None:
        """A comment for a ticket that was deleted raises Gone."""
        ticket = await self.made(account)
        await self.delete(account, ticket.id)
        with pytest.raises(Gone):
            await account.connector.comment(ticket.id, self.remark("too late"), [])

    async def test_an_edited_comment_comes_back(self, account: Account) -> None:
        """An edit replaces the body of that one comment, which keeps its id, place, privacy and marker."""
        if not account.connector.capabilities.edits:
            pytest.skip("comments cannot be edited here")
        ticket = await self.made(account)
        first = (await account.connector.comment(ticket.id, self.remark("first"), [])).comment
        second = (await account.connector.comment(ticket.id, self.remark("second"), [])).comment
        edited = await account.connector.edit_comment(ticket.id, replace(first, body=Body("first, corrected")))
        stored = await self.conversation(account, ticket.id)
        assert [comment.id for comment in stored[-2:]] == [first.id, second.id]
        assert "first, corrected" in edited.body.text
        assert stored[-2].body.text == edited.body.text
        assert (stored[-2].private, stored[-2].marker) == (first.private, first.marker)
        assert stored[-1] == second

    # -- tags ---------------------------------------------------------------------------------------------------

    async def test_tags_are_added_and_removed_one_by_one(self, account: Account) -> None:
        """Tags change element by element, even when the ticket at hand is an old reading."""
        connector = account.connector
        if not connector.capabilities.tags:
            pytest.skip("the product has no tags")
        old = await self.made(account)
        await connector.update(old, Changes(add_tags=frozenset({"urgent", "VIP"})))
        ticket = await connector.update(old, Changes(add_tags=frozenset({"late parcel"})))
        assert ticket.tags == set(map(connector.canonical_tag, ("urgent", "VIP", "late parcel")))
        ticket = await connector.update(ticket, Changes(remove_tags=frozenset({connector.canonical_tag("VIP")})))
        assert ticket.tags == set(map(connector.canonical_tag, ("urgent", "late parcel")))

    async def test_tags_are_idempotent(self, account: Account) -> None:
        """Adding a tag that is there, or removing one that is not, is fine and changes nothing."""
        if not account.connector.capabilities.tags:
            pytest.skip("the product has no tags")
        ticket = await self.made(account)
        for _ in range(2):
            ticket = await account.connector.update(
                ticket, Changes(add_tags=frozenset({"urgent"}), remove_tags=frozenset({"absent"}))
            )
        assert ticket.tags == {account.connector.canonical_tag("urgent")}

    # -- attachments --------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("file_name", FILE_NAMES)
    async def test_files_come_back_byte_by_byte(self, account: Account, tmp_path: Path, file_name: str) -> None:
        """A file of a comment downloads as it was, whatever it is called, and its name leads nowhere."""
        stored = await self.upload(account, tmp_path, [(file_name, bytes(range(256)) * 300)])
        assert await self.digests(account, stored) == [hashlib.sha256(bytes(range(256)) * 300).hexdigest()]
        assert stored.attachments[0].file_name
        assert "/" not in stored.attachments[0].file_name

    async def test_the_same_bytes_twice_are_two_files(self, account: Account, tmp_path: Path) -> None:
        """Two files with one content, and an empty one beside them, are all kept."""
        files = [("one.txt", b"same"), ("two.txt", b"same"), ("other.txt", b"\x00")]
        stored = await self.upload(account, tmp_path, files)
        expected = sorted(hashlib.sha256(content).hexdigest() for _, content in files)
        assert sorted(await self.digests(account, stored)) == expected

    async def upload(self, account: Account, folder: Path, files: list[tuple[str, bytes]]) -> Comment:
        """A comment with these files, as read back."""
        if not account.connector.capabilities.attachments:
            pytest.skip("the product has no attachments")
        ticket = await self.made(account)
        uploads = [upload_of(folder / f"upload-{number}", *file) for number, file in enumerate(files)]
        await account.connector.comment(ticket.id, self.remark("see the files"), uploads)
        return (await self.conversation(account, ticket.id))[-1]

    async def digests(self, account: Account, comment: Comment) -> list[str]:
        """The sha256 of each file of the comment, as downloaded."""
        digests = []
        for attachment in comment.attachments:
            digest = hashlib.sha256()
            async for chunk in account.connector.download(attachment):
                digest.update(chunk)
            digests.append(digest.hexdigest())
        return digests

    # -- change feeds -------------------------------------------------------------------------------------------

    async def test_a_new_ticket_appears_in_the_feed(self, account: Account) -> None:
        """What we make is shown, and with its marker where the feed carries the ticket itself."""
        cursors: dict[str, str] = {}
        await self.look(account.connector, cursors)
        marker = self.marker()
        ticket = await self.made(account, marker)
        change = await self.appears(account, ticket.id, cursors)
        assert change.row is None or change.row.marker == marker

    async def test_a_persons_ticket_appears_in_the_feed(self, account: Account) -> None:
        """What somebody opens in the product is shown and can be read."""
        cursors: dict[str, str] = {}
        await self.look(account.connector, cursors)
        ticket_id = await skipping(account.people.create("Opened by a person", "Where is my parcel?"))
        await self.appears(account, ticket_id, cursors)
        ticket = await account.connector.get(ticket_id)
        assert (ticket.subject, ticket.marker) == ("Opened by a person", None)
        assert any("Where is my parcel?" in comment.body.text for comment in ticket.comments or ())

    @pytest.mark.parametrize(
        "kind", ["subject", "status", "comment", "private comment", "comment-edit", "comment-delete"]
    )
    async def test_every_kind_of_change_appears_in_the_feed(self, account: Account, kind: str) -> None:
        """Whatever a person does to a ticket is shown, unless `capabilities.invisible` says that it is not."""
        if kind in account.connector.capabilities.invisible:
            pytest.skip(f"{kind} is declared invisible: the sweep finds it")
        ticket = await self.made(account)
        comment_id = await skipping(account.people.say(ticket.id, "Written by a person"))
        cursors: dict[str, str] = {}
        await account.people.wait(account.connector.capabilities.resolution)
        await self.appears(account, ticket.id, cursors)
        await self.look(account.connector, cursors)
        await account.people.wait(account.connector.capabilities.resolution)
        await skipping(self.act(account, kind, ticket.id, comment_id))
        await self.appears(account, ticket.id, cursors)

    async def act(self, account: Account, kind: str, ticket_id: str, comment_id: str) -> None:
        """Let a person do one thing."""
        if kind == "subject":
            await account.people.edit(ticket_id, "subject", "Renamed by a person")
        elif kind == "status":
            status = (await account.connector.vocabulary()).statuses[-1].name
            await account.people.edit(ticket_id, "status", status)
        elif kind == "comment-edit":
            await account.people.edit_comment(ticket_id, comment_id, "Corrected by a person")
        elif kind == "comment-delete":
            await account.people.delete_comment(ticket_id, comment_id)
        else:
            await account.people.say(ticket_id, "One more", private=kind == "private comment")

    async def test_our_own_writes_appear_in_the_feed(self, account: Account) -> None:
        """An update and a comment of ours are shown: people may share our account, so nothing is filtered by author."""
        ticket = await self.made(account)
        cursors: dict[str, str] = {}
        await self.appears(account, ticket.id, cursors)
        await self.look(account.connector, cursors)
        await account.people.wait(account.connector.capabilities.resolution)
        await account.connector.update(ticket, Changes({"subject": "Renamed by us"}))
        await self.appears(account, ticket.id, cursors)

    async def test_nothing_is_lost_across_pages(self, account: Account) -> None:
        """A first load shows every ticket although rows move from page to page while it runs."""
        ids = await self.crowd(account)
        shown: set[str] = set()
        cursors: dict[str, str] = {}
        moves = 4  # of two rows each: more would keep the feed alive for ever
        for stream in account.connector.streams:
            async for page in account.connector.changes(stream, None):
                shown.update(change.id for change in page.changes)
                cursors[stream] = page.cursor
                for ticket_id in (ids[0], ids[-1]) if moves > 0 else ():
                    await skipping(account.people.edit(ticket_id, "subject", f"Moved {moves}"))
                moves -= 1
        await account.people.wait(self.patience)
        shown.update(change.id for change in await self.look(account.connector, cursors))
        assert set(ids) <= shown

    async def crowd(self, account: Account) -> list[str]:
        """More tickets than a page shows, made once for each account."""
        return [(await self.made(account, subject=f"No. {n}")).id for n in range(self.beyond_a_page)]

    async def test_a_page_can_be_the_last_one_read(self, account: Account) -> None:
        """A reader that dies after some pages and goes on from the last cursor misses nothing."""
        ids = await self.crowd(account)
        shown: set[str] = set()
        cursors: dict[str, str] = {}
        for stream in account.connector.streams:
            for _ in range(3):
                page = await first_page(account.connector, stream, cursors.get(stream))
                if page is not None:
                    shown.update(change.id for change in page.changes)
                    cursors[stream] = page.cursor
        shown.update(change.id for change in await self.look(account.connector, cursors))
        assert set(ids) <= shown

    async def test_an_old_cursor_still_works(self, account: Account) -> None:
        """Reading again from an earlier cursor shows everything since then once more."""
        cursors: dict[str, str] = {}
        await self.appears(account, (await self.made(account)).id, cursors)
        old = dict(cursors)
        await account.people.wait(account.connector.capabilities.resolution)
        tickets = [await self.made(account) for _ in range(3)]
        for ticket in tickets:
            await self.appears(account, ticket.id, dict(old))
        await self.look(account.connector, cursors)
        again = {change.id for change in await self.look(account.connector, dict(old))}
        assert {ticket.id for ticket in tickets} <= again

    async def test_a_quiet_feed_comes_to_an_end(self, account: Account) -> None:
        """Read twice with nothing happening between, a feed ends and its cursor stands still."""
        cursors: dict[str, str] = {}
        await self.appears(account, (await self.made(account)).id, cursors)
        await self.look(account.connector, cursors)
        first = dict(cursors)
        await self.look(account.connector, cursors)
        assert cursors == first

    # -- ending -------------------------------------------------------------------------------------------------

    async def test_delete_is_idempotent(self, account: Account) -> None:
        """Deleting a ticket twice is fine."""
        if not account.connector.capabilities.delete:
            pytest.skip("tickets cannot be deleted here")
        ticket = await self.made(account)
        await account.connector.delete(ticket.id)
        await account.connector.delete(ticket.id)

    async def test_cancellation_leaves_the_session_usable(self, account: Account) -> None:
        """A call that is cancelled in the middle does not spoil the next ones."""
        ticket = await self.made(account)
        for rounds in range(4):
            call = asyncio.ensure_future(account.connector.get(ticket.id))
            for _ in range(rounds):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        assert (await account.connector.get(ticket.id)).id == ticket.id

    async def test_a_forged_hook_hints_nothing(self, account: Account) -> None:
        """A call that anybody could have made names no ticket."""
        ticket = await self.made(account)
        for body in (b"", b"{}", b"[]", b"\xff", f'{{"ticket": "{ticket.id}", "id": "{ticket.id}"}}'.encode()):
            assert not list(account.connector.hinted({"X-Signature": "forged"}, body) or ())

    async def test_the_account_checks_itself(self, account: Account) -> None:
        """`check` looks at something, and says what to do about whatever is not fine."""
        findings = await account.connector.check()
        assert findings
        assert all(finding.ok or finding.hint for finding in findings)

    async def test_tickets_have_names(self, account: Account) -> None:
        """`label` names a ticket so that a person can find it."""
        ticket = await self.made(account)
        assert re.search(re.escape(ticket.id), account.connector.label(ticket.id))


async def first_page(connector: Connector, stream: str, cursor: str | None) -> Page | None:
    """One page of a feed, whose reader then goes away."""
    async with aclosing(connector.changes(stream, cursor)) as pages:  # type: ignore[type-var]
        async for page in pages:
            return page
    return None


def upload_of(path: Path, file_name: str, content: bytes) -> Upload:
    """A file on disk as the engine hands it over."""
    path.write_bytes(content)
    return Upload(path, file_name, "application/octet-stream", len(content), hashlib.sha256(content).hexdigest())


def fields_of(ticket: Ticket) -> tuple[Any, ...]:
    """What a write may change of a ticket."""
    return ticket.subject, ticket.status, ticket.priority, ticket.assignee, ticket.team, ticket.tags, ticket.fields


def plain(text: str) -> str:
    """The words of a text: without NUL, and each space as one."""
    return " ".join(text.replace("\x00", "").split())
