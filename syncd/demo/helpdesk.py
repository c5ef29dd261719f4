"""The demo's Gorgias account: a sandbox in a process of its own, and what its people do, by its own API."""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from syncd.errors import SyncdError
from syncd.http import Transport

Doc = dict[str, Any]

#: The agent whose hands the demo has, and her key: syncd has a user of its own.
MIA = ("mia.keller@acme.example", "mia-s-key")
AS_MIA = {"Authorization": aiohttp.encode_basic_auth(*MIA)}
#: Generous: the demo shows what syncd does, and not how it waits.
CALLS_PER_WINDOW = 2000
#: How long a sandbox may take to answer, in seconds, on a slow machine.
PATIENCE = 60


@dataclass(frozen=True, slots=True)
class HelpdeskServer:
    """Where the sandbox answers, and syncd's own user there."""

    url: str
    email: str
    api_key: str


@asynccontextmanager
async def helpdesk_server(tickets: int) -> AsyncIterator[HelpdeskServer]:
    """A sandbox with a shop's tickets in it; it ends with this block, or with this process, however that ends."""
    command = [sys.executable, "-m", "syncd", "sandbox", "--json", "--tied", "--port", "0", "--tickets", str(tickets)]
    command += ["--limit", str(CALLS_PER_WINDOW), "--user", "=".join(MIA)]
    # A session of its own: Ctrl-C is for the demo, which then ends the sandbox.
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, start_new_session=True)
    try:
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE) if process.stdout else b""
        if not line:
            raise SyncdError(f"the sandbox did not start: exit status {await process.wait()}")
        ready = json.loads(line)
        yield HelpdeskServer(ready["url"], ready["email"], ready["api_key"])
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        if process.stdin:
            process.stdin.close()


class Helpdesk:
    """The hands of an agent, and of customers who write by e-mail."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @classmethod
    @asynccontextmanager
    async def open(cls, server: HelpdeskServer) -> AsyncIterator["Helpdesk"]:
        """The account, as Mia sees it."""
        async with Transport(f"{server.url}/api", "the helpdesk", headers=AS_MIA) as transport:
            yield cls(transport)

    async def tickets(self) -> list[Doc]:
        """All tickets of the demo, which fit on one page."""
        rows: list[Doc] = (await self._transport.json("GET", "/tickets", query={"limit": "100"}))["data"]
        return rows

    async def ticket(self, words: str) -> Doc:
        """The ticket whose subject holds these words."""
        return next(row for row in await self.tickets() if words in row["subject"])

    async def customer_writes(self, subject: str, text: str, name: str, email: str) -> Doc:
        """A customer writes for the first time."""
        customer = {"email": email, "name": name}
        message = _mail(text, customer)
        body = {"subject": subject, "channel": "email", "via": "email", "customer": customer, "messages": [message]}
        made: Doc = await self._transport.json("POST", "/tickets", json=body)
        return made

    async def customer_replies(self, ticket: Doc, text: str) -> None:
        """The ticket's customer writes again."""
        await self._add(ticket, _mail(text, {name: ticket["customer"][name] for name in ("email", "name")}))

    async def note(self, ticket: Doc, text: str, files: Mapping[str, bytes] | None = None) -> None:
        """The agent writes an internal note, with files."""
        attached = [await self._stored(name, content) for name, content in (files or {}).items()]
        note = {"channel": "internal-note", "via": "internal-note", "from_agent": True, "public": False}
        await self._add(ticket, {**note, "body_text": text, "sender": {"email": MIA[0]}, "attachments": attached})

    async def change(self, ticket: Doc, **fields: Any) -> None:
        """The agent changes fields of a ticket."""
        await self._transport.json("PUT", f"/tickets/{ticket['id']}", json=fields)

    async def tag(self, ticket: Doc, name: str) -> None:
        """The agent adds a tag."""
        await self._transport.json("POST", f"/tickets/{ticket['id']}/tags", json={"names": [name]})

    async def mailed(self) -> int:
        """How many messages would have gone out to customers because of what programs wrote."""
        server = self._transport.api.removesuffix("/api")
        async with Transport(server, "the sandbox", headers=AS_MIA) as sandbox:
            return len((await sandbox.json("GET", "/sandbox/outbox"))["mails"])

    async def _add(self, ticket: Doc, message: Doc) -> None:
        await self._transport.json("POST", f"/tickets/{ticket['id']}/messages", json=message)

    async def _stored(self, name: str, content: bytes) -> Doc:
        def form() -> aiohttp.FormData:
            data = aiohttp.FormData()
            data.add_field(name, content, filename=name, content_type="text/csv")
            return data

        (stored,) = await self._transport.json("POST", "/upload", query={"type": "attachment"}, data=form)
        return {key: stored[key] for key in ("url", "name", "content_type", "size")}


def _mail(text: str, customer: Doc) -> Doc:
    """What arrives in the shop's mailbox."""
    sender = {"address": customer["email"], "name": customer["name"]}
    source = {"type": "email", "from": sender, "to": [{"address": "support@acme.example"}]}
    return {
        "channel": "email", "via": "email", "from_agent": False, "body_text": text,
        "sender": {"email": customer["email"]}, "source": source,
    }  # fmt: skip
