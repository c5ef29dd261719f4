"""A shop that works in Redmine: a fake server, people beside syncd over the same API, and connectors to it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
from aiohttp.test_utils import TestServer

from connectors.redmine import RedmineConnector
from connectors.redmine.config import RedmineConfig
from syncd.model import Side
from syncd.testing import People
from tests.fakes.redmine import Redmine
from tests.fakes.redmine_words import ADMIN


@dataclass
class RedminePeople(People):
    """An administrator who uses the same API beside us."""

    url: str
    key: str
    #: Moves the clock of a fake; a real server's moves by itself.
    move: Callable[[float], None] | None = None

    async def call(self, method: str, path: str, **body: Any) -> Any:
        headers = {"X-Redmine-API-Key": self.key}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, self.url + path, json=body or None) as response,
        ):
            response.raise_for_status()
            return await response.json() if response.status in {200, 201} else None

    async def create(self, subject: str, text: str) -> str:
        issue = {"project_id": "support", "subject": subject, "description": text}
        return str((await self.call("POST", "/issues.json", issue=issue))["issue"]["id"])

    async def edit(self, ticket_id: str, name: str, value: str) -> None:
        body: dict[str, Any] = {name: value}
        if name == "status":
            statuses = (await self.call("GET", "/issue_statuses.json"))["issue_statuses"]
            body = {"status_id": next(row["id"] for row in statuses if row["name"] == value)}
        await self.call("PUT", f"/issues/{ticket_id}.json", issue=body)

    async def say(self, ticket_id: str, text: str, *, private: bool = False) -> str:
        await self.call("PUT", f"/issues/{ticket_id}.json", issue={"notes": text, "private_notes": private})
        issue = (await self.call("GET", f"/issues/{ticket_id}.json?include=journals"))["issue"]
        return str(max(row["id"] for row in issue["journals"]))

    async def edit_comment(self, ticket_id: str, comment_id: str, text: str) -> None:
        await self.call("PUT", f"/journals/{comment_id}.json", journal={"notes": text})

    async def delete_comment(self, ticket_id: str, comment_id: str) -> None:
        await self.call("PUT", f"/journals/{comment_id}.json", journal={"notes": ""})

    async def delete(self, ticket_id: str) -> None:
        await self.call("DELETE", f"/issues/{ticket_id}.json")

    async def wait(self, seconds: float) -> None:
        if self.move:
            self.move(seconds)
        else:
            await super().wait(seconds)


def config(url: str, **options: Any) -> RedmineConfig:
    """A configuration for a server."""
    return RedmineConfig(**{"url": url, "api_key": ADMIN, "project": "support", "tracker": "Support", **options})


@dataclass
class Shop:
    """A fake server with its address, and connectors to it."""

    redmine: Redmine
    url: str

    def calls(self) -> dict[str, int]:
        """What was called since the last time this was asked."""
        made = dict(self.redmine.calls)
        self.redmine.calls.clear()
        return made

    def people(self, key: str = ADMIN) -> RedminePeople:
        return RedminePeople(self.url, key, self.move)

    def move(self, seconds: float) -> None:
        self.redmine.ahead += timedelta(seconds=seconds)

    def connect(self, key: str = ADMIN, **options: Any) -> AbstractAsyncContextManager[RedmineConnector]:
        return RedmineConnector.open(config(self.url, api_key=key, **options), Side.REMOTE, "contract")


@asynccontextmanager
async def served() -> AsyncIterator[Shop]:
    """A fresh fake server."""
    redmine = Redmine()
    async with TestServer(redmine.app()) as server:
        yield Shop(redmine, str(server.make_url("")).rstrip("/"))
