"""The unified model to Redmine's JSON. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from connectors.redmine.account import CustomField, Names, listed
from connectors.redmine.client import Json
from connectors.redmine.reading import TRUE, tags_in
from syncd.connector import Changes, Upload
from syncd.errors import Refused
from syncd.model import CUSTOM, Body, Comment, Marker, Side, Ticket, Value, values
from syncd.text import Markup, plain, shorten, sign, write

NO_SUBJECT = "(no subject)"
MAX_SUBJECT = 255
#: PostgreSQL refuses a NUL, and Redmine a lone surrogate: 400.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
BREAKS = re.compile("[\x01-\x1f\x7f\x85\u2028\u2029]+")


def subject(value: Value) -> str:
    """A subject that Redmine takes: one line, not blank, 255 characters."""
    line = shorten(BREAKS.sub(" ", storable(str(value or ""))), MAX_SUBJECT)
    return line if line.strip() else NO_SUBJECT


def storable(text: str) -> str:
    """The text without what no database stores."""
    return UNSTORABLE.sub("", text)


def tag(text: str) -> str:
    """A tag that survives in a text with commas."""
    return " ".join(storable(text).replace(",", " ").split())


def encoded(item: CustomField, value: Value) -> str:
    """A custom field's value as Redmine holds it. Raises Refused for a label that does not exist."""
    if value is None:
        return ""
    if item.format == "bool":
        return "1" if str(value).lower() in TRUE else "0"
    if item.format == "enumeration":
        return str(number_of(str(value), {label: key for key, label in item.options}, item.name))
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return storable(str(value))


def number_of(name: str, known: Mapping[str, Any], what: str) -> Any:
    """The number behind a name. Raises Refused with the names that exist."""
    if name not in known:
        raise Refused(f"Redmine has no {what} {name!r}", hint=f"there are {listed(known)}", fields=[what])
    return known[name]


def attributes(names: Names, wanted: Mapping[str, Value], by_category: bool) -> Json:
    """Field values as the body of a call. Raises Refused for a value that Redmine cannot hold."""
    account = names.account
    body: Json = {}
    custom: list[Json] = []
    for name, value in wanted.items():
        if name == "subject":
            body["subject"] = subject(value)
        elif name == "status":
            body["status_id"] = number_of(str(value), account.statuses, "status")
        elif name == "priority":
            body["priority_id"] = number_of(str(value), account.priorities, "priority")
        elif name == "assignee":
            body["assigned_to_id"] = _number(value, "assignee")
        elif name == "team" and by_category:
            body["category_id"] = number_of(str(value), account.categories, "category") if value else ""
        else:
            item = names.team if name == "team" else names.by_name(name.removeprefix(CUSTOM))
            custom.append(_custom(item, name, value, names))
    return {**body, "custom_fields": custom} if custom else body


def _custom(item: CustomField | None, name: str, value: Value, names: Names) -> Json:
    if item is None:
        hint = f"there are {listed(item.name for item in names.plain_fields)}"
        raise Refused(f"Redmine has no place for {name}", hint=hint, fields=[name])
    return {"id": item.id, "value": encoded(item, value)}


def _number(value: Value, name: str) -> int | str:
    """An id as a number; an empty text clears a field."""
    if value in {None, ""}:
        return ""
    if not str(value).isdigit():
        raise Refused(f"Redmine knows no {name} {value!r}: ids are numbers", fields=[name])
    return int(str(value))


def differing(ticket: Ticket, changes: Changes, canonical: Callable[[str, Value], Value]) -> dict[str, Value]:
    """The wanted values that the ticket does not hold yet: a write that changes nothing bumps `updated_on`."""
    held = values(ticket)
    wanted = changes.fields.items()
    return {
        name: value for name, value in wanted if name not in held or blank(held[name]) != blank(canonical(name, value))
    }


def blank(value: Value) -> Value:
    """Redmine reads an empty value back as null or as an empty text: both are none."""
    return None if value == "" else value


def merged_tags(value: Any, changes: Changes) -> Any:
    """The tags field's new value, in its own form and order; what was there keeps its spelling."""
    held = tags_in(value)
    kept = [item for item in held if item not in changes.remove_tags]
    together = [*kept, *sorted(changes.add_tags - set(kept))]
    return together if isinstance(value, list) else ", ".join(together)


def signed(comment: Comment, markup: Markup, side: Side) -> str:
    """The source of a comment, below the line that says who wrote it and of what it is a copy."""
    text = write(comment.body, markup)
    marker = Marker.parse(comment.marker)
    if marker is None:
        return text
    person = comment.author
    who = " ".join(part for part in (person.name, person.email) if part) if person else ""
    channel = re.sub(r"[^\w.-]+", "-", comment.channel or str(side.other))
    return sign(text, who, comment.created_at or datetime.now(UTC), f"{channel}:{marker.id}")


def without_files(comment: Comment, uploads: Sequence[Upload]) -> Comment:
    """The comment with its files named in its text, where they may not go along."""
    addresses = {file.file_name: file.url or "" for file in comment.attachments}
    lines = [f"[{file.file_name}: not copied {addresses.get(file.file_name, '')}".rstrip() + "]" for file in uploads]
    text = "\n".join(part for part in (comment.body.text, *lines) if part)
    return replace(comment, body=Body(text)) if lines else comment


def below(line: str, text: str) -> str:
    """The text below a line of attribution, if there is one."""
    return plain(f"{line}\n\n{text}") if line else plain(text)
