"""Gorgias's objects to and from the unified model. Pure."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from syncd import text
from syncd.connector import Change, Upload
from syncd.errors import Gone, TryLater
from syncd.model import Attachment, Body, Comment, Field, Person, Team, Ticket, User, Value, utc

Doc = Mapping[str, Any]
P = ParamSpec("P")
T = TypeVar("T")

NOTE = "internal-note"
SUBJECT_LIMIT = 998  # characters (reference: ticket.subject)
TAG_LIMIT = 256
FIELD_TYPES = {"text": "string", "number": "number", "boolean": "boolean"}
#: Events that name the field they changed; priority and custom fields have none of their own.
FIELD_EVENTS = {
    "ticket-closed": "status",
    "ticket-reopened": "status",
    "ticket-trashed": "status",
    "ticket-untrashed": "status",
    "ticket-assigned": "assignee",
    "ticket-unassigned": "assignee",
    "ticket-team-assigned": "team",
    "ticket-team-unassigned": "team",
    "ticket-subject-updated": "subject",
}
#: These change what a full read shows and the short form does not.
DEEP = frozenset(
    {"ticket-deleted", "ticket-merged", "ticket-split", "ticket-message-updated", "ticket-message-deleted"}
)
EPOCH = datetime.min.replace(tzinfo=UTC)


def documented(read: Callable[P, T]) -> Callable[P, T]:
    """Reads an answer. One that is not as documented is a failure that passes, and never an absence."""

    @wraps(read)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            message = f"Gorgias answered with something that is no {read.__name__}: {type(error).__name__} {error}"
            raise TryLater(message, hint="is the URL that of a Gorgias account?") from error

    return checked


def is_number(value: str) -> bool:
    """Whether an id of the engine's can be one of Gorgias's."""
    return value.isascii() and value.isdecimal() and len(value) < 19


def number(value: str) -> int:
    """The id as Gorgias knows it. Raises Gone for what cannot be one."""
    if not is_number(value):
        raise Gone(f"{value!r} is no id of Gorgias", status=404)
    return int(value)


def moment(value: str | None) -> datetime | None:
    """A timestamp; some rows use a blank for the T or leave the offset out, which means UTC."""
    return utc(datetime.fromisoformat(value)) if value else None


@documented
def updated(doc: Doc) -> datetime | None:
    """When a ticket last changed; an edited custom field or message does not count there."""
    return moment(doc["updated_datetime"])


@documented
def ticket(doc: Doc, fields: Mapping[int, Field] | None) -> Ticket:
    """A ticket from a full object or a list row, which has no `messages`.

    A trashed ticket reads as closed: trash is reversible, and so is the status.
    """
    trashed = bool(doc.get("trashed_datetime"))
    messages = doc.get("messages")
    customer = doc.get("customer")
    return Ticket(
        id=_own_id(doc),
        subject=doc.get("subject") or "",
        status="closed" if trashed else doc.get("status"),
        priority=doc.get("priority"),
        assignee=_id(doc.get("assignee_user")),
        team=(doc.get("assignee_team") or {}).get("name"),
        tags=frozenset(tag["name"] for tag in doc.get("tags") or ()),
        fields=_fields(doc.get("custom_fields"), fields),
        contact=person(customer, agent=False),
        comments=None if messages is None else tuple(comment(message) for message in _in_order(messages)),
        comment_count=doc.get("messages_count") if messages is None else len(_in_order(messages)),
        created_at=moment(doc.get("created_datetime")),
        updated_at=moment(doc.get("updated_datetime")),
        marker=doc.get("external_id"),
        url=doc.get("uri"),
        hidden=bool(doc.get("spam")),
        trashed=trashed,
    )


def _in_order(messages: list[Doc]) -> list[Doc]:
    alive = [message for message in messages if not message.get("deleted_datetime")]
    return sorted(alive, key=lambda message: (moment(message.get("created_datetime")) or EPOCH, message["id"]))


def _own_id(doc: Doc) -> str:
    if isinstance(doc["id"], bool) or not isinstance(doc["id"], int):
        raise TypeError("its id is no number")
    return str(doc["id"])


def _id(doc: Doc | None) -> str | None:
    return None if not doc or doc.get("id") is None else str(doc["id"])


def _fields(shown: Mapping[str, Doc] | None, known: Mapping[int, Field] | None) -> Mapping[str, Value] | None:
    """Every active field by its label: one without a value is absent from the map, and reads as None."""
    if shown is None or known is None:
        return None
    return {field.name: (shown.get(str(number)) or {}).get("value") for number, field in known.items()}


@documented
def field(doc: Doc) -> Field:
    """A custom field's definition; a dropdown's choices are its options, levels joined by `::`."""
    definition = doc.get("definition") or {}
    settings = definition.get("input_settings") or {}
    options = tuple(str(choice) for choice in settings.get("choices") or () if not isinstance(choice, bool))
    kind = "enum" if options else FIELD_TYPES.get(definition.get("data_type", ""), "string")
    return Field(_own_id(doc), doc["label"], kind, options, bool(doc.get("required")))  # type: ignore[arg-type]


@documented
def user(doc: Doc) -> User:
    """An agent."""
    return User(_own_id(doc), doc.get("name") or "", doc.get("email"), bool(doc.get("active", True)))


@documented
def team(doc: Doc) -> Team:
    """A group of agents."""
    return Team(_own_id(doc), doc["name"])


def person(doc: Doc | None, *, agent: bool) -> Person | None:
    """The sender of a message, or the customer of a ticket."""
    if not doc or doc.get("id") is None:
        return None
    return Person(str(doc["id"]), doc.get("name") or "", doc.get("email"), "user" if agent else "contact")


@documented
def comment(doc: Doc) -> Comment:
    """A message; `external_id` holds our marker, and a line that names another author is not part of the text."""
    body, _ = text.unsign(doc.get("body_text") or doc.get("stripped_text") or "")
    html = doc.get("body_html")
    if html:
        html = text.sanitise(text.unsign_html(html)[0])
    elif not body and doc.get("stripped_html"):
        html = text.sanitise(doc["stripped_html"])
    return Comment(
        id=_own_id(doc),
        body=Body(body or (text.html_to_text(html) if html else ""), html or None),
        author=_author(doc),
        private=not doc.get("public", True) or doc.get("channel") == NOTE,
        created_at=moment(doc.get("created_datetime")),
        attachments=tuple(
            attachment(str(doc["id"]), place, file) for place, file in enumerate(doc.get("attachments") or ())
        ),
        marker=doc.get("external_id"),
        channel=doc.get("channel"),
    )


def _author(doc: Doc) -> Person | None:
    if doc.get("via") == "rule" or doc.get("rule_id"):
        return Person("rule", "Rule", None, "system")
    return person(doc.get("sender"), agent=bool(doc.get("from_agent")))


def attachment(message_id: str, place: int, doc: Doc) -> Attachment:
    """A message's file; it has no id of its own, so its place in the message names it."""
    size = str(doc.get("size"))  # a number, or a text of one (older reference)
    return Attachment(
        id=f"{message_id}.{place}",
        file_name=text.safe_file_name(doc.get("name") or ""),
        content_type=doc.get("content_type") or "application/octet-stream",
        size=int(size) if size.isdecimal() else None,
        url=doc.get("url"),
    )


@documented
def event_time(doc: Doc) -> datetime:
    """When an event happened."""
    return utc(datetime.fromisoformat(doc["created_datetime"]))


@documented
def change(doc: Doc) -> Change | None:
    """An event as a change; a message's event does not name its ticket, and those of other objects are none."""
    when, kind, event, about = event_time(doc), doc["type"], str(doc["id"]), str(doc["object_id"])
    if doc["object_type"] == "TicketMessage":
        return Change("", when, kind, kind in DEEP, event, comment=about)
    return Change(about, when, kind, kind in DEEP, event) if doc["object_type"] == "Ticket" else None


@documented
def field_times(rows: Sequence[Doc]) -> dict[str, datetime]:
    """When each field last changed, by a ticket's events from the newest to the oldest.

    Priority has no event of its own (inferred): a `ticket-updated` without company in its context stands for it.
    """
    typed = {row.get("context") for row in rows if row["type"] in FIELD_EVENTS}
    times: dict[str, datetime] = {}
    for row in rows:
        name = FIELD_EVENTS.get(row["type"])
        if row["type"] == "ticket-updated" and row.get("context") not in typed:
            name = "priority"
        if name:
            times.setdefault(name, event_time(row))
    return times


def body_of(said: Comment, signed: bool) -> dict[str, str]:
    """`body_text` and `body_html` of a message, with a line that names the author where they cannot be the sender."""
    plain = text.plain(said.body.text)
    html = text.sanitise(said.body.html) if said.body.html else text.text_to_html(plain)
    if signed and said.marker and said.created_at:
        who, ref = _name(said.author), f"{said.channel or 'remote'}:{said.marker.rpartition(':')[2]}"
        plain = text.sign(plain, who, said.created_at, ref)
        html = text.sign_html(html, who, said.created_at, ref)
    return {"body_text": plain, "body_html": html}


def _name(author: Person | None) -> str:
    return (author.name or author.email or "somebody") if author else "somebody"


def file_of(file: Upload, stored: Doc) -> dict[str, Any]:
    """What a message says about a file that was uploaded."""
    return {"url": stored["url"], "name": file.file_name, "content_type": file.content_type, "size": file.size}


def iso(when: datetime) -> str:
    """A timestamp as the API writes it."""
    return utc(when).isoformat()
