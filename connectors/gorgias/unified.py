"""Gorgias's objects in the shapes of the unified API. Pure, and forgiving: whatever is missing or odd reads as null.

The mapping is inferred: no hosted service publishes its own. What it leaves out stands in `remote_data`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from connectors.gorgias.mapping import NOTE
from syncd.model import utc
from syncd.unified.shapes import Row, names

Doc = Mapping[str, Any]
#: Channels of a customer whose addresses are numbers (inferred).
PHONES = frozenset({"phone", "sms", "whatsapp"})


def ident(value: Any) -> str | None:
    """An id: a number there, a text here."""
    return None if value is None or isinstance(value, dict | list | bool) else str(value)


def said(value: Any) -> str | None:
    """A text, and nothing else."""
    return value if isinstance(value, str) else None


def part(doc: Any, name: str) -> Doc:
    """An object inside an object, empty where there is none."""
    inner = doc.get(name) if isinstance(doc, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def items(doc: Any, name: str) -> list[Doc]:
    """The objects of an array inside an object."""
    inner = doc.get(name) if isinstance(doc, Mapping) else None
    return [one for one in inner if isinstance(one, Mapping)] if isinstance(inner, list) else []


def moment(value: Any) -> str | None:
    """A timestamp in UTC; one without an offset is (inferred), and one that cannot be read is none."""
    try:
        return utc(datetime.fromisoformat(value)).isoformat().replace("+00:00", "Z") if value else None
    except (TypeError, ValueError, OverflowError):
        return None


def person_names(doc: Doc) -> Row:
    """First and last name as they are kept; where they are empty, as the whole name tells."""
    name = said(doc.get("name"))
    guessed = names(name)
    first, last = said(doc.get("firstname")), said(doc.get("lastname"))
    whole = name or " ".join(filter(None, (first, last))) or None
    if first or last:
        return {"name": whole, "first_name": first or None, "last_name": last or None}
    return {**guessed, "name": whole}


def emails(doc: Doc) -> list[Row]:
    primary = said(doc.get("email"))
    more = [
        address
        for channel in items(doc, "channels")
        if channel.get("type") == "email" and not channel.get("deleted_datetime")
        if (address := said(channel.get("address"))) and address.casefold() != (primary or "").casefold()
    ]
    first = [{"email": primary, "type": "primary"}] if primary else []
    return [*first, *({"email": address, "type": "other"} for address in dict.fromkeys(more))]


def phones(doc: Doc) -> list[Row]:
    return [
        {"number": address, "type": said(channel.get("type"))}
        for channel in items(doc, "channels")
        if said(channel.get("type")) in PHONES and not channel.get("deleted_datetime")
        if (address := said(channel.get("address")))
    ]


def _short_person(doc: Doc) -> Row | None:
    """A customer or an agent as a ticket names them."""
    if not doc:
        return None
    return {"id": ident(doc.get("id")), **person_names(doc), "emails": emails(doc), "phones": phones(doc)}


def values(doc: Doc) -> Row | None:
    """Custom field values by the fields' ids, also where they come as an array."""
    held = doc.get("custom_fields")
    if isinstance(held, Mapping):
        return {str(key): one.get("value") if isinstance(one, Mapping) else one for key, one in held.items()}
    if isinstance(held, list):
        return {str(_field_id(one)): one.get("value") for one in items(doc, "custom_fields")}
    return None


def _field_id(doc: Doc) -> Any:
    return part(doc, "field").get("id", doc.get("id"))


# -- tickets -------------------------------------------------------------------------------------------------------


def ticket(doc: Doc, base: str) -> Row:
    """A ticket, from a list's row or whole; `base` is the account's address."""
    number = ident(doc.get("id"))
    messages = in_order(items(doc, "messages"))
    user, team = part(doc, "assignee_user"), part(doc, "assignee_team")
    channel = said(doc.get("channel"))
    tags = [{"id": ident(one.get("id")), "name": said(one.get("name"))} for one in items(doc, "tags")]
    assignee = _short_person(user or _by_id(doc, "assignee_user_id"))
    return {
        "id": number,
        "name": said(doc.get("subject")),
        "number": number,
        "assignees": [assignee] if assignee else [],
        "status": status(doc),
        "created_by": _creator(doc, messages),
        "description": _description(doc, messages),
        "team": _named(team or _by_id(doc, "assignee_team_id")),
        "contact": _short_person(part(doc, "customer") or part(doc, "requester")),
        "attachments": [_short_file(row) for one in messages for row in files(one)],
        "tags": tags,
        "priority": {"id": doc["priority"], "name": doc["priority"]} if said(doc.get("priority")) else None,
        "channel": {"id": channel, "name": channel, "type": channel} if channel else None,
        "custom_fields": values(doc),
        "urls": [{"url": f"{base}/app/ticket/{number}"}] if number else [],
        "closed_at": moment(doc.get("closed_datetime")),
        "created_at": moment(doc.get("created_datetime")),
        "updated_at": moment(doc.get("updated_datetime")),
    }


def _by_id(doc: Doc, name: str) -> Doc:
    return {} if doc.get(name) is None else {"id": doc[name]}


def _named(doc: Doc) -> Row | None:
    return {"id": ident(doc.get("id")), "name": said(doc.get("name"))} if doc else None


def status(doc: Doc) -> Row | None:
    """Trash and spam stand above open and closed; `id` is Gorgias's own word."""
    own = said(doc.get("status"))
    word = "deleted" if doc.get("trashed_datetime") else "spam" if doc.get("spam") is True else own
    if word not in {"deleted", "spam", "open", "closed"}:
        word = None if own is None else "closed" if doc.get("closed_datetime") else "open"
    return {"id": own, "name": word} if own or word else None


def in_order(messages: Sequence[Doc]) -> list[Doc]:
    """The oldest first, without those that were deleted."""
    alive = [one for one in messages if not one.get("deleted_datetime")]
    return sorted(alive, key=lambda one: (moment(one.get("created_datetime")) or "", ident(one.get("id")) or ""))


def _creator(doc: Doc, messages: Sequence[Doc]) -> Row | None:
    if messages:
        who, agent = part(messages[0], "sender"), messages[0].get("from_agent")
    else:
        who, agent = part(doc, "customer"), doc.get("from_agent")
        who = {} if agent is True else who  # a row does not name the agent who opened it
    if not who:
        return None
    return {"id": ident(who.get("id")), "name": _name(who), "type": "user" if agent is True else "contact"}


def _name(doc: Doc) -> str | None:
    return said(doc.get("name")) or person_names(doc)["name"] or said(doc.get("email"))


def _description(doc: Doc, messages: Sequence[Doc]) -> str | None:
    if not messages:
        return said(doc.get("excerpt"))
    first = messages[0]
    return said(first.get("stripped_text")) or said(first.get("body_text")) or said(doc.get("excerpt"))


# -- messages ------------------------------------------------------------------------------------------------------


def comment(doc: Doc) -> Row:
    """A message."""
    channel = said(doc.get("channel"))
    kind = said(part(doc, "source").get("type"))
    number = ident(doc.get("ticket_id"))
    return {
        "id": ident(doc.get("id")),
        "author": _party(part(doc, "sender"), author_kind(doc)),
        "receiver": _party(part(doc, "receiver"), "contact" if doc.get("from_agent") is True else "user"),
        "body": said(doc.get("body_text")) or said(doc.get("stripped_text")) or said(doc.get("body_text")),
        "html_body": said(doc.get("body_html")) or said(doc.get("stripped_html")) or said(doc.get("body_html")),
        "ticket": {"id": number} if number else None,
        "attachments": [_nested_file(row, doc) for row in files(doc)],
        "is_internal": channel == NOTE,
        "is_private": doc.get("public") is False or channel == NOTE,
        "channel": {"id": channel, "name": channel, "type": kind or channel} if channel or kind else None,
        "created_at": moment(doc.get("created_datetime")),
    }


def author_kind(doc: Doc) -> str:
    """A rule is nobody; an agent is a user; everybody else is a contact."""
    if doc.get("via") == "rule" or doc.get("rule_id") is not None:
        return "system"
    return "user" if doc.get("from_agent") is True else "contact"


def _party(who: Doc, kind: str) -> Row | None:
    number = ident(who.get("id"))
    if number is None:
        return {"id": "rule", "name": "Rule", "username": None, "type": kind} if kind == "system" else None
    return {"id": number, "name": _name(who), "username": said(who.get("email")), "type": kind}


def files(doc: Doc) -> Iterator[Row]:
    """A message's files. They have no ids of their own: ticket, message and place make one."""
    ticket_id, message_id = ident(doc.get("ticket_id")), ident(doc.get("id"))
    sender = ident(part(doc, "sender").get("id"))
    for place, file in enumerate(items(doc, "attachments")):
        size = file.get("size")
        yield {
            "id": f"{ticket_id or 0}.{message_id or 0}.{place}",
            "file_name": said(file.get("name")),
            "ticket_id": ticket_id,
            "size": int(size) if isinstance(size, str) and size.isdecimal() else size if _is_number(size) else None,
            "file_url": said(file.get("url")),
            "content_type": said(file.get("content_type")),
            "uploaded_by": sender,
            "uploaded_by_type": author_kind(doc) if sender else None,
            "created_at": moment(doc.get("created_datetime")),
        }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short_file(row: Row) -> Row:
    return {name: row[name] for name in ("id", "file_name", "file_url", "content_type")}


def _nested_file(row: Row, doc: Doc) -> Row:
    sender = part(doc, "sender")
    by = {"id": ident(sender.get("id")), "name": _name(sender)} if sender else None
    return {**_short_file(row), "uploaded_by": by} | {name: row[name] for name in ("uploaded_by_type", "created_at")}
