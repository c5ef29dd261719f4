"""A Gorgias sandbox and a real Redmine, each behind a proxy, people on both sides, and `syncd run` as a process."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from connectors.gorgias.sandbox import Options, Sandbox
from syncd.model import Side
from tests.e2e.servers import RedmineServer
from tests.e2e.town import AGENTS, Town, severity_field
from tests.processes.command import Command, Process
from tests.processes.shop import CONFIG
from tests.storms.kinds import KINDS
from tests.storms.proxy import GORGIAS, REDMINE, Proxy, Storm

#: Seconds until both sides are equal again, at the most, on a machine that has other things to do.
PATIENCE = 300.0


@dataclass
class Coast:
    """The town, its weather, and one process at a time."""

    town: Town
    command: Command
    proxies: dict[Side, Proxy]
    config: Path
    rng: random.Random = field(default_factory=lambda: random.Random(11))
    process: Process | None = None

    async def start(self, *flags: str, **options: Any) -> Process:
        """Begin `syncd run`."""
        self.process = await self.command.start("run", *flags, str(self.config), **options)
        return self.process

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the process a signal, and wait for its end."""
        assert self.process is not None
        self.process.send(number)
        return await self.process.wait()

    async def edits(self, number: int) -> None:
        """So many things are done on each side."""
        town, issues = self.town, await self.issue_ids()
        for _ in range(number):
            town.gorgias_edit(self.rng.choice(list(town.sandbox.tickets.rows)))
            await town.redmine_edit(self.rng.choice(issues))

    async def rename(self, rid: int, subject: str) -> None:
        """Somebody gives an issue another subject."""
        key = self.town.redmine.key_of("alice")
        await self.town.call("PUT", f"/issues/{rid}.json", {"issue": {"subject": subject}}, key=key)

    async def pairs(self) -> dict[int, int]:
        """Which issue is the copy of which ticket, by the marker that it bears."""
        marked = {}
        for issue in await self.town.issues():
            marker = next((f["value"] for f in issue["custom_fields"] if f["name"] == "External ID"), "") or ""
            if marker.startswith("syncd:acme:gorgias:"):
                marked[int(marker.rpartition(":")[2])] = int(issue["id"])
        return marked

    async def issue_ids(self) -> list[int]:
        """The newest hundred issues."""
        query = "/issues.json?status_id=*&project_id=support&limit=100&sort=id:desc"
        return [issue["id"] for issue in (await self.town.call("GET", query))["issues"]]

    async def equal(self) -> list[str]:
        """What still differs after a long time; empty as soon as nothing does."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        while (wrong := await self.town.differences()) and loop.time() < until:
            await asyncio.sleep(1)
        return wrong

    def storm(self, side: Side, *kinds: str, **options: Any) -> Storm:
        """Let a storm blow over one side from now on."""
        made = Storm(kinds, **options)
        self.proxies[side].storm = made
        return made

    def calm(self) -> None:
        """No storm any more."""
        for proxy in self.proxies.values():
            proxy.storm = None

    async def ends_well(self) -> None:
        """The process that runs brings both sides into step, writes nothing more, and ends in good order."""
        assert self.process is not None
        wrong = await self.equal()
        assert wrong == [], self.process.err[-3000:]
        assert await self.writes() == 0
        assert await self.end() == 0, self.process.err[-3000:]
        assert "Traceback" not in self.process.err
        assert [proxy.strayed for proxy in self.proxies.values()] == [[], []]

    async def writes(self, passes: int = 3) -> int:
        """How many writes are sent while both feeds are read so many times more."""
        for proxy in self.proxies.values():
            proxy.calls.clear()
        assert self.process is not None
        await self.process.until(lambda: all(self._looks(proxy) >= passes for proxy in self.proxies.values()))
        return sum(method != "GET" for proxy in self.proxies.values() for method, _ in proxy.calls)

    @staticmethod
    def _looks(proxy: Proxy) -> int:
        return sum(bool(proxy.product.feeds.fullmatch(path)) for _, path in proxy.calls)


@asynccontextmanager
async def coast(
    server: RedmineServer,
    command: Command,
    folder: Path,
    *,
    tickets: int = 6,
    store: str = "",
    skew: timedelta = timedelta(),
) -> AsyncIterator[Coast]:
    """Both sides with a few tickets, not linked yet; `store` is the database, `skew` is that of Gorgias's clock."""
    sandbox = Sandbox(Options(accounts=dict.fromkeys(AGENTS, "key"), skew=skew))
    severity_field(sandbox)
    command.folder = folder
    async with (
        sandbox.serve() as url,
        Proxy(url, GORGIAS, KINDS).serve() as gorgias,
        Proxy(server.url, REDMINE, KINDS).serve() as remote,
        aiohttp.ClientSession() as session,
    ):
        sandbox.base_url = gorgias.url
        town = Town(sandbox, gorgias.url, server, session, folder)
        for issue in await town.issues():  # of an earlier test
            await town.call("DELETE", f"/issues/{issue['id']}.json")
        for _ in range(tickets):
            town.gorgias_ticket()
            await town.redmine_issue()
        values = {
            "name": "acme", "store": store or f"sqlite:///{folder / 'syncd.db'}", "port": 0,
            "email": sandbox.options.email, "gorgias": gorgias.url,
            "gorgias_key": f'{sandbox.options.api_key}"\ntimeout = 3.0\nindex_lag = 1.0 #',
            "redmine": remote.url, "redmine_key": server.key, "project": "support", "remote": "timeout = 10.0",
            "sync": "",
        }  # fmt: skip
        config = folder / "acme.toml"
        config.write_text(CONFIG.format(**values), encoding="utf-8")
        try:
            yield Coast(town, command, {Side.GORGIAS: gorgias, Side.REMOTE: remote}, config)
        finally:
            await command.end_all()
    sandbox.close()
