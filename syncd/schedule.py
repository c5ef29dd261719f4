"""Timers: APScheduler as a thin clock, in memory. What is due is known to the Store; a timer only says "look now".

A job never overlaps itself, runs that were missed become one, and a job that raises is logged and stays scheduled.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from syncd import log

Job = Callable[[], Awaitable[object]]

#: The share of an interval by which runs are spread, so that many workspaces do not all start at once.
JITTER = 0.1
#: How long a wake-up waits for others to join it: webhooks come in flocks.
DEBOUNCE = 0.25
#: How long a cancelled job may take to close what it has open.
UNWIND = 5.0

logger = log.get(__name__)


@dataclass(slots=True)
class _Entry:
    function: Job
    running: asyncio.Task[None] | None = None
    #: A wake-up that came while the job ran: it may have been too late for what the job has read.
    again: bool = False


class Scheduler:
    """Named jobs that run at intervals, and at once when woken."""

    def __init__(self, debounce: float = DEBOUNCE) -> None:
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        self._debounce = debounce
        self._entries: dict[str, _Entry] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    def start(self) -> None:
        """Start the clock; needs a running event loop."""
        self._scheduler.start()

    def add(self, name: str, interval: float, function: Job, *, at_once: bool = True) -> None:
        """Run `function` every `interval` seconds on average, the first time at once; replaces a job of this name."""
        former = self._entries.get(name)
        self._entries[name] = _Entry(function, former.running if former else None)
        # APScheduler only ever adds jitter: half of it is taken off first, which keeps the mean.
        spread = interval * JITTER
        self._scheduler.add_job(
            self._due,
            IntervalTrigger(seconds=interval - spread / 2, jitter=spread),
            args=(name,),
            id=name,
            replace_existing=True,
            **({"next_run_time": datetime.now(UTC)} if at_once else {}),
        )

    def remove(self, name: str) -> None:
        """Forget a job; a run that is under way ends in its own time."""
        if self._entries.pop(name, None):
            self._scheduler.remove_job(name)

    def wake(self, name: str) -> bool:
        """Run a job now; calls in quick succession make one run. False when there is no such job."""
        entry = self._entries.get(name)
        if entry is None or self._stopping:
            return False
        if entry.running and not entry.running.done():
            entry.again = True
        else:
            self._launch(name, entry, self._debounce)
        return True

    async def _due(self, name: str) -> None:
        entry = self._entries.get(name)
        if entry and not self._stopping and (entry.running is None or entry.running.done()):
            self._launch(name, entry, 0.0)

    def _launch(self, name: str, entry: _Entry, delay: float) -> None:
        # Our own task, not APScheduler's: its shutdown cancels the jobs it runs, without waiting for them.
        # Its context is empty: what the request bound that woke it up does not belong to it.
        entry.running = asyncio.get_running_loop().create_task(
            self._run(name, entry, delay), name=f"job {name}", context=contextvars.Context()
        )
        self._tasks.add(entry.running)
        entry.running.add_done_callback(self._tasks.discard)

    async def _run(self, name: str, entry: _Entry, delay: float) -> None:
        await asyncio.sleep(delay)
        while not self._stopping:
            entry.again = False
            try:
                await entry.function()
            except Exception:  # whatever it is, it must not stop the timer
                logger.exception("job failed", job=name)
            if not entry.again:
                return
            await asyncio.sleep(self._debounce)

    @property
    def running(self) -> frozenset[str]:
        """The names of the jobs that run now."""
        return frozenset(name for name, entry in self._entries.items() if entry.running and not entry.running.done())

    async def stop(self, grace: float) -> bool:
        """Start nothing more, give running jobs `grace` seconds, then cancel them; True when none had to be."""
        self._stopping = True
        if self._scheduler.running:
            self._scheduler.pause()
        late = await _unfinished(self._tasks, grace)
        for task in late:
            task.cancel()
        await _unfinished(late, UNWIND)
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        return not late


async def _unfinished(tasks: set[asyncio.Task[None]], seconds: float) -> set[asyncio.Task[None]]:
    """The tasks that are still running after this time, or as soon as all have ended."""
    return (await asyncio.wait(set(tasks), timeout=seconds))[1] if tasks else set()
