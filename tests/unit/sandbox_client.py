"""What the tests of the sandbox share: a sandbox that is served, and a plain client that knows nothing of ours."""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from connectors.gorgias.sandbox import Options, Sandbox

KEY = "sandbox-key"


def basic(email: str = "ops@acme.example", key: str = KEY) -> dict[str, str]:
    """The header of these credentials."""
    return {"Authorization": "Basic " + base64.b64encode(f"{email}:{key}".encode()).decode()}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def doc(self) -> Any:
        """The body as JSON; None where there is none."""
        return orjson.loads(self.raw) if self.raw else None


@dataclass(slots=True)
class Plain:
    """Requests to one sandbox."""

    sandbox: Sandbox
    url: str
    session: aiohttp.ClientSession
    headers: dict[str, str] = field(default_factory=basic)

    async def send(self, method: str, path: str, **options: Any) -> Reply:
        """One request; redirects are not followed."""
        headers = {**self.headers, **options.pop("headers", {})}
        options.setdefault("allow_redirects", False)
        async with self.session.request(method, self.url + path, headers=headers, **options) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET that must succeed."""
        reply = await self.send("GET", path, params=query)
        assert reply.status == 200, reply
        return reply.doc

    async def write(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of a write that must succeed."""
        reply = await self.send(method, path, json=body)
        assert reply.status in (200, 201, 202, 204), reply
        return reply.doc


@asynccontextmanager
async def served(options: Options | None = None, **more: Any) -> AsyncIterator[Plain]:
    """A new sandbox, served, and a client with its credentials."""
    sandbox = Sandbox(options, **more)
    async with sandbox.serve() as url, aiohttp.ClientSession() as session:
        yield Plain(sandbox, url, session)
    sandbox.close()
