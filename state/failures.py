"""The drivers' failures as ours, by what the caller can do about them.

StoreBusy: nothing is wrong that time does not heal. StoreError: a person must look. SyncdError: one row contradicts
what is stored, which is about one ticket and says nothing about the database.
"""

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from syncd.errors import StoreBusy, StoreError, SyncdError

T = TypeVar("T")
#: SQLite's primary result codes (sqlite.org/rescode.html) that are about the file, and what to do.
FILE_HINTS = {
    sqlite3.SQLITE_PERM: "check the owner and the permissions of the file and its folder",
    sqlite3.SQLITE_READONLY: "check the owner and the permissions of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "check that [store] url names a file, and the permissions of it and its folder",
    sqlite3.SQLITE_NOTADB: "[store] url names a file that is something else: change it, or move that file away",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: restore a backup, or begin with an empty file (markers link again)",
}
#: A refused connection carries no SQLSTATE, only the server's words.
NEVER_HEALS = ("password authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry")
#: SQLSTATEs of a transaction that lost against another one and can simply be run again: serialization, deadlock.
LOST_RACES = frozenset({"40001", "40P01"})


def translated(work: Callable[[], T]) -> T:
    """Run `work` with the driver's failures as ours."""
    try:
        return work()
    except SQLAlchemyError as error:
        raise failure(error) from error


def lost_a_race(error: SQLAlchemyError) -> bool:
    """Whether the transaction was undone only because of another one's."""
    return isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", None) in LOST_RACES


def failure(error: SQLAlchemyError) -> SyncdError:
    """What a driver's failure means to us."""
    if isinstance(error, PoolTimeout):
        return StoreBusy("the connection to the database is taken", hint="it is tried again")
    if not isinstance(error, DBAPIError):
        cause = getattr(error, "orig", error)
        return cause if isinstance(cause, SyncdError) else SyncdError(f"the database was misused: {cause}")
    return _driver_failure(error)


def _driver_failure(error: DBAPIError) -> SyncdError:
    said = str(error.orig).strip()
    if error.connection_invalidated:
        return StoreBusy(f"the connection to the database is gone: {said}", hint="it is tried again")
    if isinstance(error, IntegrityError | DataError):
        # PostgreSQL's further lines show the row.
        return SyncdError(f"the database refused a row: {said.splitlines()[0]}")
    if hint := _hint(error.orig):
        return StoreError(f"the database cannot be used: {said}", hint=hint)
    if isinstance(error, OperationalError):
        return StoreBusy(f"the database is locked, full or away: {said}", hint="it is tried again")
    return StoreError(f"the database refused: {said}")


def _hint(error: BaseException | None) -> str:
    """What a person must do; nothing for what time heals."""
    if isinstance(error, sqlite3.Error):
        return FILE_HINTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "")
    return "check [store] url and the server's roles" if any(words in str(error) for words in NEVER_HEALS) else ""
