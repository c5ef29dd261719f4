"""Rows of Roundup's REST API to the unified model, and values to what its properties take. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

from connectors.roundup.config import FieldType, RoundupConfig
from syncd.model import Attachment, Comment, Marker, Person, Ticket, Value, values
from syncd.text import plain, read, safe_file_name, unsign

#: How Roundup writes a moment, in UTC. It keeps milliseconds and shows none.
STAMP = "%Y-%m-%d.%H:%M:%S"
#: Built-in fields and the properties that hold them.
PROPERTIES = {"subject": "title", "status": "status", "priority": "priority", "assignee": "assignedto"}
FILE_FIELDS = "name,type,creator,creation"


def issue_fields(config: RoundupConfig) -> str:
    """The properties that make a whole row of an issue list."""
    names = ["title", "status", "priority", "assignedto", "messages", "files", "activity", "creation", "creator"]
    names += [config.marker_property, *filter(None, [config.tags_property]), *config.fields]
    return ",".join(dict.fromkeys(names))


def message_fields(config: RoundupConfig) -> str:
    """The properties that make a comment."""
    names = ["content", "author", "date", "files", "creator", "creation", config.marker_property]
    return ",".join([*names, *filter(None, [config.private_property])])


def ticket_of(row: Mapping[str, Any], config: RoundupConfig, base: str, people: Mapping[str, Person]) -> Ticket:
    """An issue's row as a ticket in the short form."""
    tags = row.get(config.tags_property) if config.tags_property else None
    return Ticket(
        id=str(row["id"]),
        subject=row.get("title") or "",
        status=label_of(row.get("status")),
        priority=label_of(row.get("priority")),
        assignee=link_id(row.get("assignedto")),
        tags=frozenset(str(label_of(link)) for link in tags or ()),
        fields={name: from_property(kind, row.get(name)) for name, kind in config.fields.items()},
        contact=people.get(link_id(row.get("creator")) or ""),
        comment_count=len(row.get("messages") or ()),
        created_at=moment(row.get("creation")),
        updated_at=moment(row.get("activity")),
        marker=row.get(config.marker_property) or None,
        url=f"{base}/issue{row['id']}",
        version=row.get("@etag"),
    )


def comment_of(row: Mapping[str, Any], config: RoundupConfig, author: Person | None, own: bool) -> Comment:
    """A message's row as a comment without its files; the line that names an author is ours to take off again."""
    body = read(row.get("content") or "", config.markup)
    marker = row.get(config.marker_property) or None
    text, ref = unsign(body.text)
    if own and author and ref and Marker.parse(marker):
        author = replace(author, name=body.text.split(" · ", 1)[0], email=None, kind="contact")
        body = read(text, config.markup)
    return Comment(
        id=str(row["id"]),
        body=body,
        author=author,
        private=bool(config.private_property and row.get(config.private_property)),
        created_at=moment(row.get("date") or row.get("creation")),
        marker=marker,
    )


def attachment_of(row: Mapping[str, Any], base: str) -> Attachment:
    """A file's row; Roundup does not tell its size."""
    name = safe_file_name(row.get("name") or f"file{row['id']}")
    url = f"{base}/file{row['id']}/{quote(name)}"
    return Attachment(str(row["id"]), name, row.get("type") or "application/octet-stream", url=url)


def file_at(url: str | None) -> str | None:
    """The id of the file that an attachment's URL names."""
    found = re.search(r"/file(\d+)/[^/]*$", url or "")
    return found[1] if found else None


def person_of(row: Mapping[str, Any]) -> Person:
    """A user's row; `address` is there only when we may see it."""
    name = str(row.get("realname") or row.get("username") or "")
    return Person(str(row["id"]), name, row.get("address") or None, "user")


def with_loose_files(messages: Sequence[Mapping[str, Any]], loose: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages, with the files that hang on the issue alone at the message that came with them.

    A web form makes a message and a file in one go. A file that came without words is a message of its own.
    """
    found = [{**message, "files": list(message.get("files") or ())} for message in messages]
    for file in loose:
        host = next((message for message in found if _together(message, file)), None)
        if host is None:
            made = {name: file.get(name) for name in ("creator", "creation")}
            host = {**made, "id": f"file{file['id']}", "date": file.get("creation"), "files": []}
            found.append(host)
        host["files"].append({"id": file["id"]})
    return found


def _together(message: Mapping[str, Any], file: Mapping[str, Any]) -> bool:
    made, came = moment(message.get("creation")), moment(file.get("creation"))
    same = link_id(message.get("creator")) == link_id(file.get("creator"))
    return same and made is not None and came is not None and abs(made - came) <= timedelta(seconds=1)


def moved(old: Ticket, new: Ticket) -> set[str]:
    """The fields whose values differ; a custom field that the old reading leaves out counts as unchanged."""
    before, after = values(old), values(new)
    return {name for name in before if before[name] != after.get(name)}


def moment(text: Any) -> datetime | None:
    """The moment that Roundup wrote, or None."""
    try:
        return datetime.strptime(str(text), STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def ids(links: Any) -> list[str]:
    """The ids of a multilink, as it was read."""
    return [str(link["id"]) for link in links or ()]


def link_id(link: Any) -> str | None:
    """The id of a link."""
    return str(link["id"]) if link else None


def label_of(link: Any) -> str | None:
    """The name of a link, which stands under the name of its class's label property."""
    names = [str(value) for key, value in (link or {}).items() if key not in {"id", "link"} and value is not None]
    return names[0] if names else None


def age(item_id: str) -> int:
    """Ids are numbers that grow; that of a file stands in for a message's where the file came without one."""
    return int(item_id.removeprefix("file"))


def one_line(value: Value) -> str:
    """The text on one line, without outer white space, which Roundup cuts off."""
    return " ".join(plain("" if value is None else str(value)).split("\n")).strip()


def from_property(kind: FieldType, value: Any) -> Value:
    """A property's value as the field's."""
    if value is None or value == "":
        return None
    if kind == "enum":
        return label_of(value)
    if kind == "boolean":
        return bool(value)
    if kind in {"date", "datetime"}:
        at = moment(value)
        return None if at is None else at.date().isoformat() if kind == "date" else at.isoformat()
    return float(value) if kind == "number" else str(value)


def to_property(kind: FieldType, value: Value) -> str:
    """What to send for a field; empty means absent, because a JSON null is ignored."""
    value = canonical_property(kind, value)
    if value is None:
        return ""
    if kind == "datetime":
        return f"{datetime.fromisoformat(str(value)):{STAMP}}"
    return str(value)


def canonical_property(kind: FieldType, value: Value) -> Value:
    """What will be read back of a field's value; what the property cannot take stays as it is, to be refused."""
    if value is None or not str(value).strip():
        return None
    try:
        return _canonical(kind, value)
    except (ValueError, OverflowError):
        return value


def _canonical(kind: FieldType, value: Value) -> Value:
    if kind == "boolean":
        return str(value).strip().lower() in {"checked", "yes", "true", "on", "1"}
    if kind == "number":
        return float(value or 0)
    if kind == "date":
        return date.fromisoformat(str(value)[:10]).isoformat()
    if kind == "datetime":
        at = datetime.fromisoformat(str(value))
        return (at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)).replace(microsecond=0).isoformat()
    return plain(str(value)).strip() or None
