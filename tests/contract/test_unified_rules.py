"""What the unified API never does, and what it always does: nobody is mailed unasked, and all is on record."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from connectors.desk import Desk
from connectors.memory import MemoryConnector
from syncd.model import Marker, Side
from tests.unified_desk import PRODUCTS, Client, Place, api

TICKETS = "ticketing/tickets"
COMMENTS = "ticketing/comments"
CARLA = {"name": "Carla", "emails": [{"email": "carla@customer.example"}]}


@pytest.fixture
def gorgias(place: Place) -> Client:
    """The client on Gorgias."""
    return place.client.of("gorgias")


async def of_ticket(client: Client, **more: Any) -> dict[str, str]:
    """A new ticket of a customer's, as a query names it."""
    body = {"name": "A parcel is lost", "description": "Where is it?", "contact": CARLA, **more}
    return {"ticket[id]": (await client.one("POST", TICKETS, body=body))["id"]}


def loud(messages: Sequence[Any]) -> list[Any]:
    """The messages that Gorgias would send to a customer."""
    return [
        one
        for one in messages
        if one.get("from_agent") is not False and one["channel"] != "internal-note" and not one.get("sent_datetime")
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"body": "Found it", "is_private": False},
        {"body": "Found it", "is_internal": False, "channel": {"id": "email"}},
        {"body": "Found it", "is_private": False, "author": {"id": "101", "type": "user"}},
        {"body": "Found it", "is_private": False, "remote_data": {"channel": "sms", "sent_datetime": None}},
        {"body": "Found it", "remote_data": {"channel": "email", "public": True, "from_agent": True}},
        {"body": "Found it", "created_at": "2026-01-05T10:00:00Z", "is_private": False},
    ],
    ids=str,
)
async def test_nobody_is_mailed_unasked(place: Place, gorgias: Client, body: Any) -> None:
    """Whatever a comment says of itself, without `send` it is a note or counts as sent already."""
    of = await of_ticket(gorgias)
    place.gorgias.asked.clear()
    await gorgias.send("POST", COMMENTS, of, body)
    assert len(place.gorgias.written) <= 1
    assert loud(place.gorgias.written) == []


async def test_no_ticket_mails_anybody(place: Place, gorgias: Client) -> None:
    """Nor does a ticket, whoever made it, and whatever is merged into it."""
    message = {"channel": "email", "from_agent": True, "via": "api", "body_text": "Hi", "source": {"type": "email"}}
    for body in (
        {"created_by": {"type": "user", "id": "101"}, "contact": CARLA},
        {"remote_data": {"messages": [message]}},
        {"created_by": {"type": "contact", "name": "Carla"}, "contact": CARLA},
    ):
        place.gorgias.asked.clear()
        await gorgias.send("POST", TICKETS, body={"name": "Hello", "description": "Hi", **body})
        assert place.gorgias.written
        assert loud(place.gorgias.written) == []


async def test_an_answer_is_sent_when_that_is_asked_for(place: Place, gorgias: Client) -> None:
    """With `send` and a token that may, a public comment goes back on the customer's own channel."""
    number = place.gorgias.sandbox.create_ticket("Where is it?", "Hello")
    of = {"ticket[id]": str(number), "send": "true"}
    place.gorgias.asked.clear()
    refused = await gorgias.send("POST", COMMENTS, of, {"body": "We look"})
    assert (refused.status, place.gorgias.written) == (422, [])
    sent = await gorgias.send("POST", COMMENTS, of, {"body": "We look", "is_private": False})
    assert sent.status == 201, sent.content
    assert loud(place.gorgias.written) == place.gorgias.written
    writer = gorgias.of("gorgias", await gorgias.key("write", "gorgias"))
    assert (await writer.send("POST", COMMENTS, of, {"body": "x", "is_private": False})).status == 403
    sender = gorgias.of("gorgias", await gorgias.key("send", "gorgias"))
    assert (await sender.send("POST", COMMENTS, of, {"body": "x", "is_private": False})).status == 201


@pytest.mark.parametrize("product", PRODUCTS[1:])
async def test_what_sends_nothing_says_so(place: Place, product: str) -> None:
    """A product that has no way to send refuses the wish instead of dropping it."""
    client = place.client.of(product)
    answer = await client.send("POST", COMMENTS, {"ticket[id]": "1", "send": "true"}, {"body": "x"})
    assert answer.status == 400
    assert answer.failures == [f"send: {product} sends nothing for comments"]


# -- who may, and what is wrong ------------------------------------------------------------------------------------


async def test_a_token_opens_what_it_is_for(place: Place) -> None:
    """A read token writes nothing, one of another workspace sees nothing, and nobody without one gets anything."""
    client = place.client
    reader = client.of("memory", await client.key("read", "memory"))
    assert (await reader.send("GET", TICKETS)).status == 200
    assert (await reader.send("POST", TICKETS, body={"name": "x"})).status == 403
    assert (await reader.send("DELETE", f"{TICKETS}/1")).status == 403
    stranger = client.of("memory", await client.key("send", "redmine"))
    assert (await stranger.send("GET", TICKETS)).status == 403
    some = client.of("memory", await client.key("read", "memory", "users.*"))
    assert (await some.send("GET", "ticketing/users")).status == 200
    assert (await some.send("GET", TICKETS)).status == 403
    for path in (TICKETS, "ticketing/capabilities", "user-directory/users"):
        assert (await client.of("memory", "nonsense").send("GET", path)).status == 401


@pytest.mark.parametrize("product", PRODUCTS)
async def test_everything_wrong_is_said_before_any_call(place: Place, product: str) -> None:
    """Unknown fields, wrong types, bad times and a missing ticket come in one answer, and nothing is sent."""
    client = place.client.of(product)
    place.gorgias.asked.clear()
    before = sum(place.redmine.redmine.calls.values())
    body = {
        "bdoy": "x", "created_at": "yesterday", "is_private": "no", "author": {"type": "robot"},
        "attachments": [{"file_name": "a.txt", "data": "%%%"}, {"data": ""}],
    }  # fmt: skip
    answer = await client.send("POST", COMMENTS, {"frobnicate": "1"}, body)
    assert answer.status == 400
    assert answer.failures == ["frobnicate: means nothing here"]
    answer = await client.send("POST", COMMENTS, (), body)
    assert answer.status == 400
    told = "\n".join(answer.failures)
    for place_of_it in (
        "bdoy",
        "created_at",
        "is_private",
        "author.type",
        "attachments.0.data",
        "attachments.1",
        "ticket",
    ):
        assert place_of_it in told
    assert 'did you mean "body"' in told
    listed = await client.send(
        "GET", TICKETS, {"limit": "1000", "colour": "red", "updated_at[gt]": "soon", "sort_by[x]": "up"}
    )
    assert listed.status == 400
    assert len(listed.failures) == 4
    assert place.gorgias.asked == []
    assert sum(place.redmine.redmine.calls.values()) == before


@pytest.mark.parametrize("product", PRODUCTS)
async def test_ids_of_nothing_are_404(place: Place, product: str) -> None:
    """An id that no object of the product has, however it looks, is not found."""
    client = place.client.of(product)
    for number in ("99999999", "no-such", "1.2", "%2e%2e"):
        for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
            answer = await client.send(method, f"{TICKETS}/{number}", body=body)
            assert answer.status == 404, (method, number, answer.content)
    answer = await client.send("GET", f"{COMMENTS}/99999999", {"ticket[id]": "99999999"})
    assert answer.status == 404


async def test_paths_and_methods_that_are_not_there(gorgias: Client) -> None:
    """404 names what there is, 405 the methods that there are."""
    assert (await gorgias.send("GET", "ticketing/parcels")).status == 404
    assert (await gorgias.send("GET", "crm/contacts")).status == 404
    assert (await gorgias.send("GET", "crm/capabilities")).status == 404
    answer = await gorgias.send("PUT", f"{TICKETS}/1", body={})
    assert (answer.status, answer.headers["Allow"]) == (405, "DELETE, GET, PATCH")


# -- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("product", PRODUCTS)
async def test_answers_take_the_form_that_is_asked_for(place: Place, product: str) -> None:
    """The raw record alone, without it, without fields, by a key: under the neutral names and the original ones."""
    client = place.client.of(product)
    ticket = (await of_ticket(client))["ticket[id]"]
    path = f"{TICKETS}/{ticket}"
    whole = await client.one("GET", path)
    raw = (await client.send("GET", path, {"truto_response_format": "raw"})).json
    assert raw == whole["remote_data"]
    assert raw is None or str(raw["id"]) == ticket
    lean = (await client.send("GET", path, {"truto_ignore_remote_data": "true", "exclude_fields": "etag,urls"})).json
    assert set(whole) - set(lean) == {"remote_data", "etag", "urls"}
    keyed = (await client.send("GET", TICKETS, {"key_by": "id", "ids": ticket})).json
    assert [*keyed["result"]] == [ticket]
    assert (await client.send("GET", TICKETS, {"key_by": "nonsense"})).status == 400
    assert (await client.send("GET", TICKETS, {"next_cursor": "nonsense"})).status == 400


async def test_a_cursor_is_of_its_list(place: Place) -> None:
    """A cursor with other filters than those it was made with is refused, not answered with a wrong page."""
    client = place.client.of("redmine")
    for _ in range(2):
        await of_ticket(client)
    page = await client.page(TICKETS, {"limit": "1"})
    answer = await client.send(
        "GET", TICKETS, {"limit": "1", "next_cursor": page["next_cursor"], "status[name]": "open"}
    )
    assert answer.status == 400


# -- on record, and seen by the sync -------------------------------------------------------------------------------


@pytest.mark.parametrize("product", PRODUCTS)
async def test_a_write_happens_once_and_is_on_record(place: Place, product: str) -> None:
    """With an `Idempotency-Key` a repetition is answered as the first call was; another body under it is refused."""
    client = place.client.of(product)
    key = {"Idempotency-Key": f"once-{product}"}
    first = await client.send("POST", TICKETS, body={"name": "Once"}, headers=key)
    again = await client.send("POST", TICKETS, body={"name": "Once"}, headers=key)
    assert (first.status, again.status) == (201, 201)
    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await client.send("POST", TICKETS, body={"name": "Twice"}, headers=key)
    assert other.status == 422
    found = [call for call in client.record() if call[2] == key["Idempotency-Key"]]
    assert found == [("unified.ticketing.tickets.create", {"body": ["name"]}, key["Idempotency-Key"], 201)]


@pytest.mark.parametrize("product", PRODUCTS)
async def test_a_write_is_a_persons_to_the_sync(place: Place, product: str) -> None:
    """What comes in through the API bears no marker of the sync, and stands in the change feed like anything else."""
    client = place.client.of(product)
    account = place.source.runners[product].accounts[next(iter(place.source.runners[product].accounts))]
    of = await of_ticket(client)
    await client.one("POST", COMMENTS, of, {"body": "Check the depot"})
    seen = set()
    for stream in account.streams:
        async for page in account.changes(stream, None):
            seen |= {change.id for change in page.changes}
    assert of["ticket[id]"] in seen
    ticket = await account.get(of["ticket[id]"])
    assert Marker.parse(ticket.marker) is None
    assert [Marker.parse(one.marker) for one in ticket.comments or ()] == [None, None]


async def test_a_failure_says_what_was_done_before(place: Place, gorgias: Client) -> None:
    """Where the second of two calls fails, the answer names the first, and a repetition does not do it again."""
    of = await of_ticket(gorgias)
    key = {"Idempotency-Key": "half"}
    body = {"tags": [{"name": "half"}], "custom_fields": {"999999": "no such field"}}
    answer = await gorgias.send("PATCH", f"{TICKETS}/{of['ticket[id]']}", body=body, headers=key)
    assert answer.status == 400
    assert answer.json["done"] == ["the tags were changed"]
    again = await gorgias.send("PATCH", f"{TICKETS}/{of['ticket[id]']}", body=body, headers=key)
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("product", PRODUCTS)
async def test_nobody_writes_what_the_sync_takes_for_its_own(place: Place, product: str) -> None:
    """A text that begins like a copy made by the sync would not be synced: it is refused."""
    client = place.client.of(product)
    text = "Ann Lee · 2026-11-25 10:00 UTC · gorgias:4711\n\nHello"
    answer = await client.send("POST", COMMENTS, {"ticket[id]": "1"}, {"body": text})
    assert (answer.status, len(answer.failures)) == (400, 1)


@pytest.mark.parametrize(
    ("product", "method", "path", "body"),
    [
        ("roundup", "POST", "ticketing/tags", {"name": "red", "color": "#ff0000"}),
        ("gorgias", "POST", "ticketing/collections", {"name": "Lost", "description": "Parcels"}),
        ("gorgias", "PATCH", TICKETS, {"contact": None}),
        ("gorgias", "POST", COMMENTS, {"body": "x", "author": {"type": "contact", "id": "5001"}}),
        ("redmine", "PATCH", TICKETS, {"contact": CARLA}),
        ("memory", "PATCH", TICKETS, {"contact": CARLA}),
    ],
)
async def test_what_has_no_place_is_refused(place: Place, product: str, method: str, path: str, body: Any) -> None:
    """A field that the product cannot keep is told, and never dropped without a word."""
    client = place.client.of(product)
    of = await of_ticket(client)
    if method == "PATCH":
        path = f"{path}/{of['ticket[id]']}"
    answer = await client.send(method, path, of, body)
    assert (answer.status, len(answer.failures)) == (400, 1)


async def test_a_connector_without_a_directory_serves_what_it_can(place: Place, tmp_path: Path) -> None:
    """Of an outsider's connector tickets are read, made and changed; that it cannot list them is said in a sentence."""

    class Outsider(MemoryConnector):
        shelves = None  # type: ignore[assignment]

    outsider = Outsider(Desk("outside"), Side.REMOTE, "outside")
    async with api(tmp_path, {"outside": outsider}) as (made, _):
        client = made.of("outside")
        assert (await client.send("GET", TICKETS)).status == 501
        ticket = (await of_ticket(client))["ticket[id]"]
        assert (await client.one("GET", f"{TICKETS}/{ticket}"))["name"] == "A parcel is lost"
        able = (await client.send("GET", "ticketing/capabilities")).json["resources"]
        assert able["tickets"]["methods"] == ["get", "create", "update", "delete"]
        assert "no way to list tickets" in able["tickets"]["unsupported"]["list"]
        assert able["contacts"]["methods"] == []
