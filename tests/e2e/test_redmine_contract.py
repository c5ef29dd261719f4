"""The Redmine connector holds the contract against a real Redmine 5.

Uses the server at SYNCD_REDMINE_URL with SYNCD_REDMINE_KEY (an administrator's), or starts one of its own with
`tests/servers/redmine-up.sh`, which needs Debian's packages; without either, it is skipped.
"""

import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from connectors.redmine import RedmineConnector
from connectors.redmine.config import RedmineConfig
from syncd.model import Side
from syncd.testing import Account, ConnectorContract, People

SERVERS = Path(__file__).parents[1] / "servers"
PORT = os.environ.get("SYNCD_REDMINE_PORT", "3121")


@pytest.fixture(scope="session")
def server() -> Iterator[dict[str, Any]]:
    """The URL and the key of a Redmine."""
    if "SYNCD_REDMINE_URL" in os.environ:
        yield {"url": os.environ["SYNCD_REDMINE_URL"], "api_key": os.environ["SYNCD_REDMINE_KEY"]}
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.skip("set SYNCD_REDMINE_URL and SYNCD_REDMINE_KEY, or run as root on Debian to start a Redmine here")
    up = subprocess.run([SERVERS / "redmine-up.sh", PORT], capture_output=True, text=True, check=False)
    if up.returncode:
        pytest.skip(f"Redmine does not start here: {up.stderr.strip().splitlines()[-1]}")
    yield json.loads(up.stdout.splitlines()[-1])
    subprocess.run([SERVERS / "redmine-down.sh", PORT, "--purge"], capture_output=True, check=True)


@dataclasses.dataclass
class RedminePeople(People):
    """An administrator who uses the same API beside us."""

    url: str
    key: str

    async def call(self, method: str, path: str, **body: Any) -> Any:
        headers = {"X-Redmine-API-Key": self.key}
        async with aiohttp.ClientSession(headers=headers) as session, session.request(
            method, self.url + path, json=body or None
        ) as response:
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


class TestRedmine(ConnectorContract):
    """A project of a Redmine, with an administrator's key."""

    @pytest_asyncio.fixture(loop_scope="session", scope="session")
    async def account(self, server: dict[str, Any]) -> AsyncIterator[Account]:
        config = RedmineConfig(url=server["url"], api_key=server["api_key"], project="support", tracker="Support")
        async with RedmineConnector.open(config, Side.REMOTE, "contract") as connector:
            yield Account(connector, RedminePeople(server["url"], server["api_key"]))
