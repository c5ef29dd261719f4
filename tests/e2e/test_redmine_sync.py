"""The main job against a real Redmine: `syncd once` in a process of its own, and people on both sides."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from connectors.gorgias.sandbox import Options, RateLimit, Sandbox
from tests.e2e.servers import RedmineServer, redmine
from tests.e2e.town import AGENTS, Town, severity_field

#: How much is there before the first pass, and how many edits a round has; a longer run sets more.
TICKETS, ISSUES, EDITS = (int(number) for number in os.environ.get("SYNCD_E2E_SIZE", "60,15,40").split(","))
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def server() -> Iterator[RedmineServer]:
    """A fresh Redmine for this module."""
    with redmine() as started:
        yield started


@pytest_asyncio.fixture(scope="module")
async def town(server: RedmineServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """Both products, with their people, and nothing linked yet."""
    folder: Path = tmp_path_factory.mktemp("town")
    sandbox = Sandbox(Options(accounts=dict.fromkeys(AGENTS, "key"), rate_limit=RateLimit(4000, 200.0)))
    severity_field(sandbox)
    async with sandbox.serve() as url, aiohttp.ClientSession() as session:
        made = Town(sandbox, url, server, session, folder)
        for _ in range(TICKETS):
            made.gorgias_ticket()
        for _ in range(ISSUES):
            await made.redmine_issue()
        yield made


async def test_a_first_load_makes_both_sides_equal(town: Town) -> None:
    """Everything on either side is on both, once; nothing is mailed; private stays private."""
    code, out = await town.syncd("once", str(town.config()))
    print(out, dict(town.sandbox.calls))
    assert await town.differences() == []
    assert code == 0, out


async def test_a_second_run_writes_nothing(town: Town) -> None:
    """No call but reads, and few of them."""
    town.sandbox.calls.clear()
    code, out = await town.syncd("once", str(town.config()), "--json")
    assert code == 0, out
    assert {method for method, _ in town.sandbox.calls} == {"GET"}
    assert await town.differences() == []


async def test_edits_by_people_on_both_sides_meet(town: Town) -> None:
    """Random edits of everything, on both sides at once, and both are equal again."""
    issues = [issue["id"] for issue in await town.issues()]
    for _ in range(EDITS):
        town.gorgias_edit(town.rng.choice(list(town.sandbox.tickets.rows)))
        await town.redmine_edit(town.rng.choice(issues))
    town.sandbox.calls.clear()
    code, out = await town.syncd("once", str(town.config()))
    print(out, dict(town.sandbox.calls))
    assert await town.differences() == []
    assert code == 0, out


async def test_people_edit_while_syncd_runs(town: Town) -> None:
    """The same while a pass is under way; after one more run all is equal."""
    run = asyncio.create_task(town.syncd("once", str(town.config())))
    issues = [issue["id"] for issue in await town.issues()]
    for _ in range(EDITS):
        town.gorgias_edit(town.rng.choice(list(town.sandbox.tickets.rows)))
        await town.redmine_edit(town.rng.choice(issues))
        await asyncio.sleep(0.05)
    await run
    code, out = await town.syncd("once", str(town.config()))
    assert await town.differences() == []
    assert code == 0, out
