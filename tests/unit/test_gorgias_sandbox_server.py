"""The sandbox as a server: credentials, limits, pages, views, files, webhooks, clock and memory."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from connectors.gorgias.sandbox import Options, RateLimit, Sandbox, run_sandbox, seed
from connectors.gorgias.sandbox.world import Doc
from tests.unit.sandbox_client import Plain, basic, served

START = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
async def plain() -> AsyncIterator[Plain]:
    """A sandbox of its own for each test."""
    async with served() as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic(key="wrong"),
        basic(email="no@acme.example"),
        {"Authorization": "Basic %"},
        {"Authorization": "Bearer no"},
    ],
)
async def test_bad_credentials(plain: Plain, headers: dict[str, str]) -> None:
    """Missing or wrong credentials are a 401 in the envelope."""
    plain.headers = headers
    reply = await plain.send("GET", "/api/account")
    assert reply.status == 401
    assert reply.doc["error"]["msg"]


async def test_every_caller_is_a_user() -> None:
    """Further accounts and bearers act as their own users; id 0 is the caller."""
    options = Options(accounts={"bot@acme.example": "bot-key"}, bearers={"token": "app@acme.example"})
    async with served(options) as plain:
        for headers, email in (
            (basic(), "ops@acme.example"),
            (basic("bot@acme.example", "bot-key"), "bot@acme.example"),
            ({"Authorization": "Bearer token"}, "app@acme.example"),
        ):
            plain.headers = headers
            assert (await plain.get("/api/users/0/"))["email"] == email


async def test_observers_only_look(plain: Plain) -> None:
    """A role that may not write gets a 403, and reads all the same."""
    plain.sandbox.users.change(next(iter(plain.sandbox.users)), {"role": {"name": "observer-agent"}})
    assert (await plain.send("POST", "/api/tags", json={"name": "x"})).status == 403
    await plain.get("/api/tags")


async def test_the_leaky_bucket() -> None:
    """The header counts up, a full bucket is a 429 with Retry-After, and time drains it."""
    clock = Clock()
    async with served(Options(rate_limit=RateLimit(cap=3, leak=0.5)), now=clock) as plain:
        used = []
        for _ in range(3):
            reply = await plain.send("GET", "/api/account")
            used.append(reply.headers["X-Gorgias-Account-Api-Call-Limit"])
        assert used == ["1/3", "2/3", "3/3"]
        assert "Retry-After" not in reply.headers
        reply = await plain.send("GET", "/api/account")
        assert (reply.status, reply.headers["Retry-After"]) == (429, "2")
        assert reply.headers["X-Gorgias-Account-Api-Call-Limit"] == "3/3"
        clock.pass_(2)
        assert (await plain.send("GET", "/api/account")).status == 200
        assert (await plain.send("GET", "/api/account")).status == 429
        clock.pass_(60)
        reply = await plain.send("GET", "/api/account")
        assert reply.headers["X-Gorgias-Account-Api-Call-Limit"] == "1/3"


async def test_no_limit_no_header(plain: Plain) -> None:
    """Without a limit nothing is said about one; the other headers are there."""
    reply = await plain.send("POST", "/api/search", json={"type": "tag"})
    assert "X-Gorgias-Account-Api-Call-Limit" not in reply.headers
    assert reply.headers["X-Request-Id"]
    assert reply.headers["X-Gorgias-Search-Engine"] == "ES"


async def test_the_clock_may_be_ahead() -> None:
    """A skewed sandbox dates its objects and its answers alike."""
    async with served(Options(skew=timedelta(minutes=7)), now=Clock()) as plain:
        reply = await plain.send("POST", "/api/tags", json={"name": "x"})
        assert reply.doc["created_datetime"].startswith("2026-05-01T12:07:00.")
        assert parsedate_to_datetime(reply.headers["Date"]) == START + timedelta(minutes=7)


async def test_calls_are_counted(plain: Plain) -> None:
    """Tests can see how many requests came, and for what."""
    ticket_id = plain.sandbox.create_ticket("Old", "Hello")
    await plain.get(f"/api/tickets/{ticket_id}")
    await plain.get(f"/api/tickets/{ticket_id}/")
    assert plain.sandbox.requests == 2
    assert plain.sandbox.calls == {("GET", "/api/tickets/{id}"): 2}


async def test_pages_under_changes(plain: Plain) -> None:
    """A keyset: rows that do not move are seen exactly once, a row that moves can jump over the cursor."""
    sandbox = plain.sandbox
    ids = [sandbox.create_ticket(f"T{number}", "Hello") for number in range(10)]
    query = {"order_by": "updated_datetime:desc", "limit": "3"}
    page = await plain.get("/api/tickets", **query)
    seen = [row["id"] for row in page["data"]]
    assert seen == ids[:-4:-1]
    sandbox.set_priority(ids[2], "high")
    sandbox.create_ticket("New", "Hello")
    while cursor := page["meta"]["next_cursor"]:
        page = await plain.get("/api/tickets", **query, cursor=cursor)
        seen += [row["id"] for row in page["data"]]
    assert seen == [number for number in reversed(ids) if number != ids[2]]
    assert page["meta"] == {"prev_cursor": page["meta"]["prev_cursor"], "next_cursor": None, "total_resources": None}


async def test_many_tickets_in_one_call(plain: Plain) -> None:
    """ticket_ids reads up to a hundred at once; unknown ones are left out."""
    ids = [plain.sandbox.create_ticket(f"T{number}", "Hello") for number in range(4)]
    query = [("ticket_ids", str(number)) for number in (*ids[:3], 99)]
    reply = await plain.send("GET", "/api/tickets", params=query)
    assert sorted(row["id"] for row in reply.doc["data"]) == ids[:3]
    assert reply.doc["uri"] == "/api/tickets?" + "&".join(f"{name}={value}" for name, value in query)


async def test_events_by_time(plain: Plain) -> None:
    """The bounds of time hold, in both orders and over pages; other filters hold with them."""
    sandbox = plain.sandbox
    for number in range(6):
        sandbox.create_ticket(f"T{number}", "Hello")
    rows = [row for row in sandbox.events if row["type"] == "ticket-created"]
    bounds = {"created_datetime[gt]": rows[1]["created_datetime"], "created_datetime[lte]": rows[4]["created_datetime"]}
    expected = [row["id"] for row in rows[2:5]]
    for order in ("asc", "desc"):
        query = {**bounds, "order_by": f"created_datetime:{order}", "limit": "2", "types": "ticket-created"}
        page = await plain.get("/api/events", **query)
        found = [row["id"] for row in page["data"]]
        page = await plain.get("/api/events", **query, cursor=page["meta"]["next_cursor"])
        found += [row["id"] for row in page["data"]]
        assert found == (expected if order == "asc" else expected[::-1])
        assert page["meta"]["next_cursor"] is None
    one = await plain.get("/api/events", object_type="Ticket", object_id=str(rows[0]["object_id"]))
    assert [row["id"] for row in one["data"]] == [rows[0]["id"]]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("", ["a", "b", "c"]),
        ('eq(ticket.status, "closed")', ["b"]),
        ('neq(ticket.status, "closed") && (isEmpty(ticket.assignee_user.id))', ["c"]),
        ('containsAny(ticket.tags.name, ["VIP", "none"])', ["a"]),
        ('notContainsAny(ticket.tags.name, ["VIP"]) && eq(ticket.channel, "email")', ["b", "c"]),
        ('containsAll(ticket.tags.name, ["VIP", "late"])', []),
        ('eq(ticket.assignee_user.id, "{{current_user.id}}")', ["a"]),
        ('eq(ticket.priority, "high") || eq(ticket.status, "closed")', ["b", "c"]),
        ("eq(ticket.spam, true)", ["d"]),
        ("isNotEmpty(ticket.trashed_datetime)", ["e"]),
        ('contains(ticket.subject, "C")', ["c"]),
        ('gte(ticket.created_datetime, "2026-01-01") && lteTimedelta(ticket.created_datetime, "1d")', ["a", "b", "c"]),
        ('gteTimedelta(ticket.created_datetime, "1d")', []),
    ],
)
async def test_view_filters(plain: Plain, filters: str, expected: list[str]) -> None:
    """An ad-hoc view answers what its filter says; spam and trash show only where they are asked for."""
    sandbox = plain.sandbox
    a, b, c, d, e = (sandbox.create_ticket(name, f"text of {name}") for name in "abcde")
    sandbox.add_tags(a, "VIP")
    sandbox.assign(a, "ops@acme.example")
    sandbox.assign(b, "ops@acme.example")
    sandbox.assign(b, None)
    sandbox.set_status(b, "closed")
    sandbox.set_priority(c, "high")
    sandbox.mark_spam(d)
    sandbox.trash(e)
    page = await plain.write("PUT", "/api/views/0/items", {"view": {"filters": filters}})
    assert sorted(row["subject"] for row in page["data"]) == expected
    search = await plain.write("PUT", "/api/views/0/items", {"view": {"search": "text of B"}})
    assert [row["subject"] for row in search["data"]] == ["b"]


@pytest.mark.parametrize(
    "filters",
    ["eq(ticket.status", "nope(ticket.status, 1)", "eq(ticket.spam, true)", "ticket.status == 'open'", 'eq("a", "b")'],
)
async def test_bad_view_filters(plain: Plain, filters: str) -> None:
    """Filters that cannot be read, or use a path that views may not, are a 400."""
    reply = await plain.send("POST", "/api/views", json={"slug": "x", "filters": filters})
    assert reply.status == 400
    assert "filters" in reply.doc["error"]["data"]


async def test_view_items_page_by_their_links(plain: Plain) -> None:
    """next_items and prev_items are ready addresses; rows lack custom fields and summary."""
    for number in range(5):
        plain.sandbox.create_ticket(f"T{number}", "Hello")
    inbox = next(row["id"] for row in plain.sandbox["views"] if row["name"] == "Inbox")
    page = await plain.get(f"/api/views/{inbox}/items", limit="2")
    first, seen = page, [row["subject"] for row in page["data"]]
    while link := page["meta"]["next_items"]:
        page = await plain.get(link)
        seen += [row["subject"] for row in page["data"]]
        assert page["meta"]["prev_items"]
    assert seen == ["T4", "T3", "T2", "T1", "T0"]
    assert "custom_fields" not in page["data"][0]
    while link := page["meta"]["prev_items"]:
        page = await plain.get(link)
    assert page["data"] == first["data"]


async def test_deleting_a_tag_switches_its_views_off(plain: Plain) -> None:
    """A view that uses a deleted tag is deactivated, in silence but for its event."""
    made = await plain.write("POST", "/api/tags", {"name": "old"})
    filters = 'containsAny(ticket.tags.name, ["old"])'
    view = await plain.write("POST", "/api/views", {"slug": "old", "filters": filters})
    await plain.write("DELETE", f"/api/tags/{made['id']}")
    assert (await plain.get(f"/api/views/{view['id']}"))["deactivated_datetime"] is not None


async def test_uploads_and_downloads() -> None:
    """Files come back byte for byte, with credentials; too large ones are a 413; a ticket shows a full address."""
    async with served(Options(max_upload=1000)) as plain:
        form = aiohttp.FormData()
        form.add_field("süß.png", bytes(range(256)), filename="süß.png", content_type="image/png")
        form.add_field("b.txt", b"", filename="b.txt", content_type="text/plain")
        reply = await plain.send("POST", "/api/upload?type=attachment", data=form)
        assert reply.status == 201
        picture, empty = reply.doc
        assert picture.keys() == {"url", "name", "size", "content_type"}
        assert (picture["name"], picture["size"], empty["size"]) == ("süß.png", 256, 0)
        path = picture["url"].removeprefix(plain.url)
        reply = await plain.send("GET", path)
        assert (reply.raw, reply.headers["Content-Type"]) == (bytes(range(256)), "image/png")
        note = {"channel": "internal-note", "from_agent": True, "attachments": [picture]}
        ticket = await plain.write("POST", "/api/tickets", {"messages": [note]})
        assert ticket["messages"][0]["attachments"][0]["url"] == picture["url"]
        plain.headers = {}
        assert (await plain.send("GET", path)).status == 401
        plain.headers = basic()
        assert (await plain.send("GET", path[:-1])).status == 404
        big = aiohttp.FormData()
        big.add_field("big", b"x" * 1001, filename="big")
        assert (await plain.send("POST", "/api/upload", data=big)).status == 413


class Receiver:
    """A server that takes webhooks, and fails as often as it is told."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Doc, str | None]] = []
        self.failing = 0
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.take)
        self.server = TestServer(app)

    async def take(self, request: web.Request) -> web.Response:
        """Keep what came, or fail."""
        if self.failing:
            self.failing -= 1
            return web.Response(status=500)
        self.taken.append((request.path_qs, await request.json(), request.headers.get("X-Secret")))
        return web.Response()

    async def wait(self, count: int) -> None:
        """Until so many have come."""
        async with asyncio.timeout(5):
            while len(self.taken) < count:
                await asyncio.sleep(0.005)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that listens."""
    taker = Receiver()
    await taker.server.start_server()
    yield taker
    await taker.server.close()


def hook(receiver: Receiver, *triggers: str) -> Doc:
    """The body of an HTTP integration that calls the receiver."""
    http = {
        "url": str(receiver.server.make_url("/hook/")) + "{{ticket.id}}",
        "method": "POST",
        "request_content_type": "application/json",
        "response_content_type": "application/json",
        "headers": {"X-Secret": "s3cret"},
        "form": {"who": "{{ticket.customer.email}}", "text": "{{message.body_text}}", "none": "{{ticket.nothing}}"},
        "hmac_secret": "hidden",
        "triggers": dict.fromkeys(triggers, True),
    }
    return {"name": "Hook", "type": "http", "http": http}


async def test_webhooks_are_rendered_and_repeated(receiver: Receiver) -> None:
    """Templates are filled in for the events that are asked for; failures are repeated three times."""
    async with served(Options(hook_backoff=0.001)) as plain:
        made = await plain.write("POST", "/api/integrations", hook(receiver, "ticket-message-created"))
        assert "hmac_secret" not in made["http"]
        receiver.failing = 3
        ticket_id = plain.sandbox.create_ticket("Old", "Hello you", customer="ann@customer.example")
        await receiver.wait(1)
        plain.sandbox.set_priority(ticket_id, "high")
        body = {"who": "ann@customer.example", "text": "Hello you", "none": ""}
        assert receiver.taken == [(f"/hook/{ticket_id}", body, "s3cret")]


async def test_failing_webhooks_switch_themselves_off(receiver: Receiver) -> None:
    """After a hundred failures in a row the integration is deactivated; setting null brings it back."""
    async with served(Options(hook_backoff=0)) as plain:
        made = await plain.write("POST", "/api/integrations", hook(receiver, "ticket-created"))
        receiver.failing = 400
        for number in range(100):
            plain.sandbox.create_ticket(f"T{number}", "Hello")
        async with asyncio.timeout(10):
            while not plain.sandbox["integrations"][made["id"]].get("deactivated_datetime"):
                await asyncio.sleep(0.01)
        plain.sandbox.create_ticket("Unheard", "Hello")
        revive = {"name": "Hook", "deactivated_datetime": None}
        await plain.write("PUT", f"/api/integrations/{made['id']}", revive)
        plain.sandbox.create_ticket("Heard", "Hello")
        await receiver.wait(1)
        assert len(receiver.taken) == 1


async def test_the_state_survives(tmp_path: Path) -> None:
    """Rows, files, ids and merges are there after a restart, whatever port it has then."""
    path = tmp_path / "state.db"
    async with served(state_path=path) as plain:
        seed(plain.sandbox, tickets=12)
        one, two = list(plain.sandbox.tickets.rows)[:2]
        last = plain.sandbox.create_ticket("Gone", "Hello")
        plain.sandbox.delete_ticket(last)
        plain.sandbox.merge(two, one)
        tickets = await plain.get("/api/tickets", limit="100")
        events = len(plain.sandbox.events)
        file = next(iter(plain.sandbox.files))["path"]
    async with served(state_path=path) as plain:
        again = await plain.get("/api/tickets", limit="100")
        assert again == tickets
        assert len(plain.sandbox.events) == events
        assert (await plain.send("GET", f"/api/tickets/{one}")).status == 301
        assert (await plain.send("GET", file)).raw
        assert plain.sandbox.create_ticket("Next", "Hello") == last + 1


async def test_written_a_moment_later(tmp_path: Path) -> None:
    """What changed is on disk soon, without a clean end."""
    path = tmp_path / "state.db"
    async with served(state_path=path) as plain:
        await plain.write("POST", "/api/tags", {"name": "kept"})
        await asyncio.sleep(0.3)
        other = Sandbox(state_path=path)
        assert [row["name"] for row in other.tags] == ["kept"]
        other.close()


async def test_jobs_do_their_work(plain: Plain) -> None:
    """updateTicket and deleteTicket change tickets, soon after they are made."""
    one, two = (plain.sandbox.create_ticket(name, "Hello") for name in "ab")
    update = {"type": "updateTicket", "params": {"ticket_ids": [one], "updates": {"status": "closed"}}}
    job = await plain.write("POST", "/api/jobs", update)
    assert job["status"] == "pending"
    await plain.write("POST", "/api/jobs", {"type": "deleteTicket", "params": {"ticket_ids": [two]}})
    await asyncio.sleep(0.01)
    assert (await plain.get(f"/api/jobs/{job['id']}"))["status"] == "done"
    assert plain.sandbox.ticket(one)["status"] == "closed"
    assert two not in plain.sandbox.tickets


def test_the_seed_is_the_same_every_time() -> None:
    """One number gives one shop: many languages, states and files, consistent in time, and no mail."""
    clock = Clock()
    shops = [Sandbox(now=clock) for _ in range(2)]
    for shop in shops:
        seed(shop, tickets=40)
    first, second = ([shop.ticket(number) for number in shop.tickets.rows] for shop in shops)
    assert first == second
    assert {ticket["language"] for ticket in first} == {"en", "fr", "de", "es", "ja", "ar"}
    assert {ticket["status"] for ticket in first} == {"open", "closed"}
    assert {ticket["priority"] for ticket in first} == {"low", "normal", "high", "critical"}
    assert len({row["digest"] for row in shops[0].files}) >= 6
    assert shops[0].outbox == []
    for ticket in first:
        times = [message["created_datetime"] for message in ticket["messages"]]
        assert times == sorted(times)
        assert ticket["created_datetime"] < times[0]
        assert ticket["updated_datetime"] < START.isoformat()
    seed(shops[0], tickets=3, rng_seed=2)
    assert len(shops[0].tickets) == 43
    assert len(shops[0].users) == 7


async def test_run_sandbox_serves_until_cancelled(tmp_path: Path) -> None:
    """The command line's door: it says where it is, serves, and keeps its state."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    path = tmp_path / "state.db"
    task = asyncio.create_task(run_sandbox(tickets=5, state_path=path, on_ready=ready.set_result))
    url = await ready
    async with aiohttp.ClientSession(headers=basic()) as session, session.get(f"{url}/api/tickets") as reply:
        assert len((await reply.json())["data"]) == 5
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    kept = Sandbox(state_path=path)
    assert len(kept.tickets) == 5
    kept.close()
