"""The sandbox as one object: world, people, server, webhooks and disk."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from aiohttp import web

from connectors.gorgias.sandbox import views
from connectors.gorgias.sandbox.hooks import Hooks
from connectors.gorgias.sandbox.people import People
from connectors.gorgias.sandbox.persist import Disk
from connectors.gorgias.sandbox.seed import seed
from connectors.gorgias.sandbox.server import Server
from connectors.gorgias.sandbox.world import Options


class Sandbox(People):
    """A Gorgias account: `serve` it, act in it as its people do, and look at what happened.

    `state_path` names a SQLite file in which the state survives; `now` is the clock.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        state_path: Path | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(options, now)
        self.server = Server(self)
        self.hooks = Hooks(self)
        self.disk = Disk(self, state_path) if state_path else None
        if self.disk:
            self.disk.load()
        self._furnish()

    @property
    def requests(self) -> int:
        """How many requests have come."""
        return self.server.requests

    @property
    def calls(self) -> Counter[tuple[str, str]]:
        """How many requests have come for each (method, route)."""
        return self.server.calls

    def app(self) -> web.Application:
        """The application, for a server of one's own; set `base_url` to where it is reached."""
        app = self.server.app()
        app.cleanup_ctx.append(self._running)
        return app

    @asynccontextmanager
    async def serve(self, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
        """Serve while the block runs; gives the base URL."""
        runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
            self.base_url = f"http://{host}:{runner.addresses[0][1]}"
            yield self.base_url
        finally:
            await runner.cleanup()

    def close(self) -> None:
        """Write the state to disk and let go of the file."""
        if self.disk:
            self.disk.close()
            self.disk = None

    async def _running(self, _app: web.Application) -> AsyncIterator[None]:
        await self.hooks.open()
        yield
        await self.hooks.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.disk:
            self.disk.flush()

    def _furnish(self) -> None:
        """What a new account has: its users, its system views, an e-mail address and settings."""
        for email in (self.options.email, *self.options.accounts, *self.options.bearers.values()):
            if not self.users.where("email", email.lower()):
                self._user(email.lower())
        if len(self["views"]):
            return
        views.furnish(self)
        meta = {"address": f"support@{self.options.domain}.example", "preferred": True, "verified": True}
        moment = self.stamp()
        mail = {
            "name": "Support",
            "type": "email",
            "meta": meta,
            "created_datetime": moment,
            "updated_datetime": moment,
        }
        self["integrations"].add(mail)
        hours = [{"days": "1,2,3,4,5", "from_time": "09:00", "to_time": "18:00"}]
        self["settings"].add({"type": "business-hours", "data": {"timezone": "UTC", "business_hours": hours}})
        self["settings"].add({"type": "satisfaction-surveys", "data": {"send_survey_for_email": False}})

    def _user(self, email: str) -> None:
        name = email.partition("@")[0].replace(".", " ").title()
        first, _, last = name.partition(" ")
        moment = self.stamp()
        self.users.add(
            {
                "email": email,
                "name": name,
                "firstname": first,
                "lastname": last,
                "role": {"name": "admin"},
                "created_datetime": moment,
                "updated_datetime": moment,
            }
        )


async def run_sandbox(
    options: Options | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tickets: int = 50,
    state_path: Path | None = None,
    on_ready: Callable[[str], None] = lambda _url: None,
) -> None:
    """Serve a sandbox until cancelled; `on_ready` hears its base URL. An empty one gets this many tickets."""
    sandbox = Sandbox(options, state_path=state_path)
    try:
        if tickets and not len(sandbox.tickets):
            seed(sandbox, tickets=tickets)
        async with sandbox.serve(port, host) as base_url:
            on_ready(base_url)
            await asyncio.Event().wait()
    finally:
        sandbox.close()
