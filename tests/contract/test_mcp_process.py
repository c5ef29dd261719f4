"""`syncd mcp` as a process that the official client starts, over standard input and output."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from connectors.gorgias.sandbox import Options, Sandbox, seed
from tests.contract.test_mcp import CONFIG, called, refused
from tests.processes.shop import Shop

pytestmark = pytest.mark.timeout(300)


class Place:
    """A sandbox, a configuration, and the command."""

    def __init__(self, folder: Path, sandbox: Sandbox, url: str) -> None:
        self.folder, self.sandbox = folder, sandbox
        (folder / "acme.toml").write_text(CONFIG.format(folder=folder, url=url))

    @asynccontextmanager
    async def client(self, *flags: str) -> AsyncIterator[Client]:
        """A client that started `syncd mcp` with these flags."""
        words = ["-m", "syncd", "mcp", str(self.folder / "acme.toml"), *flags]
        params = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ), cwd=self.folder)
        async with Client(params) as client:
            yield client


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """A seeded sandbox without a limit."""
    sandbox = Sandbox(Options(rate_limit=None))
    seed(sandbox, tickets=25)
    async with sandbox.serve() as url:
        yield Place(tmp_path_factory.mktemp("mcp"), sandbox, url)
    sandbox.close()


async def test_a_conversation(place: Place) -> None:
    """Tools are listed, called, and refused by the level; many calls at once are all answered."""
    async with place.client("--access", "agent") as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "list_all_gorgias_tickets" in names
        assert "delete_a_gorgias_ticket_by_id" not in names
        pages = await asyncio.gather(*(called(client, "list_all_gorgias_tags", limit=2) for _ in range(10)))
        assert {page["result_count"] for page in pages} == {2}
        await refused(client, "delete_a_gorgias_ticket_by_id", id=1)
        assert (await refused(client, "sync_status"))["error"]["kind"] == "store"  # nothing was ever synced here


async def test_a_file_beside_the_client_is_sent_by_its_path(place: Place) -> None:
    """From the folder where it runs; not from elsewhere, and no hidden one."""
    (place.folder / "label.txt").write_bytes(b"to Kyoto")
    (place.folder / ".secret").write_bytes(b"no")
    async with place.client() as client:
        made = await called(client, "create_a_gorgias_file", type="attachment", files=[{"path": "label.txt"}])
        assert made["result"][0]["size"] == 8
        for path in ("/etc/passwd", ".secret", "../label.txt"):
            said = await refused(client, "create_a_gorgias_file", type="attachment", files=[{"path": path}])
            assert said["error"]["kind"] == "bad_request"


async def test_it_begins_without_the_account_and_ends_with_its_client(place: Place, tmp_path: Path) -> None:
    """An account that is away is an answer, not a crash; a faulty configuration ends it with a sentence."""
    away = Place(tmp_path, place.sandbox, "http://127.0.0.1:1")
    async with away.client() as client:
        said = await refused(client, "list_all_gorgias_tags")
        assert "cannot be reached" in said["error"]["message"]
    (tmp_path / "acme.toml").write_text("[workspace]\n")
    words = ["-m", "syncd", "mcp", str(tmp_path / "acme.toml")]
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stderr=asyncio.subprocess.PIPE)
    _, err = await process.communicate()
    assert (process.returncode, "acme.toml: [workspace] name" in err.decode()) == (2, True)


async def test_standard_output_is_the_protocol_alone(place: Place) -> None:
    """Whatever is logged goes elsewhere: every line is a message."""
    words = ["-m", "syncd", "mcp", str(place.folder / "acme.toml")]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdin=pipe, stdout=pipe, stderr=pipe)
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "plain", "version": "1"}}
    lines = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "no_such_tool", "arguments": {}}},
    ]
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines) + b"this is no JSON\n")
    await process.stdin.drain()
    answers = [json.loads(await process.stdout.readline()) for _ in range(2)]
    process.stdin.close()
    assert [answer["id"] for answer in answers] == [1, 2]
    assert answers[1]["result"]["isError"] is True
    assert await process.wait() == 0


async def test_what_an_agent_writes_is_synced(shop: Shop) -> None:
    """Over the running daemon: a token of its own, a note by a tool, and the tracker has it; the tools say so."""
    config = shop.config()
    gid = shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
    made = await shop.syncd("token", "create", config, "--access", "write")
    process = await shop.command.start("run", str(config))
    (line,) = await process.until(lambda: process.events("running"))
    (issue,) = await process.until(lambda: list(shop.redmine.issues.values()))
    bearer = {"Authorization": f"Bearer {made.out.strip()}"}
    async with (
        httpx2.AsyncClient(headers=bearer, timeout=60) as http,
        Client(streamable_http_client(f"{line['url']}/mcp", http_client=http)) as client,
    ):
        by_customer = await called(client, "find_tickets", customer="ann@customer.example")
        assert [row["id"] for row in by_customer["result"]] == [str(gid)]
        await called(client, "reply_or_note", ticket=str(gid), text="Ask the depot")
        await process.until(lambda: "Ask the depot" in str(issue["journals"]))
        assert (await called(client, "sync_status"))["links"] == 1
        assert "Redmine" in json.dumps(await called(client, "explain_ticket", ticket=str(gid)))
        there = await called(client, "get_conversation", ticket=f"remote:{issue['id']}", last=1)
        assert "Ask the depot" in there["messages"][0]["text"]
    assert await process.stop() == 0
