"""What the unified API does with Gorgias alone: customers, agents, teams, tags, views, fields, and what lists cost."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from syncd.unified import schema
from tests.fakes.gorgias import town
from tests.unified_desk import Client, Place, api

TICKETS = "ticketing/tickets"


@pytest.fixture
def client(place: Place) -> Client:
    """The client on Gorgias."""
    place.gorgias.asked.clear()
    return place.client.of("gorgias")


async def test_a_contact_keeps_its_channels(client: Client) -> None:
    """Addresses and numbers come back whole from a get; new addresses leave the numbers as they were."""
    body = {
        "first_name": "Dora",
        "last_name": "Diaz",
        "emails": [{"email": "dora@home.example", "type": "other"}, {"email": "dora@work.example", "type": "primary"}],
        "phones": [{"number": "+4912345", "type": "phone"}],
        "details": "Prefers mornings",
    }
    made = await client.one("POST", "ticketing/contacts", body=body)
    path = f"ticketing/contacts/{made['id']}"
    whole = await client.one("GET", path)
    assert (whole["name"], whole["details"]) == ("Dora Diaz", "Prefers mornings")
    assert [one["email"] for one in whole["emails"]] == ["dora@work.example", "dora@home.example"]
    assert [one["number"] for one in whole["phones"]] == ["+4912345"]
    changed = await client.one("PATCH", path, body={"emails": [{"email": "dora@work.example"}], "name": "Dora D."})
    assert [one["number"] for one in (await client.one("GET", path))["phones"]] == ["+4912345"]
    assert changed["name"] == "Dora D."
    found = await client.page("ticketing/contacts", {"emails": "dora@work.example"})
    assert [row["id"] for row in found["result"]] == [made["id"]]
    assert found["is_partial_response"] is True
    found = await client.page("ticketing/contacts", {"phones": "+4912345"})
    assert [row["id"] for row in found["result"]] == [made["id"]]
    assert (await client.send("DELETE", path)).json == {"id": made["id"]}
    assert (await client.send("GET", path)).status == 404


async def test_a_user_has_a_role(client: Client) -> None:
    """The general roles become Gorgias's own; the directory shows the same agent."""
    body = {"emails": [{"email": "eve@acme.example"}], "name": "Eve Agent", "roles": [{"name": "viewer"}]}
    made = await client.one("POST", "ticketing/users", body=body)
    assert (made["name"], made["roles"]) == ("Eve Agent", [{"id": "observer-agent", "name": "observer-agent"}])
    path = f"ticketing/users/{made['id']}"
    changed = await client.one("PATCH", path, body={"roles": [{"name": "admin"}], "last_name": "Adams"})
    assert changed["roles"][0]["name"] == "admin"
    members = {"members": [{"id": int(made["id"])}]}
    team = await client.one("POST", "ticketing/teams", body={"name": "Evening", "remote_data": members})
    assert (made["team_ids"], (await client.one("GET", path))["team_ids"]) == ([], [team["id"]])
    assert [row["id"] for row in await client.every("ticketing/users", {"team_ids": team["id"]})] == [made["id"]]
    person = await client.one("GET", f"user-directory/users/{made['id']}")
    assert (person["last_name"], person["status"]) == ("Adams", "active")
    assert person["emails"] == [{"email": "eve@acme.example", "type": "primary", "is_primary": True}]
    found = await client.every("ticketing/users", {"emails": "eve@acme.example"})
    assert [row["id"] for row in found] == [made["id"]]
    by_first = await client.every("ticketing/users", {"sort_by[last_name]": "desc"})
    assert [row["id"] for row in by_first if row["last_name"]][-1] == made["id"]
    assert (await client.send("DELETE", path)).status == 200


@pytest.mark.parametrize(
    ("kind", "body", "change"),
    [
        ("tags", {"name": "fragile", "color": "#00ff00"}, {"color": "#0000ff"}),
        ("teams", {"name": "Night shift", "description": "After ten"}, {"description": "After eleven"}),
        ("collections", {"name": "Lost parcels"}, {"name": "Found parcels"}),
        (
            "fields",
            {"label": "Carrier", "type": "enum", "entity_type": "ticket", "options": [{"label": "A", "value": "a"}]},
            {"label": "Parcel service"},
        ),
        ("fields", {"label": "Weight", "type": "number", "entity_type": "contact"}, {"is_hidden": True}),
    ],
)
async def test_things_live(client: Client, kind: str, body: Any, change: Any) -> None:
    """A tag, a team, a view and a field are made, listed, changed and, where Gorgias can, deleted."""
    made = await client.one("POST", f"ticketing/{kind}", body=body)
    for name, value in body.items():
        assert made[name] == value if name != "options" else made[name][0]["value"] == "a"
    path = f"ticketing/{kind}/{made['id']}"
    narrowed = {"entity_type": body["entity_type"]} if kind == "fields" else {}
    assert made["id"] in {row["id"] for row in await client.every(f"ticketing/{kind}", narrowed)}
    changed = await client.one("PATCH", path, body=change)
    assert {name: changed[name] for name in change} == change
    deleted = await client.send("DELETE", path)
    assert deleted.status == (501 if kind in {"teams", "fields"} else 200)


async def test_custom_fields_are_written_by_id_or_label(client: Client) -> None:
    """A ticket's values are named by their fields' ids, or by label; those that are not named stay."""
    one, other = [
        await client.one(
            "POST", "ticketing/fields", body={"label": f"Shelf {name}", "type": "string", "entity_type": "ticket"}
        )
        for name in "ab"
    ]
    assert one["name"] == one["id"]
    ticket = await client.one("POST", TICKETS, body={"name": "x", "custom_fields": {one["name"]: "left"}})
    assert ticket["custom_fields"] == {one["id"]: "left"}
    path = f"{TICKETS}/{ticket['id']}"
    changed = await client.one("PATCH", path, body={"custom_fields": {other["name"]: "right"}})
    assert changed["custom_fields"] == {one["id"]: "left", other["id"]: "right"}
    unknown = await client.send("PATCH", path, body={"custom_fields": {"No such": 1}})
    assert unknown.status in {400, 422}


async def test_trash_and_spam_come_and_go(client: Client) -> None:
    """A ticket that is deleted by its status is in no list but that of the deleted; opened again it is back."""
    ticket = await client.one("POST", TICKETS, body={"name": "x"})
    path = f"{TICKETS}/{ticket['id']}"
    for word in ("deleted", "spam"):
        gone = await client.one("PATCH", path, body={"status": {"name": word}})
        assert gone["status"]["name"] == word
        listed = {row["id"] for row in await client.every(TICKETS, {"status[name]": word})}
        assert ticket["id"] in listed
        assert ticket["id"] not in {row["id"] for row in await client.every(TICKETS, {"status[name]": "open"})}
        back = await client.one("PATCH", path, body={"status": {"name": "open"}})
        assert back["status"] == {"id": "open", "name": "open"}


async def test_a_list_costs_one_call_and_ends_early(place: Place, client: Client) -> None:
    """A page is one call; one of recent changes stops where the rows are older; a bounded one asks in that order."""
    for number in range(4):
        await client.one("POST", TICKETS, body={"name": f"No. {number}"})
    place.gorgias.asked.clear()
    page = await client.page(TICKETS, {"limit": "2"})
    assert len(place.gorgias.asked) == 1
    assert "trashed=false" in place.gorgias.asked[0][1]
    newest = page["result"][0]
    second = await client.page(TICKETS, {"limit": "2", "next_cursor": page["next_cursor"]})
    back = await client.page(TICKETS, {"limit": "2", "next_cursor": second["prev_cursor"]})
    assert [row["id"] for row in back["result"]] == [row["id"] for row in page["result"]]
    place.gorgias.asked.clear()
    rows = await client.every(TICKETS, {"updated_at[gt]": newest["updated_at"]})
    assert rows == []
    assert len(place.gorgias.asked) == 1
    assert "order_by=updated_datetime%3Adesc" in place.gorgias.asked[0][1].replace(":", "%3A")


async def test_comments_of_the_whole_account(client: Client) -> None:
    """Gorgias lists messages of all tickets; one is found by its id alone, recent or not."""
    ticket = await client.one("POST", TICKETS, body={"name": "x", "description": "first"})
    rows = await client.every("ticketing/comments", {"sort_by[created_at]": "desc", "limit": "5"})
    mine = [row for row in rows if row["ticket"]["id"] == ticket["id"]]
    assert [row["body"] for row in mine] == ["first"]
    assert await client.one("GET", f"ticketing/comments/{mine[0]['id']}") == mine[0]
    deleted = await client.send("DELETE", f"ticketing/comments/{mine[0]['id']}")
    assert deleted.status == 200


async def test_an_old_message_is_found_by_its_event(place: Place, client: Client) -> None:
    """A message that is not among the newest hundred is found by the events of the request that made it."""
    number = place.gorgias.sandbox.create_ticket("Long ago", "the first words")
    of = {"ticket[id]": str(number)}
    old = (await client.every("ticketing/comments", of))[0]
    for _ in range(100):
        place.gorgias.sandbox.reply(number, "more words")
    assert await client.one("GET", f"ticketing/comments/{old['id']}") == old
    assert await client.one("GET", f"ticketing/comments/{old['id']}", of) == old


async def test_the_product_gets_what_is_its_own(place: Place, client: Client) -> None:
    """`remote_data` of a body and `remote_query` of a list go to Gorgias as they are."""
    await client.one("POST", TICKETS, body={"name": "x", "remote_data": {"external_id": "mine-1", "language": "fr"}})
    rows = await client.every(TICKETS, {"remote_query[external_id]": "mine-1"})
    assert [row["remote_data"]["language"] for row in rows] == ["fr"]
    refused = await client.send("POST", TICKETS, body={"name": "x", "remote_data": {"no_such_key": 1}})
    assert refused.status == 400
    redmine = place.client.of("redmine")
    assert (await redmine.send("GET", TICKETS, {"remote_query[a]": "b"})).status == 400


async def test_rows_of_nothing_but_an_id_are_objects(tmp_path: Path) -> None:
    """Lists and objects that hold ids and nulls alone come through every resource, filtered and sorted too."""

    async def bare(request: web.Request, _handler: Any) -> web.StreamResponse:
        bare_one = {"id": 7, "name": None, "customer": None, "messages": None, "channels": None, "sender": None}
        bare_one |= {"created_datetime": None, "updated_datetime": None, "ticket_id": None, "attachments": None}
        listed = {"object": "list", "uri": "", "data": [bare_one, {"id": 8}], "meta": {"next_cursor": None}}
        return web.json_response(bare_one if request.path.rstrip("/").endswith("/7") else listed)

    async with town(tweak=bare) as odd, api(tmp_path, {"gorgias": odd.connector}) as (made, _):
        client = made.of("gorgias")
        for resource in schema.every().values():
            path = resource.path.removeprefix("/unified/")
            rows = await client.every(path)
            assert [row["id"] for row in rows] == ([] if resource.name == "attachments" else ["7", "8"])
            sort = {f"sort_by[{schema.SORTS[resource.key][-1]}]": "desc"}
            assert len(await client.every(path, sort)) == len(rows)
            if resource.name in {"tickets", "contacts"}:
                assert await client.every(path, {"updated_at[gt]": "2026-01-01"}) == []
            if resource.name not in {"attachments", "comments"}:
                assert (await client.one("GET", f"{path}/7"))["id"] == "7"
        assert (await client.one("GET", "ticketing/comments/7", {"ticket[id]": "1"}))["ticket"] is None


async def test_a_customers_words_are_theirs(client: Client) -> None:
    """A public comment may be a customer's, whom an address or an id names."""
    ticket = await client.one("POST", TICKETS, body={"name": "x"})
    body = {"body": "I wait", "is_private": False, "author": {"type": "contact", "username": "carla@customer.example"}}
    said = await client.one("POST", "ticketing/comments", {"ticket[id]": ticket["id"]}, body)
    assert (said["author"]["type"], said["author"]["username"]) == ("contact", "carla@customer.example")
    by_id = {**body, "author": {"type": "contact", "id": said["author"]["id"]}}
    again = await client.one("POST", "ticketing/comments", {"ticket[id]": ticket["id"]}, by_id)
    assert again["author"] == said["author"]
