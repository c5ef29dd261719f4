"""The daemon: config, store, workspaces, timers and the web part wired together; signals and the grace period."""

import asyncio
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from state.store import Store
from state.tables import Dirty
from state.tables import Parked as ParkedRow
from syncd import config, log, notify
from syncd.errors import ConfigError, StoreError, SyncdError
from syncd.metrics import Metrics
from syncd.model import Side
from syncd.runner import Runner, running, utc_now
from syncd.schedule import Scheduler
from syncd.settings import Settings, Workspace
from syncd.web.app import make_app, serving
from syncd.web.health import Hint, Parked, SideHealth, WorkspaceHealth

logger = log.get(__name__)
#: How many parked writes a page lists.
SHOWN = 50


class Daemon:
    """Every workspace of a configuration in one process. `run` serves until it is told to stop."""

    def __init__(self, paths: Sequence[Path], settings: Settings) -> None:
        self.paths = paths
        self.settings = settings
        self.metrics = Metrics()
        self.runners: dict[str, Runner] = {}
        self._open: dict[str, AsyncExitStack] = {}
        self._scheduler = Scheduler()
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT. Raises ConfigError, StoreError, LeaseHeld when it cannot start."""
        with tempfile.TemporaryDirectory(prefix="syncd-") as folder:
            async with AsyncExitStack() as stack:
                url = self.settings.store.url.get_secret_value()
                self.store = await stack.enter_async_context(Store(url, utc_now))
                self._folder = Path(folder)
                stack.push_async_callback(self._close_all)
                for workspace in self.settings.workspaces:
                    await self._begin(workspace)
                http = self.settings.http
                app = make_app(self, self.metrics, http.token)
                await stack.enter_async_context(serving(app, http.host, http.port, http.token))
                self._scheduler.start()
                await self._serve()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        heartbeat = asyncio.create_task(notify.watchdog(), name="watchdog")
        notify.notify(notify.READY, notify.status(f"{len(self.runners)} workspaces"))
        logger.info("running", workspaces=sorted(self.runners), listen=self.settings.http.listen)
        try:
            while not self._stop.is_set():
                await self._next_signal()
                if self._reload.is_set() and not self._stop.is_set():
                    self._reload.clear()
                    await self._read_again()
        finally:
            heartbeat.cancel()
            notify.notify(notify.STOPPING)
            grace = max((w.sync.grace_period for w in self.settings.workspaces), default=20.0)
            in_time = await self._scheduler.stop(grace)
            logger.info("stopped", in_time=in_time)

    async def _next_signal(self) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (self._stop, self._reload, *self._losses())]
        _, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        for name in [name for name, runner in self.runners.items() if runner.lost.is_set()]:
            await self._end(name)
        if not self.runners and not self._reload.is_set():
            self._stop.set()

    def _losses(self) -> list[asyncio.Event]:
        return [runner.lost for runner in self.runners.values()]

    # -- workspaces ----------------------------------------------------------------------------------------------

    async def _begin(self, workspace: Workspace) -> None:
        stack = AsyncExitStack()
        runner = await stack.enter_async_context(running(workspace, self.store, self._folder))
        self._open[workspace.name], self.runners[workspace.name] = stack, runner
        self._scheduler.add(workspace.name, workspace.poll_interval, lambda: self._look(runner))

    async def _look(self, runner: Runner) -> None:
        report = await runner.look()
        if report is None:
            return
        name = runner.workspace.name
        for (side, kind), count in report.writes.items():
            for _ in range(count):
                self.metrics.wrote(name, side, kind)
        for _ in range(report.conflicts):
            self.metrics.conflict(name)
        if report.down or report.guard:
            self.metrics.failed(name, runner.seconds)
        else:
            self.metrics.passed(name, runner.seconds, utc_now().timestamp())

    async def _end(self, name: str) -> None:
        self._scheduler.remove(name)
        self.runners.pop(name, None)
        self.metrics.forget(name)
        await self._open.pop(name).aclose()

    async def _close_all(self) -> None:
        for name in list(self._open):
            self.runners.pop(name, None)
            with suppress(StoreError):
                await self._open.pop(name).aclose()

    async def _read_again(self) -> None:
        """SIGHUP: what changed is taken over, workspace by workspace; a faulty configuration changes nothing."""
        notify.notify(*notify.reloading())
        try:
            settings = config.load(self.paths)
            log.hide_all(settings)
        except ConfigError as error:
            logger.error("the new configuration is faulty: the old one stays", problems=list(error.problems))
        else:
            await self._take_over(settings)
        notify.notify(notify.READY)

    async def _take_over(self, settings: Settings) -> None:
        if (settings.store, settings.http) != (self.settings.store, self.settings.http):
            logger.warning("[store] and [http] are read at start only: restart to change them")
        wanted = {workspace.name: workspace for workspace in settings.workspaces}
        changed = [name for name, runner in self.runners.items() if wanted.get(name) != runner.workspace]
        for name in changed:
            await self._end(name)
        for name in wanted.keys() - self.runners.keys():
            try:
                await self._begin(wanted[name])
            except SyncdError as error:
                logger.error("a workspace could not be started", workspace=name, error=str(error))
        self.settings = self.settings.model_copy(update={"workspaces": settings.workspaces})
        logger.info("configuration read again", changed=sorted(changed), workspaces=sorted(self.runners))

    # -- what the web part asks ----------------------------------------------------------------------------------

    async def workspaces(self) -> Sequence[WorkspaceHealth]:
        """All workspaces, by name."""
        return [await self._health(runner) for _, runner in sorted(self.runners.items())]

    async def _health(self, runner: Runner) -> WorkspaceHealth:
        name = runner.workspace.name
        counts = await self.store.counts(name)
        rows = await self.store.rows(ParkedRow, name, SHOWN)
        tickets = await self.store.tickets(name, [row.link_id for row in rows])
        lags = await self.lags(name)
        return WorkspaceHealth(
            name=name,
            ready=not runner.last.down and not runner.last.guard and "store" not in runner.outages,
            reason=runner.last.guard or "; ".join(f"{side}: {why}" for side, why in runner.last.down.items()),
            sides=tuple(self._side(runner, side, lags.get(side, 0.0)) for side in Side),
            linked=counts["links"],
            dirty=counts["dirty"],
            waiting=counts["waiting"],
            conflicts=counts["conflicts"],
            parked=tuple(
                Parked(tickets.get(r.link_id, "?"), r.what, f"{r.reason} {r.hint}".strip(), r.since) for r in rows
            ),
            parked_total=counts["parked"],
            last_success=runner.last_success,
        )

    def _side(self, runner: Runner, side: Side, lag: float) -> SideHealth:
        account = runner.accounts[side]
        gate = account.transport.gate if account.transport else None
        down = runner.last.down.get(side, "")
        return SideHealth(side, account.name, not down, down, runner.since.get(side), lag, gate.used if gate else 0.0)

    async def lags(self, name: str) -> dict[Side, float]:
        """How old the oldest change is that is not carried over yet, in seconds by side."""
        oldest: dict[Side, float] = {}
        now = utc_now()
        for row in await self.store.rows(Dirty, name):
            side = Side(row.side)
            oldest[side] = max(oldest.get(side, 0.0), (now - row.noticed_at).total_seconds())
        return oldest

    async def measure(self) -> None:
        """Bring the gauges up to date."""
        for name, runner in self.runners.items():
            counts = await self.store.counts(name)
            self.metrics.linked(name, counts["links"])
            self.metrics.queue(name, "dirty", counts["dirty"])
            self.metrics.queue(name, "waiting", counts["waiting"])
            self.metrics.queue(name, "parked", counts["parked"])
            lags = await self.lags(name)
            for side, account in runner.accounts.items():
                self.metrics.up(name, side, side not in runner.last.down)
                self.metrics.lag(name, side, lags.get(side, 0.0))
                if account.transport:
                    self.metrics.calls(name, side, account.transport.counters.calls)
                    if account.transport.gate:
                        self.metrics.bucket(name, side, account.transport.gate.used)

    async def hinted(self, workspace: str, side: Side, headers: Mapping[str, str], body: bytes) -> Hint:
        """A webhook's call: look now."""
        runner = self.runners.get(workspace)
        if runner is None:
            return Hint.UNKNOWN
        ids = runner.accounts[side].hinted(headers, body)
        if ids is None:
            return Hint.FORGED
        runner.wake()
        self._scheduler.wake(workspace)
        return Hint.TAKEN


def _shown(row: ParkedRow, tickets: Mapping[int, str]) -> Parked:
    return Parked(tickets.get(row.link_id, "?"), row.what, f"{row.reason} {row.hint}".strip(), row.since)


async def serve(paths: Sequence[Path], settings: Settings) -> None:
    """Run a daemon until it is told to stop."""
    await Daemon(paths, settings).run()
