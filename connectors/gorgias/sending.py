"""Whether a call may make Gorgias write to a customer: at once, later, or again and again. In doubt it may."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from connectors.gorgias.mapping import NOTE
from connectors.gorgias.operations import Operation, find
from syncd.operations import Call

#: Inferred: what a message's action sends again. `cancel` deletes it.
RESENDS = frozenset({"force", "retry"})
#: Inferred: jobs that write to nobody. A macro may hold an answer, and so may whatever is not known yet.
QUIET_JOBS = frozenset(
    {"deleteTicket", "exportTicket", "importMacro", "exportMacro", "updateTicket", "exportTicketDrilldown"}
    | {"exportConvertCampaignSalesDrilldown"}
)
#: Inferred: what a rule may do without a word to the customer; it may do anything to any ticket that comes.
QUIET_ACTIONS = frozenset({"addTags", "removeTags", "setTags", "setStatus", "setPriority", "setAssignee", "setSubject"})
ACTION = re.compile(r"Action\s*\(\s*[\"'](\w+)[\"']")
#: Inferred: settings that mail nobody; surveys, of all, go to every customer.
QUIET_SETTINGS = frozenset(
    {"access", "auto-merge", "auto-split", "business-hours", "default-integration", "ticket-assignment"}
    | {"views-ordering", "views-visibility"}
)

Body = Mapping[str, Any]


def may_send(call: Call) -> bool:
    """Whether the call, which has been checked, may make Gorgias write to a customer."""
    operation = find(call.name)
    if not operation.sends:
        return False
    unchecked = call.raw is not None or any(name.partition("[")[0] == "action" for name, _ in call.extra)
    if unchecked or call.params.get("action") in RESENDS:
        return True
    body = call.body if isinstance(call.body, Mapping) else {}
    return _LOUD[operation.resource](operation, body)


def _messages(operation: Operation, body: Body) -> bool:
    """Inferred: a message that is there already is sent again by its action only."""
    return operation.method == "POST" and any(not _is_quiet(message) for message in body.get("messages", [body]))


def _is_quiet(message: Any) -> bool:
    """Imported as sent, from the customer, or a note. Raises nothing: whatever is odd is taken for loud."""
    if not isinstance(message, Mapping):
        return False
    return bool(message.get("sent_datetime")) or message.get("from_agent") is False or message.get("channel") == NOTE


def _job(operation: Operation, body: Body) -> bool:
    """What a job that waits will do can be changed, and its kind is not said again."""
    if operation.method == "PUT":
        return bool(body.keys() & {"params", "scheduled_datetime"})
    return body.get("type") not in QUIET_JOBS


def _survey(_operation: Operation, body: Body) -> bool:
    """`should_send_datetime` is when Gorgias mails it; without one it never does."""
    return body.get("should_send_datetime") is not None


def _rule(operation: Operation, body: Body) -> bool:
    """New code, or a rule that is switched on again."""
    wakes = operation.method == "PUT" and "deactivated_datetime" in body and body["deactivated_datetime"] is None
    code = body.get("code", "")
    every, named = code.count("Action"), ACTION.findall(code)
    hides = "code_ast" in body or "\\" in code  # another spelling of what it does, which is not looked into
    return wakes or hides or len(named) != every or not set(named) <= QUIET_ACTIONS


def _setting(_operation: Operation, body: Body) -> bool:
    return body.get("type") not in QUIET_SETTINGS


_LOUD: Mapping[str, Callable[[Operation, Body], bool]] = {
    "tickets": _messages,
    "messages": _messages,
    "jobs": _job,
    "surveys": _survey,
    "rules": _rule,
    "account-settings": _setting,
}
