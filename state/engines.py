"""SQLAlchemy engines for the two databases, set up so that a transaction is one (ADR 2)."""

import sqlite3
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from syncd.errors import StoreError, SyncdError

#: How long a transaction waits for another one's lock (seconds).
LOCK_WAIT = 10
#: A server that vanished without a word is noticed after about 25 s; libpq's own default is two hours.
LIBPQ = {
    "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 25_000, "application_name": "syncd",
}  # fmt: skip
#: The second setting takes its locks from a process that was stopped in the middle of a transaction.
POSTGRESQL = f"SET lock_timeout = '{LOCK_WAIT}s'; SET idle_in_transaction_session_timeout = '30s'"
HINT = "sqlite:///file.db or postgresql://…"


def engine(url: str) -> Engine:
    """An engine for one connection. Raises StoreError for a URL that cannot be used."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError("the store's URL is not a database URL", hint=HINT) from error
    backend = parsed.drivername.partition("+")[0]
    if backend == "sqlite":
        return _sqlite(parsed)
    if backend not in {"postgresql", "postgres"}:
        raise StoreError(f"no support for {backend}", hint=HINT)
    return _postgresql(parsed)


def reading(connection: Connection) -> Connection:
    """The connection, whose next transaction sees one unchanging picture and holds up no writer."""
    if connection.dialect.name == "sqlite":
        return connection.execution_options(reads=True)
    return connection.execution_options(isolation_level="REPEATABLE READ")


def _engine(url: URL, **options: Any) -> Engine:
    # Parameters are what people wrote to each other: they belong in no error message.
    return create_engine(
        url, json_serializer=_dump, json_deserializer=orjson.loads, hide_parameters=True,
        poolclass=QueuePool, pool_size=1, max_overflow=0, **options,
    )  # fmt: skip


def _postgresql(url: URL) -> Engine:
    given = {name: value for name, value in LIBPQ.items() if name not in url.query}
    made = _engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=given)
    if "options" not in url.query:
        event.listen(made, "connect", _session_settings)
    return made


def _session_settings(connection: Any, _record: Any) -> None:
    connection.execute(POSTGRESQL)
    connection.commit()


def _sqlite(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        folder = Path(url.database).expanduser().parent
        if not folder.is_dir():
            raise StoreError(
                f"the folder {folder} of the database does not exist", hint="make it, or change [store] url"
            )
        url = url.set(database=str(Path(url.database).expanduser()))
    wait = {} if "timeout" in url.query else {"timeout": LOCK_WAIT}
    made = _engine(url, connect_args={"check_same_thread": False, **wait})
    event.listen(made, "connect", _pragmas)
    event.listen(made, "begin", _begin)
    return made


def _pragmas(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver's own transactions read outside of them, which loses updates: SQLAlchemy's `begin` event opens ours.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that begins by reading and then writes fails at once when another one wrote in between.
    reads = connection.get_execution_options().get("reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _dump(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        raise SyncdError(f"a value cannot be stored: {error}") from error
