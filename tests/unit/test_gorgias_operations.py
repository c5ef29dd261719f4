"""The operations as data, and the check of a call before it is sent."""

from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.gorgias.operations import OPERATIONS, Problem, Request, check, coerce, find, problems
from syncd.errors import BadRequest

MESSAGE = {"channel": "email", "from_agent": False, "via": "api", "body_text": "Hello"}
CREATE_MESSAGE = find("create_a_gorgias_message")


def told(name: str, params: dict[str, Any] | None = None, body: Any = None) -> list[str]:
    """What `check` says of a call."""
    with pytest.raises(BadRequest) as caught:
        check(find(name), params, body)
    return list(caught.value.problems)


def test_there_are_104_operations() -> None:
    """All 104 are there, each with what its readers need."""
    assert len(OPERATIONS) == 104
    for operation in OPERATIONS.values():
        assert operation.resource
        assert operation.summary.endswith(".")
        assert operation.status in (200, 201, 202, 204)
        assert (operation.method == "GET") <= (operation.effect == "read")
        assert {param.name for param in operation.path_params} == {
            part.partition("}")[0] for part in operation.path.split("{")[1:]
        }


def test_only_calls_that_can_mail_are_marked_so() -> None:
    """Those that carry messages, run jobs, ask for surveys, and make rules and settings that answer by themselves."""
    assert {name for name, operation in OPERATIONS.items() if operation.sends} == {
        "create_a_gorgias_ticket",
        "create_a_gorgias_message",
        "update_a_gorgias_message_by_id",
        "create_a_gorgias_job",
        "update_a_gorgias_job_by_id",
        "create_a_gorgias_survey",
        "update_a_gorgias_survey_by_id",
        "create_a_gorgias_satisfaction_survey",
        "update_a_gorgias_satisfaction_survey_by_id",
        "create_a_gorgias_rule",
        "update_a_gorgias_rule_by_id",
        "create_a_gorgias_account_setting",
        "update_a_gorgias_account_setting_by_id",
    }


def test_a_valid_call_becomes_a_request() -> None:
    """Path parameters are filled in, arrays repeat their key, moments and booleans are written out."""
    request = check(
        find("list_all_gorgias_events"),
        {"types": ["a", "b"], "limit": 5, "created_datetime[gte]": datetime(2026, 1, 2, tzinfo=UTC)},
    )
    assert request == Request(
        "GET",
        "/api/events",
        (("limit", "5"), ("types", "a"), ("types", "b"), ("created_datetime[gte]", "2026-01-02T00:00:00+00:00")),
    )
    assert check(find("list_all_gorgias_tickets"), {"trashed": False}).query == (("trashed", "false"),)
    assert check(CREATE_MESSAGE, {"ticket_id": 7}, MESSAGE).path == "/api/tickets/7/messages"


def test_all_problems_are_told_at_once() -> None:
    """Path, query and every depth of the body are looked at before anything is said."""
    body = {
        "chanel": "email",
        "from_agent": 1,
        "created_datetime": "2026-13-01T00:00:00Z",
        "external_id": "x" * 256,
        "attachments": [{"url": "no address", "name": "a", "content_type": "text/plain", "siez": 3}],
        "sender": {"emial": "ann@customer.example"},
    }
    said = "\n".join(told("create_a_gorgias_message", {"ticket_id": "7", "actoin": "force"}, body))
    for expected in (
        "ticket_id: must be a whole number, not '7'",
        "actoin: unknown parameter; did you mean action?",
        "body.channel: required key is missing",
        "body.chanel: unknown key; did you mean channel?",
        "body.from_agent: 1 is not of type 'boolean'",
        "body.created_datetime",
        "body.external_id",
        "body.attachments.0.url",
        "body.attachments.0.siez: unknown key; did you mean size?",
        "body.sender.emial: unknown key; did you mean email?",
    ):
        assert expected in said


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("list_all_gorgias_tickets", {"limit": 101}, "limit: must be at most 100"),
        ("list_all_gorgias_tickets", {"limit": 0}, "limit: must be at least 1"),
        ("list_all_gorgias_tickets", {"limit": True}, "limit: must be a whole number, not True"),
        ("list_all_gorgias_tickets", {"status": "open"}, "status: unknown parameter"),
        ("list_all_gorgias_tickets", {"order_by": "priority:asc"}, "order_by: must be one of"),
        ("list_all_gorgias_tickets", {"ticket_ids": 5}, "ticket_ids: must be a list of integer values"),
        ("list_all_gorgias_tickets", {"ticket_ids": list(range(101))}, "ticket_ids: takes at most 100 values"),
        ("list_all_gorgias_events", {"user_ids": [1, 2]}, "user_ids: takes at most 1 values"),
        ("list_all_gorgias_events", {"created_datetime[gt]": "soon"}, "created_datetime[gt]: must be a date and time"),
        ("list_all_gorgias_custom_fields", {}, "object_type: required parameter is missing"),
        ("get_single_gorgias_ticket_by_id", {}, "id: required parameter is missing"),
        ("get_single_gorgias_ticket_by_id", {"id": -1}, "id: must be at least 0"),
    ],
)
def test_wrong_parameters_are_refused(name: str, params: dict[str, Any], said: str) -> None:
    """A wrong, missing or unknown parameter never leaves."""
    (problem,) = told(name, params)
    assert problem.startswith(said)


@pytest.mark.parametrize(
    ("name", "params", "body", "said"),
    [
        ("create_a_gorgias_ticket", {}, None, "body: a JSON body is required"),
        ("create_a_gorgias_ticket", {}, {"messages": []}, "body.messages"),
        ("get_single_gorgias_ticket_by_id", {"id": 1}, {"a": 1}, "body: this operation takes no body"),
        ("create_a_gorgias_file", {}, None, "body: at least one named file is required"),
        ("create_a_gorgias_user", {}, {"email": "x", "name": "X", "role": {"name": "agent"}}, "body.email"),
        ("update_a_gorgias_ticket_by_id", {"id": 1}, {"status": "pending"}, "body.status"),
        ("create_a_gorgias_tag", {}, {"name": "x" * 257}, "body.name"),
    ],
)
def test_wrong_bodies_are_refused(name: str, params: dict[str, Any], body: Any, said: str) -> None:
    """A body that does not fit its schema never leaves."""
    (problem,) = told(name, params, body)
    assert problem.startswith(said)


def test_of_alternatives_the_meant_one_speaks() -> None:
    """A custom field of text with a wrong setting is not told that it is no number."""
    definition = {"data_type": "text", "input_settings": {"input_type": "dropdown", "choces": []}}
    body = {"object_type": "Ticket", "label": "Size", "definition": definition}
    assert told("create_a_gorgias_custom_field", {}, body) == [
        "body.definition.input_settings.choces: unknown key; did you mean choices?"
    ]


def test_one_field_may_be_set_to_null() -> None:
    """The value of a single custom field is any bare JSON value, null included."""
    params = {"ticket_id": 1, "id": 2}
    for value in (None, "x", 3, True):
        assert check(find("update_a_gorgias_ticket_field_value_by_id"), params, value).body is value


def test_channels_are_open() -> None:
    """A custom channel's slug passes, because the reference says so; nonsense does not."""
    assert not problems(CREATE_MESSAGE, {"ticket_id": 1}, {**MESSAGE, "channel": "custom-chat"})
    assert problems(CREATE_MESSAGE, {"ticket_id": 1}, {**MESSAGE, "channel": "no slug"})


@pytest.mark.parametrize("path", ["/evil.example/x", "../../secret", "a/../b", "a/%2e%2e/b", "a?b=c", "a\\b", ""])
def test_a_download_stays_on_the_account(path: str) -> None:
    """The path of an attachment can neither leave the host nor climb."""
    assert told("gorgias_attachments_download", {"attachment_path": path})


def test_names_in_paths_are_quoted() -> None:
    """Text in a path is quoted, and dots alone are refused."""
    params = {"file_type": "attachment", "domain_hash": "ab", "resource_name": "a b#1?.png"}
    path = check(find("gorgias_files_download"), params).path
    assert path == "/api/attachment/download/ab/a%20b%231%3F.png"
    assert told("gorgias_files_download", {**params, "resource_name": ".."})


def test_text_becomes_typed_parameters() -> None:
    """A command line's text is converted where it fits, and left for `check` to refuse where not."""
    texts = {"limit": "5", "trashed": "FALSE", "ticket_ids": ["1", "x"], "nope": "1"}
    typed = coerce(find("list_all_gorgias_tickets"), texts)
    assert typed == {"limit": 5, "trashed": False, "ticket_ids": [1, "x"], "nope": "1"}


def test_an_unknown_operation_names_the_nearest() -> None:
    """A misspelt name is answered with a suggestion."""
    with pytest.raises(BadRequest, match="list_all_gorgias_tickets"):
        find("list_all_gorgias_ticket")


def test_a_parameter_is_a_json_schema() -> None:
    """Those who describe operations elsewhere get each parameter as a schema."""
    schemas = {param.name: param.schema() for param in find("list_all_gorgias_tickets").params}
    assert schemas["limit"]["maximum"] == 100
    assert schemas["ticket_ids"]["maxItems"] == 100
    assert schemas["ticket_ids"]["items"] == {"type": "integer"}
    assert schemas["order_by"]["default"] == "created_datetime:desc"


def test_problems_can_be_read_by_programs() -> None:
    """Each problem has its part, its place and its kind."""
    assert problems(CREATE_MESSAGE, {"ticket_id": 1}, {"from_agent": True}) == [
        Problem("body", "channel", "missing", "required key is missing")
    ]
