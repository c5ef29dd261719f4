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
        self._failures = 0

    @property
    def accounts(self) -> dict[Side, Connector]:
        """The open accounts by side."""
        return dict(self.engine.bench.accounts)

    async def look(self, *, force: bool = False) -> Report | None:
        """One pass; None while a side that is down is left alone. Raises LeaseHeld when the workspace is lost."""
        if not force and time.monotonic() < self._quiet_until:
            return None
        started = time.monotonic()
        with log.bound(workspace=self.workspace.name):
            try:
                report = await self.engine.run_pass()
            except LeaseHeld:
                self.lost.set()
                raise
            except StoreError as error:
                self.outages.failed("store", "the store cannot be used", error)
                self._pause()
                return None
            self.seconds = time.monotonic() - started
            self.outages.recovered("store", "the store can be used again")
            self._note(report)
        return report

    def _note(self, report: Report) -> None:
        self.last = report
        for side in Side:
            if side in report.down:
                self.since.setdefault(side, utc_now())
                self.outages.failed(side, "an account cannot be worked with", report.down[side], side=side)
            else:
                self.since.pop(side, None)
                self.outages.recovered(side, "the account can be worked with again", side=side)
        if report.down:
            self._pause()
            return
        self._failures, self._quiet_until = 0, 0.0
        self.last_success = utc_now()
        if not report.quiet:
            writes = {f"{side}.{kind}": count for (side, kind), count in report.writes.items()}
            logger.info(
                "pass", looked=report.looked, writes=writes, parked=report.parked, seconds=round(self.seconds, 2)
            )

    def _pause(self) -> None:
        self._failures += 1
        pause = min(LONGEST_PAUSE, self.workspace.poll_interval * 2 ** min(self._failures - 1, 10))
        self._quiet_until = time.monotonic() + (pause if self._failures > 1 else 0.0)

    def wake(self) -> None:
        """Forget the pause of a side that was down."""
        self._quiet_until = 0.0

    async def hold(self) -> None:
        """Renew the lease for as long as this runs; returns when the workspace is lost."""
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            try:
                await self.store.renew(self.lease, LEASE)
            except LeaseHeld as error:
                logger.error("the workspace was taken over", error=str(error), workspace=self.workspace.name)
                self.lost.set()
                return
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
