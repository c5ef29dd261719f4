"""Passes until nothing is left to do: `syncd once` and `syncd backfill`."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from state.store import Store
from state.tables import Dirty
from syncd import log
from syncd.bench import Report
from syncd.errors import StoreBusy, StoreError, SyncdError
from syncd.model import Side
from syncd.runner import Runner, running, utc_now
from syncd.settings import Settings, Workspace
from syncd.stores import opened

logger = log.get(__name__)
#: How long `once` waits in all for tickets that want another try, and for a side that is down (seconds).
PATIENCE = 60.0
#: A workspace whose sides change faster than this many passes is left to the daemon.
MAX_PASSES = 200
#: The pauses before each further try of a side that is down (seconds).
DOWN_PAUSES = (2.0, 5.0, 10.0)
#: How often the progress of a pass under way is told (seconds).
BLINK = 0.25


@dataclass(frozen=True, slots=True)
class Step:
    """How far a run of passes is: tickets looked at, tickets known to be left, writes that landed."""

    workspace: str
    looked: int
    left: int
    writes: int


Progress = Callable[[Step], None]


@dataclass(slots=True)
class Outcome:
    """What a run of passes came to; `in_step` says that nothing waits and nothing is parked."""

    workspace: str
    passes: int = 0
    looked: int = 0
    writes: dict[str, int] = field(default_factory=dict)
    conflicts: int = 0
    parked: int = 0
    waiting: int = 0
    links: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def in_step(self) -> bool:
        """Whether both sides are the same, as far as syncd can make them."""
        return not (self.problems or self.parked or self.waiting)

    @property
    def exit_code(self) -> int:
        """0 all in step, 3 something waits for a person, 1 otherwise."""
        return 1 if self.problems or self.waiting else 3 if self.parked else 0


async def once(
    settings: Settings,
    *,
    force: bool = False,
    patience: float = PATIENCE,
    since: datetime | None = None,
    progress: Progress = lambda _step: None,
) -> list[Outcome]:
    """Bring every workspace into step; what keeps one from it is told in its outcome. Raises StoreError.

    Tickets that have no copy yet and have not changed since `since` get none.
    """
    with tempfile.TemporaryDirectory(prefix="syncd-") as folder:
        async with opened(settings) as store:
            run = _Run(store, Path(folder), force, patience, since, progress)
            return list(await asyncio.gather(*(run.workspace(workspace) for workspace in settings.workspaces)))


@dataclass(frozen=True, slots=True)
class _Run:
    store: Store
    folder: Path
    force: bool
    patience: float
    since: datetime | None
    progress: Progress

    async def workspace(self, workspace: Workspace) -> Outcome:
        """Passes over one workspace; whatever it cannot do stays with it."""
        try:
            return await self._while_busy(workspace)
        except SyncdError as error:
            return Outcome(workspace.name, problems=[log.masked(str(error))])
        except Exception as error:  # a defect stays with its workspace: the others go on
            logger.exception("a workspace met a defect of syncd", workspace=workspace.name)
            return Outcome(workspace.name, problems=[log.masked(f"a defect of syncd: {type(error).__name__}: {error}")])

    async def _while_busy(self, workspace: Workspace) -> Outcome:
        """Try again while the database is locked or away, as long as there is patience."""
        patience = self.patience
        for pause in DOWN_PAUSES:
            try:
                return await self._passes(workspace)
            except StoreBusy as error:
                patience -= pause
                if patience < 0:
                    raise
                logger.warning("waiting for the database", error=str(error), workspace=workspace.name)
            await asyncio.sleep(pause)
        return await self._passes(workspace)

    async def _passes(self, workspace: Workspace) -> Outcome:
        async with running(workspace, self.store, self.folder) as runner:
            runner.engine.bench.since = self.since
            if self.force:
                runner.engine.bench.force = True
                await self.store.wake(workspace.name)  # what the guard stopped waits for an hour
            return await passes(runner, self.progress, self.patience)


async def passes(runner: Runner, progress: Progress = lambda _step: None, patience: float = PATIENCE) -> Outcome:
    """Pass after pass until one writes nothing and nothing wants to be tried again soon."""
    outcome = Outcome(runner.workspace.name)
    down = iter(DOWN_PAUSES)
    for _ in range(MAX_PASSES):
        async with _told(runner, outcome, progress):
            report = await runner.look(force=True)
        _add(outcome, report)
        pause = await _pause(runner, report, down)
        if pause is None or pause > patience:
            break
        patience -= pause
        await asyncio.sleep(pause)
    if runner.trouble:
        more = " (`syncd check --live` says what to do)" if _refused(runner) else ""
        outcome.problems = [runner.trouble + more]
    with contextlib.suppress(StoreError):  # it is among the problems
        await _count(runner, outcome)
    return outcome


async def _pause(runner: Runner, report: Report | None, down: Iterator[float]) -> float | None:
    """How long until the next pass; None when another would not help."""
    if runner.lost.is_set() or (report and report.guard):
        return None
    if report is None or report.down:
        return None if _refused(runner) else next(down, None)
    if report.writes or report.failed:
        return 0.0
    due = await runner.store.next_due(runner.workspace.name)
    return None if due is None else max(0.2, (due - utc_now()).total_seconds())


def _refused(runner: Runner) -> bool:
    """Whether an account has answered 401, which does not change while one waits."""
    transports = [runner.accounts[side].transport for side in Side if side in runner.last.down]
    return any(status == 401 for transport in transports if transport for _, status in transport.counters.calls)


@asynccontextmanager
async def _told(runner: Runner, outcome: Outcome, progress: Progress) -> AsyncIterator[None]:
    """Tell how far the pass is while the block runs."""
    task = asyncio.create_task(_tell(runner, outcome, progress))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _tell(runner: Runner, outcome: Outcome, progress: Progress) -> None:
    looked, writes = outcome.looked, sum(outcome.writes.values())
    while True:
        await asyncio.sleep(BLINK)
        report = runner.engine.bench.report
        with contextlib.suppress(StoreError):  # the pass itself meets it, too
            counts = await runner.store.counts(outcome.workspace)
            left = counts["dirty"] - counts["waiting"]
            progress(Step(outcome.workspace, looked + report.looked, left, writes + sum(report.writes.values())))


def _add(outcome: Outcome, report: Report | None) -> None:
    outcome.passes += 1
    if report is None:
        return
    outcome.looked += report.looked
    outcome.conflicts += report.conflicts
    for (side, kind), number in report.writes.items():
        outcome.writes[f"{side}.{kind}"] = outcome.writes.get(f"{side}.{kind}", 0) + number


async def _count(runner: Runner, outcome: Outcome) -> None:
    """What is left: a ticket waits when it is to be looked at again for another reason than a parked write."""
    name = runner.workspace.name
    counts = await runner.store.counts(name)
    outcome.links, outcome.parked, outcome.waiting = counts["links"], counts["parked"], counts["dirty"]
    if outcome.problems or not outcome.parked:
        return
    rows = await runner.store.rows(Dirty, name)
    units = [await runner.store.unit(name, Side(row.side), row.ticket_id) for row in rows]
    outcome.waiting = sum(1 for unit in units if not unit.parked)
