"""The daemon against a real Redmine while people work on both sides: polling, killed again and again, and restarted."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from connectors.gorgias.sandbox import Options, RateLimit, Sandbox
from tests.e2e.servers import RedmineServer, redmine
from tests.e2e.town import AGENTS, Town, severity_field
from tests.processes.command import until

#: Seconds of people's work for each test, and tickets there are.
SECONDS = float(os.environ.get("SYNCD_E2E_SECONDS", "45"))
TICKETS = 20
pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def server() -> Iterator[RedmineServer]:
    """A fresh Redmine for this module."""
    with redmine() as started:
        yield started


@pytest_asyncio.fixture(scope="module")
async def town(server: RedmineServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """Both products under Gorgias's real allowance: 40 calls, 2 a second."""
    folder: Path = tmp_path_factory.mktemp("town")
    sandbox = Sandbox(Options(accounts=dict.fromkeys(AGENTS, "key"), rate_limit=RateLimit(40, 2.0)))
    severity_field(sandbox)
    async with sandbox.serve() as url, aiohttp.ClientSession() as session:
        made = Town(sandbox, url, server, session, folder, seed=7)
        for _ in range(TICKETS):
            made.gorgias_ticket()
        for _ in range(5):
            await made.redmine_issue()
        code, out = await made.syncd("once", str(made.config()))
        assert code == 0, out
        yield made


class Daemon:
    """`syncd run` in a process of its own."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.log = town.folder / "daemon.log"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "syncd", "run", str(self.town.config()), stderr=log, stdout=log
            )

    @property
    def beginnings(self) -> int:
        """How often a daemon has said that it is running: from then on it listens to signals."""
        return self.log.read_text().count('"event":"running"')

    async def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 60)


async def work(town: Town, seconds: float) -> int:
    """People edit on both sides for this long; how many edits that were."""
    issues = [issue["id"] for issue in await town.issues()]
    over, edits = time.monotonic() + seconds, 0
    while time.monotonic() < over:
        town.gorgias_edit(town.rng.choice(list(town.sandbox.tickets.rows)))
        await town.redmine_edit(town.rng.choice(issues))
        edits += 2
        await asyncio.sleep(town.rng.uniform(0.5, 2.5))
    return edits


async def in_step(town: Town, patience: float) -> list[str]:
    """What still differs after this long; empty as soon as nothing does."""
    over = time.monotonic() + patience
    while (wrong := await town.differences()) and time.monotonic() < over:
        await asyncio.sleep(3)
    return wrong


async def test_the_daemon_keeps_both_sides_equal(town: Town) -> None:
    """With an interval of two seconds, under the real allowance, while people work; no call is refused."""
    daemon = Daemon(town)
    await daemon.start()
    edits = await work(town, SECONDS)
    wrong = await in_step(town, 120)
    code = await daemon.end(signal.SIGTERM)
    log = daemon.log.read_text()
    assert wrong == [], f"after {edits} edits"
    assert code == 0, log
    assert " 429" not in log


async def test_killed_again_and_again_it_loses_and_doubles_nothing(town: Town) -> None:
    """SIGKILL at random moments while people work; the next start takes over at once."""
    kills, over = 0, time.monotonic() + SECONDS
    daemon = Daemon(town)
    while time.monotonic() < over:
        await daemon.start()
        people = asyncio.create_task(work(town, 5))
        await asyncio.sleep(town.rng.uniform(1.5, 7))
        await daemon.end(signal.SIGKILL)
        kills += 1
        await people
    before = daemon.beginnings
    await daemon.start()
    await until(lambda: daemon.beginnings > before)
    wrong = await in_step(town, 120)
    code = await daemon.end(signal.SIGTERM)
    assert wrong == [], f"after {kills} kills"
    assert code == 0, daemon.log.read_text()[-3000:]
    assert kills > 3
