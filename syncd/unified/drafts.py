"""Bodies of the unified API to the unified model: what a caller wants to be written, in a product's own words. Pure."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from syncd import text
from syncd.connector import Vocabulary
from syncd.errors import BadRequest
from syncd.model import CUSTOM, Body, Comment, Person, User, Value, utc
from syncd.unified.words import product_priority, product_status

Json = Mapping[str, Any]
#: The id of the comment that opens a ticket, until it has one of the product's.
OPENING = "opening"


def fields_of(body: Json, words: Vocabulary) -> dict[str, Value]:
    """The fields of a ticket that a body names. Raises BadRequest with every problem."""
    problems: list[str] = []
    found: dict[str, Value] = {}
    if "name" in body:
        found["subject"] = body["name"] or ""
    for name, read in (("status", _status), ("priority", _priority), ("assignees", _assignee), ("team", _team)):
        if name in body:
            try:
                found[{"assignees": "assignee"}.get(name, name)] = read(body[name], words)
            except BadRequest as error:
                problems += error.problems
    found |= {CUSTOM + name: value for name, value in (body.get("custom_fields") or {}).items()}
    if problems:
        raise BadRequest("the ticket does not fit", problems)
    return found


def _status(wanted: Any, words: Vocabulary) -> str:
    if not wanted or not any(wanted.values()):
        raise BadRequest("no status", ["status: a ticket always has one"])
    return product_status(wanted, words.statuses)


def _priority(wanted: Any, words: Vocabulary) -> str | None:
    return product_priority(wanted, words.priorities) if wanted and any(wanted.values()) else None


def _assignee(wanted: Any, words: Vocabulary) -> str | None:
    if not wanted:
        return None
    if len(wanted) > 1:
        raise BadRequest("too many", ["assignees: a ticket has one at most"])
    return user_id(wanted[0], words.users, "assignees.0")


def user_id(wanted: Json, users: Sequence[User], where: str) -> str:
    """The id of the agent with this id, address or name. Raises BadRequest."""
    addresses = {one["email"].casefold() for one in wanted.get("emails") or ()}
    for user in users:
        same = wanted.get("id") in {user.id, user.login} if wanted.get("id") else False
        if same or (user.email or "").casefold() in addresses:
            return user.id
    named = [user.id for user in users if wanted.get("name") and user.name == wanted["name"]]
    if wanted.get("id") or len(named) != 1:
        raise BadRequest("there is no such user", [f"{where}: no such user; see /unified/ticketing/users"])
    return named[0]


def _team(wanted: Any, words: Vocabulary) -> str | None:
    if not wanted or not any(wanted.values()):
        return None
    found = [
        team.name
        for team in words.teams
        if wanted.get("id") in {team.id, team.name} or (not wanted.get("id") and team.name == wanted.get("name"))
    ]
    if not found:
        known = ", ".join(team.name for team in words.teams) or "none"
        raise BadRequest("there is no such team", [f"team: no such team; there are {known}"])
    return found[0]


def tags_of(body: Json) -> frozenset[str]:
    """The names of the tags that a ticket shall have; where a product has no ids of tags, the name is one."""
    return frozenset(name for tag in body.get("tags") or () if (name := tag.get("name") or tag.get("id")))


def contact_of(body: Json) -> Person | None:
    """The customer that a body names."""
    given = body.get("contact")
    if not given:
        return None
    address = next((one["email"] for one in given.get("emails") or ()), None)
    return Person(given.get("id") or "", whole_name(given), address, "contact")


def whole_name(given: Json) -> str:
    """The name, or what first and last name make."""
    return given.get("name") or " ".join(filter(None, (given.get("first_name"), given.get("last_name"))))


def comment_of(body: Json, words: Vocabulary, *, private: bool) -> Comment:
    """A comment; nobody is named as its author unless the body does."""
    html = text.sanitise(body["html_body"]) if body.get("html_body") else None
    said = body.get("body") or (text.html_to_text(html) if html else "")
    return Comment(
        OPENING,
        Body(said, html),
        _author(body.get("author"), words),
        private,
        created_at=moment(body.get("created_at")),
    )


def is_private(body: Json, default: bool = True) -> bool:
    """Whether a comment is hidden from customers: yes, unless the caller says that it is not."""
    said = [body[name] for name in ("is_private", "is_internal") if body.get(name) is not None]
    return any(said) if said else default


def opening(body: Json, words: Vocabulary, *, keeps_contact: bool) -> Comment | None:
    """The comment that opens a new ticket. Where the product keeps no customer, its text says who that is."""
    said, contact = body.get("description") or "", contact_of(body)
    if contact and not keeps_contact and (contact.name or contact.email):
        address = f"<{contact.email}>" if contact.email else ""
        said = f"From: {' '.join(filter(None, (contact.name, address)))}\n\n{said}".strip()
    if not said and not body.get("attachments"):
        return None
    given = {"body": said, "author": body.get("created_by"), "created_at": body.get("created_at")}
    found = comment_of(given, words, private=False)
    if found.author is None and contact and keeps_contact:
        return replace(found, author=contact)
    return found


def _author(given: Any, words: Vocabulary) -> Person | None:
    if not given or not any(given.get(name) for name in ("id", "name", "username")):
        return None
    known = next((user for user in words.users if given.get("id") == user.id), None)
    if known and given.get("type", "user") == "user":
        return Person(known.id, known.name, known.email, "user")
    kind: Any = given.get("type") or "contact"
    return Person(given.get("id") or "", given.get("name") or "", given.get("username"), kind)


def moment(value: str | None) -> datetime | None:
    """A time that fits its schema."""
    return utc(datetime.fromisoformat(value)) if value else None


def now() -> datetime:
    """The time of a comment that names none."""
    return datetime.now(UTC)


def decoded(data: str) -> bytes | None:
    """The bytes behind Base64; None where it is none."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
