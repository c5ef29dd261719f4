"""The daemon: store, workspaces and the web part wired together; signals, reload and the grace period."""

import asyncio
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from syncd import config, log, notify
from syncd.access import Keys
from syncd.connector import Connector
from syncd.crew import Crew
from syncd.errors import ConfigError, LeaseHeld, StoreBusy
from syncd.mcp.web import add_routes as add_mcp
from syncd.metrics import Metrics
from syncd.model import Side
from syncd.settings import Settings
from syncd.stores import opened
from syncd.vitals import Vitals
from syncd.web import openapi, proxy, unified
from syncd.web.app import make_app, serving
from syncd.web.health import Hint, WorkspaceHealth

logger = log.get(__name__)


class Daemon:
    """Every workspace of a configuration in one process. `run` serves until it is told to stop.

    `standby` waits for workspaces that other processes hold, even when there is nothing else to do.
    """

    def __init__(self, paths: Sequence[Path], settings: Settings, *, standby: bool = False) -> None:
        self.paths = paths
        self.settings = settings
        self.metrics = Metrics()
        self._standby = standby
        self._stop, self._hurry, self._reload, self._news = (asyncio.Event() for _ in range(4))

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT. Raises ConfigError or StoreError when it cannot start or go on."""
        self._hear_signals()
        with tempfile.TemporaryDirectory(prefix="syncd-") as folder:
            async with AsyncExitStack() as stack:
                store = await stack.enter_async_context(opened(self.settings))
                self.crew = Crew(store, Path(folder), self.metrics, self._news.set)
                self.vitals = Vitals(self.crew, store, self.metrics)
                stack.push_async_callback(self.crew.close)
                await self.crew.begin(self.settings.workspaces)
                self._something_to_do()
                http = self.settings.http
                app = make_app(self, self.metrics, http.token, keys=Keys(store))
                add_mcp(app, self.crew, store, lambda: self.settings)
                proxy.add_routes(app, self.crew, store)
                unified.add_routes(app, self.crew, store)
                openapi.add_routes(app, self.crew)
                url = await stack.enter_async_context(serving(app, http.host, http.port, http.token))
                await self._serve(url)

    def _hear_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._told, self._reload)

    def _told_to_stop(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._told(self._stop)

    def _told(self, event: asyncio.Event) -> None:
        event.set()
        self._news.set()

    def _something_to_do(self) -> None:
        """Raises what keeps every workspace out, if something does that waiting would not mend."""
        errors = list(self.crew.kept_out.values())
        if self.crew.runners or self._standby or any(isinstance(error, StoreBusy) for error in errors):
            return
        raise errors[0] if len(errors) == 1 else LeaseHeld("; ".join(str(error) for error in errors))

    async def _serve(self, url: str) -> None:
        heartbeat = asyncio.create_task(notify.watchdog(), name="watchdog")
        self.crew.start()
        self._say_ready()
        logger.info("running", workspaces=sorted(self.crew.runners), kept_out=sorted(self.crew.kept_out), url=url)
        try:
            while not self._stop.is_set():
                await self._news.wait()
                self._news.clear()
                if self._reload.is_set() and not self._stop.is_set():
                    self._reload.clear()
                    await self._read_again()
                self._something_to_do()
        finally:
            notify.notify(notify.STOPPING)
            in_time = await self.crew.stop(self._hurry)
            heartbeat.cancel()
            logger.info("stopped", in_time=in_time)

    def _say_ready(self) -> None:
        out = f", {len(self.crew.kept_out)} kept out" if self.crew.kept_out else ""
        notify.notify(notify.READY, notify.status(f"{len(self.crew.runners)} workspaces{out}"))

    async def _read_again(self) -> None:
        """SIGHUP: what changed is taken over, workspace by workspace; a faulty configuration changes nothing."""
        notify.notify(*notify.reloading())
        try:
            settings = config.load(self.paths)
        except ConfigError as error:
            logger.error("the new configuration is faulty: the old one stays", problems=list(error.problems))
        else:
            await self._take_over(settings)
        self._say_ready()

    async def _take_over(self, settings: Settings) -> None:
        log.hide_all(settings)
        log.configure(settings.log.level, settings.log.format)
        if (settings.store, settings.http) != (self.settings.store, self.settings.http):
            logger.warning("[store] and [http] are read at start only: restart to change them")
        changed = await self.crew.change(settings.workspaces)
        kept = {"store": self.settings.store, "http": self.settings.http}
        self.settings = settings.model_copy(update=kept)
        logger.info("configuration read again", changed=changed, workspaces=sorted(self.crew.runners))

    # -- what the web part asks ---------------------------------------------------------------------------------------

    async def workspaces(self) -> Sequence[WorkspaceHealth]:
        """All workspaces, by name. Raises StoreError."""
        return await self.vitals.workspaces()

    async def measure(self) -> None:
        """Bring the gauges up to date. Raises StoreError."""
        await self.vitals.measure()

    async def hinted(self, workspace: str, side: Side, headers: Mapping[str, str], body: bytes) -> Hint:
        """A webhook's call: look now."""
        runner = self.crew.runners.get(workspace)
        if runner is None:  # whoever holds a workspace that is kept out looks by itself
            return Hint.TAKEN if workspace in self.crew.kept_out else Hint.UNKNOWN
        account = runner.accounts[side]
        signs = type(account).hinted is not Connector.hinted
        # Of a product that signs nothing, whoever has the daemon's token is believed: it is only a wake-up.
        if signs and account.hinted(headers, body) is None:
            return Hint.FORGED
        self.crew.wake(workspace, side)
        return Hint.TAKEN


async def serve(paths: Sequence[Path], settings: Settings, *, standby: bool = False) -> None:
    """Run a daemon until it is told to stop. Raises SyncdError."""
    await Daemon(paths, settings, standby=standby).run()
