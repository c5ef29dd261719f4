"""Gorgias's objects as ours, and ours as Gorgias's, without a wire."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.gorgias import mapping, outgoing
from syncd.connector import Upload
from syncd.errors import Gone, TryLater
from syncd.model import Body, Comment, Field, Person

MESSAGE = {
    "id": 20001, "ticket_id": 1001, "public": True, "channel": "email", "via": "email", "from_agent": False,
    "sender": {"id": 5001, "name": "Ann", "email": "ann@customer.example"}, "body_text": "Hello",
    "created_datetime": "2026-08-26T12:46:06.231080+00:00", "attachments": None,
}  # fmt: skip
TICKET = {
    "id": 1001, "uri": "/api/tickets/1001/", "status": "open", "priority": "high", "subject": "Where is it?",
    "assignee_user": {"id": 101}, "assignee_team": {"id": 11, "name": "Tier 2"}, "external_id": "syncd:a:remote:5",
    "tags": [{"id": 1, "name": "vip"}], "custom_fields": {"7": {"id": 7, "value": "high"}}, "spam": False,
    "customer": {"id": 5001, "name": "Ann", "email": "ann@customer.example"}, "messages": [MESSAGE],
    "created_datetime": "2026-08-26T12:46:06+00:00", "updated_datetime": "2026-08-26T12:47:06+00:00",
}  # fmt: skip
FIELDS = {7: Field("7", "Severity"), 8: Field("8", "Area")}


def test_a_ticket_is_read() -> None:
    """Every part has its place; a custom field without a value reads as None, a foreign one not at all."""
    ticket = mapping.ticket(TICKET | {"custom_fields": {"7": {"id": 7, "value": "high"}, "9": {"value": 1}}}, FIELDS)
    assert (ticket.id, ticket.subject, ticket.status, ticket.priority) == ("1001", "Where is it?", "open", "high")
    assert (ticket.assignee, ticket.team, ticket.tags) == ("101", "Tier 2", {"vip"})
    assert ticket.fields == {"Severity": "high", "Area": None}
    assert ticket.contact == Person("5001", "Ann", "ann@customer.example")
    assert (ticket.comment_count, ticket.marker) == (1, "syncd:a:remote:5")
    assert ticket.updated_at == datetime(2026, 8, 26, 12, 47, 6, tzinfo=UTC)


def test_a_row_is_read() -> None:
    """A list's row knows the number of its messages; without a vocabulary it knows nothing of custom fields."""
    row = {key: value for key, value in TICKET.items() if key != "messages"} | {"messages_count": 3}
    ticket = mapping.ticket(row, None)
    assert (ticket.comments, ticket.comment_count, ticket.fields) == (None, 3, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None}, {"id": "1001"}, {"id": True}, {"tags": [{}]}, {"tags": 5}, {"messages": [{}]}, {"messages": "x"},
        {"updated_datetime": "yesterday"}, {"updated_datetime": 5}, {"customer": "Ann"}, {"custom_fields": {"7": 5}},
        {"messages": [MESSAGE | {"attachments": [5]}]}, {"messages": [MESSAGE | {"body_html": 5}]},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_ticket_is_tried_later(changes: dict[str, Any]) -> None:
    """JSON of another shape is never half a ticket."""
    with pytest.raises(TryLater, match=r"no (ticket|comment)"):
        mapping.ticket(TICKET | changes, FIELDS)


@pytest.mark.parametrize(
    "text",
    [
        "2026-08-26T12:46:06.231080+00:00", "2026-08-26 12:46:06.231080", "2026-08-26T12:46:06.231080",
        "2026-08-26T12:46:06.231080Z", "2026-08-26T14:46:06.231080+02:00", "2026-08-26 12:46:06.231080+00:00",
    ],
)  # fmt: skip
def test_every_spelling_of_a_time_is_read(text: str) -> None:
    """A blank for the T, no offset, another offset: one moment."""
    assert mapping.moment(text) == datetime(2026, 8, 26, 12, 46, 6, 231080, tzinfo=UTC)
    assert mapping.moment("2026-08-26 12:46:06") == datetime(2026, 8, 26, 12, 46, 6, tzinfo=UTC)
    assert mapping.moment(None) is None


def test_messages_are_in_order() -> None:
    """By time, whatever its spelling, then by number; deleted ones are gone."""
    times = {3: "2026-08-26 12:46:08", 1: "2026-08-26T12:46:07+00:00", 9: "2026-08-26T12:46:07", 5: None}
    messages = [MESSAGE | {"id": number, "created_datetime": when} for number, when in times.items()]
    messages.append(MESSAGE | {"id": 4, "deleted_datetime": "2026-08-26T12:46:09"})
    ticket = mapping.ticket(TICKET | {"messages": messages}, None)
    assert [comment.id for comment in ticket.comments or ()] == ["5", "1", "9", "3"]
    assert ticket.comment_count == 4


@pytest.mark.parametrize(
    ("changes", "private"),
    [
        ({}, False), ({"public": False}, True), ({"channel": "internal-note"}, True),
        ({"channel": "internal-note", "public": False}, True), ({"public": None}, True),
    ],
)  # fmt: skip
def test_what_may_be_hidden_is_private(changes: dict[str, Any], private: bool) -> None:
    """A note, or whatever is not said to be public."""
    assert mapping.comment(MESSAGE | changes).private is private


def test_authors_are_told_apart() -> None:
    """Agents, customers and rules."""
    assert mapping.comment(MESSAGE).author == Person("5001", "Ann", "ann@customer.example", "contact")
    agent = mapping.comment(MESSAGE | {"from_agent": True, "sender": {"id": 101, "name": "Mia"}}).author
    assert agent == Person("101", "Mia", None, "user")
    rule = mapping.comment(MESSAGE | {"from_agent": True, "rule_id": 5}).author
    assert rule is not None
    assert rule.kind == "system"
    assert mapping.comment(MESSAGE | {"sender": None}).author is None


def test_a_text_is_found_wherever_it_is() -> None:
    """Plain, stripped, or in HTML only, which comes back clean."""
    assert mapping.comment(MESSAGE | {"body_text": None, "stripped_text": "Short"}).body.text == "Short"
    html = mapping.comment(MESSAGE | {"body_text": None, "body_html": "<p>Hi<script>x()</script></p>"}).body
    assert (html.text, html.html) == ("Hi", "<p>Hi</p>")
    assert mapping.comment(MESSAGE | {"body_text": None}).body == Body("", None)


def test_the_line_of_an_author_is_no_text() -> None:
    """A copy begins with who wrote it; reading it takes that line off again."""
    said = Comment("c1", Body("It is <here>"), Person("9", "Rob"), False, datetime(2026, 8, 26, tzinfo=UTC),
                   marker="syncd:a:remote:c1", channel="redmine")  # fmt: skip
    sent = mapping.body_of(said, signed=True)
    assert sent["body_text"].startswith("Rob · 2026-08-26 00:00 UTC · redmine:c1\n\n")
    assert mapping.comment(MESSAGE | sent).body.text == "It is <here>"
    assert mapping.body_of(said, signed=False)["body_text"] == "It is <here>"


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ({"name": "a.txt", "size": 5}, ("a.txt", 5)),
        ({"name": "a.txt", "size": "5"}, ("a.txt", 5)),
        ({"name": None, "size": None}, ("file", None)),
        ({"name": "../../x", "size": "big"}, ("x", None)),
        ({}, ("file", None)),
    ],
)
def test_an_attachment_is_read(doc: dict[str, Any], expected: tuple[str, int | None]) -> None:
    """Its name is a base name, its size a number or a text of one."""
    found = mapping.attachment("20001", 2, doc)
    assert (found.file_name, found.size) == expected
    assert found.id == "20001.2"


def test_fields_have_their_types() -> None:
    """Text, numbers, booleans, and dropdowns with their choices."""
    kinds = []
    for definition in (
        {"data_type": "text", "input_settings": {"input_type": "input"}},
        {"data_type": "text", "input_settings": {"input_type": "dropdown", "choices": ["a", "b::c"]}},
        {"data_type": "number", "input_settings": {"input_type": "input_number"}},
        {"data_type": "boolean", "input_settings": {"input_type": "dropdown", "choices": [True, False]}},
        None,
    ):
        field = mapping.field({"id": 7, "label": "Severity", "definition": definition})
        kinds.append((field.type, field.options))
    assert kinds == [("string", ()), ("enum", ("a", "b::c")), ("number", ()), ("boolean", ()), ("string", ())]


def test_times_of_fields_come_from_events() -> None:
    """The latest event of each field; a lone ticket-updated is priority's."""
    rows = [
        {"type": kind, "context": context, "created_datetime": f"2026-08-26T12:00:0{second}+00:00"}
        for kind, context, second in (
            ("ticket-updated", "c", 9), ("ticket-updated", "b", 8), ("ticket-closed", "b", 7),
            ("ticket-reopened", "a", 6), ("ticket-tags-added", "d", 5),
        )
    ]  # fmt: skip
    times = mapping.field_times(rows)
    assert {name: when.second for name, when in times.items()} == {"priority": 9, "status": 7}
    with pytest.raises(TryLater):
        mapping.field_times([{}])


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "1_0", "٣", " 1", "9" * 19])
def test_what_is_no_id_is_gone(value: str) -> None:
    """Only digits are an id."""
    with pytest.raises(Gone):
        mapping.number(value)
    assert mapping.number("3000000000") == 3_000_000_000


def test_subjects_and_tags_fit() -> None:
    """One line of 998 characters, and 256."""
    assert outgoing.subject("  a\r\n b\x00 ") == "a b"
    assert len(outgoing.subject("x" * 2000)) == 998
    assert len(outgoing.tag("x" * 2000)) == 256


def test_a_file_is_named_as_it_was(tmp_path: Path) -> None:
    """A message names the stored address, and our own words about the file."""
    upload = Upload(tmp_path, "a.txt", "text/plain", 5, "")
    stored = {"url": "https://files.example/1", "name": "A", "size": "5", "content_type": "x"}
    assert mapping.file_of(upload, stored) == {
        "url": "https://files.example/1",
        "name": "a.txt",
        "content_type": "text/plain",
        "size": 5,
    }
