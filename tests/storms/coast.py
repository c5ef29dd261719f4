"""A Gorgias sandbox and a real Redmine, each behind a proxy, people on both sides, and `syncd run` as a process."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from connectors.gorgias.sandbox import Options, Sandbox
from syncd.model import Side
from tests.e2e.servers import RedmineServer
from tests.e2e.town import AGENTS, Town, severity_field
from tests.processes.command import Command, Process
from tests.processes.shop import CONFIG
from tests.storms.kinds import KINDS
from tests.storms.proxy import GORGIAS, REDMINE, Proxy

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

    async def start(self) -> Process:
        """Begin `syncd run`."""
        self.process = await self.command.start("run", str(self.config))
        return self.process

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the process a signal, and wait for its end."""
        assert self.process is not None
        self.process.send(number)
        return await self.process.wait()

    async def edits(self, number: int) -> None:
        """So many things are done on each side, some of them new tickets."""
        town = self.town
        issues = await self.issue_ids()
        for _ in range(number):
            town.gorgias_edit(self.rng.choice(list(town.sandbox.tickets.rows)))
            await town.redmine_edit(self.rng.choice(issues))

    async def issue_ids(self) -> list[int]:
        """The newest hundred issues."""
        query = "/issues.json?status_id=*&project_id=support&limit=100&sort=id:desc"
        return [issue["id"] for issue in (await self.town.call("GET", query))["issues"]]

    async def equal(self) -> list[str]:
        """What still differs once a process has had its time; empty as soon as nothing does."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        while (wrong := await self.town.differences()) and loop.time() < until:
            await asyncio.sleep(1)
        return wrong

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
    server: RedmineServer, command: Command, folder: Path, *, tickets: int = 8, options: Options | None = None
) -> AsyncIterator[Coast]:
    """Both sides with a few tickets, none of them linked yet."""
    sandbox = Sandbox(options or Options(accounts=dict.fromkeys(AGENTS, "key")))
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
            "name": "acme", "store": f"sqlite:///{folder / 'syncd.db'}", "port": 0, "email": sandbox.options.email,
            "gorgias": gorgias.url, "gorgias_key": f'{sandbox.options.api_key}"\ntimeout = 3.0\nindex_lag = 1.0 #',
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
