"""The thread behind the store: whole transactions, shared commits, and every failure of a database as one of ours."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, text
from sqlmodel import Session, SQLModel, select

from state.database import GROUP, Database
from state.tables import Intent, Snapshot, Tombstone
from syncd.errors import StoreBusy, StoreError, SyncdError
from tests.databases import START
from tests.servers.postgres import Postgres

Work = Callable[[Session], object]


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    """An open database of either kind that does not wait long for a lock."""
    quick = "?timeout=0.2" if store_url.startswith("sqlite") else "&options=-c%20lock_timeout%3D200"
    opened = Database(store_url + quick)
    await opened.open()
    yield opened
    await opened.close()


def bury(*ids: str) -> Work:
    """A transaction that writes these rows."""

    def work(session: Session) -> int:
        for its_id in ids:
            session.add(Tombstone(workspace="acme", side="gorgias", ticket_id=its_id, at=START))
        return len(ids)

    return work


def buried(session: Session) -> list[str]:
    """What was written."""
    return sorted(row.ticket_id for row in session.execute(select(Tombstone)).scalars())


async def test_waiting_transactions_share_a_commit_and_stand_for_themselves(database: Database) -> None:
    """One that fails takes nobody with it, although all were one transaction at first."""
    gate = threading.Event()
    works: list[Work] = [lambda _session: gate.wait(5), *(bury(str(n)) for n in range(10)), bury("3"), bury("99")]
    tasks = [asyncio.create_task(database.run(work)) for work in works]
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results if isinstance(result, Exception)] == [SyncdError]
    assert isinstance(results[11], SyncdError)
    assert await database.run(buried) == sorted([*map(str, range(10)), "99"])


async def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    """Neither what it wrote before it failed nor anything for the next one."""

    def work(session: Session) -> None:
        bury("1")(session)
        session.flush()
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        await database.run(work)
    assert await database.run(buried) == []


async def test_rows_are_not_shared_between_callers(database: Database) -> None:
    """Two that read one row in one group get an object each, as it is when they read it."""
    await database.run(bury("1"))
    gate = threading.Event()

    def read(session: Session) -> Tombstone:
        return session.execute(select(Tombstone)).scalars().one()

    def change(session: Session) -> None:
        session.connection().execute(text("UPDATE tombstone SET why = 'merged'"))

    works: list[Work] = [lambda _session: gate.wait(5), read, change, read]
    tasks = [asyncio.create_task(database.run(work)) for work in works]
    await asyncio.sleep(0)
    gate.set()
    _, first, _, second = await asyncio.gather(*tasks)
    assert isinstance(first, Tombstone)
    assert isinstance(second, Tombstone)
    assert (first.why, second.why) == ("", "merged")


async def test_a_cancelled_caller_leaves_a_whole_transaction(database: Database) -> None:
    """Whenever a task is cancelled: all rows of its transaction are there, or none."""
    for number in range(30):
        task = asyncio.create_task(database.run(bury(f"{number}a", f"{number}b")))
        await asyncio.sleep(0.0001 * (number % 7))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    found = await database.run(buried)
    assert {name[:-1] for name in found if name.endswith("a")} == {name[:-1] for name in found if name.endswith("b")}
    assert len(found) > 2


async def test_close_finishes_what_is_queued(database: Database) -> None:
    """Also more than one group; afterwards it says that it is closed."""
    tasks = [asyncio.create_task(database.run(bury(str(n)))) for n in range(GROUP + 10)]
    await asyncio.sleep(0)
    await database.close()
    assert await asyncio.gather(*tasks) == [1] * (GROUP + 10)
    with pytest.raises(StoreError, match="not open"):
        await database.run(buried)


@pytest.mark.parametrize(
    "row",
    [
        Tombstone(workspace="acme", side="gorgias", ticket_id="secret \ud800", at=START),
        Snapshot(link_id=1, side="remote", fields={"subject": "secret \ud800"}),
        Intent(workspace="acme", link_id=77, side="remote", kind="secret", key="k", payload={}, sent_at=START),
    ],
    ids=["text", "json", "unknown link"],
)
async def test_a_row_that_cannot_be_stored_is_no_failure_of_the_database(database: Database, row: SQLModel) -> None:
    """It is about one ticket; and what people wrote stands in no error message."""
    with pytest.raises(SyncdError) as caught:
        await database.run(lambda session: session.connection().execute(insert(type(row)), row.model_dump()) and None)
    assert not isinstance(caught.value, StoreError)
    assert "secret" not in str(caught.value)


async def test_a_snapshot_does_not_change_while_it_is_read(database: Database, store_url: str) -> None:
    """Although another process writes meanwhile, which it can."""
    await database.run(bury("1"))
    other = Database(store_url)
    await other.open()
    loop = asyncio.get_running_loop()

    def work(connection: object) -> tuple[list[str], list[str]]:
        def read() -> list[str]:
            return list(connection.execute(select(Tombstone.ticket_id)).scalars())  # type: ignore[attr-defined]

        before = read()
        asyncio.run_coroutine_threadsafe(other.run(bury("2")), loop).result(5)
        return before, read()

    assert await database.snapshot(work) == (["1"], ["1"])
    assert await database.run(buried) == ["1", "2"]
    await other.close()


# -- failures -------------------------------------------------------------------------------------------------------


async def test_a_locked_sqlite_is_busy_until_the_lock_is_gone(tmp_path: Path) -> None:
    """Every one that waits learns it after one wait, not one after the other."""
    database = Database(f"sqlite:///{tmp_path / 'a.db'}?timeout=0.2")
    await database.open()
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with asyncio.timeout(3):
        results = await asyncio.gather(*(database.run(bury(str(n))) for n in range(50)), return_exceptions=True)
    assert {type(result) for result in results} == {StoreBusy}
    other.execute("ROLLBACK")
    assert await database.run(bury("1")) == 1
    other.close()
    await database.close()


async def test_a_full_disk_is_busy_until_there_is_room(tmp_path: Path) -> None:
    """What did not fit left nothing."""
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    await database.open()
    await database.run(lambda session: session.connection().exec_driver_sql("PRAGMA max_page_count=1") and None)
    with pytest.raises(StoreBusy, match="full"):
        await database.run(bury("x" * 1_000_000))
    assert await database.run(buried) == []
    await database.run(bury("x" * 1_000_000))
    await database.close()


async def test_a_locked_row_of_postgresql_is_busy(postgres_url: str, postgres_admin: Engine) -> None:
    """Not a wait without an end."""
    database = Database(postgres_url + "&options=-c%20lock_timeout%3D100")
    await database.open()
    await database.run(bury("1"))
    with postgres_admin.begin() as other:
        other.execute(text("UPDATE tombstone SET why = 'other'"))
        with pytest.raises(StoreBusy, match="lock"):
            await database.run(lambda s: s.connection().execute(text("UPDATE tombstone SET why = 'x'")) and None)
    await database.run(lambda s: s.connection().execute(text("UPDATE tombstone SET why = 'x'")) and None)
    await database.close()


async def test_a_deadlock_is_run_again(postgres_url: str) -> None:
    """PostgreSQL ends one of the two; that is nobody's failure."""
    databases = [Database(postgres_url), Database(postgres_url)]
    for database in databases:
        await database.open()
    await databases[0].run(bury("1", "2"))
    both = threading.Barrier(2)

    def update(first: str, second: str) -> Work:
        runs: list[int] = []

        def work(session: Session) -> int:
            runs.append(1)
            change = text("UPDATE tombstone SET why = 'x' WHERE ticket_id = :its_id")
            session.connection().execute(change, {"its_id": first})
            if len(runs) == 1:
                both.wait(5)
            session.connection().execute(change, {"its_id": second})
            return len(runs)

        return work

    runs = await asyncio.gather(databases[0].run(update("1", "2")), databases[1].run(update("2", "1")))
    assert sorted(runs) == [1, 2]  # type: ignore[type-var]
    for database in databases:
        await database.close()


async def test_a_restarted_postgresql_is_found_again(postgres: Postgres, postgres_url: str) -> None:
    """Busy while it is away; the same object goes on when it is back."""
    database = Database(postgres_url)
    await database.open()
    await database.run(bury("1"))
    postgres.stop()
    try:
        for _ in range(2):
            with pytest.raises(StoreBusy):
                await database.run(buried)
    finally:
        postgres.start()
    assert await database.run(bury("2")) == 1
    assert await database.run(buried) == ["1", "2"]
    await database.close()


async def test_a_connection_that_was_cut_is_replaced_unseen(postgres_url: str, postgres_admin: Engine) -> None:
    """A firewall or an administrator ends idle connections."""
    database = Database(postgres_url)
    await database.open()
    end = (
        "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity"
        " WHERE pid != pg_backend_pid() AND datname = current_database()"
    )
    with postgres_admin.begin() as other:
        assert other.execute(text(end)).scalars().all() == [True]
    assert await database.run(buried) == []
    await database.close()


async def test_a_connection_cut_in_the_middle_is_busy(postgres_url: str) -> None:
    """Nobody can tell whether a commit landed whose answer never came: it is not sent again."""
    database = Database(postgres_url)
    await database.open()

    def work(session: Session) -> None:
        bury("1")(session)
        session.flush()
        session.connection().execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(StoreBusy):
        await database.run(work)
    assert await database.run(buried) == []
    await database.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "not a database URL.*sqlite:///"),
        ("mysql://x/y", "no support for mysql.*sqlite:///"),
        ("sqlite:///{folder}/no/such/a.db", "does not exist.*make it"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_at_once(url: str, says: str, tmp_path: Path) -> None:
    """With a hint."""
    with pytest.raises(StoreError, match=says):
        Database(url.format(folder=tmp_path))


async def refused(url: str) -> StoreError:
    """What opening this database says."""
    with pytest.raises(StoreError) as caught:
        await Database(url).open()
    assert not isinstance(caught.value, StoreBusy)
    assert caught.value.hint
    return caught.value


async def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    """`file is not a database` is no matter of waiting."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database at all " * 1000)
    assert "not a database" in str(await refused(f"sqlite:///{path}"))
    assert path.read_text().startswith("not a database at all")


async def test_a_folder_is_no_database(tmp_path: Path) -> None:
    """The hint speaks of the path."""
    assert "names a file" in str(await refused(f"sqlite:///{tmp_path}"))


async def test_a_damaged_file_is_reported(tmp_path: Path) -> None:
    """The hint speaks of backups."""
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    await database.open()
    await database.close()
    with (tmp_path / "a.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 40960)
    assert "restore a backup" in str(await refused(f"sqlite:///{tmp_path / 'a.db'}"))


async def test_what_never_heals_at_postgresql_is_reported(postgres: Postgres) -> None:
    """A role or a database that is not there."""
    assert "does not exist" in str(await refused(postgres.url("nowhere")))
    assert "does not exist" in str(await refused(postgres.url().replace("test@", "stranger@")))


async def test_a_postgresql_that_is_not_up_yet_is_busy(tmp_path: Path) -> None:
    """It may come."""
    with pytest.raises(StoreBusy):
        await Database(f"postgresql://test@/x?host={tmp_path}").open()
