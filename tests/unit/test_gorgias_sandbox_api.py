"""Every operation of the API, once, against the sandbox: documented status, envelope and keys."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from connectors.gorgias.operations import OPERATIONS, Operation, check
from connectors.gorgias.sandbox import seed
from connectors.gorgias.sandbox.render import SHAPES
from tests.unit.gorgias_calls import NEEDED, NOTE, form, fresh_ticket, new_tag, of
from tests.unit.sandbox_client import Plain, Reply, served

#: Keys that the documented rows of lists leave out.
SHORT = {
    "Ticket": {"messages", "events", "reply_options", "requester", "satisfaction_survey", "custom_fields", "summary"}
}
SHORT["Ticket"] |= {"assignee_user_id", "assignee_team_id"}


@pytest.fixture(scope="module")
async def plain() -> AsyncIterator[Plain]:
    """A seeded sandbox for the whole module."""
    async with served() as client:
        seed(client.sandbox, tickets=25)
        yield client


async def call(plain: Plain, name: str) -> Reply:
    """A valid call of an operation, checked as a client would, and sent."""
    operation = OPERATIONS[name]
    params, body = of(plain.sandbox, name)
    request = check(operation, params, body)
    sent = {"data": form()} if operation.multipart else {} if operation.body is None else {"json": body}
    return await plain.send(request.method, request.path, params=list(request.query), **sent)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_operation_answers_as_documented(plain: Plain, name: str) -> None:
    """A valid call gets the documented status, its envelope, and all documented keys."""
    for noun, maker in NEEDED.items():
        if f"_{noun}_by_id" in name:
            await call(plain, maker)
    reply = await call(plain, name)
    operation = OPERATIONS[name]
    assert reply.status == operation.status, reply
    _has_shape(operation, reply)


def _has_shape(operation: Operation, reply: Reply) -> None:
    if operation.kind == "empty":
        assert reply.raw == b""
    elif operation.kind == "binary":
        assert reply.raw == b"hello"
    elif operation.kind == "text":
        assert reply.raw.startswith(b"name,value\r\n")
    elif operation.kind == "object":
        assert SHAPES.get(operation.object, {}).keys() <= reply.doc.keys()
    else:
        _is_list(operation, reply.doc)


def _is_list(operation: Operation, doc: Any) -> None:
    rows = doc if operation.kind == "array" else doc["data"]
    if operation.kind == "list":
        assert doc["object"] == "list"
        assert doc["uri"].startswith(f"{operation.path}?")
        assert {"prev_cursor", "next_cursor"} <= doc["meta"].keys()
    elif operation.kind == "view-items":
        assert doc["meta"].keys() == {"next_items", "prev_items", "current_cursor"}
        assert doc.keys() == {"data", "meta"}
    expected = SHAPES.get(operation.object, {}).keys() - SHORT.get(operation.object, set())
    for row in rows:
        assert expected <= row.keys()


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_operation_refuses_an_unknown_parameter(plain: Plain, name: str) -> None:
    """An unknown query parameter is a 400, whatever the operation."""
    operation = OPERATIONS[name]
    path = operation.path
    for param in operation.path_params:
        path = path.replace(f"{{{param.name}}}", "1" if param.type == "integer" else (param.enum or ("x",))[0])
    if operation.kind == "binary":
        path = "/api/attachment/download/a/b"
    body = {"json": {}} if operation.body is not None and not operation.multipart else {}
    reply = await plain.send(operation.method, path, params={"no_such_parameter": "1"}, **body)
    assert reply.status == 400, reply
    assert reply.doc["error"]["data"]["no_such_parameter"] == ["Unknown field."]


@pytest.mark.parametrize(
    "name", sorted(name for name, op in OPERATIONS.items() if op.body and op.body.get("properties"))
)
async def test_operation_refuses_an_unknown_key(plain: Plain, name: str) -> None:
    """An unknown key of the body is a 400 in the documented envelope."""
    operation = OPERATIONS[name]
    path = operation.path
    for param in operation.path_params:
        path = path.replace(f"{{{param.name}}}", "1" if param.type == "integer" else (param.enum or ("x",))[0])
    reply = await plain.send(operation.method, path, json={"no_such_key": 1})
    assert reply.status == 400
    assert reply.doc["error"]["data"]["no_such_key"] == ["Unknown field."]


@pytest.mark.parametrize(
    ("method", "path", "body", "data"),
    [
        ("GET", "/api/tickets?limit=101", None, {"limit": ["Must be at most 100"]}),
        ("GET", "/api/tickets?limit=x", None, {"limit": ["Must be a whole number, not 'x'"]}),
        ("GET", "/api/tickets?cursor=nonsense", None, {"cursor": ["Invalid cursor."]}),
        (
            "GET",
            "/api/tickets?updated_datetime%5Bgte%5D=2026-01-01",
            None,
            {"updated_datetime[gte]": ["Unknown field."]},
        ),
        ("GET", "/api/events?object_type=Ticket", None, {"object_id": ["Missing data for required field."]}),
        ("GET", "/api/custom-fields", None, {"object_type": ["Missing data for required field."]}),
        ("POST", "/api/tickets", {}, {"messages": ["Missing data for required field."]}),
        (
            "POST",
            "/api/tickets",
            {"messages": [{"from_agent": True}]},
            {"messages.0.channel": ["Missing data for required field."]},
        ),
        (
            "POST",
            "/api/tickets",
            {"messages": [{"channel": "email", "from_agent": False}]},
            {"source": ["From field is missing or empty"]},
        ),
        (
            "POST",
            "/api/tickets",
            {"messages": [NOTE], "assignee_user": {"id": 4}},
            {"assignee_user": ["4 does not exist."]},
        ),
        ("POST", "/api/rules/priorities", [{"id": 1, "priority": 2}], None),
        ("POST", "/api/views", {"name": "No slug"}, {"slug": ["Missing data for required field."]}),
        ("POST", "/api/integrations", {"name": "x", "type": "http"}, {"http": ["Missing data for required field."]}),
        ("POST", "/api/rules", {"name": "x", "code": "for (;;) {}"}, {"code": ["Unsupported code."]}),
    ],
)
async def test_wrong_calls_are_refused(plain: Plain, method: str, path: str, body: Any, data: Any) -> None:
    """What the reference calls wrong is a 400 that names the field."""
    before = len(plain.sandbox.tickets)
    reply = await plain.send(method, path, **({} if body is None else {"json": body}))
    assert reply.status == 400, reply
    if data is not None:
        assert reply.doc["error"]["data"] == data
    assert len(plain.sandbox.tickets) == before


async def test_broken_json_is_refused(plain: Plain) -> None:
    """A body that is no JSON is a 400."""
    reply = await plain.send("POST", "/api/tags", data=b"{", headers={"Content-Type": "application/json"})
    assert reply.status == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/api/tickets/999", 404),
        ("GET", "/api/tickets/x", 404),
        ("DELETE", "/api/custom-fields/319001", 405),
        ("PATCH", "/api/tickets/1001", 405),
        ("DELETE", "/api/views/41", 403),
    ],
)
async def test_other_refusals(plain: Plain, method: str, path: str, status: int) -> None:
    """Missing objects, wrong methods and protected objects have their own statuses."""
    reply = await plain.send(method, path)
    assert reply.status == status
    assert reply.doc["error"]["msg"]


async def test_taken_identifiers_conflict(plain: Plain) -> None:
    """A second customer, user or tag of one identifier is a 409; so is a tag that a macro uses."""
    customer = {"email": "twice@customer.example"}
    await plain.write("POST", "/api/customers", customer)
    shipping = plain.sandbox.tags.where("name", "shipping")[0]["id"]
    for method, path, body in (
        ("POST", "/api/customers", {"email": "Twice@customer.example"}),
        ("POST", "/api/users", {"email": "mia.keller@acme.example", "name": "Mia", "role": {"name": "agent"}}),
        ("POST", "/api/tags", {"name": "VIP"}),
        ("DELETE", f"/api/tags/{shipping}", None),
    ):
        reply = await plain.send(method, path, json=body)
        assert reply.status == 409, (path, reply)


async def test_customers_are_found_by_what_identifies_them(plain: Plain) -> None:
    """By e-mail whatever its case, by external id, and by a channel's address as typed."""
    body = {"name": "Di Ng", "external_id": "c-9", "channels": [{"type": "email", "address": "Di@Customer.example"}]}
    made = await plain.write("POST", "/api/customers", body)
    assert made["email"] == "di@customer.example"
    assert [channel["address"] for channel in made["channels"]] == ["Di@Customer.example"]
    for query in (
        {"email": "DI@customer.example"},
        {"external_id": "c-9"},
        {"channel_type": "email", "channel_address": "Di@Customer.example"},
    ):
        found = await plain.get("/api/customers", **query)
        assert [row["id"] for row in found["data"]] == [made["id"]]
        assert "channels" not in found["data"][0]


async def test_bulk_forms_and_old_lists(plain: Plain) -> None:
    """The documented calls beside the 104: several deletes at once, archive, and the paged list of messages."""
    sandbox = plain.sandbox
    ticket_id = fresh_ticket(sandbox)
    for number in range(3):
        sandbox.note(ticket_id, f"Note {number}")
    page = await plain.get(f"/api/tickets/{ticket_id}/messages", limit=2, page=2)
    assert [row["body_text"] for row in page["data"]] == ["Note 1", "Note 2"]
    assert page["meta"]["nb_pages"] == 2
    assert page["meta"]["item_count"] == 4
    tags = [new_tag(sandbox, "a1"), new_tag(sandbox, "a2")]
    await plain.write("DELETE", "/api/tags", {"ids": tags})
    assert not any(tag in sandbox.tags for tag in tags)
    macro = await plain.write("POST", "/api/macros", {"name": "Old"})
    await plain.write("PUT", "/api/macros/archive", {"ids": [macro["id"]]})
    archived = await plain.get("/api/macros", archived="true")
    assert macro["id"] in [row["id"] for row in archived["data"]]


ORDERS = [
    (name, option)
    for name, operation in sorted(OPERATIONS.items())
    for param in operation.query
    if param.name == "order_by"
    for option in param.enum
    if operation.kind == "list"
]


@pytest.mark.parametrize(("name", "option"), ORDERS)
async def test_every_order_pages_through_everything(plain: Plain, name: str, option: str) -> None:
    """Forwards over small pages and back again: each row once, in the order asked for."""
    operation = OPERATIONS[name]
    query = {"order_by": option, "limit": "3"} | ({"object_type": "Ticket"} if "custom_fields" in name else {})
    whole = await plain.get(operation.path, **{**query, "limit": "100"})
    assert whole["meta"]["prev_cursor"] is None
    pages = [await plain.get(operation.path, **query)]
    while (cursor := pages[-1]["meta"]["next_cursor"]) and len(pages) < 30:
        pages.append(await plain.get(operation.path, **query, cursor=cursor))
    seen = [row["id"] for page in pages for row in page["data"]]
    assert seen[:100] == [row["id"] for row in whole["data"]][: len(seen)]
    assert len(set(seen)) == len(seen)
    if len(pages) > 1:
        back = await plain.get(operation.path, **query, cursor=pages[1]["meta"]["prev_cursor"])
        assert [row["id"] for row in back["data"]] == [row["id"] for row in pages[0]["data"]]
        assert back["meta"]["prev_cursor"] is None
