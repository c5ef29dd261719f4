"""Fixtures that are dear to set up, and shared by several modules."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.databases import (  # noqa: F401 - fixtures
    clock,
    lease,
    postgres,
    postgres_admin,
    postgres_url,
    sqlite_template,
    store,
    store_url,
    wipe,
)
from tests.processes.command import Command, commands
from tests.processes.shop import Shop, open_shop
from tests.unified_desk import Place, opened


@pytest_asyncio.fixture(scope="session")
async def command(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Command]:
    """`syncd` as a command."""
    async with commands(tmp_path_factory.mktemp("command")) as ready:
        yield ready


@pytest_asyncio.fixture
async def shop(command: Command, tmp_path: Path) -> AsyncIterator[Shop]:
    """A Gorgias sandbox and a Redmine without tickets, and the command."""
    async with open_shop(command, tmp_path) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """The unified API over one of every product; each test makes its own tickets."""
    async with opened(tmp_path_factory.mktemp("unified")) as ready:
        yield ready
