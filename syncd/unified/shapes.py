"""The unified model as the unified API shows it: plain dictionaries, of which `schema.filled` makes whole objects."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

from syncd.connector import Vocabulary
from syncd.model import Attachment, Comment, Contact, Field, Person, Team, Ticket, User, utc
from syncd.unified.words import unified_status

Row = dict[str, Any]


def moment(when: datetime | None) -> str | None:
    """A time as the API writes it: in UTC, with a Z."""
    return utc(when).isoformat().replace("+00:00", "Z") if when else None


def child_id(ticket_id: str, own_id: str) -> str:
    """The id of a comment or a file where the product knows it by its ticket only."""
    return f"{quote(ticket_id, safe='')}:{own_id}"


def parent_and_own(object_id: str, ticket: str | None) -> tuple[str | None, str]:
    """The ticket and the product's own id behind an id of ours; without a ticket in it, the one that was given."""
    parent, colon, own = object_id.partition(":")
    return (unquote(parent), own) if colon else (ticket, object_id)


def emails(address: str | None) -> list[Row]:
    """The addresses of somebody who has one."""
    return [{"email": address, "type": "primary"}] if address else []


def names(name: str | None) -> Row:
    """First and last name, as far as a whole name tells."""
    first, _, last = (name or "").strip().partition(" ")
    return {"name": name or None, "first_name": first or None, "last_name": last.strip() or None}


def ticket(one: Ticket, words: Vocabulary) -> Row:
    """A ticket; `words` gives names to what it names by id."""
    opening = (one.comments or (None,))[0]
    files = [(comment, file) for comment in one.comments or () for file in comment.attachments]
    return {
        "id": one.id,
        "name": one.subject,
        "number": one.id,
        "assignees": _assignees(one, words.users),
        "status": _status(one, words),
        "created_by": _creator(opening.author if opening else one.contact),
        "description": opening.body.text if opening and not opening.private else None,
        "team": _team(one.team, words.teams),
        "contact": person(one.contact) if one.contact else None,
        "attachments": [_file(one.id, comment, file) for comment, file in files],
        "tags": [{"id": name, "name": name} for name in sorted(one.tags)],
        "priority": {"id": one.priority, "name": one.priority} if one.priority else None,
        "custom_fields": None if one.fields is None else dict(one.fields),
        "urls": [{"url": one.url}] if one.url else [],
        "created_at": moment(one.created_at),
        "updated_at": moment(one.updated_at),
        "etag": one.version,
    }


def _assignees(one: Ticket, users: Sequence[User]) -> list[Row]:
    if one.assignee is None:
        return []
    known = next((user for user in users if user.id == one.assignee), User(one.assignee, ""))
    return [{"id": known.id, **names(known.name), "emails": emails(known.email)}]


def _status(one: Ticket, words: Vocabulary) -> Row | None:
    if one.status is None:
        return None
    closed = any(status.closed for status in words.statuses if status.name == one.status)
    named = unified_status(one.status, closed)
    return {"id": one.status, "name": "deleted" if one.trashed else "spam" if one.hidden else named}


def _creator(author: Person | None) -> Row | None:
    if author is None:
        return None
    kind = author.kind if author.kind in {"user", "contact"} else None
    return {"id": author.id or None, "name": author.name or author.email, "type": kind}


def _team(name: str | None, teams: Sequence[Team]) -> Row | None:
    if name is None:
        return None
    return {"id": next((team.id for team in teams if team.name == name), name), "name": name}


def person(one: Person) -> Row:
    """A customer as a ticket names them."""
    return {"id": one.id or None, **names(one.name), "emails": emails(one.email)}


def comment(ticket_id: str, one: Comment, channel: str) -> Row:
    """A comment; where the product has no channels, its own name stands for one."""
    where = one.channel or channel
    return {
        "id": child_id(ticket_id, one.id),
        "author": _author(one.author),
        "body": one.body.text,
        "html_body": one.body.html,
        "ticket": {"id": ticket_id},
        "attachments": [_file(ticket_id, one, file, nested=True) for file in one.attachments],
        "is_internal": one.private,
        "is_private": one.private,
        "channel": {"id": where, "name": where, "type": where},
        "created_at": moment(one.created_at),
    }


def _author(one: Person | None) -> Row | None:
    if one is None:
        return None
    return {"id": one.id, "name": one.name or None, "username": one.email, "type": one.kind}


def _file(ticket_id: str, said: Comment, file: Attachment, *, nested: bool = False) -> Row:
    row: Row = {
        "id": child_id(ticket_id, file.id),
        "file_name": file.file_name,
        "file_url": file.url,
        "content_type": file.content_type,
    }
    if nested and said.author:
        row |= {"uploaded_by": {"id": said.author.id, "name": said.author.name or None}}
        row |= {"uploaded_by_type": said.author.kind, "created_at": moment(said.created_at)}
    return row


def attachments(ticket_id: str, comments: Iterable[Comment]) -> Iterable[Row]:
    """All files of a ticket."""
    for said in comments:
        for file in said.attachments:
            yield {
                **_file(ticket_id, said, file),
                "ticket_id": ticket_id,
                "size": file.size,
                "uploaded_by": said.author.id if said.author else None,
                "uploaded_by_type": said.author.kind if said.author else None,
                "created_at": moment(said.created_at),
            }


def user(one: User) -> Row:
    """An agent."""
    return {
        "id": one.id,
        **names(one.name),
        "name": one.name or one.login or one.email or one.id,
        "username": one.login,
        "emails": emails(one.email),
        "is_active": one.active,
    }


def directory_user(row: Mapping[str, Any]) -> Row:
    """An agent as the user directory shows them, made of the row of the ticketing API."""
    kept = {name: row.get(name) for name in ("id", "first_name", "last_name", "name", "username", "roles", "avatar")}
    addresses = [{**one, "is_primary": one.get("type") == "primary"} for one in row.get("emails") or ()]
    status = {True: "active", False: "inactive"}.get(row.get("is_active"))  # type: ignore[arg-type]
    stamps = {name: row.get(name) for name in ("created_at", "updated_at")}
    return {**kept, **stamps, "emails": addresses, "status": status}


def contact(one: Contact | Person) -> Row:
    """A customer."""
    return {"id": one.id, **names(one.name), "emails": emails(one.email), "is_active": True}


def team(one: Team) -> Row:
    """A group of agents."""
    return {"id": one.id, "name": one.name}


def field(one: Field) -> Row:
    """A custom field of tickets; `name` is its key in a ticket's `custom_fields`."""
    return {
        "id": one.id,
        "name": one.name,
        "label": one.name,
        "type": one.type,
        "is_required": one.required,
        "is_user_defined": True,
        "options": [{"label": option, "value": option} for option in one.options],
        "entity_type": "ticket",
    }
