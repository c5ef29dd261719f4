# ruff: noqa: S101 (a test asserts)
"""What the suite works on: an open account, people beside it, and the words that the tests share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from syncd.connector import Change, Connector
from syncd.model import Body, Comment, Marker, Person, Side, Ticket

T = TypeVar("T")


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

    async def see(self, ticket_id: str, comment_id: str) -> str:
        """All that a person sees of a comment: who wrote it, and what."""
        raise NotImplementedError("people cannot look at a comment here")

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


class Suite:
    """The fixture that a connector's author overrides, and the words in which the tests are written."""

    #: More tickets than one page of any feed shows.
    beyond_a_page = 105
    #: How long, in seconds, a change may take to appear in a feed.
    patience = 5.0

    @pytest_asyncio.fixture
    async def account(self) -> AsyncIterator[Account]:
        """The account to test, opened afresh for each test or shared: the suite makes its own tickets."""
        raise NotImplementedError("override the fixture `account`")
        yield

    _made = 0

    def marker(self) -> str:
        """A marker that nothing else carries."""
        Suite._made += 1
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
        return Comment(comment_id, Body(text), author, private, datetime.now(UTC), marker=self.marker())

    async def look(self, connector: Connector, cursors: dict[str, str]) -> list[Change]:
        """Every change since `cursors`, which move on."""
        found: list[Change] = []
        for stream in connector.streams:
            async for page in connector.changes(stream, cursors.get(stream)):
                found += [await named(connector, change) for change in page.changes]
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

    async def delete(self, account: Account, ticket_id: str) -> None:
        """Delete by whoever can."""
        if account.connector.capabilities.delete:
            await account.connector.delete(ticket_id)
        else:
            await skipping(account.people.delete(ticket_id))

    async def conversation(self, account: Account, ticket_id: str) -> tuple[Comment, ...]:
        """The ticket's comments as read afresh."""
        comments = (await account.connector.get(ticket_id)).comments
        assert comments is not None, "get must return the whole conversation"
        return comments


async def named(connector: Connector, change: Change) -> Change:
    """The change with its ticket's id, where the feed gives no more than a comment's."""
    if change.id:
        return change
    assert change.comment, "a change names its ticket, or a comment of it"
    return replace(change, id=await connector.ticket_of(change.comment) or "")


def fields_of(ticket: Ticket) -> tuple[Any, ...]:
    """What a write may change of a ticket."""
    return ticket.subject, ticket.status, ticket.priority, ticket.assignee, ticket.team, ticket.tags, ticket.fields


def plain(text: str) -> str:
    """The words of a text: without NUL, and each space as one."""
    return " ".join(text.replace("\x00", "").split())
