"""The Gorgias connector holds the contract against a sandbox at the wire."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest
import pytest_asyncio
import stamina

from connectors.gorgias.connector import GorgiasConnector
from connectors.gorgias.sandbox import Options
from syncd.connector import Connector
from syncd.errors import Gone, TryLater
from syncd.model import Side
from syncd.testing import Account, ConnectorContract, WireContract
from syncd.testing.wire import READS, WRITES, Wire
from tests.fakes.gorgias import Shop, config, town


class TestGorgias(ConnectorContract):
    """All tickets."""

    @pytest_asyncio.fixture
    async def account(self) -> AsyncIterator[Account]:
        async with town() as place:
            yield Account(place.connector, Shop(place.sandbox))


class TestGorgiasViews(ConnectorContract):
    """The items of views, of which one is empty."""

    @pytest_asyncio.fixture
    async def account(self) -> AsyncIterator[Account]:
        async with town() as place:
            views = {row["name"]: row["id"] for row in place.sandbox["views"]}
            async with GorgiasConnector.open(
                config(place.sandbox.base_url, views=[views["Snoozed"], views["All"]]), Side.GORGIAS, "contract"
            ) as connector:
                yield Account(connector, Shop(place.sandbox))


class TestGorgiasThatReplaces(ConnectorContract):
    """Where a bulk write of custom fields drops the others, messages' events are logged, and tickets are enriched."""

    @pytest_asyncio.fixture
    async def account(self) -> AsyncIterator[Account]:
        async with town(Options(bulk_fields_replace=True, message_events=True, send_delay=0)) as place:
            yield Account(place.connector, Shop(place.sandbox))


class TestGorgiasWire(WireContract):
    """What the connector makes of broken answers."""

    def connect(self, url: str) -> AbstractAsyncContextManager[Connector]:
        return GorgiasConnector.open(config(url), Side.GORGIAS, "contract")

    @pytest.mark.parametrize(
        "body",
        [b"{}", b"[]", b"null", b'"x"', b'{"data": null}', b'{"data": [[]]}', b'{"data": [{}]}', b'{"id": null}'],
    )
    async def test_json_of_something_else_is_tried_later(self, wire: Wire, body: bytes) -> None:
        """JSON that is not Gorgias's is no answer: never an empty list, and never an absence."""
        wire.answer(200, body)
        with stamina.set_testing(True, attempts=1):
            for call in READS + WRITES:
                error = await self.failure(wire, call)
                assert isinstance(error, TryLater), call
                assert not isinstance(error, Gone)
