"""Fixtures: a store on either database; PostgreSQL is started when a test first asks for it."""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text

from state.engines import engine
from state.store import Store
from state.tables import Lease
from tests.servers.postgres import Postgres, PostgresMissing

WORKSPACE = "acme"
START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
TTL = timedelta(seconds=60)


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    """The time of a test."""
    return Clock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this worker's own; a test that needs it is skipped where there is none."""
    try:
        server = Postgres()
    except PostgresMissing as error:
        pytest.skip(str(error))
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres_admin(postgres: Postgres) -> Iterator[Engine]:
    """A connection beside the store's, to this worker's database."""
    name = f"syncd_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    server = engine(postgres.url())
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    server.dispose()
    admin = engine(postgres.url(name))
    yield admin
    admin.dispose()


@pytest.fixture
def wipe(postgres_admin: Engine) -> Callable[[], None]:
    """Deletes every row of this worker's database; the schema stays."""

    def work() -> None:
        with postgres_admin.begin() as connection:
            for table in set(inspect(connection).get_table_names()) - {"alembic_version"}:
                connection.execute(text(f"DELETE FROM {table}"))

    return work


@pytest.fixture
def postgres_url(postgres_admin: Engine, wipe: Callable[[], None]) -> str:
    """This worker's database, without rows."""
    wipe()
    return postgres_admin.url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
async def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite store, made once and copied for every test."""
    path = tmp_path_factory.mktemp("template") / "empty.db"
    async with Store(f"sqlite:///{path}", lambda: START):
        pass
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind, with its schema."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "test.db")
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
async def store(store_url: str, clock: Clock) -> AsyncIterator[Store]:
    """An open store on either kind of database."""
    async with Store(store_url, clock) as opened:
        yield opened


@pytest.fixture
async def lease(store: Store) -> Lease:
    """This test's hold on the workspace."""
    return await store.acquire(WORKSPACE, "this test", TTL, lambda _holder: False)
