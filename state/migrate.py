"""Migrations, run in-process: by `syncd db upgrade`, and by a daemon at its start."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from syncd.errors import StoreError, StoreTooNew

SCRIPTS = Path(__file__).parent / "migrations"
#: Any number: the key under which starters of one PostgreSQL database wait for each other.
ADVISORY_LOCK = 7_946_323


def prepare(engine: Engine, *, upgrade: bool = True) -> str:
    """Bring the schema to this code's revision and return it.

    Raises StoreTooNew for a database written by a newer syncd, and StoreError for an older one when `upgrade` is off.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        return _prepare(connection, upgrade)


def _prepare(connection: Connection, upgrade: bool) -> str:
    scripts = ScriptDirectory(str(SCRIPTS))
    head = scripts.get_current_head() or ""
    current = MigrationContext.configure(connection).get_current_revision()
    if current == head:
        return head
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise StoreTooNew(
            f"the database is at revision {current}, which this version of syncd does not know",
            hint="it was written by a newer syncd: upgrade the program, or restore an older database",
        )
    if not upgrade:
        raise StoreError(
            f"the database is at revision {current}, this version needs {head}", hint="run `syncd db upgrade`"
        )
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return head
