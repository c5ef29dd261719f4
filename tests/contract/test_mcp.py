"""The MCP server as an MCP client sees it: the official SDK's client, over HTTP to the daemon's application."""

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client

from connectors.gorgias.operations import OPERATIONS, Operation
from syncd import config
from syncd.mcp.shapes import BODY, flat, shape
from syncd.mcp.web import add_routes
from tests.unit.api_client import ADMIN, Api, served
from tests.unit.gorgias_calls import NEEDED, fresh_ticket, of

COMMON = {"find_tickets", "get_conversation", "reply_or_note", "sync_status", "explain_ticket"}
CONFIG = """
[workspace]
name = "acme"
[store]
url = "sqlite:///{folder}/api.db"
[gorgias]
base_url = "{url}"
email = "ops@acme.example"
api_key = "sandbox-key"
[remote]
connector = "memory"
"""


@dataclass
class Door:
    """The API with `/mcp`."""

    api: Api

    @asynccontextmanager
    async def client(self, query: str = "access=admin", token: str = ADMIN) -> AsyncIterator[Client]:
        """A client that shows this token."""
        async with AsyncExitStack() as stack:
            headers = {"Authorization": f"Bearer {token}"}
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=60))
            transport = streamable_http_client(f"{self.api.url}/mcp?{query}", http_client=http)
            yield await stack.enter_async_context(Client(transport))

    @contextmanager
    def asks_nothing(self) -> Iterator[None]:
        """Gorgias is not called meanwhile."""
        before = self.api.sandbox.requests
        yield
        assert self.api.sandbox.requests == before


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    """The API over a seeded sandbox, for the whole module."""
    folder: Path = tmp_path_factory.mktemp("mcp")

    def with_mcp(app: Any, source: Any, store: Any, url: str) -> None:
        (folder / "acme.toml").write_text(CONFIG.format(folder=folder, url=url))
        settings = config.load([folder / "acme.toml"])
        add_routes(app, source, store, lambda: settings)

    async with served(folder, more=with_mcp) as api:
        yield Door(api)


@dataclass
class Admin:
    """A client that may do everything; one task opens it, makes the calls and closes it, as the SDK wants it."""

    calls: asyncio.Queue[tuple[str, dict[str, Any], asyncio.Future[types.CallToolResult]] | None]

    async def call_tool(self, name: str, given: dict[str, Any]) -> types.CallToolResult:
        """What a tool answers."""
        result: asyncio.Future[types.CallToolResult] = asyncio.get_running_loop().create_future()
        await self.calls.put((name, given, result))
        return await result

    async def serve(self, door: Door) -> None:
        """Until there is a None in place of a call."""
        async with door.client() as client:
            while call := await self.calls.get():
                call[2].set_result(await client.call_tool(call[0], call[1]))


@pytest.fixture(scope="module")
async def admin(door: Door) -> AsyncIterator[Admin]:
    """A client that may do everything."""
    made = Admin(asyncio.Queue())
    serving = asyncio.create_task(made.serve(door))
    yield made
    await made.calls.put(None)
    await serving


@pytest.fixture(scope="module")
async def tools(door: Door) -> dict[str, types.Tool]:
    """The tools by name, as listed."""
    async with door.client() as client:
        return {tool.name: tool for tool in (await client.list_tools()).tools}


def arguments(operation: Operation, params: dict[str, Any], body: Any) -> dict[str, Any]:
    """A call's parameters and body as a tool takes them: flat."""
    form = shape(operation)
    given = {flat(name): value for name, value in params.items()}
    if operation.multipart:
        files = [{"name": name, "content": base64.b64encode(content).decode()} for name, content in body.items()]
        return {**given, "files": files}
    if form.whole:
        return {**given, BODY: body}
    names = {key: name for name, key in form.body.items()}
    return given | {names[key]: value for key, value in (body or {}).items()}


async def called(client: Client | Admin, tool: str, /, **given: Any) -> Any:
    """What a tool answers; it must succeed."""
    result = await client.call_tool(tool, given)
    assert not result.is_error, result.content
    return result.structured_content


async def refused(client: Client | Admin, tool: str, /, **given: Any) -> Any:
    """What a tool answers; it must fail."""
    result = await client.call_tool(tool, given)
    assert result.is_error, result.content
    said: Any = result.structured_content
    assert said["next"]
    return said


# -- what is listed ------------------------------------------------------------------------------------------------


async def test_exactly_the_documented_names(tools: dict[str, types.Tool]) -> None:
    """The 104 operations, and the five common jobs."""
    assert tools.keys() == set(OPERATIONS) | COMMON


async def test_every_tool_says_what_it_is(tools: dict[str, types.Tool]) -> None:
    """A sentence, a valid and closed schema, names that every model's API takes, and hints that fit what it does."""
    for name, tool in tools.items():
        Draft202012Validator.check_schema(tool.input_schema)
        assert tool.input_schema["additionalProperties"] is False
        assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz_") for key in tool.input_schema["properties"]), name
        assert (tool.description or "").count(" ") >= 2
        effect = OPERATIONS[name].effect if name in OPERATIONS else "write" if name == "reply_or_note" else "read"
        hints = tool.annotations
        assert hints
        assert (hints.read_only_hint, hints.idempotent_hint is None) == (effect == "read", effect == "read")
        assert hints.destructive_hint or effect != "delete"
        assert not (hints.destructive_hint and effect == "read")


async def test_what_is_repeatable(tools: dict[str, types.Tool]) -> None:
    """An update is, a new object is not; a merge of tags destroys some."""
    hints = {name: tool.annotations for name, tool in tools.items()}
    assert hints["update_a_gorgias_ticket_by_id"].idempotent_hint is True  # type: ignore[union-attr]
    assert hints["create_a_gorgias_ticket"].idempotent_hint is False  # type: ignore[union-attr]
    assert hints["gorgias_tags_merge"].destructive_hint is True  # type: ignore[union-attr]


# -- every operation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_tool_answers(door: Door, admin: Admin, name: str) -> None:
    """A right call is one call at Gorgias, and a structured answer without nulls."""
    for noun, maker in NEEDED.items():
        if f"_{noun}_by_id" in name:
            await called(admin, maker, **arguments(OPERATIONS[maker], *of(door.api.sandbox, maker)))
    given = arguments(OPERATIONS[name], *of(door.api.sandbox, name))
    before = door.api.sandbox.requests
    answer = await called(admin, name, **given)
    assert door.api.sandbox.requests - before == 1
    assert isinstance(answer, dict)
    assert not [value for value in _leaves(answer) if value is None]
    if OPERATIONS[name].kind in {"list", "view-items", "array", "data"} and "result" in answer:
        assert answer["result_count"] == len(answer["result"])


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield from itertools.chain(*map(_leaves, value.values() if isinstance(value, dict) else value))
    else:
        yield value


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_tool_refuses_what_is_wrong(door: Door, admin: Admin, name: str) -> None:
    """An argument that it does not have: named, and nothing is sent."""
    given = arguments(OPERATIONS[name], *of(door.api.sandbox, name))
    with door.asks_nothing():
        said = await refused(admin, name, **given, no_such_argument=1)
    assert said["error"]["kind"] == "bad_request"
    assert any(problem.startswith("no_such_argument: unknown") for problem in said["error"]["problems"])
    assert "Nothing was sent" in said["next"]


async def test_wrong_values_are_all_named(door: Door, admin: Admin) -> None:
    """Types, enumerations and what is missing, at once; an unknown tool names the nearest."""
    with door.asks_nothing():
        said = await refused(admin, "update_a_gorgias_ticket_by_id", status="done", priority=3)
        places = {problem.partition(":")[0] for problem in said["error"]["problems"]}
        assert places == {"id", "status", "priority"}
        said = await refused(admin, "list_all_gorgias_ticket")
        assert "did you mean" in said["error"]["message"]


# -- long, large ---------------------------------------------------------------------------------------------------


async def test_lists_say_how_to_go_on(door: Door, admin: Admin) -> None:
    """Page after page, each ticket once, and at the end nothing about a next one."""
    seen, cursor = [], None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = await called(admin, "list_all_gorgias_tickets", limit=10, **more)
        seen += [row["id"] for row in page["result"]]
        if "next_cursor" not in page:
            break
        cursor = page["next_cursor"]
        assert "call list_all_gorgias_tickets again" in page["next"]
    assert "next" not in page
    assert sorted(seen) == sorted(door.api.sandbox.tickets.rows)


async def test_long_texts_are_cut_and_said_to_be(door: Door, admin: Admin) -> None:
    """Short by default, whole on request."""
    ticket = door.api.sandbox.create_ticket("Long", "word " * 5000)
    short = await called(admin, "list_all_gorgias_messages", ticket_id=ticket)
    assert "call again with full=true" in short["note"]
    whole = await called(admin, "list_all_gorgias_messages", ticket_id=ticket, full=True)
    assert len(whole["result"][0]["body_text"]) >= 24_999
    assert None in list(_leaves(whole))


async def test_files_go_up_and_come_down(admin: Admin) -> None:
    """What was uploaded is handed out as a resource, byte for byte."""
    content = bytes(range(256)) * 40
    files = [{"name": "a.bin", "content": base64.b64encode(content).decode()}]
    made = await called(admin, "create_a_gorgias_file", type="attachment", files=files)
    path = "api/" + made["result"][0]["url"].split("/api/", 1)[-1].removeprefix("api/")
    result = await admin.call_tool("gorgias_attachments_download", {"attachment_path": path})
    blob = result.content[1]
    assert isinstance(blob, types.EmbeddedResource)
    assert isinstance(blob.resource, types.BlobResourceContents)
    assert base64.b64decode(blob.resource.blob) == content


# -- the product's errors ------------------------------------------------------------------------------------------


async def test_errors_say_what_to_do_next(door: Door, admin: Admin) -> None:
    """A wrong id names the tool that finds the right one; a merged ticket the one it is now."""
    said = await refused(admin, "get_single_gorgias_ticket_by_id", id=999_999_999)
    assert (said["error"]["kind"], "list_all_gorgias_tickets" in said["next"]) == ("not_found", True)
    gone, survivor = fresh_ticket(door.api.sandbox), fresh_ticket(door.api.sandbox)
    door.api.sandbox.merge(survivor, gone)
    said = await refused(admin, "get_single_gorgias_ticket_by_id", id=gone)
    assert (said["error"]["kind"], str(survivor) in said["next"]) == ("moved", True)


# -- who may what --------------------------------------------------------------------------------------------------


async def test_levels(door: Door) -> None:
    """readonly only reads; agent works on tickets; admin does everything; what is closed says who can open it."""
    shown = {}
    for level in ("readonly", "agent", "admin"):
        async with door.client(f"access={level}") as client:
            shown[level] = {tool.name for tool in (await client.list_tools()).tools}
    assert shown["readonly"] < shown["agent"] < shown["admin"]
    assert "update_a_gorgias_ticket_by_id" in shown["agent"] - shown["readonly"]
    assert "delete_a_gorgias_ticket_by_id" in shown["admin"] - shown["agent"]
    async with door.client("access=readonly") as client:
        with door.asks_nothing():
            said = await refused(client, "create_a_gorgias_tag", name="no")
    assert "needs access" in said["error"]["message"]


async def test_filters(door: Door) -> None:
    """By resource and by group; an unknown word is an error that lists the known ones."""
    async with door.client("access=admin&resources=tags,teams") as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    assert "create_a_gorgias_tag" in names
    assert all("tag" in name or "team" in name for name in names)
    reply = await door.api.send("POST", "/mcp?resources=parrots", json={})
    assert (reply.status, "parrots" in reply.doc["message"]) == (400, True)


async def test_nobody_is_mailed_unless_it_is_allowed(door: Door) -> None:
    """An agent's public reply is refused with what to do instead; its note is written."""
    ticket = fresh_ticket(door.api.sandbox)
    before = len(door.api.sandbox.outbox)
    async with door.client("access=agent") as client:
        said = await refused(client, "reply_or_note", ticket=str(ticket), text="On its way", public=True)
        assert "internal note instead" in said["next"]
        done = await called(client, "reply_or_note", ticket=str(ticket), text="Ask the depot")
    assert (done["done"], len(door.api.sandbox.outbox)) == (True, before)


async def test_tokens(door: Door) -> None:
    """None is a 401; a read token cannot write whatever it asks for; another workspace's sees nothing of this one."""
    assert (await door.api.send("POST", "/mcp", token="", json={})).status == 401
    async with door.client("access=admin", await door.api.token("read")) as client:
        assert all(tool.annotations.read_only_hint for tool in (await client.list_tools()).tools)  # type: ignore[union-attr]
        with door.asks_nothing():
            await refused(client, "create_a_gorgias_tag", name="no")
    other = await door.api.token("write", workspace="other")
    reply = await door.api.send("POST", "/mcp?workspace=acme", token=other, json={})
    assert (reply.status, "sees no other" in reply.doc["message"]) == (400, True)
    async with door.client("access=admin", await door.api.token("write", "tags.*")) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} <= set(OPERATIONS)
        await called(client, "create_a_gorgias_tag", name="by token")


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
async def test_web_pages_do_not_come_in(door: Door, headers: dict[str, str]) -> None:
    """Whatever a browser is led to do: a foreign origin, or a name that points here."""
    assert (await door.api.send("POST", "/mcp", headers=headers, json={})).status == 403


# -- common jobs ---------------------------------------------------------------------------------------------------


async def test_a_support_job_from_beginning_to_end(door: Door) -> None:
    """Find a customer's ticket by a word, read it whole, leave a note, tag it, close it, look at the sync."""
    sandbox = door.api.sandbox
    ticket = sandbox.create_ticket("The zeppelin leaks", "It lost its hydrogen.")
    async with door.client("access=agent") as client:
        found = await called(client, "find_tickets", text="zeppelin")
        assert [row["id"] for row in found["result"]] == [str(ticket)]
        read = await called(client, "get_conversation", ticket=str(ticket))
        assert "It lost its hydrogen." in read["messages"][0]["text"]
        await called(client, "reply_or_note", ticket=str(ticket), text="Helium next time")
        await called(client, "create_a_gorgias_ticket_tag", ticket_id=ticket, names=["airship"])
        await called(client, "update_a_gorgias_ticket_by_id", id=ticket, status="closed")
        again = await called(client, "find_tickets", tag="airship", status="closed")
        assert [row["id"] for row in again["result"]] == [str(ticket)]
        last = await called(client, "get_conversation", ticket=str(ticket), last=1)
        assert (last["messages"][0]["text"], last["messages"][0]["internal"]) == ("Helium next time", True)
        assert (await called(client, "sync_status"))["links"] == 0
        assert await called(client, "explain_ticket", ticket=str(ticket))
