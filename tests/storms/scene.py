"""A Gorgias sandbox and a fake Redmine, each behind a proxy, people on both sides, and syncd, in one process."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.test_utils import TestServer

from connectors.gorgias.sandbox import Options, Sandbox
from state.store import Store
from state.tables import Dirty
from syncd import config
from syncd.bench import Report
from syncd.model import Side
from syncd.runner import Runner, running, utc_now
from tests.e2e.servers import RedmineServer
from tests.e2e.town import AGENTS, Town, severity_field
from tests.fakes.redmine import Redmine
from tests.fakes.redmine_words import ADMIN, FIELDS, USERS
from tests.processes.shop import CONFIG
from tests.storms.kinds import KINDS
from tests.storms.proxy import GORGIAS, REDMINE, Proxy, Storm

DOWN, UP = "an account cannot be worked with", "the account can be worked with again"
#: Seconds that the clock moves between two looks at what is not done yet: so many more each time.
PAUSE = 30.0


@dataclass
class Scene:
    """Everything of one workspace, with a clock that can be moved on both sides and in syncd at once."""

    town: Town
    redmine: Redmine
    proxies: dict[Side, Proxy]
    stream: io.StringIO
    ahead: timedelta = timedelta()
    runner: Runner = None  # type: ignore[assignment]

    def now(self) -> datetime:
        """What the clocks show."""
        return datetime.now(UTC) + self.ahead

    def wait(self, seconds: float) -> None:
        """Let time pass, everywhere."""
        self.ahead += timedelta(seconds=seconds)
        self.redmine.ahead = self.ahead

    def log(self, event: str) -> list[dict[str, Any]]:
        """The lines of this event."""
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]

    def warnings(self) -> list[dict[str, Any]]:
        """The lines that somebody should read."""
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in lines if line["level"] in {"warning", "error", "critical"}]

    def storm(self, side: Side, *kinds: str, **options: Any) -> Storm:
        """Let a storm blow over one side from now on."""
        made = Storm(kinds, **options)
        self.proxies[side].storm = made
        return made

    def calm(self) -> None:
        """No storm any more."""
        for proxy in self.proxies.values():
            proxy.storm = None

    @property
    def called(self) -> int:
        """How many calls both proxies have seen."""
        return sum(len(proxy.calls) for proxy in self.proxies.values())

    async def look(self) -> Report:
        """One pass."""
        report = await self.runner.look(force=True)
        assert report is not None, self.runner.trouble
        return report

    async def rest(self, most: int = 40) -> None:
        """Passes until one finds and writes nothing and nothing waits; time passes between them."""
        for number in range(most):
            report = await self.look()
            waiting = await self.runner.store.rows(Dirty, "acme")
            if not (waiting or report.writes or report.failed or report.down or report.postponed):
                return
            self.wait(PAUSE * (number + 1))
        raise AssertionError(f"no rest: {report}; {[row.error or row.why for row in waiting]}")

    async def writes(self) -> int:
        """How many writes three further passes send."""
        for proxy in self.proxies.values():
            proxy.calls.clear()
        for _ in range(3):
            await self.look()
        return sum(method != "GET" for proxy in self.proxies.values() for method, _ in proxy.calls)

    async def work(self, edits: int) -> None:
        """People do so many things on either side."""
        issues = [issue["id"] for issue in await self.town.issues()]
        for _ in range(edits):
            self.town.gorgias_edit(self.town.rng.choice(list(self.town.sandbox.tickets.rows)))
            await self.town.redmine_edit(self.town.rng.choice(issues))

    async def issue_of(self, gid: int) -> int:
        """The issue that is linked with a ticket."""
        row = (await self.runner.store.snapshots("acme", Side.GORGIAS, {str(gid)}))[str(gid)][0]
        return int(row.remote_id or 0)

    async def rename(self, rid: int, subject: str) -> None:
        """Somebody gives an issue another subject."""
        key = self.town.redmine.key_of("alice")
        await self.town.call("PUT", f"/issues/{rid}.json", {"issue": {"subject": subject}}, key=key)


@asynccontextmanager
async def staged(
    folder: Path, stream: io.StringIO, seed: int = 1, *, skew: timedelta = timedelta()
) -> AsyncIterator[Scene]:
    """A scene with a few tickets on either side; `stream` is where the log goes, `skew` is that of Gorgias's clock."""
    clock: list[Scene] = []
    options = Options(accounts=dict.fromkeys(AGENTS, "key"), skew=skew)
    sandbox = Sandbox(options, now=lambda: clock[0].now() if clock else utc_now())
    severity_field(sandbox)
    redmine = Redmine()
    async with (
        TestServer(sandbox.app()) as left,
        TestServer(redmine.app()) as right,
        Proxy(_url(left), GORGIAS, KINDS).serve() as gorgias,
        Proxy(_url(right), REDMINE, KINDS).serve() as remote,
        aiohttp.ClientSession() as session,
    ):
        sandbox.base_url = gorgias.url
        seeded = {
            "custom_fields": {name: number for number, name, _ in FIELDS},
            "users": [{"login": user["login"], "api_key": user["key"]} for user in USERS],
        }
        server = RedmineServer(_url(right), ADMIN, seeded)
        town = Town(sandbox, gorgias.url, server, session, folder, seed, severities=("S1", "S2"))
        scene = Scene(town, redmine, {Side.GORGIAS: gorgias, Side.REMOTE: remote}, stream)
        clock.append(scene)
        gorgias.now = remote.now = scene.now
        for _ in range(4):
            town.gorgias_ticket()
            await town.redmine_issue()
        settings = config.load([_config(folder, gorgias.url, remote.url, sandbox)])
        async with (
            Store(settings.store.url.get_secret_value(), utc_now) as store,
            running(settings.workspaces[0], store, folder, now=scene.now) as scene.runner,
        ):
            yield scene
    sandbox.close()


def _url(server: TestServer) -> str:
    return str(server.make_url("")).rstrip("/")


def _config(folder: Path, gorgias: str, redmine: str, sandbox: Sandbox) -> Path:
    path = folder / "acme.toml"
    values = {
        "name": "acme", "store": f"sqlite:///{folder / 'syncd.db'}", "port": 0, "email": sandbox.options.email,
        "gorgias": gorgias, "gorgias_key": f'{sandbox.options.api_key}"\ntimeout = 3.0\nindex_lag = 25.0 #',
        "redmine": redmine, "redmine_key": ADMIN, "project": "support", "remote": "timeout = 3.0", "sync": "",
    }  # fmt: skip
    path.write_text(CONFIG.format(**values), encoding="utf-8")
    return path
