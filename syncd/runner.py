"""One workspace in this process: its lease, its two accounts, its engine, and what it says about itself."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from state.store import Store
from state.tables import Lease
from syncd import log, registry
from syncd.bench import Report
from syncd.connector import Connector
from syncd.engine import Engine
from syncd.errors import LeaseHeld, StoreError
from syncd.model import Side
from syncd.settings import Workspace

logger = log.get(__name__)
#: A holder that says nothing for this long has lost the workspace.
LEASE = timedelta(seconds=60)
#: While a side is down it is looked at less and less often, but at least this often (seconds).
LONGEST_PAUSE = 120.0
STOPPING = "syncd is stopping"


def utc_now() -> datetime:
    """The clock of everything that is stored."""
    return datetime.now(UTC)


def holder() -> str:
    """This process as others see it in a lease: host, process id and when that process began."""
    return f"{socket.gethostname()} pid {os.getpid()} started {_started(os.getpid())}"


def is_dead(name: str) -> bool:
    """Whether a holder of this machine has certainly ended: its pid is gone, or is another process's by now."""
    host, _, rest = name.partition(" pid ")
    pid, _, started = rest.partition(" started ")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return _started(int(pid)) != started


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def account(workspace: Workspace, side: Side) -> Any:
    """A side's account, not opened yet: an async context manager that gives the connector."""
    if side is Side.GORGIAS:
        return registry.connector_class("gorgias").open(workspace.gorgias, side, workspace.name)
    return registry.connector_class(workspace.remote_connector).open(workspace.remote, side, workspace.name)


class Runner:
    """Looks after one workspace; `look` is one pass."""

    def __init__(self, workspace: Workspace, store: Store, lease: Lease, engine: Engine) -> None:
        self.workspace = workspace
        self.store = store
        self.lease = lease
        self.engine = engine
        self.outages = log.Transitions(structlog.get_logger(__name__))
        self.since: dict[Side, datetime] = {}
        self.last_success: datetime | None = None
        self.last: Report = Report()
        self.lost = asyncio.Event()
        self.seconds = 0.0
        self._quiet_until = 0.0
        self._tried_at = 0.0
        self._failures = 0
        self._stopping = False
        self._task: asyncio.Task[Any] | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def accounts(self) -> dict[Side, Connector]:
        """The open accounts by side."""
        return dict(self.engine.bench.accounts)

    @property
    def trouble(self) -> str:
        """Why this workspace cannot do its work now; empty when it can."""
        if self.lost.is_set():
            return f"the workspace {self.workspace.name} was taken over by another process"
        reasons = [f"{key}: {self.outages[key].reason}" for key in self.outages]
        return "; ".join([*reasons, *([log.masked(self.last.guard)] if self.last.guard else [])])

    async def look(self, *, force: bool = False) -> Report | None:
        """One pass; None when there was none, or none that ended: `trouble` says why, if it is one."""
        busy = not self._idle.is_set()
        if busy or self._stopping or self.lost.is_set() or (not force and time.monotonic() < self._quiet_until):
            return None
        self._task = asyncio.current_task()
        self._idle.clear()
        self._tried_at = time.monotonic()
        try:
            with log.bound(workspace=self.workspace.name):
                return await self._pass()
        finally:
            self.seconds = time.monotonic() - self._tried_at
            self._task = None
            self._idle.set()

    async def _pass(self) -> Report | None:
        try:
            report = await self.engine.run_pass()
        except LeaseHeld as error:
            self._lose(error)
        except StoreError as error:
            self._fail("store", "the store cannot be used", error)
        except Exception as error:  # noqa: BLE001 - a defect stays with its workspace: the others go on
            self._fail("defect", "a pass met a defect of syncd", f"{type(error).__name__}: {error}", exc_info=True)
        else:
            self.outages.recovered("store", "the store can be used again")
            self.outages.recovered("defect", "passes end as they should again")
            report.down = {side: why for side, why in report.down.items() if why != STOPPING}
            self._note(report)
            return report
        return None

    def _fail(self, key: str, event: str, error: object, **details: Any) -> None:
        self.outages.failed(key, event, error, **details)
        self._pause()

    def _lose(self, error: LeaseHeld) -> None:
        if not self.lost.is_set():
            logger.error("the workspace was taken over", error=str(error), workspace=self.workspace.name)
            self.lost.set()

    def _note(self, report: Report) -> None:
        self.last = report
        for side in Side:
            if side in report.down:
                self.since.setdefault(side, utc_now())
                self.outages.failed(side, "an account cannot be worked with", report.down[side], side=side)
            elif not self._stopping:  # a pass that was told to end may not have asked this side
                self.since.pop(side, None)
                self.outages.recovered(side, "the account can be worked with again", side=side)
        if report.down:
            self._pause()
            return
        self._failures, self._quiet_until = 0, 0.0
        if not report.guard:
            self.last_success = utc_now()
        if not report.quiet:
            writes = {f"{side}.{kind}": count for (side, kind), count in report.writes.items()}
            seconds = round(time.monotonic() - self._tried_at, 2)
            logger.info("pass", looked=report.looked, writes=writes, parked=report.parked, seconds=seconds)

    def _pause(self) -> None:
        self._failures += 1
        pause = min(LONGEST_PAUSE, self.workspace.poll_interval * 2 ** min(self._failures - 1, 10))
        self._quiet_until = time.monotonic() + (pause if self._failures > 1 else 0.0)

    def wake(self, side: Side) -> None:
        """A side has said something: if it was down, it is tried again, but no more often than it is polled."""
        if side in self.last.down:
            self._quiet_until = min(self._quiet_until, self._tried_at + self.workspace.poll_interval)

    def finish(self) -> None:
        """Begin no further pass, and take up no further ticket in the one under way."""
        self._stopping = True
        if not self._idle.is_set():
            # The engine takes up no ticket once a side is down: that is what is wanted here, too.
            self.engine.bench.report.down.setdefault(Side.GORGIAS, STOPPING)

    async def stop(self, grace: float) -> bool:
        """`finish`, give the pass under way `grace` seconds, then cut it off; True when it ended by itself."""
        self.finish()
        try:
            async with asyncio.timeout(grace):
                await self._idle.wait()
        except TimeoutError:
            if self._task:
                self._task.cancel()
            await self._idle.wait()
            return False
        return True

    async def hold(self) -> None:
        """Renew the lease for as long as this runs; returns when the workspace is lost."""
        with log.bound(workspace=self.workspace.name):
            while not self.lost.is_set():
                await asyncio.sleep(LEASE.total_seconds() / 3)
                try:
                    await self.store.renew(self.lease, LEASE)
                except LeaseHeld as error:
                    self._lose(error)
                except StoreError as error:
                    # Nothing can be written without the store either: the fence holds until it is back.
                    self.outages.failed("store", "the store cannot be used", error)


@asynccontextmanager
async def running(
    workspace: Workspace,
    store: Store,
    folder: Path,
    *,
    wrap: Callable[[Connector], Connector] = lambda connector: connector,
    now: Callable[[], datetime] = utc_now,
) -> AsyncIterator[Runner]:
    """A workspace with its lease held and its accounts open. Raises LeaseHeld."""
    lease = await store.acquire(workspace.name, holder(), LEASE, is_dead)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_release, store, lease)
        accounts = {side: wrap(await stack.enter_async_context(account(workspace, side))) for side in Side}
        engine = await stack.enter_async_context(
            Engine.open(workspace.name, workspace.sync, store, lease, accounts, folder, now)
        )
        runner = Runner(workspace, store, lease, engine)
        task = asyncio.create_task(runner.hold(), name=f"lease {workspace.name}")
        stack.push_async_callback(_end, task)
        yield runner


async def _release(store: Store, lease: Lease) -> None:
    with suppress(StoreError):  # it runs out by itself
        await store.release(lease)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
