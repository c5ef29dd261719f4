"""Redmine's JSON to the unified model. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from connectors.redmine.account import CustomField, Names, is_plain
from connectors.redmine.client import Json
from syncd.errors import Gone, Refused
from syncd.model import CUSTOM, Attachment, Comment, Marker, Person, Side, Ticket, Value
from syncd.text import Markup, plain, read, unsign

DESCRIPTION = "description"  # the id of the comment that opens an issue
#: What a journal calls a field, and what the field is called here.
DETAILS = {
    "subject": "subject",
    "status_id": "status",
    "priority_id": "priority",
    "assigned_to_id": "assignee",
}
TRUE = frozenset({"1", "true", "yes"})


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
            unknown = CustomField(row["id"], row["name"], multiple=bool(row.get("multiple")))
            item = self.names.known.get(row["id"], unknown)
            if is_plain(item) and item.id not in self.names.special:
                yield row["name"], decoded(item, row.get("value"))

    def _times(self, issue: Json) -> dict[str, datetime]:
        """The last change of each field; a field that no journal mentions is as old as the issue."""
        special = {str(item.id): name for item, name in ((self.names.team, "team"), (self.names.tags, "tags")) if item}
        custom = {str(item.id): CUSTOM + item.name for item in self.names.plain_fields}
        tables = {
            "cf": {**custom, **special},
            "attr": {**DETAILS, **({"category_id": "team"} if self.by_category else {})},
        }
        known = {name for table in tables.values() for name in table.values()}
        times: dict[str, datetime | None] = dict.fromkeys(known, moment(issue.get("created_on")))
        for journal in journals(issue):
            for detail in journal["details"]:
                if name := tables.get(detail["property"], {}).get(detail["name"]):
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
            author=named(line) if ref else self._person(user),
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


def named(line: str) -> Person:
    """Whom a line of attribution names."""
    who = line.partition(" · ")[0]
    name, _, email = who.rpartition(" ")
    return Person("", name, email) if "@" in email else Person("", who)


def _name(row: Json | None) -> str | None:
    return row["name"] if row else None


def _id(row: Json | None) -> str | None:
    return str(row["id"]) if row else None


def _contact(address: str | None) -> Person | None:
    return Person(address, "", address, "contact") if address else None


def stored_as(ticket: Ticket, comment: Comment, text: str, user_id: str) -> Comment:
    """The comment that was just written: the newest with its marker, or without one, our newest with its text.

    Raises Refused when there is none: a 204 also answers a note that the user may not add.
    """
    for candidate in reversed(ticket.comments or ()):
        is_ours = candidate.author is not None and candidate.author.id == user_id and candidate.body.text == text
        if candidate.marker == comment.marker if comment.marker else is_ours:
            return candidate
    raise Refused(f"Redmine did not keep the note on issue {ticket.id}", hint="may this user add notes?")
