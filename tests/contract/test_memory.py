"""The reference connector holds the contract, plainly and with each of the desk's oddities."""

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest_asyncio

from connectors.desk import Desk
from connectors.memory import MemoryConfig, MemoryConnector
from syncd.model import Side
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
