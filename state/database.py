"""One thread, one connection: the only place that opens a session.

Every unit of work is a synchronous function run in one dedicated thread (ADR 2): a transaction takes one hop instead of
one per statement, cannot be cut in half by a cancelled task, and those that wait together are committed together.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from state import migrate
from state.engines import engine, reading
from state.failures import failure, lost_a_race, translated
from syncd.errors import StoreBusy, StoreError, SyncdError

T = TypeVar("T")
Work = Callable[[Session], Any]

#: So many waiting transactions share one commit.
GROUP = 64
#: So often a transaction is run that loses against other processes' transactions.
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Job:
    """Work that waits, and who waits for it."""

    work: Work
    future: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job."""

    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class Database:
    """One database, one thread, one connection. Raises StoreError and its kinds, SyncdError for a row it refuses."""

    def __init__(self, url: str) -> None:
        self.engine = engine(url)
        self.dialect = self.engine.dialect.name
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self, *, upgrade: bool = True) -> None:
        """Connect, bring the schema up to date (or check that it is), and start the worker."""
        self._loop = asyncio.get_running_loop()
        try:
            await asyncio.to_thread(translated, partial(migrate.prepare, self.engine, upgrade=upgrade))
        except StoreError:
            self.engine.dispose()
            raise
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Finish what is queued, stop the worker and disconnect."""
        if self._thread:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        await asyncio.to_thread(self.engine.dispose)

    async def run(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a transaction of its own and return its result once it is committed.

        It may be run more than once, and only the last run counts: it must do the same again, and change nothing but
        the session. A cancelled caller does not undo it: it is committed, or fails, as a whole.
        """
        if self._loop is None or self._thread is None or not self._thread.is_alive():
            raise StoreError("the store is not open")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(Job(work, future))
        return await future

    async def snapshot(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, which only reads and may take long, on one unchanging picture of the database.

        Other processes go on writing meanwhile; this one's transactions wait.
        """
        return await asyncio.to_thread(translated, partial(self._snapshot, work))

    def _snapshot(self, work: Callable[[Connection], T]) -> T:
        with self.engine.connect() as connection, reading(connection).begin():
            return work(connection)

    def _work(self) -> None:
        last = False
        while not last:
            group, last = self._group()
            self._tell(self._outcomes(group))

    def _group(self) -> tuple[list[Job], bool]:
        """Wait for a job and take what waits behind it; True when it was the end."""
        group: list[Job] = []
        job = self._jobs.get()
        while job is not None:
            group.append(job)
            if len(group) == GROUP or self._jobs.empty():
                return group, False
            job = self._jobs.get()
        return group, True

    def _outcomes(self, group: Sequence[Job]) -> list[Outcome]:
        try:
            results = self._commit([job.work for job in group])
        except StoreBusy as error:
            # It would meet each of them alike, and each would wait for the same lock in turn.
            self.engine.dispose()
            return [Outcome(job.future, error=error) for job in group]
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for it
            if len(group) == 1:
                return [Outcome(group[0].future, error=error)]
            # One of them failed: each stands for itself now.
            return [outcome for job in group for outcome in self._outcomes([job])]
        return [Outcome(job.future, result) for job, result in zip(group, results, strict=True)]

    def _commit(self, works: Sequence[Work]) -> list[Any]:
        attempts = 0
        while True:
            attempts += 1
            try:
                return self._transaction(works)
            except SQLAlchemyError as error:
                if attempts == ATTEMPTS or not lost_a_race(error):
                    raise failure(error) from error
            except UnicodeEncodeError as error:  # half a character, which a product's JSON may hold
                raise SyncdError(f"a text cannot be stored: {error.reason}") from error

    def _transaction(self, works: Sequence[Work]) -> list[Any]:
        results = []
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            for work in works:
                results.append(work(session))
                session.flush()
                # The next one must neither see rows as this one read them, nor share them with its caller.
                session.expunge_all()
        return results

    def _tell(self, outcomes: Sequence[Outcome]) -> None:
        if self._loop:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_settle, outcomes)


def _settle(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.future.done():  # its caller was cancelled
            continue
        if outcome.error is None:
            outcome.future.set_result(outcome.result)
        else:
            outcome.future.set_exception(outcome.error)
