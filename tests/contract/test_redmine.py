"""The Redmine connector holds the contract against a Redmine at the wire."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest
import pytest_asyncio

from connectors.redmine import RedmineConnector
from syncd.connector import Connector
from syncd.errors import Forbidden, Gone, TryLater
from syncd.model import Side
from syncd.testing import Account, ConnectorContract, WireContract
from syncd.testing.wire import READS, Wire
from tests.fakes.redmine_people import config, served


class TestRedmine(ConnectorContract):
    """With an administrator's key."""

    @pytest_asyncio.fixture
    async def account(self) -> AsyncIterator[Account]:
        async with served() as shop, shop.connect() as connector:
            yield Account(connector, shop.people())


class TestRedmineWithoutAdministrator(ConnectorContract):
    """With the key of a manager, who cannot read definitions or addresses; one issue is there to learn names from."""

    @pytest_asyncio.fixture
    async def account(self) -> AsyncIterator[Account]:
        async with served() as shop, shop.connect("alice-key", marker_field="1") as connector:
            await shop.people().call("POST", "/issues.json", issue={"project_id": 1, "subject": "x", "tracker_id": 3})
            yield Account(connector, shop.people())


class TestRedmineWire(WireContract):
    """What the connector makes of broken answers."""

    def connect(self, url: str) -> AbstractAsyncContextManager[Connector]:
        return RedmineConnector.open(config(url), Side.REMOTE, "contract")

    async def test_404_is_gone(self, wire: Wire) -> None:
        """A server that answers 404 to everything is no Redmine: no ticket is taken for gone."""
        wire.answer(404)
        error = await self.failure(wire, READS[0])
        assert isinstance(error, TryLater)
        assert not isinstance(error, Gone)

    async def test_a_silent_server_can_be_left(self, wire: Wire) -> None:
        """A call that hangs can be cancelled, and the session is usable afterwards."""
        async with self.connect(wire.url) as connector:
            wire.fault = "hang"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connector.get("1"), 0.3)
            wire.answer(403)
            with pytest.raises(Forbidden):
                await connector.get("1")

    async def test_json_of_something_else_is_tried_later(self, wire: Wire) -> None:
        """JSON that is not Redmine's is no answer."""
        for body in (b"{}", b"[]", b"null", b'"x"'):
            wire.answer(200, body)
            for call in READS:
                assert isinstance(await self.failure(wire, call), TryLater)
