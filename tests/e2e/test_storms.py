"""The real process between a Gorgias sandbox and a real Redmine: killed at random moments, and in any weather."""

import asyncio
import os
import random
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.model import Side
from tests.e2e.servers import RedmineServer, redmine
from tests.e2e.town import AGENTS
from tests.processes.command import Command, until
from tests.servers.postgres import Postgres, PostgresMissing
from tests.storms.coast import Coast, coast
from tests.storms.kinds import KINDS
from tests.storms.scene import DOWN, UP

#: How often it is killed, and after how many kills both sides are compared; a longer run sets more.
KILLS = int(os.environ.get("SYNCD_E2E_KILLS", "30"))
COMPARED = 20
#: Random histories, so many with the same tickets.
HISTORIES = int(os.environ.get("SYNCD_E2E_HISTORIES", "6"))
SAME = 10
#: For how long a database is away (seconds).
AWAY = float(os.environ.get("SYNCD_E2E_AWAY", "5"))
#: For how long a side is down (seconds).
DOWN_FOR = 6.0
MIXED = [name for name in KINDS if name != "429 for long"]
pytestmark = pytest.mark.timeout(1200 + 20 * (KILLS + HISTORIES))


@pytest.fixture(scope="module")
def server() -> Iterator[RedmineServer]:
    """A fresh Redmine for this module."""
    with redmine() as started:
        yield started


@pytest_asyncio.fixture
async def shore(server: RedmineServer, command: Command, tmp_path: Path) -> AsyncIterator[Coast]:
    """Both sides, and nothing linked yet."""
    async with coast(server, command, tmp_path) as made:
        yield made


@pytest.mark.promise("P1", "P2", "P3", "P4", "P5", "P6", "P29")
async def test_killed_at_any_moment(shore: Coast) -> None:
    """SIGKILL again and again, while people work on both sides: both are equal, nothing is double, nobody is mailed."""
    for number in range(1, KILLS + 1):
        await shore.start()
        people = asyncio.create_task(shore.edits(shore.rng.randint(0, 2)))
        if shore.rng.random() < 0.1:
            shore.town.gorgias_ticket()
        await asyncio.sleep(shore.rng.uniform(0.05, 1.5))
        await shore.end(signal.SIGKILL)
        await people
        if number % COMPARED == 0 or number == KILLS:
            await shore.start()
            await shore.ends_well()
            print(f"{number} kills")


@pytest.mark.parametrize("seed", range(0, HISTORIES, SAME))
@pytest.mark.promise("P1", "P2", "P3", "P4", "P5", "P6", "P10", "P21")
async def test_histories_in_any_weather(shore: Coast, seed: int) -> None:
    """Storms of several kinds over both sides, people at work, and a process that is killed now and then."""
    for number in range(seed, min(seed + SAME, HISTORIES)):
        await history(shore, random.Random(number))
        print(f"history {number}")


async def history(shore: Coast, rng: random.Random) -> None:
    """One of them."""
    for side, proxy in shore.proxies.items():
        proxy.page, proxy.late, proxy.silence = rng.choice((0, 2, 3)), rng.uniform(0.1, 0.8), 4.0
        limits = {"share": rng.uniform(0.05, 0.5), "most": rng.randint(2, 12), "again": 3}
        shore.storm(side, *rng.sample(MIXED, rng.randint(1, 5)), seed=rng.random(), **limits)
    await shore.start()
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.3:
            shore.town.gorgias_ticket()
        await shore.edits(rng.randint(1, 3))
        await asyncio.sleep(rng.uniform(0, 1))
        if rng.random() < 0.3:
            await shore.end(signal.SIGKILL)
            await shore.start()
    shore.calm()
    await shore.end()  # so that the pauses between its tries begin anew
    await shore.start()
    await shore.ends_well()


@pytest.mark.promise("P3", "P4")
async def test_sigterm_during_a_write(shore: Coast) -> None:
    """It ends the write, and then itself; the next process goes on without doing anything twice."""
    for _ in range(4):
        remote = shore.proxies[Side.REMOTE]
        remote.calls.clear()
        shore.storm(Side.REMOTE, "drip")
        shore.town.gorgias_ticket()
        process = await shore.start()
        await process.until(lambda: any(method != "GET" for method, _ in remote.calls))  # noqa: B023 - used at once
        assert await shore.end() == 0, process.err
        assert process.events("stopped")
    shore.calm()
    await shore.start()
    await shore.ends_well()


@pytest.mark.promise("P4", "P11")
async def test_the_disk_is_full(shore: Coast) -> None:
    """Nothing can be stored, so nothing is written anywhere; it says so once, and goes on when there is room."""
    await shore.start()
    assert await shore.equal() == []
    await shore.end()
    database = shore.config.with_name("syncd.db")
    process = await shore.start(fsize=database.stat().st_size)
    while not process.events("the store cannot be used"):
        await shore.edits(2)
        await asyncio.sleep(0.5)
    (line,) = process.events("the store cannot be used")
    assert "full" in line["error"] or "disk" in line["error"], line
    await shore.edits(2)
    await shore.end()
    assert len(process.events("the store cannot be used")) == 1
    await shore.start()
    await shore.ends_well()


@pytest.mark.promise("P4", "P11", "P21")
async def test_the_database_server_is_away(server: RedmineServer, command: Command, tmp_path: Path) -> None:
    """PostgreSQL is stopped in the middle of the work and comes back: one line for each, and nothing is lost."""
    try:
        postgres = Postgres()
    except PostgresMissing as error:
        pytest.skip(str(error))
    try:
        postgres.start()
        async with coast(server, command, tmp_path, store=postgres.url()) as shore:
            process = await shore.start()
            await process.until(lambda: any(method == "POST" for method, _ in shore.proxies[Side.REMOTE].calls))
            await asyncio.to_thread(postgres.stop)
            await shore.edits(4)
            await process.until(lambda: process.events("the store cannot be used"))
            await asyncio.sleep(AWAY)
            await asyncio.to_thread(postgres.start)
            await shore.ends_well()
            assert len(process.events("the store cannot be used")) == 1
            assert len(process.events("the store can be used again")) == 1
    finally:
        postgres.remove()


@pytest.mark.promise("P3", "P4", "P33")
async def test_the_database_is_lost_and_an_old_one_comes_back(shore: Coast) -> None:
    """Without it the markers link everything again; with one of yesterday nothing is done once more, or undone."""
    await shore.start()
    await shore.ends_well()
    database, old = shore.config.with_name("syncd.db"), shore.config.with_name("old.db")
    shutil.copy(database, old)
    for restore in (False, True):
        await shore.edits(8)
        shore.town.gorgias_ticket()
        await shore.town.redmine_issue()
        await shore.start()
        await shore.ends_well()
        for path in database.parent.glob("syncd.db*"):
            path.unlink()
        if restore:
            shutil.copy(old, database)
        await shore.start()
        await shore.ends_well()


@pytest.mark.promise("P29")
async def test_two_daemons_at_once(shore: Coast) -> None:
    """The second is refused, or waits; when the first is killed, who waits takes over, and nothing is double."""
    first = await shore.start()
    await first.until(lambda: first.events("running"))
    refused = await shore.command.run("run", str(shore.config))
    assert refused.code != 0
    assert f"pid {first.pid}" in refused.err
    second = await shore.command.start("run", "--standby", str(shore.config))
    await shore.edits(4)
    first.send(signal.SIGKILL)
    await first.wait()
    await second.until(lambda: second.events("the workspace is worked on here now"))
    await shore.edits(4)
    shore.process = second
    await shore.ends_well()


@pytest.mark.parametrize("kind", ["reset before the effect", "429 for long"])
@pytest.mark.promise("P21")
async def test_a_side_that_is_down_for_the_whole_run(shore: Coast, kind: str) -> None:
    """It is asked less and less often, and one line says so; nothing is lost by the time it is back."""
    remote = shore.proxies[Side.REMOTE]
    shore.storm(Side.REMOTE, kind)
    process = await shore.start()
    await shore.edits(6)
    await process.until(lambda: process.events(DOWN))
    await asyncio.sleep(DOWN_FOR)
    assert len(remote.calls) <= 8 * 4  # with a poll each 0.2 s and 4 tries each it would be many more
    assert len(process.events(DOWN)) == 1
    once = await shore.command.run("once", str(shore.config.with_name("acme.toml")))
    assert once.code != 0  # the daemon holds the workspace
    shore.calm()
    await until(lambda: process.events(UP), 400, lambda: process.err)
    await shore.ends_well()
    assert len(process.events(DOWN)) == len(process.events(UP)) == 1


@pytest.mark.promise("P13", "P14")
async def test_a_clock_that_is_off(server: RedmineServer, command: Command, tmp_path: Path) -> None:
    """The later of two edits of one field wins, though the clock of one side is off by five minutes."""
    async with coast(server, command, tmp_path, skew=timedelta(minutes=-5)) as shore:
        await shore.start()
        await shore.ends_well()
        people, issues = shore.town.sandbox, await shore.pairs()
        (one, its_issue), (two, the_other) = list(issues.items())[:2]
        people.set_subject(one, "earlier at Gorgias", by=AGENTS[0])
        await shore.rename(the_other, "earlier at Redmine")
        await asyncio.sleep(4)
        await shore.rename(its_issue, "later at Redmine")
        people.set_subject(two, "later at Gorgias", by=AGENTS[0])
        await shore.start()
        await shore.ends_well()
        assert [people.ticket(gid)["subject"] for gid in (one, two)] == ["later at Redmine", "later at Gorgias"]
