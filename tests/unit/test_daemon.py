"""The crew of a daemon and what its web part is told, in this process: on a sandbox and desks in memory."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from connectors.desk import Desk
from connectors.gorgias.sandbox import Sandbox
from connectors.memory import SIGNATURE
from state.store import Store
from syncd import config
from syncd.crew import Crew
from syncd.daemon import Daemon
from syncd.errors import LeaseHeld, TryLater
from syncd.metrics import Metrics
from syncd.model import Side
from syncd.runner import utc_now
from syncd.settings import Settings
from syncd.vitals import Vitals
from syncd.web.health import Hint, WorkspaceHealth
from tests.processes.command import until

CONFIG = """
[workspace]
name = "{name}"
poll_interval = "0.1s"
[store]
url = "sqlite:///{folder}/syncd.db"
[gorgias]
base_url = "{url}"
email = "ops@acme.example"
api_key = "sandbox-key"
[remote]
connector = "memory"
desk = "{folder}-{name}"
hook_secret = "of-the-desk"
[sync]
grace_period = "{grace}"
"""
ELSEWHERE = "elsewhere pid 1 started 1"


class Place:
    """A folder of workspaces on one Gorgias sandbox, a store, and the crew that works on them."""

    def __init__(self, folder: Path, url: str, store: Store) -> None:
        self.folder, self.url, self.store = folder, url, store
        self.news = asyncio.Event()
        self.metrics = Metrics()
        self.crew = Crew(store, folder, self.metrics, self.news.set)
        self.vitals = Vitals(self.crew, store, self.metrics)

    def settings(self, *names: str, grace: str = "5s") -> Settings:
        """The configuration of these workspaces."""
        for name in names:
            text = CONFIG.format(name=name, folder=self.folder, url=self.url, grace=grace)
            (self.folder / f"{name}.toml").write_text(text)
        return config.load([self.folder / f"{name}.toml" for name in names])

    def desk(self, name: str) -> Desk:
        """The desk of a workspace."""
        return Desk.named(f"{self.folder}-{name}")

    async def health(self, name: str) -> WorkspaceHealth:
        """What is said of a workspace."""
        return next(one for one in await self.vitals.workspaces() if one.name == name)

    def ready(self, name: str) -> Callable[[], Any]:
        """Asks whether a workspace is ready."""

        async def ask() -> bool:
            return (await self.health(name)).ready

        return ask


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    """A place without workspaces, whose crew is let go at the end."""
    sandbox = Sandbox()
    async with sandbox.serve() as url, Store(f"sqlite:///{folder}/syncd.db", utc_now) as store:
        made = Place(folder, url, store)
        yield made
        await made.crew.stop(asyncio.Event())
        await made.crew.close()
    sandbox.close()


async def test_a_workspace_that_is_held_is_kept_out_and_taken_up_later(tmp_path: Path) -> None:
    """The others begin; health says why; when it is free a pass of it runs without anybody's help."""
    async with place(tmp_path) as there:
        lease = await there.store.acquire("held", ELSEWHERE, timedelta(minutes=1), lambda _name: False)
        await there.crew.begin(there.settings("acme", "held").workspaces)
        there.crew.start()
        assert (set(there.crew.runners), set(there.crew.kept_out)) == ({"acme"}, {"held"})
        health = await there.health("held")
        assert (health.ready, ELSEWHERE in health.reason) == (False, True)
        await there.store.release(lease)
        await until(there.ready("held"))
        assert there.crew.kept_out == {}


async def test_a_workspace_that_is_lost_is_kept_out(tmp_path: Path) -> None:
    """Its runner is closed, the crew says that there is news, and the other goes on."""
    async with place(tmp_path) as there:
        await there.crew.begin(there.settings("acme", "lost").workspaces)
        there.crew.start()
        there.news.clear()
        await there.store.acquire("lost", ELSEWHERE, timedelta(minutes=1), lambda _name: True)
        await until(there.news.is_set)
        assert isinstance(there.crew.kept_out["lost"], LeaseHeld)
        assert set(there.crew.runners) == {"acme"}
        assert (await there.health("acme")).ready


async def test_health_says_which_side_is_down_since_when(tmp_path: Path) -> None:
    """With the reason, masked; the gauges say the same."""
    async with place(tmp_path) as there:
        await there.crew.begin(there.settings("acme").workspaces)

        async def away(method: str, _moment: str) -> None:
            raise TryLater(f"no {method} with api_key=top-secret-key")

        there.desk("acme").fault = away
        there.crew.start()

        async def down() -> WorkspaceHealth | None:
            health = await there.health("acme")
            return None if health.ready else health

        health = await until(down)
        gorgias, remote = health.sides
        assert (gorgias.up, remote.up, remote.connector) == (True, False, "memory")
        assert remote.since is not None
        assert "top-secret-key" not in health.reason + remote.reason
        await there.vitals.measure()
        text = there.metrics.render("")[0].decode()
        assert 'syncd_up{side="remote",workspace="acme"} 0.0' in text
        assert 'syncd_up{side="gorgias",workspace="acme"} 1.0' in text


async def test_change_waits_for_the_pass_under_way(tmp_path: Path) -> None:
    """A write that has begun ends under the old configuration; nothing of it is cut off or done twice."""
    async with place(tmp_path) as there:
        await there.crew.begin(there.settings("acme").workspaces)
        begun, desk = asyncio.Event(), there.desk("acme")
        desk.add_ticket("Pump leaks", "Drip.")
        writing = there.crew.runners["acme"].accounts[Side.REMOTE]

        async def slow(method: str, moment: str) -> None:
            if method == "get" and moment == "before":
                begun.set()
                await asyncio.sleep(0.3)

        desk.fault = slow
        there.crew.start()
        await begun.wait()
        assert await there.crew.change(there.settings("acme", grace="4s").workspaces) == ["acme"]
        assert there.crew.runners["acme"].accounts[Side.REMOTE] is not writing
        await until(lambda: _linked(there, 1))


async def _linked(there: Place, number: int) -> bool:
    health = await there.health("acme")
    return (health.linked, health.dirty) == (number, 0)


async def test_hooks_are_believed_when_they_are_genuine(tmp_path: Path) -> None:
    """A product that signs its hooks must have signed this one; of one that does not, the daemon's token is enough."""
    async with place(tmp_path) as there:
        settings = there.settings("acme")
        daemon = Daemon([], settings)
        daemon.crew = there.crew
        await there.crew.begin(settings.workspaces)
        body = json.dumps({"tickets": ["1"]}).encode()
        signed = {SIGNATURE: hmac.new(b"of-the-desk", body, hashlib.sha256).hexdigest()}
        asked = (
            ("acme", Side.REMOTE, signed),
            ("acme", Side.REMOTE, {}),
            ("acme", Side.GORGIAS, {}),
            ("none", Side.REMOTE, {}),
        )
        hints = [await daemon.hinted(name, side, headers, body) for name, side, headers in asked]
        assert hints == [Hint.TAKEN, Hint.FORGED, Hint.TAKEN, Hint.UNKNOWN]
