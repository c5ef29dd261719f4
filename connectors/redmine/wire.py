"""Redmine's JSON to the unified model, and back. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from connectors.redmine.account import CustomField, Json, Names, listed
from syncd.connector import Changes
from syncd.errors import Gone, Refused
from syncd.model import CUSTOM, Attachment, Comment, Marker, Person, Side, Ticket, Value, values
from syncd.text import Markup, plain, read, shorten, sign, unsign, write

DESCRIPTION = "description"  # the id of the comment that opens an issue
NO_SUBJECT = "(no subject)"
MAX_SUBJECT = 255
#: What a journal calls a field, and what the field is called here.
DETAILS = {
    "subject": "subject",
    "status_id": "status",
    "priority_id": "priority",
    "assigned_to_id": "assignee",
    "category_id": "team",
}
TRUE = frozenset({"1", "true", "yes"})
#: PostgreSQL refuses a NUL, and Redmine a lone surrogate: 400.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads issues of one account; `trust_all` takes the line of attribution from every user, not only our own."""

    names: Names
    url: str
    markup: Markup
    workspace: str
    other: Side
    by_category: bool
    trust_all: bool = False

    def row(self, issue: Json) -> Ticket:
        """An issue as a list shows it: without its conversation."""
        custom = {row["id"]: row.get("value") for row in issue.get("custom_fields", ())}
        names = self.names
        return Ticket(
            id=str(issue["id"]),
            subject=issue.get("subject") or "",
            status=_name(issue.get("status")),
            priority=_name(issue.get("priority")),
            assignee=_id(issue.get("assigned_to")),
            team=_name(issue.get("category")) if self.by_category else single(custom, names.team),
            tags=frozenset(tags_in(custom.get(names.tags.id))) if names.tags else frozenset(),
            fields=dict(self._fields(issue)),
            contact=_contact(single(custom, names.contact)),
            comments=None,
            created_at=moment(issue.get("created_on")),
            updated_at=moment(issue.get("updated_on")),
            marker=single(custom, names.marker),
            url=f"{self.url}/issues/{issue['id']}",
        )

    def full(self, issue: Json) -> Ticket:
        """An issue that was read with its journals and attachments: its conversation, and when each field changed."""
        comments = tuple(self._comments(issue))
        return replace(self.row(issue), comments=comments, comment_count=len(comments), times=self._times(issue))

    def _fields(self, issue: Json) -> Iterator[tuple[str, Value]]:
        for row in issue.get("custom_fields", ()):
            item = self.names.by_id(row["id"]) or CustomField(row["id"], row["name"])
            if item in self.names.plain_fields or (self.names.by_id(item.id) is None and not row.get("multiple")):
                yield row["name"], decoded(item, row.get("value"))

    def _times(self, issue: Json) -> dict[str, datetime]:
        """The last change of each field; a field that no journal mentions is as old as the issue."""
        special = {str(item.id): name for item, name in ((self.names.team, "team"), (self.names.tags, "tags")) if item}
        custom = {str(item.id): CUSTOM + item.name for item in self.names.plain_fields}
        cf = {**custom, **special}
        known = {*DETAILS.values(), *cf.values()}
        times: dict[str, datetime | None] = dict.fromkeys(known, moment(issue.get("created_on")))
        for journal in journals(issue):
            for detail in journal["details"]:
                table = DETAILS if detail["property"] == "attr" else cf if detail["property"] == "cf" else {}
                if name := table.get(detail["name"]):
                    times[name] = moment(journal["created_on"])
        return {name: time for name, time in times.items() if time}

    def _comments(self, issue: Json) -> Iterator[Comment]:
        files = {str(row["id"]): row for row in issue.get("attachments", ())}
        history = journals(issue)
        named = {file_id for journal in history for file_id in added(journal)}
        opening = [row for file_id, row in files.items() if file_id not in named]
        if (issue.get("description") or "").strip() or opening:
            yield self._comment(
                DESCRIPTION, issue.get("author"), issue["created_on"], issue.get("description"), opening, private=False
            )
        split = {before["id"]: after["id"] for before, after in pairwise(history) if is_split(before, after)}
        carried = {note: added(journal) for journal in history if (note := split.get(journal["id"]))}
        for journal in history:
            ids = [*carried.get(journal["id"], ()), *added(journal)]
            present = [files[file_id] for file_id in ids if file_id in files]
            if journal["id"] not in split and (has_notes(journal) or present):
                yield self._comment(
                    str(journal["id"]),
                    journal.get("user"),
                    journal["created_on"],
                    journal.get("notes"),
                    present,
                    private=bool(journal.get("private_notes")),
                )

    def _comment(
        self, comment_id: str, user: Json | None, at: str, text: str | None, files: Iterable[Json], *, private: bool
    ) -> Comment:
        line, body, ref = self.opened(text or "", _id(user))
        return Comment(
            id=comment_id,
            body=read(body, self.markup),
            author=Person("", line.partition(" · ")[0]) if ref else self._person(user),
            private=private,
            created_at=moment(at),
            attachments=tuple(self.file(row) for row in files),
            marker=str(Marker(self.workspace, self.other, ref)) if ref else None,
        )

    def opened(self, text: str, user_id: str | None) -> tuple[str, str, str | None]:
        """Our line of attribution, the text below it, and the id in it; the line counts only where we wrote it."""
        if user_id != self.names.account.me.id and not self.trust_all:
            return "", text, None
        rest, ref = unsign(text)
        source_id = (ref or "").partition(":")[2]
        return (plain(text).partition("\n")[0], rest, source_id) if source_id else ("", text, None)

    def _person(self, user: Json | None) -> Person | None:
        if not user:
            return None
        known = next((item for item in self.names.account.users if item.id == str(user["id"])), None)
        return Person(str(user["id"]), user["name"], known.email if known else None, "user")

    def file(self, row: Json) -> Attachment:
        """A file; its address is built on ours, because `content_url` names the host that Redmine believes it has."""
        return Attachment(
            id=str(row["id"]),
            file_name=row["filename"],
            content_type=row.get("content_type") or "application/octet-stream",
            size=row.get("filesize"),
            url=f"{self.url}/attachments/download/{row['id']}/{quote(row['filename'], safe='')}",
        )


# -- reading ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """The source of a comment as Redmine holds it."""

    text: str
    author: str | None
    private: bool = False


def held(issue: Json, comment_id: str) -> Held:
    """The comment's source in an issue that was read whole. Raises Gone."""
    if comment_id == DESCRIPTION:
        return Held(plain(issue.get("description") or ""), _id(issue.get("author")))
    for journal in issue.get("journals", ()):
        if str(journal["id"]) == comment_id:
            return Held(plain(journal.get("notes") or ""), _id(journal.get("user")), bool(journal.get("private_notes")))
    raise Gone(f"issue {issue['id']} has no note {comment_id}", status=404)


def journals(issue: Json) -> list[Json]:
    """The history in order; Redmine sends it in the order that the key's owner prefers."""
    return sorted(issue.get("journals", ()), key=lambda row: int(row["id"]))


def added(journal: Json) -> list[str]:
    """The ids of the files that came with a journal."""
    details = (item for item in journal["details"] if item["property"] == "attachment" and item.get("new_value"))
    return [str(item["name"]) for item in details]


def has_notes(journal: Json) -> bool:
    """Whether somebody wrote something."""
    return bool((journal.get("notes") or "").strip())


def is_split(before: Json, after: Json) -> bool:
    """Whether Redmine made two journals of one: a private note, and before it, public, what came with it."""
    return (
        bool(after.get("private_notes"))
        and not before.get("private_notes")
        and not has_notes(before)
        and not after["details"]
        and _id(before.get("user")) == _id(after.get("user"))
        and before["created_on"] == after["created_on"]
    )


def moment(text: str | None) -> datetime | None:
    """A time of Redmine's: whole seconds, always UTC."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def single(custom: Mapping[int, Any], item: CustomField | None) -> str | None:
    """The value of a custom field that holds one text, None when it is empty."""
    value = custom.get(item.id) if item else None
    return value or None if isinstance(value, str) else None


def tags_in(value: Any) -> list[str]:
    """The tags in a custom field: text with commas, or a list."""
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return [tag for part in parts if (tag := str(part).strip())]


def decoded(item: CustomField, value: Any) -> Value:
    """A custom field's value as a ticket shows it: a truth value, a label, or the text that Redmine holds."""
    if value is None or value == "" or isinstance(value, list):
        return None
    if item.format == "bool":
        return str(value).lower() in TRUE
    if item.format == "enumeration":
        return dict(item.options).get(str(value), str(value))
    return str(value)


def _name(row: Json | None) -> str | None:
    return row["name"] if row else None


def _id(row: Json | None) -> str | None:
    return str(row["id"]) if row else None


def _contact(address: str | None) -> Person | None:
    return Person(address, "", address, "contact") if address else None


# -- writing ----------------------------------------------------------------------------------------------------


def subject(value: Value) -> str:
    """A subject that Redmine takes: one line, not blank, 255 characters."""
    line = shorten(BLANKS.sub(" ", storable(str(value or ""))).strip(), MAX_SUBJECT)
    return line or NO_SUBJECT


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


def differing(ticket: Ticket, changes: Changes, canonical: Any) -> dict[str, Value]:
    """The wanted values that the ticket does not hold yet: a write that changes nothing bumps `updated_on`."""
    held = values(ticket)
    return {
        name: value
        for name, value in changes.fields.items()
        if name not in held or (held[name] or None) != (canonical(name, value) or None) or held[name] is False
    }


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


def below(line: str, text: str) -> str:
    """The text below a line of attribution, if there is one."""
    return plain(f"{line}\n\n{text}") if line else plain(text)


def stored_as(ticket: Ticket, comment: Comment, text: str, user_id: str) -> Comment:
    """The comment that was just written: the newest with its marker, or without one, our newest with its text.

    Raises Refused when there is none: a 204 also answers a note that the user may not add.
    """
    for candidate in reversed(ticket.comments or ()):
        is_ours = candidate.author is not None and candidate.author.id == user_id and candidate.body.text == text
        if candidate.marker == comment.marker if comment.marker else is_ours:
            return candidate
    raise Refused(f"Redmine did not keep the note on issue {ticket.id}", hint="may this user add notes?")
