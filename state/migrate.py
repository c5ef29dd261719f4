"""Migrations, run in-process: by `syncd db upgrade`, and by a daemon at its start."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from state.engines import reading
from syncd.errors import StoreError, StoreTooNew

SCRIPTS = Path(__file__).parent / "migrations"
#: Any number: the key under which starters of one PostgreSQL database wait for each other.
ADVISORY_LOCK = 7_946_323


def prepare(engine: Engine, *, upgrade: bool = True, scripts: Path = SCRIPTS) -> str:
    """Bring the schema to this code's revision and return it.

    Raises StoreTooNew for a database written by a newer syncd, and StoreError for an older one when `upgrade` is off.
    """
    folder = ScriptDirectory(str(scripts))
    head = folder.get_current_head() or ""
    # A look first: who only reads a database should not wait for its writers.
    with engine.connect() as connection, reading(connection).begin():
        if _revision(connection) == head:
            return head
    with engine.connect() as connection, _without_foreign_keys(connection), connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        _check(_revision(connection), folder, upgrade)
        _upgrade(connection, scripts)
    return head


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by making it anew; with foreign keys on, dropping the old one would empty its children."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = connection.connection.driver_connection
    if driver is None:
        raise StoreError("the connection to the database is closed")
    driver.execute("PRAGMA foreign_keys=OFF")  # means nothing inside a transaction
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _check(current: str | None, scripts: ScriptDirectory, upgrade: bool) -> None:
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise StoreTooNew(
            f"the database is at revision {current}, which this version of syncd does not know",
            hint="it was written by a newer syncd: upgrade the program, or restore an older database",
        )
    head = scripts.get_current_head()
    if not upgrade and current != head:
        state = f"is at revision {current}" if current else "is empty"
        raise StoreError(f"the database {state}, this version needs {head}", hint="run `syncd db upgrade`")


def _upgrade(connection: Connection, scripts: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
