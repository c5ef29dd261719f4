"""The inherited contract on a stranger's connector, found by its entry point."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import aiohttp
import pytest_asyncio
from aiohttp.test_utils import TestServer
from fake_jotter import FakeJotter

from syncd.connector import Connector
from syncd.model import Side
from syncd.registry import connector_class
from syncd.testing import Account, ConnectorContract, People, WireContract

Jotter = connector_class("jotter")


def jotter_at(url: str) -> AbstractAsyncContextManager[Connector]:
    """The connector for a server at this address."""
    return Jotter.open(Jotter.Config(url=url, token="jotter-token", timeout=0.5), Side.REMOTE, "outside")


class JotterPeople(People):
    """People who use Jotter's own pages; they cannot edit or delete a remark."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def create(self, subject: str, text: str) -> str:
        return await self._id("POST", "/notes", {"title": subject, "remarks": [{"text": text}]})

    async def edit(self, ticket_id: str, name: str, value: str) -> None:
        await self._id("PATCH", f"/notes/{ticket_id}", {{"subject": "title", "status": "state"}[name]: value})

    async def say(self, ticket_id: str, text: str, *, private: bool = False) -> str:
        if private:
            raise NotImplementedError("remarks are public in Jotter")
        return await self._id("POST", f"/notes/{ticket_id}/remarks", {"text": text})

    async def _id(self, method: str, path: str, json: dict) -> str:
        async with self.session.request(method, path, json=json, raise_for_status=True) as response:
            return (await response.json())["id"]


class TestJotter(ConnectorContract):
    """Jotter holds the contract."""

    beyond_a_page = 45

    @pytest_asyncio.fixture
    async def account(self) -> AsyncIterator[Account]:
        async with TestServer(FakeJotter().app) as server:
            url = server.make_url("/")
            async with aiohttp.ClientSession(url) as session, jotter_at(str(url)) as connector:
                yield Account(connector, JotterPeople(session))


class TestJotterOnTheWire(WireContract):
    """Jotter makes our errors of broken answers."""

    read_timeout = 0.5

    def connect(self, url: str) -> AbstractAsyncContextManager[Connector]:
        return jotter_at(url)
