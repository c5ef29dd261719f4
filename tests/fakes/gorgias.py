"""A sandbox of Gorgias for tests: served, with a connector on it, people beside it, and what went over the wire."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from connectors.gorgias.connector import GorgiasConfig, GorgiasConnector
from connectors.gorgias.sandbox import Options, Sandbox
from connectors.gorgias.sandbox.render import message
from syncd.model import Side
from syncd.testing import People

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Tweak = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]


def config(url: str, **more: Any) -> GorgiasConfig:
    """The configuration for a sandbox at this address; a new ticket is found at once there."""
    basic = {"base_url": url, "email": "ops@acme.example", "api_key": "sandbox-key", "index_lag": 0}
    return GorgiasConfig.model_validate({**basic, **more})


@dataclass
class Town:
    """A sandbox, a connector on it, and the requests that came: method, path with query, and JSON body."""

    sandbox: Sandbox
    connector: GorgiasConnector
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def bodies(self, method: str, ending: str) -> list[Any]:
        """The bodies of the requests of this method to paths that end so."""
        return [body for kind, path, body in self.asked if kind == method and path.partition("?")[0].endswith(ending)]

    @property
    def written(self) -> list[Any]:
        """Every message that was sent, in a ticket or by itself."""
        opening = [said for body in self.bodies("POST", "/tickets") for said in body["messages"]]
        return opening + self.bodies("POST", "/messages")


@asynccontextmanager
async def town(options: Options | None = None, tweak: Tweak | None = None, **more: Any) -> AsyncIterator[Town]:
    """A new town; `tweak` stands before the sandbox and may answer in its place, or change what it says."""
    sandbox = Sandbox(options)
    asked: list[tuple[str, str, Any]] = []

    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        is_json = request.content_type == "application/json" and request.can_read_body
        asked.append((request.method, request.path_qs, orjson.loads(await request.read()) if is_json else None))
        return await (tweak(request, handler) if tweak else handler(request))

    app = sandbox.app()
    app.middlewares.append(door)
    async with TestServer(app) as server:
        sandbox.base_url = str(server.make_url("")).rstrip("/")
        async with GorgiasConnector.open(config(sandbox.base_url, **more), Side.GORGIAS, "contract") as connector:
            yield Town(sandbox, connector, asked)


class Shop(People):
    """The people of a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    async def create(self, subject: str, text: str) -> str:
        return str(self.sandbox.create_ticket(subject, text))

    async def edit(self, ticket_id: str, name: str, value: str) -> None:
        self.sandbox.update_ticket(int(ticket_id), {name: value})

    async def say(self, ticket_id: str, text: str, *, private: bool = False) -> str:
        return str((self.sandbox.note if private else self.sandbox.reply)(int(ticket_id), text))

    async def see(self, ticket_id: str, comment_id: str) -> str:
        doc = message(self.sandbox, self.sandbox.messages[int(comment_id)])
        return f"{doc['sender']} {doc['body_text']}"

    async def edit_comment(self, ticket_id: str, comment_id: str, text: str) -> None:
        self.sandbox.edit_message(int(comment_id), text)

    async def delete_comment(self, ticket_id: str, comment_id: str) -> None:
        self.sandbox.delete_message(int(comment_id))

    async def delete(self, ticket_id: str) -> None:
        self.sandbox.delete_ticket(int(ticket_id))
