"""What each change of a ticket logs, in which order, and what it does to the ticket's times."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from connectors.gorgias.sandbox import Options
from connectors.gorgias.sandbox.world import Doc
from tests.unit.sandbox_client import Plain, served

NOTE = {"channel": "internal-note", "from_agent": True, "via": "api", "body_text": "Seen"}
PHONE = {"channel": "phone", "from_agent": False, "via": "api", "body_text": "They called"}
SUPPORT = {"name": "Support", "address": "support@sandbox.example"}
MAIL = {
    "channel": "email",
    "from_agent": True,
    "via": "api",
    "body_text": "Hello",
    "source": {"type": "email", "from": SUPPORT, "to": [{"address": "ann@customer.example"}]},
}


@pytest.fixture
async def plain() -> AsyncIterator[Plain]:
    """A sandbox of its own for each test."""
    async with served(Options(send_delay=0)) as client:
        yield client


class Watch:
    """The events that came after a moment."""

    def __init__(self, plain: Plain) -> None:
        self.plain = plain
        self.seen = max(plain.sandbox.events.rows, default=0)

    async def rows(self) -> list[Doc]:
        """The new events, oldest first, as the API shows them."""
        page = await self.plain.get("/api/events", order_by="created_datetime:asc", limit="100")
        return [row for row in page["data"] if row["id"] > self.seen]

    async def types(self) -> list[str]:
        """Their types; all of one request share their context, and nothing else does."""
        rows = await self.rows()
        assert len({row["context"] for row in rows}) <= 1
        return [row["type"] for row in rows]


async def test_a_new_ticket(plain: Plain) -> None:
    """ticket-created, then a message event for each message; all by the caller, in one context, with null data."""
    watch = Watch(plain)
    made = await plain.write("POST", "/api/tickets", {"messages": [NOTE, PHONE]})
    assert await watch.types() == ["ticket-created", "ticket-message-created", "ticket-message-created"]
    rows = await watch.rows()
    assert [row["object_id"] for row in rows] == [made["id"], *(message["id"] for message in made["messages"])]
    assert [row["object_type"] for row in rows] == ["Ticket", "TicketMessage", "TicketMessage"]
    assert {row["user_id"] for row in rows} == {(await plain.get("/api/users/0"))["id"]}
    assert {row["data"] for row in rows} == {None}


async def test_enrichment_moves_a_new_ticket_again() -> None:
    """Some time after its creation a ticket is updated once more, by nobody and in another context."""
    async with served(Options(enrich_after=0)) as plain:
        watch = Watch(plain)
        made = await plain.write("POST", "/api/tickets", {"messages": [NOTE]})
        after = await plain.get(f"/api/tickets/{made['id']}")
        rows = await watch.rows()
        assert [row["type"] for row in rows][-1] == "ticket-updated"
        assert rows[-1]["user_id"] is None
        assert rows[-1]["context"] != rows[0]["context"]
        assert after["updated_datetime"] > made["updated_datetime"]
        assert after["language"] == "en"


async def changed(plain: Plain, ticket_id: int, method: str, path: str, body: Any) -> tuple[list[str], bool]:
    """What a write logs, and whether the ticket's updated_datetime moved."""
    before = await plain.get(f"/api/tickets/{ticket_id}")
    watch = Watch(plain)
    await plain.write(method, f"/api/tickets/{ticket_id}{path}", body)
    after = await plain.get(f"/api/tickets/{ticket_id}")
    return await watch.types(), after["updated_datetime"] != before["updated_datetime"]


@pytest.mark.parametrize(
    ("body", "types"),
    [
        (
            {"status": "closed", "subject": "New"},
            ["ticket-updated", "ticket-closed", "ticket-satisfaction-survey-skipped", "ticket-subject-updated"],
        ),
        ({"priority": "high"}, ["ticket-updated"]),
        ({"external_id": "x"}, ["ticket-updated"]),
        ({"assignee_user": {"id": 101}}, ["ticket-updated", "ticket-assigned"]),
        ({"trashed_datetime": "2026-01-01T00:00:00Z"}, ["ticket-updated", "ticket-trashed"]),
        ({"snooze_datetime": "2027-01-01T00:00:00Z"}, ["ticket-updated", "ticket-snoozed"]),
        ({"spam": True}, ["ticket-updated", "ticket-marked-spam"]),
        (
            {"customer": {"email": "bo@customer.example"}},
            ["customer-created", "ticket-updated", "ticket-customer-updated"],
        ),
        ({"tags": [{"name": "known"}]}, ["ticket-updated", "ticket-tags-added"]),
    ],
)
async def test_changes_of_a_ticket(plain: Plain, body: Doc, types: list[str]) -> None:
    """Each change logs ticket-updated and its typed events, moves updated_datetime, and does neither when repeated."""
    await plain.write("POST", "/api/tags", {"name": "known"})
    ticket_id = plain.sandbox.create_ticket("Old", "Hello")
    assert await changed(plain, ticket_id, "PUT", "", body) == (types, True)
    assert await changed(plain, ticket_id, "PUT", "", body) == ([], False)


async def test_tag_calls(plain: Plain) -> None:
    """Real changes log ticket-updated and a typed event with the ids; calls that change nothing are silent."""
    sandbox = plain.sandbox
    ticket_id = sandbox.create_ticket("Old", "Hello")
    sandbox.add_tags(ticket_id, "one")
    (two,) = [(await plain.write("POST", "/api/tags", {"name": "two"}))["id"]]
    watch = Watch(plain)
    assert await changed(plain, ticket_id, "POST", "/tags", {"names": ["one", "two"]}) == (
        ["ticket-updated", "ticket-tags-added"],
        True,
    )
    assert (await watch.rows())[-1]["data"] == {"tags_added": [two]}
    for method, body in (
        ("POST", {"names": ["two"]}),
        ("PUT", {"names": ["two", "one"]}),
        ("DELETE", {"names": ["absent"]}),
    ):
        assert await changed(plain, ticket_id, method, "/tags", body) == ([], False)
    assert await changed(plain, ticket_id, "DELETE", "/tags", {"ids": [two]}) == (
        ["ticket-updated", "ticket-tags-removed"],
        True,
    )
    assert await changed(plain, ticket_id, "PUT", "/tags", {}) == (["ticket-updated", "ticket-tags-removed"], True)


async def test_custom_fields_are_silent(plain: Plain) -> None:
    """A field's value, however it is set, logs nothing and moves nothing; it is written as a list, read as a map."""
    definition = {"data_type": "text", "input_settings": {"input_type": "dropdown", "choices": ["A::B", "C"]}}
    field = await plain.write(
        "POST", "/api/custom-fields", {"object_type": "Ticket", "label": "Why", "definition": definition}
    )
    field_id = field["id"]
    ticket_id = plain.sandbox.create_ticket("Old", "Hello")
    for method, path, body in (
        ("PUT", "/custom-fields", [{"id": field_id, "value": "A::B"}]),
        ("PUT", f"/custom-fields/{field_id}", "C"),
        ("PUT", f"/custom-fields/{field_id}", {"id": field_id, "value": "A::B"}),
        ("PUT", "", {"custom_fields": [{"id": field_id, "value": "C"}]}),
    ):
        assert await changed(plain, ticket_id, method, path, body) == ([], False)
    ticket = await plain.get(f"/api/tickets/{ticket_id}")
    assert ticket["custom_fields"] == {str(field_id): {"id": field_id, "value": "C"}}
    (value,) = (await plain.get(f"/api/tickets/{ticket_id}/custom-fields"))["data"]
    assert (value["field"]["label"], value["value"]) == ("Why", "C")
    reply = await plain.send("PUT", f"/api/tickets/{ticket_id}/custom-fields/{field_id}", json="D")
    assert reply.status == 400


@pytest.mark.parametrize("loud", [False, True])
async def test_edited_and_deleted_messages(loud: bool) -> None:
    """They move nothing on the ticket; whether they are logged is a choice, for it was recorded neither way."""
    async with served(Options(message_events=loud)) as plain:
        ticket_id = plain.sandbox.create_ticket("Old", "Hello")
        message_id = plain.sandbox.note(ticket_id, "First")
        before = await plain.get(f"/api/tickets/{ticket_id}")
        path = f"/messages/{message_id}"
        edit = {**NOTE, "body_text": "Second"}
        assert await changed(plain, ticket_id, "PUT", path, edit) == (["ticket-message-updated"] * loud, False)
        assert (await plain.get(f"/api/tickets/{ticket_id}{path}"))["body_text"] == "Second"
        assert await changed(plain, ticket_id, "DELETE", path, None) == (["ticket-message-deleted"] * loud, False)
        after = await plain.get(f"/api/tickets/{ticket_id}")
        assert after["last_message_datetime"] == before["last_message_datetime"]
        assert len(after["messages"]) == 1


async def test_messages_reopen_and_notes_do_not(plain: Plain) -> None:
    """A message on a closed ticket logs three events and opens it; an internal note leaves it closed."""
    ticket_id = plain.sandbox.create_ticket("Old", "Hello")
    plain.sandbox.set_status(ticket_id, "closed")
    assert await changed(plain, ticket_id, "POST", "/messages", NOTE) == (
        ["ticket-message-created", "ticket-updated"],
        True,
    )
    assert plain.sandbox.ticket(ticket_id)["status"] == "closed"
    assert await changed(plain, ticket_id, "POST", "/messages", PHONE) == (
        ["ticket-message-created", "ticket-updated", "ticket-reopened"],
        True,
    )
    ticket = plain.sandbox.ticket(ticket_id)
    assert (ticket["status"], ticket["closed_datetime"]) == ("open", None)


async def test_a_snoozed_ticket_wakes(plain: Plain) -> None:
    """The alarm logs its event by nobody, and the ticket is open again."""
    ticket_id = plain.sandbox.create_ticket("Old", "Hello")
    plain.sandbox.snooze(ticket_id, "2027-01-01T00:00:00+00:00")
    watch = Watch(plain)
    plain.sandbox.wake(ticket_id)
    (row,) = await watch.rows()
    assert (row["type"], row["user_id"]) == ("ticket-self-unsnoozed", None)
    assert plain.sandbox.ticket(ticket_id)["snooze_datetime"] is None


async def test_closing_twice_keeps_the_first_time(plain: Plain) -> None:
    """closed_datetime is that of the first close."""
    ticket_id = plain.sandbox.create_ticket("Old", "Hello")
    first = await plain.write("PUT", f"/api/tickets/{ticket_id}", {"status": "closed"})
    again = await plain.write("PUT", f"/api/tickets/{ticket_id}", {"status": "closed", "priority": "low"})
    assert again["closed_datetime"] == first["closed_datetime"]


async def test_delete_is_final_and_trash_is_not(plain: Plain) -> None:
    """A trashed ticket stays in the list unless trashed=false; a deleted one is a 404 and logs ticket-deleted."""
    ticket_id = plain.sandbox.create_ticket("Old", "Hello")
    plain.sandbox.trash(ticket_id)
    assert len((await plain.get("/api/tickets"))["data"]) == 1
    assert (await plain.get("/api/tickets", trashed="false"))["data"] == []
    plain.sandbox.untrash(ticket_id)
    assert len((await plain.get("/api/tickets", trashed="false"))["data"]) == 1
    watch = Watch(plain)
    await plain.write("DELETE", f"/api/tickets/{ticket_id}")
    assert await watch.types() == ["ticket-deleted"]
    assert (await plain.send("GET", f"/api/tickets/{ticket_id}")).status == 404
    assert (await plain.get("/api/messages", ticket_id=str(ticket_id)))["data"] == []


async def test_merged_objects_redirect(plain: Plain) -> None:
    """A merged ticket or customer answers 301 to its survivor, also over two merges; its messages live on there."""
    sandbox = plain.sandbox
    one, two, three = (sandbox.create_ticket(name, name, customer=f"{name}@customer.example") for name in "abc")
    sandbox.merge(two, one)
    sandbox.merge(three, two)
    reply = await plain.send("GET", f"/api/tickets/{one}")
    assert (reply.status, reply.headers["Location"]) == (301, f"/api/tickets/{three}/")
    assert reply.doc["error"]["msg"] == "ticket_merged"
    assert [message["body_text"] for message in sandbox.ticket(three)["messages"]] == ["a", "b", "c"]
    assert sandbox.events_of(one)[-1] == "ticket-merged"
    customers = [sandbox.customer(f"{name}@customer.example") for name in "ab"]
    await plain.write("PUT", f"/api/customers/merge?source_id={customers[0]}&target_id={customers[1]}")
    reply = await plain.send("PUT", f"/api/customers/{customers[0]}", json={"name": "x"})
    assert (reply.status, reply.headers["Location"]) == (301, f"/api/customers/{customers[1]}/")


async def test_tag_renames_and_merges_touch_no_ticket(plain: Plain) -> None:
    """They log on the tag alone."""
    sandbox = plain.sandbox
    ticket_id = sandbox.create_ticket("Old", "Hello")
    sandbox.add_tags(ticket_id, "old", "other")
    old, other = (sandbox.tags.where("name", name)[0]["id"] for name in ("old", "other"))
    before = sandbox.ticket(ticket_id)["updated_datetime"]
    watch = Watch(plain)
    await plain.write("PUT", f"/api/tags/{old}", {"name": "new"})
    assert await watch.types() == ["tag-updated", "tag-renamed"]
    watch = Watch(plain)
    await plain.write("PUT", f"/api/tags/{other}/merge", {"source_tags_ids": [old]})
    (row,) = await watch.rows()
    assert (row["type"], row["object_id"]) == ("tag-merged", old)
    ticket = sandbox.ticket(ticket_id)
    assert ([tag["name"] for tag in ticket["tags"]], ticket["updated_datetime"]) == (["other"], before)


async def settled(plain: Plain, ticket_id: int) -> Doc:
    """The last message of a ticket, after the sandbox had its turn to send it."""
    for _ in range(3):
        ticket = await plain.get(f"/api/tickets/{ticket_id}")
    return dict(ticket["messages"][-1])


async def test_an_agents_mail_without_a_time_is_sent(plain: Plain) -> None:
    """It is queued, lands in the outbox, and gets its sent_datetime a moment later."""
    ticket_id = plain.sandbox.create_ticket("Old", "Hello", customer="ann@customer.example")
    made = await plain.write("POST", f"/api/tickets/{ticket_id}/messages", MAIL)
    assert made["sent_datetime"] is None
    (mail,) = plain.sandbox.outbox
    assert (mail.message_id, mail.to, mail.deliverable) == (made["id"], ("ann@customer.example",), True)
    message = await settled(plain, ticket_id)
    assert message["sent_datetime"] is not None
    assert message["failed_datetime"] is None


async def test_a_mail_from_a_strange_address_fails(plain: Plain) -> None:
    """A sender that no e-mail integration has is a 201 all the same, and a failure later."""
    ticket_id = plain.sandbox.create_ticket("Old", "Hello")
    stranger = {**MAIL, "source": {**MAIL["source"], "from": {"address": "me@elsewhere.example"}}}
    watch = Watch(plain)
    await plain.write("POST", f"/api/tickets/{ticket_id}/messages", stranger)
    message = await settled(plain, ticket_id)
    assert message["sent_datetime"] is None
    assert message["failed_datetime"] is not None
    assert message["last_sending_error"] == {"error": "No integration was found to send this email."}
    assert [row["type"] for row in await watch.rows()][-1] == "ticket-message-failed"
    assert not plain.sandbox.outbox[0].deliverable


@pytest.mark.parametrize(
    "body",
    [
        {**MAIL, "sent_datetime": "2026-01-01T00:00:00Z"},
        {**MAIL, "from_agent": False},
        NOTE,
        {**PHONE, "from_agent": True},
    ],
)
async def test_what_mails_nobody(plain: Plain, body: Doc) -> None:
    """Imports, customers' own messages, notes and channels without a way out send nothing."""
    ticket_id = plain.sandbox.create_ticket("Old", "Hello")
    await plain.write("POST", f"/api/tickets/{ticket_id}/messages", body)
    await plain.write("POST", "/api/tickets", {"messages": [body]})
    plain.sandbox.reply(ticket_id, "A person's own reply is not the API's doing")
    assert plain.sandbox.outbox == []


async def test_the_messaging_quota_is_a_403() -> None:
    """Behind the quota nothing more is sent."""
    async with served(Options(messaging_quota=1)) as plain:
        ticket_id = plain.sandbox.create_ticket("Old", "Hello")
        await plain.write("POST", f"/api/tickets/{ticket_id}/messages", MAIL)
        reply = await plain.send("POST", f"/api/tickets/{ticket_id}/messages", json=MAIL)
        assert reply.status == 403
        assert "Messaging quota exceeded" in reply.doc["error"]["msg"]


async def test_external_ids_find_tickets_and_do_not_guard_them(plain: Plain) -> None:
    """A ticket is found by its external_id; a second one of the same id is not refused."""
    body = {"messages": [{**NOTE, "external_id": "m-1"}], "external_id": "t-1"}
    made = [(await plain.write("POST", "/api/tickets", body))["id"] for _ in range(2)]
    found = (await plain.get("/api/tickets", external_id="t-1"))["data"]
    assert sorted(row["id"] for row in found) == sorted(made)
    messages = (await plain.get("/api/messages", ticket_id=str(made[0])))["data"]
    assert [row["external_id"] for row in messages] == ["m-1"]


async def test_backdated_history(plain: Plain) -> None:
    """A past created_datetime is kept on ticket and message, in UTC with microseconds."""
    message = {**PHONE, "created_datetime": "2025-03-01T12:00:00+02:00"}
    made = await plain.write("POST", "/api/tickets", {"messages": [message], "created_datetime": "2025-03-01 10:00:00"})
    assert made["created_datetime"] == "2025-03-01T10:00:00.000000+00:00"
    assert made["messages"][0]["created_datetime"] == "2025-03-01T10:00:00.000000+00:00"
    assert made["messages"][0]["sent_datetime"] == made["messages"][0]["created_datetime"]
    assert made["updated_datetime"] > "2026"


async def test_persons_are_found_made_and_edited(plain: Plain) -> None:
    """An id refers, an e-mail finds or makes, further keys edit the stored person."""
    sender = {"email": "Eve@customer.example", "name": "Eve"}
    made = await plain.write("POST", "/api/tickets", {"messages": [{**PHONE, "sender": sender}]})
    assert made["customer"]["email"] == "eve@customer.example"
    again = {**PHONE, "sender": {"email": "eve@customer.example", "name": "Eve Adams"}}
    message = await plain.write("POST", f"/api/tickets/{made['id']}/messages", again)
    assert message["sender"]["id"] == made["customer"]["id"]
    assert plain.sandbox.customers[made["customer"]["id"]]["name"] == "Eve Adams"
    reply = await plain.send("POST", f"/api/tickets/{made['id']}/messages", json={**NOTE, "sender": {"id": 5}})
    assert reply.status == 400
