"""Timers: they keep their pace, never overlap, survive failures, and stop in good order."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog
from apscheduler.triggers.interval import IntervalTrigger

from syncd.schedule import JITTER, Scheduler

NEVER = 3600.0


class Work:
    """A job that notes its runs; `gate` holds them up, `error` makes them fail."""

    def __init__(self) -> None:
        self.runs = self.active = self.most = self.finished = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.started = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> None:
        self.runs += 1
        self.active += 1
        self.most = max(self.most, self.active)
        self.started.set()
        try:
            await self.gate.wait()
            if self.error:
                raise self.error
            self.finished += 1
        finally:
            self.active -= 1


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    """A running scheduler with a short debounce, stopped afterwards."""
    made = Scheduler(debounce=0.02)
    made.start()
    yield made
    await made.stop(0)


async def until(condition: object, seconds: float = 3.0) -> None:
    """Wait until the condition (a callable) holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def test_a_job_runs_at_once_and_again(scheduler: Scheduler) -> None:
    """The first run is immediate, and others follow at the interval."""
    work = Work()
    scheduler.add("a", 0.05, work)
    await until(lambda: work.runs >= 3)


async def test_a_job_can_wait_for_its_first_interval(scheduler: Scheduler) -> None:
    """With at_once=False the first run comes after an interval."""
    work = Work()
    scheduler.add("a", NEVER, work, at_once=False)
    await asyncio.sleep(0.05)
    assert work.runs == 0


async def test_a_job_never_overlaps_itself(scheduler: Scheduler) -> None:
    """While a run takes longer than the interval, no second one starts."""
    work = Work()
    work.gate.clear()
    scheduler.add("a", 0.05, work)
    await work.started.wait()
    await asyncio.sleep(0.2)
    assert work.runs == 1
    assert scheduler.running == {"a"}
    work.gate.set()
    await until(lambda: work.runs >= 2)
    assert work.most == 1


async def test_a_failure_is_logged_and_the_timer_goes_on(scheduler: Scheduler) -> None:
    """A job that raises is reported with its name and runs again."""
    work = Work()
    work.error = RuntimeError("broken")
    with structlog.testing.capture_logs() as logs:
        scheduler.add("a", 0.05, work)
        await until(lambda: work.runs >= 2)
    assert logs[0]["event"] == "job failed"
    assert logs[0]["job"] == "a"


async def test_waking_is_debounced(scheduler: Scheduler) -> None:
    """Many wake-ups in a row make one run."""
    work = Work()
    scheduler.add("a", NEVER, work, at_once=False)
    assert all(scheduler.wake("a") for _ in range(20))
    await until(lambda: work.finished == 1)
    await asyncio.sleep(0.1)
    assert work.runs == 1


async def test_waking_a_running_job_runs_it_once_more(scheduler: Scheduler) -> None:
    """What a wake-up announces during a run may have come too late for it, so the job looks again, once."""
    work = Work()
    work.gate.clear()
    scheduler.add("a", NEVER, work)
    await work.started.wait()
    for _ in range(5):
        scheduler.wake("a")
    work.gate.set()
    await until(lambda: work.finished == 2)
    await asyncio.sleep(0.1)
    assert (work.runs, work.most) == (2, 1)


async def test_waking_an_unknown_job_is_refused(scheduler: Scheduler) -> None:
    """There is nothing to wake under an unknown name, nor under a removed one."""
    scheduler.add("a", NEVER, Work(), at_once=False)
    scheduler.remove("a")
    scheduler.remove("a")
    assert not scheduler.wake("a")
    assert not scheduler.wake("b")


async def test_stopping_waits_for_running_jobs() -> None:
    """A job that ends within the grace period is not cancelled, even when it was removed meanwhile."""
    scheduler, work = Scheduler(), Work()
    work.gate.clear()
    scheduler.start()
    scheduler.add("a", NEVER, work)
    await work.started.wait()
    scheduler.remove("a")
    asyncio.get_running_loop().call_later(0.05, work.gate.set)
    assert await scheduler.stop(5)
    assert work.finished == 1


async def test_stopping_cancels_what_takes_too_long() -> None:
    """After the grace period a job is cancelled, and nothing runs any more."""
    scheduler, work = Scheduler(), Work()
    work.gate.clear()
    scheduler.start()
    scheduler.add("a", 0.05, work)
    await work.started.wait()
    assert not await scheduler.stop(0.05)
    assert work.active == 0
    assert not scheduler.wake("a")
    await asyncio.sleep(0.1)
    assert work.runs == 1


async def test_a_scheduler_that_never_started_stops() -> None:
    """Stopping is allowed at any time."""
    assert await Scheduler().stop(1)


async def test_a_woken_job_does_not_inherit_the_context(scheduler: Scheduler) -> None:
    """Names that the waking request bound for its log lines do not show in the job's."""
    seen: list[dict[str, object]] = []

    async def job() -> None:
        seen.append(structlog.contextvars.get_contextvars())

    scheduler.add("a", NEVER, job, at_once=False)
    with structlog.contextvars.bound_contextvars(ticket="7"):
        scheduler.wake("a")
    await until(lambda: seen)
    assert seen == [{}]


async def test_jitter_keeps_the_mean(scheduler: Scheduler) -> None:
    """The interval that APScheduler is given, with half of the jitter it adds, is the one asked for."""
    scheduler.add("a", 100.0, Work(), at_once=False)
    trigger = scheduler._scheduler.get_job("a").trigger
    assert isinstance(trigger, IntervalTrigger)
    assert trigger.jitter == pytest.approx(100.0 * JITTER)
    assert trigger.interval_length + trigger.jitter / 2 == pytest.approx(100.0)
