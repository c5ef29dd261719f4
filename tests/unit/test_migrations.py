"""Migrations, on both databases: the schema they make, and that they are safe to repeat, to race and to break off."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text
from sqlmodel import SQLModel

from state import migrate
from state.engines import engine
from state.store import Store
from syncd.errors import StoreError, StoreTooNew
from tests.databases import START

HEAD = ScriptDirectory(str(migrate.SCRIPTS)).get_current_head()
#: A later revision that changes a table to which others refer; SQLite makes such a table anew.
LATER = f"""
import sqlalchemy as sa
from alembic import op

revision = "later"
down_revision = "{HEAD}"


def upgrade() -> None:
    with op.batch_alter_table("link") as table:
        table.alter_column("state", type_=sa.Text())
        table.drop_constraint("uq_link_workspace_remote_id", type_="unique")
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    postgres = request.getfixturevalue("postgres")
    admin = engine(postgres.url())
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE empty"))
        yield postgres.url("empty")
        connection.execute(text("DROP DATABASE empty WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def opened(empty: str) -> Iterator[Engine]:
    """An engine on it."""
    made = engine(empty)
    yield made
    made.dispose()


def described(connection: Connection) -> dict[str, object]:
    """Every table: columns, keys, constraints and indexes, in an order that does not matter."""
    looked = inspect(connection)
    looks: tuple[Callable[[str], object], ...] = (
        looked.get_columns,
        looked.get_pk_constraint,
        looked.get_unique_constraints,
        looked.get_foreign_keys,
        looked.get_indexes,
    )
    return {
        f"{table} {number}": sorted(map(str, found)) if isinstance(found := look(table), list) else str(found)
        for table in looked.get_table_names()
        if table != "alembic_version"
        for number, look in enumerate(looks)
    }


def test_the_migrations_give_the_schema_of_the_tables(opened: Engine) -> None:
    """What autogenerate would add is nothing, and `create_all` makes the very same."""
    migrate.prepare(opened)
    with opened.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []
        migrated = described(connection)
        SQLModel.metadata.drop_all(connection)
        SQLModel.metadata.create_all(connection)
        assert described(connection) == migrated


def test_numbers_of_deleted_rows_are_not_given_again(tmp_path: Path) -> None:
    """On SQLite only tables made with AUTOINCREMENT keep that promise, and no comparison shows it."""
    made = engine(f"sqlite:///{tmp_path / 'a.db'}")
    migrate.prepare(made)
    with made.begin() as connection:
        kept = connection.execute(text("SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'")).scalars()
        assert {"dirty", "intent"} <= set(kept)
    made.dispose()


def test_a_second_upgrade_changes_nothing(opened: Engine) -> None:
    """Every start of a daemon is one."""
    assert migrate.prepare(opened) == migrate.prepare(opened) == migrate.prepare(opened, upgrade=False)


def test_a_newer_database_is_refused(opened: Engine) -> None:
    """An older program must not touch what a newer one wrote."""
    migrate.prepare(opened)
    with opened.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreTooNew, match=r"9999.*upgrade the program"):
        migrate.prepare(opened)


def test_without_upgrade_an_old_database_is_refused(opened: Engine) -> None:
    """It says what to do, and makes no table."""
    with pytest.raises(StoreError, match=r"is empty.*syncd db upgrade"):
        migrate.prepare(opened, upgrade=False)
    with opened.begin() as connection:
        assert inspect(connection).get_table_names() == []


async def test_starters_at_the_same_moment_all_succeed(empty: str) -> None:
    """Four processes on one new database: one makes the schema, the others wait for it."""
    stores = [Store(empty, lambda: START) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    assert [await store.counts("acme") for store in stores] == [await stores[0].counts("acme")] * 4
    await asyncio.gather(*(store.close() for store in stores))


def test_a_later_migration_keeps_what_refers_to_a_changed_table(opened: Engine, tmp_path: Path) -> None:
    """On SQLite the table is dropped and made anew: that must not empty the tables that refer to it."""
    scripts = tmp_path / "100% of them"
    shutil.copytree(migrate.SCRIPTS, scripts)
    migrate.prepare(opened)
    (scripts / "versions" / "later.py").write_text(LATER)
    with opened.begin() as connection:
        now = START.isoformat(" ")
        connection.execute(text(f"INSERT INTO link VALUES (1, 'acme', 'g', 'r', '{now}', 'linked')"))
        connection.execute(text("INSERT INTO snapshot (link_id, side, fields) VALUES (1, 'gorgias', '{}')"))
    with pytest.raises(StoreError, match=f"at revision {HEAD}, this version needs later"):
        migrate.prepare(opened, upgrade=False, scripts=scripts)
    assert migrate.prepare(opened, scripts=scripts) == "later"
    with opened.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM snapshot")).scalar() == 1
        if opened.dialect.name == "sqlite":
            assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []


def test_a_failed_migration_leaves_the_database_as_it_was(opened: Engine, tmp_path: Path) -> None:
    """Both databases undo changes of the schema."""
    scripts = tmp_path / "scripts"
    shutil.copytree(migrate.SCRIPTS, scripts)
    migrate.prepare(opened)
    (scripts / "versions" / "later.py").write_text(LATER + "    raise RuntimeError('half way')\n")
    with opened.begin() as connection:
        before = described(connection)
    with pytest.raises(RuntimeError, match="half way"):
        migrate.prepare(opened, scripts=scripts)
    with opened.begin() as connection:
        assert described(connection) == before
    assert migrate.prepare(opened) == HEAD
