"""The Roundup connector holds the contract against a real Roundup, and makes our errors of broken answers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
import pytest_asyncio

from connectors.roundup import RoundupConnector
from connectors.roundup.config import RoundupConfig
from connectors.roundup.tracker import Tracker, explain
from syncd.demo.roundup_tracker import RoundupServer, roundup_server
from syncd.http import Transport
from syncd.model import Side
from syncd.testing import Account, ConnectorContract, People

FIELDS = {"severity": "string", "points": "number", "billable": "boolean", "due": "date"}


@pytest_asyncio.fixture(scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RoundupServer]:
    """One tracker for all tests of this session: each makes its own issues."""
    async with roundup_server(tmp_path_factory.mktemp("roundup") / "tracker") as running:
        yield running


def config_of(server: RoundupServer, user: str | None = None, **options: object) -> RoundupConfig:
    """The configuration of an account of this tracker."""
    values = {"url": server.url, "user": user or server.user, "password": server.password, "fields": FIELDS}
    return RoundupConfig.model_validate({**values, **options})


@dataclass
class TrackerPeople(People):
    """Alice, by the REST API: her web pages write the same items in the same way."""

    tracker: Tracker

    async def create(self, subject: str, text: str) -> str:
        return await self.tracker.make("issue", {"title": subject, "messages": [await self._message(text)]})

    async def edit(self, ticket_id: str, name: str, value: str) -> None:
        issue = await self.tracker.issue(ticket_id)
        await self.tracker.patch("issue", issue, {{"subject": "title"}.get(name, name): value})

    async def say(self, ticket_id: str, text: str, *, private: bool = False) -> str:
        message = await self._message(text, private=private)
        issue = await self.tracker.issue(ticket_id)
        linked = [*(link["id"] for link in issue["messages"]), message]
        await self.tracker.patch("issue", issue, {"messages": linked})
        return message

    async def edit_comment(self, ticket_id: str, comment_id: str, text: str) -> None:
        await self.tracker.patch("msg", await self.tracker.item("msg", comment_id), {"content": text})

    async def _message(self, text: str, *, private: bool = False) -> str:
        values = {"content": text, "author": "alice", "date": ".", "private": str(private)}
        return await self.tracker.make("msg", values)


class TestRoundup(ConnectorContract):
    """The connector of the demo's tracker."""

    patience = 2.0
    crowds: dict[str, list[str]] = {}  # noqa: RUF012 (one for each tracker)

    @pytest_asyncio.fixture
    async def account(self, server: RoundupServer) -> AsyncIterator[Account]:
        headers = {"X-Requested-With": "tests", "Origin": server.url.rstrip("/")}
        headers["Authorization"] = aiohttp.encode_basic_auth("alice", server.password)
        alice = Transport(server.url + "rest", "alice", headers=headers, explain=explain)
        async with alice, RoundupConnector.open(config_of(server), Side.REMOTE, "test") as connector:
            yield Account(connector, TrackerPeople(Tracker(alice, config_of(server, "alice"))))

    async def crowd(self, account: Account) -> list[str]:
        url = account.connector.base  # type: ignore[attr-defined]
        if url not in self.crowds:
            tracker = account.people.tracker  # type: ignore[attr-defined]
            self.crowds[url] = [await tracker.make("issue", {"title": f"No. {n}"}) for n in range(self.beyond_a_page)]
        return self.crowds[url]
