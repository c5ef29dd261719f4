"""One client, written once, works on Gorgias, Redmine, Roundup and the reference connector alike."""

import base64
from typing import Any

import pytest

from tests.unified_desk import PRODUCTS, Client, Place

TICKETS = "ticketing/tickets"
COMMENTS = "ticketing/comments"
FILES = "ticketing/attachments"


@pytest.fixture(params=PRODUCTS)
def client(request: pytest.FixtureRequest, place: Place) -> Client:
    """The client on each product in turn."""
    return place.client.of(request.param)


async def made(client: Client, **more: Any) -> Any:
    """A new ticket."""
    return await client.one("POST", TICKETS, body={"name": "A parcel is lost", "description": "Where is it?", **more})


async def test_a_ticket_lives(client: Client) -> None:
    """A ticket is made, read, changed, closed and deleted; each answer shows it as it is."""
    ticket = await made(client)
    assert ticket["name"] == "A parcel is lost"
    assert ticket["description"] == "Where is it?"
    assert ticket["status"]["name"] == "open"
    path = f"{TICKETS}/{ticket['id']}"
    changed = await client.one("PATCH", path, body={"name": "Found", "status": {"name": "closed"}})
    assert changed["name"] == "Found"
    assert changed["status"]["name"] in {"closed", "resolved"}
    assert await client.one("GET", path) == changed
    deleted = await client.send("DELETE", path)
    assert (deleted.status, deleted.json) == (200, {"id": ticket["id"]})
    assert (await client.send("GET", path)).status == 404
    assert ticket["id"] not in {row["id"] for row in await client.every(TICKETS)}


async def test_comments_are_private_unless_said_otherwise(client: Client) -> None:
    """A comment is an internal note by default and public on request; both are listed, read alone and rewritten."""
    ticket = await made(client)
    of = {"ticket[id]": ticket["id"]}
    note = await client.one("POST", COMMENTS, of, {"body": "Check the depot"})
    said = await client.one("POST", COMMENTS, of, {"html_body": "<p>We <b>look</b></p>", "is_private": False})
    assert (note["is_private"], said["is_private"]) == (True, False)
    assert (note["body"], note["ticket"]) == ("Check the depot", {"id": ticket["id"]})
    assert "look" in said["body"]
    listed = await client.every(COMMENTS, of)
    assert {note["id"], said["id"]} <= {row["id"] for row in listed}
    assert await client.one("GET", f"{COMMENTS}/{note['id']}", of) == note
    hidden = {row["id"] for row in await client.every(COMMENTS, [*of.items(), ("is_private", "true")])}
    assert note["id"] in hidden
    assert said["id"] not in hidden
    changed = await client.one("PATCH", f"{COMMENTS}/{note['id']}", of, {"body": "Check the other depot"})
    assert (changed["body"], changed["is_private"]) == ("Check the other depot", True)


async def test_lists_are_paged_to_the_end(client: Client) -> None:
    """With pages of two every ticket comes once, in the order asked for, whatever is made meanwhile."""
    tickets = [await made(client, name=f"No. {number}") for number in range(5)]
    ids = [ticket["id"] for ticket in tickets]
    page = await client.page(TICKETS, {"limit": "2", "sort_by[created_at]": "desc"})
    assert [row["id"] for row in page["result"]] == ids[:-3:-1]
    await made(client, name="Made meanwhile")
    rows = list(page["result"])
    while page["next_cursor"]:
        params = {"limit": "2", "sort_by[created_at]": "desc", "next_cursor": page["next_cursor"]}
        page = await client.page(TICKETS, params)
        assert len(page["result"]) <= 2
        rows += page["result"]
    seen = [row["id"] for row in rows]
    assert [one for one in seen if one in ids] == ids[::-1]
    ascending = await client.every(TICKETS, {"limit": "3", "sort_by[created_at]": "asc"})
    assert [row["id"] for row in ascending if row["id"] in ids] == ids
    assert len({row["id"] for row in ascending}) == len(ascending)


async def test_tickets_are_filtered(client: Client) -> None:
    """By status, ids, name and time of change; alone and together."""
    one, other = await made(client, name="Lamp"), await made(client, name="Chair")
    await client.one("PATCH", f"{TICKETS}/{other['id']}", body={"status": {"name": "closed"}})
    ids = f"{one['id']},{other['id']}"
    found = await client.every(TICKETS, {"ids": ids, "status[name]": "open"})
    assert [(row["id"], row["description"]) for row in found] == [(one["id"], "Where is it?")]
    found = await client.every(TICKETS, {"ids[in]": ids, "name[like]": "CHAI"})
    assert [row["id"] for row in found] == [other["id"]]
    newest = (await client.one("GET", f"{TICKETS}/{other['id']}"))["updated_at"]
    found = await client.every(TICKETS, {"updated_at[gte]": newest})
    assert other["id"] in {row["id"] for row in found}
    assert all(row["updated_at"] >= newest for row in found)
    assert await client.every(TICKETS, {"updated_at[gt]": "2099-01-01T00:00:00Z"}) == []
    assert await client.every(TICKETS, {"created_at[lt]": "2001-01-01"}) == []


async def test_fields_of_a_ticket_are_written(client: Client) -> None:
    """Assignee, priority, tags and contact are written by their names or ids, and can be cleared."""
    users = await client.every("ticketing/users")
    user = next(row for row in users if row["is_active"])
    contact = {"name": "Carla Customer", "emails": [{"email": "carla@customer.example"}]}
    ticket = await made(client, tags=[{"name": "vip"}], priority={"name": "high"}, contact=contact)
    assert [tag["name"] for tag in ticket["tags"]] == ["vip"]
    assert ticket["priority"]["name"]
    path = f"{TICKETS}/{ticket['id']}"
    body = {"assignees": [{"id": user["id"]}], "tags": [{"name": "vip"}, {"name": "late"}]}
    changed = await client.one("PATCH", path, body=body)
    assert [one["id"] for one in changed["assignees"]] == [user["id"]]
    assert {tag["name"] for tag in changed["tags"]} == {"vip", "late"}
    found = await client.every(TICKETS, {"assignees[id]": user["id"], "tags[name]": "late"})
    assert ticket["id"] in {row["id"] for row in found}
    cleared = await client.one("PATCH", path, body={"assignees": [], "tags": [{"name": "late"}]})
    assert cleared["assignees"] == []
    assert [tag["name"] for tag in cleared["tags"]] == ["late"]


async def test_files_go_up_and_come_down(client: Client) -> None:
    """A file in a comment is listed with its ticket, shown alone and downloaded byte for byte."""
    ticket = await made(client)
    of = {"ticket[id]": ticket["id"]}
    content = bytes(range(256)) * 40
    file = {"file_name": "depot.bin", "data": base64.b64encode(content).decode()}
    comment = await client.one("POST", COMMENTS, of, {"body": "See the file", "attachments": [file]})
    assert [one["file_name"] for one in comment["attachments"]] == ["depot.bin"]
    rows = await client.every(FILES, of)
    assert [(row["file_name"], row["ticket_id"]) for row in rows] == [("depot.bin", ticket["id"])]
    assert rows[0]["id"] == comment["attachments"][0]["id"]
    assert (await client.one("GET", f"{FILES}/{rows[0]['id']}"))["file_name"] == "depot.bin"
    down = await client.send("POST", f"{FILES}/download", body={"id": rows[0]["id"]})
    assert down.status == 200
    assert down.content == content
    assert "depot.bin" in down.headers["Content-Disposition"]
    gone = await client.send("DELETE", f"{FILES}/{rows[0]['id']}")
    assert gone.status in {200, 501}
    assert [row["id"] for row in await client.every(FILES, of)] == ([] if gone.status == 200 else [rows[0]["id"]])
    assert (await client.one("GET", f"{COMMENTS}/{comment['id']}", of))["body"] == "See the file"


@pytest.mark.parametrize("path", ["users", "teams", "fields", "tags", "collections", "contacts"])
async def test_what_else_there_is(client: Client, path: str) -> None:
    """Every other list answers rows that can be got one by one, or says in a sentence why there is none."""
    answer = await client.send("GET", f"ticketing/{path}")
    if answer.status == 501:
        assert " " in answer.json["message"]
        return
    for row in (await client.page(f"ticketing/{path}", {"limit": "3"}))["result"]:
        again = await client.one("GET", f"ticketing/{path}/{row['id']}")
        assert (again["id"], again.get("name")) == (row["id"], row.get("name"))


async def test_the_user_directory_has_the_same_people(client: Client) -> None:
    """The user directory lists the agents of the ticketing API."""
    agents = {row["id"] for row in await client.every("ticketing/users")}
    people = await client.every("user-directory/users")
    assert {row["id"] for row in people} == agents
    assert {row["status"] for row in people} <= {"active", "inactive"}


async def test_capabilities_are_true(client: Client) -> None:
    """What an account says that it cannot do answers 501 with the same sentence."""
    said = (await client.send("GET", "ticketing/capabilities")).json
    assert said["account"]["product"] == client.product
    assert set(said["resources"]["tickets"]["methods"]) == {"list", "get", "create", "update", "delete"}
    verbs = {"list": "GET", "create": "POST", "get": "GET", "update": "PATCH", "delete": "DELETE"}
    for name, resource in said["resources"].items():
        for method, reason in resource["unsupported"].items():
            tail = "" if method in {"list", "create"} else "/1"
            answer = await client.send(
                verbs[method], f"ticketing/{name}{tail}", body={} if method == "create" else None
            )
            assert (answer.status, answer.json["message"]) == (501, reason)


async def test_teams_and_tags_live_where_they_can(client: Client) -> None:
    """Where the product and our rights in it allow, one is made, renamed and deleted; else the answer is a sentence."""
    for kind in ("teams", "tags"):
        answer = await client.send("POST", f"ticketing/{kind}", body={"name": "Night shift"})
        if answer.status == 501:
            continue
        assert answer.status == 201, answer.content
        path = f"ticketing/{kind}/{answer.json['id']}"
        assert (await client.one("PATCH", path, body={"name": "Day shift"}))["name"] == "Day shift"
        assert "Day shift" in {row["name"] for row in await client.every(f"ticketing/{kind}")}
        deleted = await client.send("DELETE", path)
        assert deleted.status in {200, 403, 501}
        assert (await client.send("GET", path)).status == (404 if deleted.status == 200 else 200)
