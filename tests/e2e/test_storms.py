"""The real process between a Gorgias sandbox and a real Redmine: killed at random moments, and in any weather."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.servers import RedmineServer, redmine
from tests.processes.command import Command
from tests.storms.coast import Coast, coast

#: How often it is killed, and after how many kills both sides are compared; a longer run sets more.
KILLS = int(os.environ.get("SYNCD_E2E_KILLS", "40"))
COMPARED = 20
pytestmark = pytest.mark.timeout(14_400)


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
            process = await shore.start()
            assert await shore.equal() == [], f"after {number} kills\n{process.err[-3000:]}"
            assert await shore.writes() == 0, f"after {number} kills"
            assert await shore.end() == 0, process.err
            print(f"{number} kills")
