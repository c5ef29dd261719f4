"""The engine and its worker thread: the only place that opens a session.

Every unit of work is a synchronous function run in one dedicated thread (ADR 2): a transaction takes one hop instead of
one per statement, cannot be cut in half by a cancelled task, and those that wait together are committed together.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool, StaticPool
from sqlmodel import Session

from state import migrate
from syncd.errors import StoreBusy, StoreError

T = TypeVar("T")
Work = Callable[[Session], Any]

#: So many waiting transactions share one commit.
GROUP = 64


class Database:
    """One database, one thread, one connection that writes. Raises StoreError and its kinds."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self.dialect = self.engine.dialect.name
        self._jobs: queue.SimpleQueue[tuple[Work, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self, *, upgrade: bool = True) -> None:
        """Connect, bring the schema up to date (or check that it is), and start the worker."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(_translated, lambda: migrate.prepare(self.engine, upgrade=upgrade))
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

        A cancelled caller does not undo it: the commit happens or fails as a whole.
        """
        if self._loop is None or self._thread is None:
            raise StoreError("the store is not open")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put((work, future))
        return await asyncio.shield(future)

    def _work(self) -> None:
        while (first := self._jobs.get()) is not None:
            group, last = self._group(first)
            works = [work for work, _ in group]
            try:
                results = _translated(partial(self._commit, works))
            except Exception as error:  # noqa: BLE001 - handed to whoever waits for it
                self._alone(group, error)
            else:
                for (_, future), result in zip(group, results, strict=True):
                    self._tell(future, result, None)
            if last:
                return

    def _group(self, first: Any) -> tuple[list[tuple[Work, asyncio.Future[Any]]], bool]:
        group = [first]
        while len(group) < GROUP:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, False
            if job is None:
                return group, True
            group.append(job)
        return group, False

    def _alone(self, group: list[tuple[Work, asyncio.Future[Any]]], error: Exception) -> None:
        """One of a group failed: each stands for itself now."""
        if len(group) == 1:
            self._tell(group[0][1], None, error)
            return
        for work, future in group:
            try:
                result = _translated(partial(self._commit, [work]))[0]
            except Exception as own:  # noqa: BLE001 - handed to whoever waits for it
                self._tell(future, None, own)
            else:
                self._tell(future, result, None)

    def _commit(self, works: list[Work]) -> list[Any]:
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            results = []
            for work in works:
                results.append(work(session))
                session.flush()
        return results

    def _tell(self, future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        def settle() -> None:
            if future.cancelled():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(settle)


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError("the store's URL is not a database URL", hint="sqlite:///file.db or postgresql://…") from error
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    if parsed.get_backend_name() != "postgresql":
        raise StoreError(f"no support for {parsed.get_backend_name()}", hint="sqlite:///file.db or postgresql://…")
    return create_engine(
        parsed, pool_size=1, max_overflow=1, pool_pre_ping=True, json_serializer=_dump, json_deserializer=orjson.loads,
        connect_args={"connect_timeout": 10},
    )  # fmt: skip


def _sqlite(url: Any) -> Engine:
    if url.database and url.database != ":memory:":
        folder = Path(url.database).expanduser().parent
        if not folder.is_dir():
            raise StoreError(
                f"the folder {folder} of the database does not exist", hint="make it, or change [store] url"
            )
    in_memory = url.database in {None, "", ":memory:"}
    engine = create_engine(
        url,
        connect_args={"check_same_thread": False, "timeout": 10},
        json_serializer=_dump,
        json_deserializer=orjson.loads,
        **({"poolclass": StaticPool} if in_memory else {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}),
    )
    event.listen(engine, "connect", _pragmas)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _pragmas(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver's own transactions read outside of them, which loses updates: SQLAlchemy's `begin` event opens ours.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()


def _translated(work: Callable[[], T]) -> T:
    """Run `work` with the driver's failures as ours."""
    try:
        return work()
    except OperationalError as error:
        raise StoreBusy(f"the database is locked, full or away: {error.orig}", hint="it is tried again") from error
    except DBAPIError as error:
        raise StoreError(f"the database refused: {error.orig}") from error
