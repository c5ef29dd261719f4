"""The reference connector holds the contract, plainly and with each of the desk's oddities."""

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from connectors.desk import Desk
from connectors.memory import SIGNATURE, MemoryConfig, MemoryConnector, signed
from syncd.connector import Changes
from syncd.errors import Moved, OutcomeUnknown, Refused, VersionConflict
from syncd.model import Side, Ticket
from syncd.testing import Account, ConnectorContract, People


class Clock:
    """A clock that stands still until somebody waits."""

    def __init__(self) -> None:
        self.time = datetime(2026, 5, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


@dataclasses.dataclass
class DeskPeople(People):
    """People who use the desk's own pages."""

    desk: Desk
    clock: Clock

    async def create(self, subject: str, text: str) -> str:
        return self.desk.add_ticket(subject, text)

    async def edit(self, ticket_id: str, name: str, value: str) -> None:
        self.desk.edit(ticket_id, **{name: value})

    async def say(self, ticket_id: str, text: str, *, private: bool = False) -> str:
        return self.desk.say(ticket_id, text, private=private)

    async def see(self, ticket_id: str, comment_id: str) -> str:
        comment = next(comment for comment in self.desk.conversation(ticket_id) if comment.id == comment_id)
        return f"{comment.author}: {comment.body.text}"

    async def edit_comment(self, ticket_id: str, comment_id: str, text: str) -> None:
        self.desk.edit_comment(ticket_id, comment_id, text)

    async def delete_comment(self, ticket_id: str, comment_id: str) -> None:
        self.desk.delete_comment(ticket_id, comment_id)

    async def delete(self, ticket_id: str) -> None:
        self.desk.delete(ticket_id)

    async def wait(self, seconds: float) -> None:
        self.clock.time += timedelta(seconds=seconds)


class TestMemory(ConnectorContract):
    """A desk without oddities."""

    options: ClassVar[dict[str, Any]] = {}

    @pytest_asyncio.fixture
    async def account(self) -> AsyncIterator[Account]:
        Desk.forget_all()
        clock = Clock()
        desk = Desk.named("contract", now=clock, **self.options)
        async with MemoryConnector.open(MemoryConfig(desk="contract"), Side.REMOTE, "test") as connector:
            yield Account(connector, DeskPeople(desk, clock))


class TestOddMemory(TestMemory):
    """A desk with every oddity at once: coarse stamps, late changes, slow index, short rows, tiny pages."""

    options: ClassVar[dict[str, Any]] = {
        "resolution": 1.0,
        "index_lag": 10.0,
        "late": 3.0,
        "skew": 90.0,
        "page_size": 7,
        "short_rows": True,
        "nameless": True,
        "reuses_uploads": True,
        "comments_on_create": 0,
        "create_ignores": frozenset({"status"}),
        "subject_limit": 40,
        "lower_tags": True,
        "aliases": {"pending": "open"},
        "private": False,
        "invisible": frozenset({"comment-edit", "comment-delete"}),
    }
    beyond_a_page = 25


def opened(**options: Any) -> tuple[Desk, MemoryConnector]:
    """A desk of its own, and a connector to it."""
    desk = Desk("own", now=Clock(), **options)
    config = MemoryConfig(desk="own", hook_secret="hook secret")
    return desk, MemoryConnector(desk, Side.REMOTE, "test", config)


@pytest.mark.parametrize(("moment", "made"), [("before", 0), ("after", 1)])
async def test_a_fault_strikes_before_or_after_the_effect(moment: str, made: int) -> None:
    """A hook that raises before a call prevents its effect; one that raises after it loses the answer only."""
    desk, connector = opened()

    async def fault(method: str, when: str) -> None:
        if (method, when) == ("create", moment):
            raise OutcomeUnknown("the line went dead")

    desk.fault = fault
    with pytest.raises(OutcomeUnknown):
        await connector.create(Ticket("1", "A parcel is lost"), "syncd:w:gorgias:1", {})
    assert len(desk.tickets) == made
    assert desk.calls["create"] == 1


async def test_a_hook_can_act_between_our_read_and_our_write() -> None:
    """A conditional desk refuses an update that was made of an old version."""
    desk, connector = opened(conditional=True)
    ticket = await connector.get(desk.add_ticket("A parcel is lost"))
    desk.edit(ticket.id, status="pending")
    with pytest.raises(VersionConflict):
        await connector.update(ticket, Changes({"status": "closed"}))
    assert (await connector.get(ticket.id)).status == "pending"


async def test_a_merged_ticket_has_moved() -> None:
    """A merged ticket leads to the one that has its comments now, and is not listed any more."""
    desk, connector = opened()
    old, new = desk.add_ticket("A parcel is lost", "first"), desk.add_ticket("Where is it?", "second")
    desk.merge(old, new)
    with pytest.raises(Moved) as moved:
        await connector.get(old)
    assert moved.value.to == new
    assert [comment.body.text for comment in (await connector.get(new)).comments or ()] == ["second", "first"]
    assert set(await connector.get_many([old, new])) == {new}


async def test_late_changes_come_out_of_order_and_are_not_lost() -> None:
    """What a person did before our own write is shown after it, and the cursor has not passed it."""
    desk, connector = opened(late=30.0)
    theirs = desk.add_ticket("Opened by a person")
    ours = await connector.create(Ticket("1", "Made by us"), "syncd:w:gorgias:1", {})
    pages = [page async for page in connector.changes("updates", None)]
    assert {change.id for page in pages for change in page.changes} == {ours.id}
    desk.now.time += timedelta(seconds=31)
    later = [page async for page in connector.changes("updates", pages[-1].cursor)]
    assert theirs in {change.id for page in later for change in page.changes}


async def test_writing_the_same_again_is_no_change() -> None:
    """A write that changes nothing leaves no trace, and a field's time is that of its own change."""
    desk, connector = opened()
    ticket = await connector.get(desk.add_ticket("A parcel is lost", status="pending"))
    lines = len(desk.log)
    assert await connector.update(ticket, Changes({"status": "pending"})) == ticket
    assert len(desk.log) == lines
    renamed = await connector.update(ticket, Changes({"subject": "Found", "status": "pending"}))
    assert renamed.times["status"] == ticket.times["status"] < renamed.times["subject"]


def test_a_signed_hook_names_its_ticket() -> None:
    """A hook with the secret's signature hints; with another one, or without, it does not."""
    _, connector = opened()
    body = b'{"ticket": 7}'
    assert connector.hinted({SIGNATURE: signed("hook secret", body)}, body) == ["7"]
    assert connector.hinted({SIGNATURE: signed("hook secret", b"[]")}, b"[]") == []
    assert connector.hinted({SIGNATURE: signed("another", body)}, body) is None
    assert connector.hinted({}, body) is None


async def test_a_desk_is_shared_by_its_name() -> None:
    """Two connectors that name one desk see one another's tickets."""
    Desk.forget_all()
    config = MemoryConfig(desk="shared")
    async with (
        MemoryConnector.open(config, Side.GORGIAS, "a") as one,
        MemoryConnector.open(config, Side.REMOTE, "b") as other,
    ):
        ticket = await one.create(Ticket("1", "A parcel is lost"), "syncd:w:gorgias:1", {})
        assert (await other.get(ticket.id)).subject == "A parcel is lost"
    assert Desk.named("shared").tickets
    Desk.forget_all()
    assert not Desk.named("shared").tickets


async def test_a_refused_create_makes_nothing() -> None:
    """A new ticket with a status that the desk does not know is Refused, and leaves no trace."""
    desk, connector = opened()
    with pytest.raises(Refused):
        await connector.create(Ticket("1", "A parcel is lost", status="no such status"), "syncd:w:gorgias:1", {})
    assert not desk.tickets
    assert not desk.log
