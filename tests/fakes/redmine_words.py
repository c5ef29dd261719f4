"""What the Redmine at the wire is made of: its users, names and custom fields, and how it shows and filters values."""

import re
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

Json = dict[str, Any]

ADMIN, BOB, CAROL = "admin-key", "bob-key", "carol-key"
PERMISSIONS = {
    3: "view_issues add_issues edit_issues add_issue_notes view_private_notes set_notes_private edit_issue_notes "
    "view_issue_watchers delete_issues",
    4: "view_issues add_issues edit_issues add_issue_notes view_private_notes set_notes_private",
    5: "view_issues add_issues add_issue_notes",
}
USERS: list[Json] = [
    {"id": 1, "login": "admin", "firstname": "Redmine", "lastname": "Admin", "admin": True, "role": 3, "key": ADMIN},
    {
        "id": 5,
        "login": "alice",
        "firstname": "Alice",
        "lastname": "Agent",
        "admin": False,
        "role": 3,
        "key": "alice-key",
    },
    {"id": 6, "login": "bob", "firstname": "Bob", "lastname": "Builder", "admin": False, "role": 4, "key": BOB},
    {"id": 7, "login": "carol", "firstname": "Carol", "lastname": "Customer", "admin": False, "role": 5, "key": CAROL},
]
STATUSES = {1: "New", 2: "In Progress", 3: "Resolved", 4: "Feedback", 5: "Closed", 6: "Rejected"}
CLOSED = {5, 6}
PRIORITIES = {1: "Low", 2: "Normal", 3: "High", 4: "Urgent", 5: "Immediate"}
TRACKERS = {1: "Bug", 2: "Feature", 3: "Support"}
CATEGORIES = {1: "Hardware", 2: "Software", 3: "Network"}
SEVERITY, LABELS, CHANNEL = ("S1", "S2"), ("vip", "billing", "a,b"), {"1": "mail", "2": "web"}
FIELDS: list[tuple[int, str, str]] = [
    (1, "External ID", "string"),
    (3, "Severity", "list"),
    (4, "Labels", "list"),
    (5, "Points", "int"),
    (6, "Tags", "string"),
    (8, "Billable", "bool"),
    (11, "Channel", "enumeration"),
    (12, "Customer", "string"),
]
MULTIPLE = 4


class Problem(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, *errors: str) -> None:
        self.status, self.errors = status, errors


def reply(status: int, body: Json) -> web.Response:
    """A JSON answer."""
    return web.json_response(body, status=status)


def found(rows: dict[int, Any], number: str) -> Any:
    """The row with this number, else 404."""
    if int(number) not in rows:
        raise Problem(404)
    return rows[int(number)]


def stamp(moment: datetime) -> str:
    """A time as the API shows it: whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def later(moment: datetime, operand: str) -> bool:
    """The filter on `updated_on`, as 5.0 implements it: `>=T` is later than one second before T."""
    match = re.fullmatch(r">=(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)", operand)
    if not match:
        raise Problem(422, "Updated is invalid")
    return moment > datetime.fromisoformat(match[1]) - timedelta(seconds=1)


def filtered(held: Any, operand: str) -> bool:
    """A custom field's filter: the value needs its own `=`, and `|` separates alternatives."""
    if operand == "*":
        return bool(held)
    if operand.startswith("="):
        return any(held == value for value in operand[1:].split("|"))
    return not operand.startswith(("~", "!", "*", "^", "$")) and held == operand


def custom(issue: Json, number: int, name: str) -> Json:
    """A custom field of an issue, whose value is always text."""
    if number == MULTIPLE:
        return {"id": number, "name": name, "multiple": True, "value": issue["custom"].get(number, [])}
    return {"id": number, "name": name, "value": issue["custom"].get(number)}


def to_text(value: Any) -> str | None:
    """What Redmine makes of a custom field's value."""
    if isinstance(value, list | dict):
        raise Problem(422, "is invalid")
    return value if value is None or isinstance(value, str) else str(value).lower()


def detail(kind: str, name: str, old: Any, new: Any) -> Json:
    """A line of a journal."""
    return {"property": kind, "name": name, "old_value": old, "new_value": None if new is None else str(new)}


def listing(key: str, rows: list[Json], request: web.Request) -> Json:
    """A page of a list."""
    offset, limit = int(request.query.get("offset", "0")), min(int(request.query.get("limit", "25")), 100)
    return {key: rows[offset : offset + limit], "total_count": len(rows), "offset": offset, "limit": limit}


def numbered(names: dict[int, str], **flags: set[int]) -> list[Json]:
    """Rows of a vocabulary."""
    marks = [{flag: number in numbers for flag, numbers in flags.items()} for number in names]
    return [{"id": number, "name": name, **mark} for (number, name), mark in zip(names.items(), marks, strict=True)]


def account(user: Json) -> Json:
    """A user as the API shows it."""
    shown = {name: user[name] for name in ("id", "login", "firstname", "lastname", "admin")}
    roles = [{"id": user["role"], "name": f"Role {user['role']}"}]
    return {**shown, "memberships": [{"project": {"id": 1, "name": "Support"}, "roles": roles}]}


def mail(user: Json) -> str:
    """A user's address."""
    return f"{user['login']}@example.net"


def project(categories: dict[int, str]) -> Json:
    """The one public project."""
    rows = {"trackers": numbered(TRACKERS), "issue_categories": numbered(categories), "issue_custom_fields": []}
    return {"id": 1, "name": "Support", "identifier": "support", "status": 1, "is_public": True, **rows}
