"""The trackers that the benchmark can run against: a real Roundup, a real Redmine, or a fake one in memory."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from syncd.demo.roundup_tracker import roundup_server
from tests.e2e.servers import redmine
from tests.fakes.redmine_words import ADMIN


@dataclass(frozen=True)
class Tracker:
    """A fresh tracker: where it is, the table `[remote]` for it (with its URL to be filled in), and its credentials."""

    url: str
    table: str
    headers: dict[str, str]

    def remote(self, url: str) -> str:
        """The table `[remote]`, reached by this address."""
        return self.table.replace("URL", url)


@asynccontextmanager
async def tracker(kind: str) -> AsyncIterator[Tracker]:
    """A fresh tracker of this kind."""
    if kind == "roundup":
        with tempfile.TemporaryDirectory(prefix="syncd-bench-") as folder:
            async with roundup_server(Path(folder) / "tracker") as server:
                yield _roundup(server.url, server.user, server.password)
    elif kind == "redmine":
        with redmine() as started:
            yield _redmine(started.url, started.key)
    else:
        yield _redmine("fake", ADMIN)


def _redmine(url: str, key: str) -> Tracker:
    table = f'connector = "redmine"\nurl = "URL"\napi_key = "{key}"\nproject = "support"\ntracker = "Support"'
    return Tracker(url, table, {"X-Redmine-API-Key": key})


def _roundup(url: str, user: str, password: str) -> Tracker:
    origin = url.rstrip("/")
    table = f'connector = "roundup"\nurl = "URL"\norigin = "{origin}"\nuser = "{user}"\npassword = "{password}"'
    return Tracker(url, table, {"Authorization": aiohttp.BasicAuth(user, password).encode()})
