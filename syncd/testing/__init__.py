# ruff: noqa: E402 (pytest is to know the modules before they are imported)
"""The suite that every connector inherits: what the engine relies on, as tests. Needs pytest and pytest-asyncio.

    class TestMine(ConnectorContract):
        @pytest_asyncio.fixture
        async def account(self):
            async with MyConnector.open(config, Side.REMOTE, "test") as connector:
                yield Account(connector, MyPeople())

`WireContract` holds a connector that speaks HTTP to what it makes of broken answers.
"""

import pytest

# Before the modules are imported: a test that fails then shows what it compared.
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in ("account", "tickets", "comments", "feeds", "wire")))

from syncd.testing.account import Account, People, Suite, skipping
from syncd.testing.comments import CommentContract
from syncd.testing.feeds import FeedContract
from syncd.testing.tickets import TicketContract
from syncd.testing.wire import Wire, WireContract


class ConnectorContract(TicketContract, CommentContract, FeedContract):
    """Inherit this, override `account`, and every test here holds your connector to the port."""


__all__ = [
    "Account",
    "ConnectorContract",
    "People",
    "Suite",
    "Wire",
    "WireContract",
    "skipping",
]
