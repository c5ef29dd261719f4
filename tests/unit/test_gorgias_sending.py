"""Which calls may make Gorgias write to a customer, and which certainly do not."""

from typing import Any

import pytest

from connectors.gorgias.connector import GorgiasConnector
from connectors.gorgias.operations import OPERATIONS
from connectors.gorgias.sending import may_send
from syncd.operations import Call
from tests.unit.gorgias_calls import NOTE

MAIL = {"channel": "email", "from_agent": True, "via": "api", "body_text": "Hello"}
SENT = "2026-03-01T10:00:00Z"
SURVEY = {"customer_id": 1, "ticket_id": 1}

LOUD = [
    ("create_a_gorgias_message", {}, MAIL),
    ("create_a_gorgias_message", {}, {**MAIL, "sent_datetime": None}),
    ("create_a_gorgias_message", {"action": "retry"}, NOTE),
    ("update_a_gorgias_message_by_id", {"action": "force"}, MAIL),
    ("create_a_gorgias_ticket", {}, {"messages": [NOTE, MAIL]}),
    ("create_a_gorgias_job", {}, {"type": "applyMacro", "params": {}}),
    ("update_a_gorgias_job_by_id", {"id": 1}, {"params": {"macro_id": 1}}),
    ("create_a_gorgias_survey", {}, {**SURVEY, "should_send_datetime": SENT}),
    ("update_a_gorgias_satisfaction_survey_by_id", {"id": 1}, {"should_send_datetime": SENT}),
    ("create_a_gorgias_rule", {}, {"name": "a", "code": 'Action("replyToTicket", { body_text: "Hi" })'}),
    ("create_a_gorgias_rule", {}, {"name": "a", "code": 'Action("addTags", {}); Action(what, {})'}),
    ("update_a_gorgias_rule_by_id", {"id": 1}, {"deactivated_datetime": None}),
    ("update_a_gorgias_rule_by_id", {"id": 1}, {"code": 'Action("sendEmail", {})'}),
    ("update_a_gorgias_rule_by_id", {"id": 1}, {"code_ast": {"type": "Program"}}),
    ("create_a_gorgias_account_setting", {}, {"type": "satisfaction-surveys", "data": {}}),
]
QUIET = [
    ("create_a_gorgias_message", {}, NOTE),
    ("create_a_gorgias_message", {}, {**MAIL, "sent_datetime": SENT}),
    ("create_a_gorgias_message", {}, {**MAIL, "from_agent": False}),
    ("update_a_gorgias_message_by_id", {}, MAIL),
    ("create_a_gorgias_ticket", {}, {"messages": [NOTE, {**MAIL, "sent_datetime": SENT}]}),
    ("create_a_gorgias_job", {}, {"type": "updateTicket", "params": {}}),
    ("update_a_gorgias_job_by_id", {"id": 1}, {"status": "cancel_requested"}),
    ("create_a_gorgias_survey", {}, {**SURVEY, "should_send_datetime": None}),
    ("update_a_gorgias_survey_by_id", {"id": 1}, {"score": 5}),
    ("create_a_gorgias_rule", {}, {"name": "a", "code": 'if (eq(a, "b")) { Action("addTags", { tags: "b" }) }'}),
    ("update_a_gorgias_rule_by_id", {"id": 1}, {"name": "b"}),
    ("create_a_gorgias_account_setting", {}, {"type": "business-hours", "data": {}}),
    ("update_a_gorgias_ticket_by_id", {"id": 1}, {"status": "closed"}),
]


@pytest.mark.parametrize(("name", "params", "body"), LOUD)
def test_what_may_mail_somebody(name: str, params: dict[str, Any], body: Any) -> None:
    """At once, when its time comes, or by itself from now on; in doubt it may."""
    assert may_send(Call(name, params, body))


@pytest.mark.parametrize(("name", "params", "body"), QUIET)
def test_what_mails_nobody(name: str, params: dict[str, Any], body: Any) -> None:
    """Notes, history, and what only changes the account's own things."""
    assert not may_send(Call(name, params, body))


@pytest.mark.parametrize("name", sorted(name for name, operation in OPERATIONS.items() if operation.sends))
def test_whatever_is_not_checked_may_mail(name: str) -> None:
    """An action that is slipped past the check, under any spelling; every operation that is marked has its rule."""
    assert may_send(Call(name, extra=[("action[]", "force")]))
    assert isinstance(may_send(Call(name, body={})), bool)
    assert GorgiasConnector.operations()[name].sends
