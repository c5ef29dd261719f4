"""A valid call of every operation of Gorgias, made for a seeded sandbox as it is at that moment."""

from collections.abc import Callable
from typing import Any

import aiohttp

from connectors.gorgias.sandbox import Sandbox

PERIOD = {"filters": {"period": {"start_datetime": "2026-01-01T00:00:00Z", "end_datetime": "2027-01-01T00:00:00Z"}}}
NOTE = {"channel": "internal-note", "from_agent": True, "via": "api", "body_text": "Seen"}
HTTP = {
    "url": "http://127.0.0.1:1/",
    "method": "POST",
    "request_content_type": "application/json",
    "response_content_type": "application/json",
}
TEXT = {"data_type": "text", "input_settings": {"input_type": "input"}}


def first(sandbox: Sandbox, table: str) -> int:
    """The id of some row, the last one, so that deletes do not take what others need."""
    return int(next(reversed(sandbox[table].rows)))


def fresh_ticket(sandbox: Sandbox) -> int:
    """A ticket of its own for a test that changes one."""
    return sandbox.create_ticket("A question", "Where is it?")


def field_of(sandbox: Sandbox, label: str) -> int:
    """The id of a custom field."""
    return int(next(row["id"] for row in sandbox["custom_fields"] if row["label"] == label))


def survey(sandbox: Sandbox) -> dict[str, Any]:
    """The body of a survey of a new ticket."""
    ticket = sandbox.tickets[fresh_ticket(sandbox)]
    return {"ticket_id": ticket["id"], "customer_id": ticket["customer_id"], "score": 5}


def with_tag(sandbox: Sandbox, name: str) -> int:
    """A ticket that carries a tag."""
    ticket_id = fresh_ticket(sandbox)
    sandbox.add_tags(ticket_id, name)
    return ticket_id


def new_tag(sandbox: Sandbox, name: str) -> int:
    """The id of a tag."""
    with_tag(sandbox, name)
    return int(sandbox.tags.where("name", name)[0]["id"])


def file_parts(sandbox: Sandbox) -> dict[str, Any]:
    """The parts of a stored file's address."""
    parts = sandbox.attach("hello.txt", "text/plain", b"hello")["url"].split("/")
    return {"file_type": parts[2], "domain_hash": parts[4], "resource_name": parts[5]}


def form() -> aiohttp.FormData:
    """An upload of one file."""
    data = aiohttp.FormData()
    data.add_field("note.txt", b"hello", filename="note.txt", content_type="text/plain")
    return data


Make = Callable[[Sandbox], tuple[dict[str, Any], Any]]


def only_id(table: str) -> Make:
    """A call that names one row and has no body."""
    return lambda sandbox: ({"id": first(sandbox, table)}, None)


def message_of(body: Any = None) -> Make:
    """A call about one message."""

    def make(sandbox: Sandbox) -> tuple[dict[str, Any], Any]:
        ticket_id = fresh_ticket(sandbox)
        return {"ticket_id": ticket_id, "id": sandbox.note(ticket_id, "A note")}, body

    return make


def on_ticket(body: Any = None) -> Make:
    """A call about one ticket."""
    return lambda sandbox: ({"ticket_id": fresh_ticket(sandbox)}, body)


CALLS: dict[str, Make] = {
    "get_single_gorgias_user_by_id": only_id("users"),
    "create_a_gorgias_user": lambda _: (
        {},
        {"email": "new@acme.example", "name": "New One", "role": {"name": "agent"}},
    ),
    "update_a_gorgias_user_by_id": lambda sandbox: ({"id": first(sandbox, "users")}, {"bio": "Hikes"}),
    "delete_a_gorgias_user_by_id": only_id("users"),
    "get_single_gorgias_ticket_by_id": only_id("tickets"),
    "create_a_gorgias_ticket": lambda _: ({}, {"messages": [NOTE], "external_id": "x-1"}),
    "update_a_gorgias_ticket_by_id": lambda sandbox: ({"id": fresh_ticket(sandbox)}, {"status": "closed"}),
    "delete_a_gorgias_ticket_by_id": lambda sandbox: ({"id": fresh_ticket(sandbox)}, None),
    "get_single_gorgias_customer_by_id": only_id("customers"),
    "create_a_gorgias_customer": lambda _: ({}, {"name": "Cy Young", "email": "cy@customer.example"}),
    "update_a_gorgias_customer_by_id": lambda sandbox: ({"id": first(sandbox, "customers")}, {"note": "Kind"}),
    "gorgias_customers_set_customer_data": lambda sandbox: (
        {"customer_id": first(sandbox, "customers")},
        {"data": {"tier": 1}},
    ),
    "delete_a_gorgias_customer_by_id": only_id("customers"),
    "get_single_gorgias_tag_by_id": lambda sandbox: ({"id": new_tag(sandbox, "read")}, None),
    "create_a_gorgias_tag": lambda _: ({}, {"name": "brand new"}),
    "update_a_gorgias_tag_by_id": lambda sandbox: ({"id": new_tag(sandbox, "old")}, {"name": "renamed"}),
    "delete_a_gorgias_tag_by_id": lambda sandbox: ({"id": new_tag(sandbox, "gone")}, None),
    "gorgias_tags_merge": lambda sandbox: (
        {"destination_tag_id": new_tag(sandbox, "big")},
        {"source_tags_ids": [new_tag(sandbox, "small")]},
    ),
    "get_single_gorgias_message_by_id": message_of(),
    "create_a_gorgias_message": on_ticket(NOTE),
    "update_a_gorgias_message_by_id": message_of({**NOTE, "body_text": "Edited"}),
    "delete_a_gorgias_message_by_id": message_of(),
    "get_single_gorgias_team_by_id": only_id("teams"),
    "create_a_gorgias_team": lambda sandbox: ({}, {"name": "Night", "members": [{"id": sandbox.agent()}]}),
    "update_a_gorgias_team_by_id": lambda sandbox: ({"id": first(sandbox, "teams")}, {"description": "Nights"}),
    "list_all_gorgias_ticket_tags": lambda sandbox: ({"ticket_id": with_tag(sandbox, "shown")}, None),
    "create_a_gorgias_ticket_tag": on_ticket({"names": ["one"]}),
    "update_a_gorgias_ticket_tag_by_id": on_ticket({"names": ["two"]}),
    "delete_a_gorgias_ticket_tag_by_id": lambda sandbox: (
        {"ticket_id": with_tag(sandbox, "three")},
        {"names": ["three"]},
    ),
    "gorgias_attachments_download": lambda sandbox: (
        {"attachment_path": sandbox.attach("a.txt", "text/plain", b"hello")["url"].lstrip("/")},
        None,
    ),
    "get_single_gorgias_view_by_id": only_id("views"),
    "create_a_gorgias_view": lambda _: ({}, {"slug": "open", "name": "Open", "filters": 'eq(ticket.status, "open")'}),
    "update_a_gorgias_view_by_id": lambda sandbox: ({"id": first(sandbox, "views")}, {"name": "Other"}),
    "delete_a_gorgias_view_by_id": only_id("views"),
    "list_all_gorgias_view_items": lambda sandbox: ({"view_id": next(iter(sandbox["views"]))["id"]}, None),
    "list_all_gorgias_view_items_search": lambda _: ({"view_id": 0}, {"view": {"search": "order"}}),
    "create_a_gorgias_file": lambda _: ({"type": "attachment"}, {"note.txt": b"hello"}),
    "gorgias_files_download": lambda sandbox: (file_parts(sandbox), None),
    "list_all_gorgias_custom_fields": lambda _: ({"object_type": "Ticket"}, None),
    "get_single_gorgias_custom_field_by_id": only_id("custom_fields"),
    "create_a_gorgias_custom_field": lambda _: ({}, {"object_type": "Ticket", "label": "Batch", "definition": TEXT}),
    "update_a_gorgias_custom_field_by_id": lambda sandbox: (
        {"id": first(sandbox, "custom_fields")},
        {"object_type": "Ticket", "label": "Lot", "definition": TEXT},
    ),
    "update_a_gorgias_ticket_field_by_id": lambda sandbox: (
        {"ticket_id": fresh_ticket(sandbox)},
        [{"id": field_of(sandbox, "Order number"), "value": "A-1"}],
    ),
    "update_a_gorgias_ticket_field_value_by_id": lambda sandbox: (
        {"ticket_id": fresh_ticket(sandbox), "id": field_of(sandbox, "Items affected")},
        3,
    ),
    "list_all_gorgias_ticket_fields": on_ticket(),
    "update_a_gorgias_customer_field_by_id": lambda sandbox: (
        {"customer_id": first(sandbox, "customers")},
        [{"id": field_of(sandbox, "Loyalty tier"), "value": "Gold"}],
    ),
    "get_single_gorgias_integration_by_id": only_id("integrations"),
    "create_a_gorgias_integration": lambda _: ({}, {"name": "Hook", "type": "http", "http": HTTP}),
    "update_a_gorgias_integration_by_id": lambda sandbox: ({"id": first(sandbox, "integrations")}, {"name": "Mail"}),
    "delete_a_gorgias_integration_by_id": only_id("integrations"),
    "get_single_gorgias_macro_by_id": only_id("macros"),
    "create_a_gorgias_macro": lambda _: ({}, {"name": "Hello", "actions": [{"name": "setStatus"}]}),
    "update_a_gorgias_macro_by_id": lambda sandbox: ({"id": first(sandbox, "macros")}, {"name": "Bye"}),
    "delete_a_gorgias_macro_by_id": only_id("macros"),
    "list_all_gorgias_search": lambda _: ({}, {"type": "agent", "query": "mia"}),
    "create_a_gorgias_account_setting": lambda _: ({}, {"type": "access", "data": {"signup": False}}),
    "update_a_gorgias_account_setting_by_id": lambda sandbox: (
        {"id": first(sandbox, "settings")},
        {"type": "access", "data": {"signup": True}},
    ),
    "get_single_gorgias_survey_by_id": only_id("surveys"),
    "create_a_gorgias_survey": lambda sandbox: ({}, survey(sandbox)),
    "update_a_gorgias_survey_by_id": lambda sandbox: ({"id": first(sandbox, "surveys")}, {"score": 2}),
    "get_single_gorgias_satisfaction_survey_by_id": only_id("surveys"),
    "create_a_gorgias_satisfaction_survey": lambda sandbox: ({}, survey(sandbox)),
    "update_a_gorgias_satisfaction_survey_by_id": lambda sandbox: (
        {"id": first(sandbox, "surveys")},
        {"body_text": "Great"},
    ),
    "get_single_gorgias_job_by_id": only_id("jobs"),
    "create_a_gorgias_job": lambda sandbox: (
        {},
        {"type": "updateTicket", "params": {"ticket_ids": [fresh_ticket(sandbox)], "updates": {"status": "closed"}}},
    ),
    "update_a_gorgias_job_by_id": lambda sandbox: ({"id": first(sandbox, "jobs")}, {"status": "cancel_requested"}),
    "delete_a_gorgias_job_by_id": only_id("jobs"),
    "get_single_gorgias_rule_by_id": only_id("rules"),
    "create_a_gorgias_rule": lambda _: ({}, {"name": "Close", "code": 'Action("setStatus", { status: "closed" })'}),
    "update_a_gorgias_rule_by_id": lambda sandbox: ({"id": first(sandbox, "rules")}, {"name": "Other"}),
    "delete_a_gorgias_rule_by_id": only_id("rules"),
    "gorgias_rules_update_priorities": lambda sandbox: (
        {},
        {"priorities": [{"id": first(sandbox, "rules"), "priority": 9}]},
    ),
    "get_single_gorgias_event_by_id": only_id("events"),
    "list_all_gorgias_statistics": lambda _: ({"name": "overview"}, PERIOD),
    "gorgias_statistics_download": lambda _: ({"name": "overview"}, PERIOD),
    "get_single_gorgias_voice_call_by_id": only_id("voice_calls"),
    "get_single_gorgias_voice_call_recording_by_id": only_id("recordings"),
    "delete_a_gorgias_voice_call_recording_by_id": only_id("recordings"),
    "get_single_gorgias_voice_call_event_by_id": only_id("voice_events"),
    "get_single_gorgias_widget_by_id": only_id("widgets"),
    "create_a_gorgias_widget": lambda _: ({}, {"template": {"type": "wrapper", "widgets": []}, "type": "custom"}),
    "update_a_gorgias_widget_by_id": lambda sandbox: ({"id": first(sandbox, "widgets")}, {"order": 3}),
    "delete_a_gorgias_widget_by_id": only_id("widgets"),
}
#: What a call needs that the seed does not make: run before it.
NEEDED = {"widget": "create_a_gorgias_widget", "job": "create_a_gorgias_job"}


def of(sandbox: Sandbox, name: str) -> tuple[dict[str, Any], Any]:
    """The parameters and the body of a valid call of this operation."""
    return CALLS.get(name, lambda _: ({}, None))(sandbox)
