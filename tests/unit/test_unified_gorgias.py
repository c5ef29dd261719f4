"""Whatever Gorgias answers becomes an object of the unified API: what has a place is kept, and nothing fails."""

from collections.abc import Callable, Mapping
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.gorgias import unified, unified_people
from syncd.unified import schema

Json = dict[str, Any]
BASE = "https://acme.gorgias.com"
AT = "2026-08-26T12:46:06.231080+00:00"
ANN = {
    "id": 5001,
    "name": "Ann Lee",
    "email": "ann@customer.example",
    "firstname": "Ann",
    "lastname": "Lee",
    "meta": {},
}
BOB = {
    "id": 101,
    "name": "Bob Agent",
    "email": "bob@acme.example",
    "firstname": "Bob",
    "lastname": "Agent",
    "bio": None,
}
FILE = {"url": f"{BASE}/a/1", "name": "a.png", "content_type": "image/png", "size": 12, "public": True, "extra": None}
MESSAGE: Json = {
    "id": 20001, "uri": "/api/tickets/1001/messages/20001/", "message_id": "<a@b>", "ticket_id": 1001,
    "external_id": None, "public": True, "channel": "email", "via": "email",
    "source": {"type": "email", "from": {"name": "Ann", "address": "ann@customer.example"}, "to": [], "cc": []},
    "sender": ANN, "receiver": BOB, "integration_id": 3, "rule_id": None, "intents": [], "from_agent": False,
    "subject": "Where?", "body_text": "Hello\n> old", "body_html": "<p>Hello</p>", "stripped_text": "Hello",
    "stripped_html": "<p>Hello</p>", "stripped_signature": None, "headers": {}, "attachments": [FILE], "macros": None,
    "actions": None, "meta": None, "created_datetime": AT, "sent_datetime": AT, "failed_datetime": None,
    "deleted_datetime": None, "opened_datetime": None, "last_sending_error": None, "is_retriable": False,
}  # fmt: skip
TICKET: Json = {
    "id": 1001, "uri": "/api/tickets/1001/", "external_id": None, "events": [], "status": "open", "priority": "high",
    "channel": "email", "via": "email", "from_agent": False, "spam": False, "imported": False, "customer": ANN,
    "assignee_user": BOB, "assignee_user_id": 101, "assignee_team": {"id": 11, "name": "Tier 2", "decoration": {}},
    "assignee_team_id": 11, "language": "en", "subject": "Where is it?", "summary": None, "meta": None,
    "tags": [{"id": 1, "name": "vip", "decoration": {"color": "#ff0000"}}],
    "custom_fields": {"7": {"id": 7, "value": "x"}},
    "messages": [MESSAGE], "created_datetime": AT, "opened_datetime": None, "last_message_datetime": AT,
    "updated_datetime": AT, "closed_datetime": None, "trashed_datetime": None, "snooze_datetime": None,
    "satisfaction_survey": None, "reply_options": {"email": {"answerable": True}}, "requester": ANN, "is_unread": True,
}  # fmt: skip
CUSTOMER: Json = {
    **ANN, "external_id": None, "active": True, "language": "en", "timezone": "Europe/Paris", "created_datetime": AT,
    "updated_datetime": AT, "note": "VIP", "data": None, "customer": None, "integrations": {}, "external_data": {},
    "channels": [
        {"id": 1, "type": "email", "address": "Ann@Customer.example", "preferred": True, "deleted_datetime": None},
        {"id": 2, "type": "email", "address": "ann@home.example", "preferred": False, "deleted_datetime": None},
        {"id": 3, "type": "phone", "address": "+331234", "preferred": True, "deleted_datetime": None},
        {"id": 4, "type": "email", "address": "old@home.example", "deleted_datetime": AT},
    ],
    "custom_fields": {"9": {"id": 9, "value": 3}}, "ecommerce_data": {},
}  # fmt: skip
USER: Json = {
    **BOB, "active": True, "country": "FR", "created_datetime": AT, "deactivated_datetime": None, "external_id": "x1",
    "language": "fr", "meta": {"profile_picture_url": "https://x/y.png", "sso": None}, "has_password": True,
    "has_2fa_enabled": True, "role": {"name": "admin"}, "timezone": "UTC", "updated_datetime": AT, "client_id": None,
}  # fmt: skip
TAG: Json = {
    "id": 1, "name": "vip", "description": None, "decoration": {"color": "#ff0000"}, "usage": 3, "created_datetime": AT,
    "deleted_datetime": None, "uri": "/api/tags/1/",
}  # fmt: skip
TEAM: Json = {
    "id": 11, "uri": "/api/teams/11/", "name": "Tier 2", "description": "Hard ones", "created_datetime": AT,
    "decoration": {"emoji": {"native": "x", "colons": ":x:"}}, "members": [{"id": 101, "name": "Bob", "meta": None}],
}  # fmt: skip
VIEW: Json = {
    "id": 4, "category": "system", "created_datetime": AT, "deactivated_datetime": None, "decoration": None,
    "fields": [], "filters": "", "filters_ast": {}, "name": "Inbox", "order_by": "updated_datetime", "slug": "inbox",
    "type": "ticket-list", "uri": "/api/views/4/", "visibility": "public",
}  # fmt: skip
FIELD: Json = {
    "id": 7, "external_id": None, "object_type": "Ticket", "label": "Severity", "description": None, "priority": 1,
    "required": True, "requirement_type": "required", "managed_type": None, "created_datetime": AT,
    "definition": {"data_type": "text", "input_settings": {"input_type": "dropdown", "choices": ["a::b", "c"]}},
    "updated_datetime": AT, "deactivated_datetime": None,
}  # fmt: skip
KINDS: Mapping[str, tuple[tuple[str, str], Json, Callable[[Json], Any]]] = {
    "ticket": (("ticketing", "tickets"), TICKET, lambda doc: unified.ticket(doc, BASE)),
    "message": (("ticketing", "comments"), MESSAGE, unified.comment),
    "customer": (("ticketing", "contacts"), CUSTOMER, unified_people.contact),
    "user": (("ticketing", "users"), USER, unified_people.user),
    "directory user": (("user-directory", "users"), USER, unified_people.directory_user),
    "tag": (("ticketing", "tags"), TAG, unified_people.tag),
    "team": (("ticketing", "teams"), TEAM, unified_people.team),
    "view": (("ticketing", "collections"), VIEW, lambda doc: unified_people.collection(doc, BASE)),
    "field": (("ticketing", "fields"), FIELD, unified_people.field),
}
#: The same cases on every machine, however slow it is.
calm = settings(
    max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
#: What stands where something else is documented.
ODD = [
    None,
    "",
    "text",
    0,
    17,
    2.5,
    True,
    [],
    {},
    [None],
    [5],
    {"id": None},
    {"id": 3},
    "2021-03-03 06:00:00",
    "0001-01-01T00:00:00+14:00",
]


VALIDATORS = {
    kind: jsonschema.Draft202012Validator(schema.answer_schema(schema.every()[key]))
    for kind, (key, _, _) in KINDS.items()
}


def shown(kind: str, doc: Json) -> Json:
    """The object, which fits its schema."""
    key, _, read = KINDS[kind]
    row = schema.filled(schema.every()[key].fields, {**read(doc), "remote_data": doc})
    assert [error.message for error in VALIDATORS[kind].iter_errors(row)] == []
    return row


@pytest.mark.parametrize("kind", KINDS)
def test_documented_objects_fit(kind: str) -> None:
    """An object as documented fits its schema, and keeps the product's own record."""
    doc = KINDS[kind][1]
    row = shown(kind, doc)
    assert row["id"] == str(doc["id"])
    assert row["remote_data"] == doc


@pytest.mark.parametrize("kind", KINDS)
def test_any_key_may_be_missing_or_odd(kind: str) -> None:
    """Each key left out, and each value replaced by everything else that JSON knows: no error, and the schema fits."""
    doc = KINDS[kind][1]
    for name in doc.keys() - {"id"}:
        shown(kind, {key: value for key, value in doc.items() if key != name})
        for odd in ODD:
            shown(kind, doc | {name: odd})
    shown(kind, {"id": doc["id"]})
    shown(kind, dict.fromkeys(doc) | {"id": doc["id"]})


def damaged(value: Any) -> st.SearchStrategy[Any]:
    """The value, or something that has suffered at any depth."""
    odd = st.sampled_from(ODD)
    if isinstance(value, dict):
        parts = {key: damaged(inner) if key != "id" else st.just(inner) for key, inner in value.items()}
        whole = st.fixed_dictionaries({}, optional=parts)
        return st.one_of(whole, whole, whole, odd)
    if isinstance(value, list):
        items = st.lists(st.one_of(*map(damaged, value)), max_size=3) if value else st.just([])
        return st.one_of(items, items, odd)
    return st.one_of(st.just(value), st.just(value), odd)


@pytest.mark.parametrize("kind", ["ticket", "message", "customer", "field"])
@given(data=st.data())
@calm
def test_damage_at_any_depth_is_survived(kind: str, data: st.DataObject) -> None:
    """Whatever is missing or odd inside of what is nested reads as null."""
    doc = KINDS[kind][1]
    parts = {key: damaged(value) for key, value in doc.items() if key != "id"}
    shown(kind, data.draw(st.fixed_dictionaries({"id": st.just(doc["id"])}, optional=parts)))


def test_a_ticket_keeps_everything_that_has_a_place() -> None:
    """Each part of a ticket stands where the schema has it."""
    row = shown("ticket", TICKET)
    assert (row["name"], row["number"]) == ("Where is it?", "1001")
    assert row["status"] == {"id": "open", "name": "open"}
    assert row["priority"] == {"id": "high", "name": "high"}
    assert row["assignees"][0]["id"] == "101"
    assert row["assignees"][0]["emails"] == [{"email": "bob@acme.example", "type": "primary"}]
    assert row["team"] == {"id": "11", "name": "Tier 2"}
    assert (row["contact"]["first_name"], row["contact"]["last_name"]) == ("Ann", "Lee")
    assert row["created_by"] == {"id": "5001", "name": "Ann Lee", "type": "contact"}
    assert row["description"] == "Hello"
    assert row["tags"] == [{"id": "1", "name": "vip"}]
    assert row["custom_fields"] == {"7": "x"}
    assert row["attachments"][0]["file_name"] == "a.png"
    assert row["urls"] == [{"url": f"{BASE}/app/ticket/1001"}]
    assert row["created_at"] == "2026-08-26T12:46:06.231080Z"
    assert (row["closed_at"], row["due_date"], row["parent_ticket"]) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"status": "closed"}, {"id": "closed", "name": "closed"}),
        ({"spam": True}, {"id": "open", "name": "spam"}),
        ({"spam": True, "trashed_datetime": AT}, {"id": "open", "name": "deleted"}),
        ({"status": "closed", "snooze_datetime": AT}, {"id": "closed", "name": "closed"}),
        ({"status": "on-hold"}, {"id": "on-hold", "name": "open"}),
        ({"status": None}, None),
    ],
)
def test_trash_and_spam_are_statuses(changes: Json, status: Any) -> None:
    """Trash stands above spam, and spam above open and closed; Gorgias's own word is kept beside."""
    assert shown("ticket", TICKET | changes)["status"] == status


def test_a_row_shows_its_excerpt() -> None:
    """A list's row has no messages: its excerpt is the description, its customer the creator."""
    row = {key: value for key, value in TICKET.items() if key not in {"messages", "requester"}}
    found = shown("ticket", row | {"excerpt": "Hello …", "messages_count": 3})
    assert (found["description"], found["attachments"]) == ("Hello …", [])
    assert found["created_by"] == {"id": "5001", "name": "Ann Lee", "type": "contact"}
    assert shown("ticket", row | {"from_agent": True})["created_by"] is None
    nobody = shown("ticket", row | {"customer": None, "assignee_user": None, "assignee_user_id": None})
    assert (nobody["contact"], nobody["created_by"], nobody["assignees"]) == (None, None, [])


def test_custom_fields_are_read_in_both_forms() -> None:
    """As a map, which is how tickets show them, and as a list of values with their definitions."""
    listed = [{"field": FIELD, "value": "x", "prediction": None}]
    assert shown("ticket", TICKET | {"custom_fields": listed})["custom_fields"] == {"7": "x"}
    assert shown("ticket", TICKET | {"custom_fields": None})["custom_fields"] is None


@pytest.mark.parametrize(
    ("changes", "internal", "private", "kind"),
    [
        ({}, False, False, "contact"),
        ({"from_agent": True}, False, False, "user"),
        ({"channel": "internal-note", "public": False, "from_agent": True}, True, True, "user"),
        ({"public": False}, False, True, "contact"),
        ({"via": "rule", "from_agent": True}, False, False, "system"),
        ({"channel": "custom-chat", "source": {"type": "phone"}}, False, False, "contact"),
    ],
)
def test_a_message_says_who_may_read_it(changes: Json, internal: bool, private: bool, kind: str) -> None:
    """Notes are internal and private; an agent is a user, a customer a contact, a rule the system."""
    row = shown("message", MESSAGE | changes)
    assert (row["is_internal"], row["is_private"], row["author"]["type"]) == (internal, private, kind)
    assert row["channel"]["id"] == (MESSAGE | changes)["channel"]


def test_a_rules_message_without_a_sender_is_the_systems() -> None:
    """A rule's message names nobody, and is still somebody's."""
    row = shown("message", MESSAGE | {"via": "rule", "sender": None})
    assert row["author"] == {"id": "rule", "name": "Rule", "username": None, "type": "system"}


def test_an_empty_message_is_a_message() -> None:
    """A message without words, sender and files has null and [] in their places."""
    row = shown(
        "message",
        MESSAGE
        | dict.fromkeys(
            ("body_text", "body_html", "stripped_text", "stripped_html", "sender", "attachments", "source")
        ),
    )
    assert (row["body"], row["html_body"], row["author"], row["attachments"]) == (None, None, None, [])
    assert row["channel"] == {"id": "email", "name": "email", "type": "email"}


def test_a_channel_of_no_kind_is_none() -> None:
    """A channel whose type is something else than a word is left out."""
    assert (
        shown("customer", CUSTOMER | {"channels": [{"type": [], "address": "x"}, {"type": {}, "address": 5}]})["phones"]
        == []
    )


def test_a_customers_channels_are_addresses_and_numbers() -> None:
    """The primary address comes first and once, whatever its case; deleted channels are gone."""
    row = shown("customer", CUSTOMER)
    assert [one["email"] for one in row["emails"]] == ["ann@customer.example", "ann@home.example"]
    assert [one["number"] for one in row["phones"]] == ["+331234"]
    assert (row["details"], row["custom_fields"]) == ("VIP", {"9": 3})
    nameless = shown(
        "customer", CUSTOMER | {"name": None, "firstname": "", "lastname": "", "email": None, "channels": []}
    )
    assert (nameless["name"], nameless["emails"]) == (None, [])


@pytest.mark.parametrize(
    ("definition", "kind"),
    [
        ({"data_type": "text", "input_settings": {"input_type": "input"}}, "string"),
        ({"data_type": "text", "input_settings": {"input_type": "dropdown", "choices": []}}, "enum"),
        ({"data_type": "number", "input_settings": {"input_type": "input_number"}}, "number"),
        ({"data_type": "boolean", "input_settings": {"input_type": "dropdown", "choices": [True, False]}}, "boolean"),
        ({"data_type": "duration"}, "duration"),
        (None, None),
    ],
)
def test_fields_have_types(definition: Any, kind: str | None) -> None:
    """A type that the schema does not know is the product's own word."""
    assert shown("field", FIELD | {"definition": definition})["type"] == kind
