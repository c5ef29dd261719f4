"""A helpdesk in a dict: the product that the memory connector speaks to, with every oddity as an option.

A `Desk` stands for the server. Connectors reach it through `connectors/memory.py`; people (tests, demos) act on it
directly with `add_ticket`, `edit`, `say` and so on, as somebody would in the product's own pages.
"""

import itertools
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, ClassVar

from syncd.errors import Gone, Moved, Refused
from syncd.model import CUSTOM, Attachment, Body, Comment, Field, Person, Status, Team, Ticket, User, Value, values

#: Awaited as (method, "before" | "after") around every call of a connector; what it raises, the call raises.
Fault = Callable[[str, str], Awaitable[None]]

STATUSES = (Status("open"), Status("pending"), Status("closed", closed=True))
PRIORITIES = ("low", "normal", "high", "critical")
AGENTS = (User("1", "Ann Agent", "ann@desk.example"), User("2", "Bob Agent", "bob@desk.example"))
SYNC_USER = User("9", "syncd", "syncd@desk.example")
TEAMS = (Team("1", "Support"), Team("2", "Warehouse"))
FIELDS = (Field("1", "Order"), Field("2", "Severity", "enum", ("minor", "major")), Field("3", "Weight", "number"))
CUSTOMER = Person("100", "Carla Customer", "carla@customer.example")


async def no_fault(_method: str, _moment: str) -> None:
    """The hook of a desk where nothing goes wrong."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the desk's own log: what happened to which ticket, and from when on the feed shows it."""

    at: datetime
    shown_at: datetime
    ticket_id: str
    why: str
    comment_id: str | None = None


@dataclass
class Desk:
    """The state of the product, and its options.

    `resolution` rounds every stamp down. `index_lag` hides a fresh ticket from searches. `late` keeps what people do
    (not what connectors do, so that changes come out of order) off the feed for that long. `skew` is how far the
    clock runs ahead of `now`. `short_rows` leaves comments out of lists. `nameless` leaves the ticket out of a new
    comment's line of the feed. `reuses_uploads` takes a file's URL in place of its content. `aliases` are statuses
    that are taken and stored as another. `conditional` refuses an update that was made of an old version.
    `invisible` names kinds of change that leave no trace (see `Capabilities`).
    """

    name: str = "desk"
    resolution: float = 0.0
    index_lag: float = 0.0
    late: float = 0.0
    skew: float = 0.0
    page_size: int = 100
    short_rows: bool = False
    nameless: bool = False
    reuses_uploads: bool = False
    comments_on_create: int = 1
    create_ignores: frozenset[str] = frozenset()
    subject_limit: int = 255
    lower_tags: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    statuses: tuple[Status, ...] = STATUSES
    priorities: tuple[str, ...] = PRIORITIES
    users: tuple[User, ...] = (*AGENTS, SYNC_USER)
    teams: tuple[Team, ...] = TEAMS
    fields: tuple[Field, ...] = FIELDS
    private: bool = True
    conditional: bool = False
    keeps_times: bool = True
    invisible: frozenset[str] = frozenset()
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    fault: Fault = no_fault

    tickets: dict[str, Ticket] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    log: list[Event] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _child_ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1001))
    _last: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    _named: ClassVar[dict[str, "Desk"]] = {}

    @classmethod
    def named(cls, name: str, **options: Any) -> "Desk":
        """The desk that this process knows by this name; `options` are those of a new one."""
        if name not in cls._named:
            cls._named[name] = cls(name, **options)
        return cls._named[name]

    @classmethod
    def forget_all(cls) -> None:
        """Close every named desk, so that the next `named` starts anew."""
        cls._named.clear()

    # -- what people do -----------------------------------------------------------------------------------------

    def add_ticket(
        self,
        subject: str = "",
        text: str | None = None,
        *,
        author: Person | None = CUSTOMER,
        tags: Iterable[str] = (),
        files: Mapping[str, bytes] = MappingProxyType({}),
        **fields: Value,
    ) -> str:
        """Somebody opens a ticket, with `text` as its first comment. Returns the ticket's id."""
        ticket_id = self.open(Ticket("", subject, contact=author), None, by_person=True)
        self.write(ticket_id, fields, tags, by_person=True)
        if text is not None:
            self.say(ticket_id, text, author=author, files=files)
        return ticket_id

    def edit(self, ticket_id: str, **fields: Value) -> None:
        """Somebody changes fields; a custom one is named `field:Order`."""
        self.write(ticket_id, fields, by_person=True)

    def tag(self, ticket_id: str, *tags: str) -> None:
        """Somebody adds tags."""
        self.write(ticket_id, add=tags, by_person=True)

    def untag(self, ticket_id: str, *tags: str) -> None:
        """Somebody takes tags off."""
        self.write(ticket_id, remove=tags, by_person=True)

    def say(
        self,
        ticket_id: str,
        text: str,
        *,
        author: Person | None = CUSTOMER,
        private: bool = False,
        files: Mapping[str, bytes] = MappingProxyType({}),
    ) -> str:
        """Somebody writes a comment, perhaps with files. Returns the comment's id."""
        attachments = tuple(self.keep(name, "text/plain", content) for name, content in files.items())
        comment = Comment("", Body(text), author, private, attachments=attachments)
        return self.append(ticket_id, comment, by_person=True).id

    def edit_comment(self, ticket_id: str, comment_id: str, text: str) -> None:
        """Somebody rewrites a comment."""
        self.rewrite(ticket_id, comment_id, Body(text), by_person=True)

    def delete_comment(self, ticket_id: str, comment_id: str) -> None:
        """Somebody deletes a comment."""
        rest = [comment for comment in self.conversation(ticket_id) if comment.id != comment_id]
        self._touch(ticket_id, "comment-delete", True, comments=tuple(rest))

    def delete_attachment(self, ticket_id: str, attachment_id: str) -> None:
        """Somebody deletes a file of a comment."""
        comments = tuple(
            replace(comment, attachments=tuple(file for file in comment.attachments if file.id != attachment_id))
            for comment in self.conversation(ticket_id)
        )
        del self.files[attachment_id]
        self._touch(ticket_id, "attachment-delete", True, comments=comments)

    def trash(self, ticket_id: str, trashed: bool = True) -> None:
        """Somebody moves the ticket to the trash, or takes it out again."""
        self._touch(ticket_id, "trash", True, trashed=trashed)

    def hide(self, ticket_id: str, hidden: bool = True) -> None:
        """Somebody calls the ticket spam, or no spam."""
        self._touch(ticket_id, "spam", True, hidden=hidden)

    def split(self, ticket_id: str, comment_id: str) -> str:
        """Somebody makes a comment a ticket of its own, which is returned."""
        moved = next(comment for comment in self.conversation(ticket_id) if comment.id == comment_id)
        self.delete_comment(ticket_id, comment_id)
        made = self.open(Ticket("", self.read(ticket_id).subject, contact=moved.author), None, by_person=True)
        self._touch(made, "comment", True, comment_id=moved.id, comments=(moved,))
        return made

    def delete(self, ticket_id: str, *, by_person: bool = True) -> None:
        """Somebody deletes the ticket for good."""
        if self.tickets.pop(ticket_id, None):
            self._note(ticket_id, "deleted", by_person)

    def merge(self, ticket_id: str, into: str) -> None:
        """Somebody merges the ticket into another one, which gets its comments."""
        comments = (*self.conversation(into), *self.conversation(ticket_id))
        del self.tickets[ticket_id]
        self.merged[ticket_id] = into
        self._note(ticket_id, "merged", True)
        self._touch(into, "merged", True, comments=comments)

    # -- what the server does for its API -----------------------------------------------------------------------

    def read(self, ticket_id: str) -> Ticket:
        """The ticket as stored. Raises Gone, Moved."""
        if ticket_id in self.merged:
            raise Moved(f"ticket {ticket_id} was merged", to=self.merged[ticket_id])
        if ticket_id not in self.tickets:
            raise Gone(f"there is no ticket {ticket_id}", status=404)
        return self.tickets[ticket_id]

    def conversation(self, ticket_id: str) -> tuple[Comment, ...]:
        """The ticket's comments, the oldest first."""
        return self.read(ticket_id).comments or ()

    def events(self, since: datetime, skip: int) -> list[tuple[int, Event]]:
        """A page of the log from a moment on, each line with the `skip` that continues after it."""
        first = max(skip, bisect_left(self.log, since, key=lambda event: self.rounded(event.at)))
        now = self.clock()
        shown = ((number + 1, self.log[number]) for number in range(first, len(self.log)))
        return list(itertools.islice((line for line in shown if line[1].shown_at <= now), self.page_size))

    def search(self, marker: str) -> list[Ticket]:
        """The indexed tickets that carry this marker, the oldest first."""
        newest = self.clock() - timedelta(seconds=self.index_lag)
        found = [ticket for ticket in self.tickets.values() if ticket.marker == marker]
        return [ticket for ticket in found if not self.index_lag or (ticket.created_at or newest) <= newest]

    def open(self, ticket: Ticket, marker: str | None, *, by_person: bool = False) -> str:
        """Store a new ticket without comments and return its id."""
        ticket_id = str(next(self._ids))
        stamp = self.rounded(self._tick())
        self.tickets[ticket_id] = Ticket(
            ticket_id, status=self.statuses[0].name, priority=self.priorities[1], contact=ticket.contact, comments=(),
            comment_count=0, created_at=stamp, marker=marker, url=f"memory://{self.name}/{ticket_id}",
            # A field without a value is shown as such: one that is not shown is one that the ticket does not have.
            fields=MappingProxyType({field.name: None for field in self.fields}),
        )  # fmt: skip
        self.write(ticket_id, {"subject": ticket.subject}, by_person=by_person, why="created")
        return ticket_id

    def write(
        self,
        ticket_id: str,
        fields: Mapping[str, Value] = MappingProxyType({}),
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
        *,
        by_person: bool = False,
        why: str = "edited",
    ) -> None:
        """Store fields and tags, all or none of them. Raises Refused for a value the desk does not know."""
        ticket, cleaned = self.read(ticket_id), self.checked(fields)
        custom = {name.removeprefix(CUSTOM): value for name, value in cleaned.items() if name.startswith(CUSTOM)}
        news: dict[str, Any] = {name: value for name, value in cleaned.items() if not name.startswith(CUSTOM)}
        if custom:
            news["fields"] = MappingProxyType({**(ticket.fields or {}), **custom})
        news["tags"] = (ticket.tags | set(map(self.clean_tag, add))) - set(map(self.clean_tag, remove))
        before = values(ticket)
        changed = [name for name, value in cleaned.items() if before.get(name) != value]
        changed += ["tags"] if news["tags"] != ticket.tags else []
        if changed or why == "created":
            self._touch(ticket_id, "fields" if 0 < len(custom) == len(cleaned) else why, by_person, changed, **news)

    def checked(self, fields: Mapping[str, Value]) -> dict[str, Value]:
        """The fields as they would be stored. Raises Refused for a value the desk does not know."""
        cleaned = {name: self.clean(name, value) for name, value in fields.items()}
        for name, value in cleaned.items():
            self._demand(name, value)
        return cleaned

    def append(self, ticket_id: str, comment: Comment, *, by_person: bool = False) -> Comment:
        """Store a comment at the end of the conversation and return it as stored."""
        body = replace(comment.body, text=tidy(comment.body.text))
        stamp = self.rounded(self._tick())
        stored = replace(comment, id=str(next(self._child_ids)), body=body, created_at=stamp)
        comments = (*self.conversation(ticket_id), stored)
        self._touch(ticket_id, "comment", by_person, comment_id=stored.id, comments=comments)
        return stored

    def rewrite(
        self, ticket_id: str, comment_id: str, body: Body, *, private: bool = False, by_person: bool = False
    ) -> Comment:
        """Replace a comment's body, perhaps hide it, and return the comment as stored. Raises Gone."""
        old = next((comment for comment in self.conversation(ticket_id) if comment.id == comment_id), None)
        if old is None:
            raise Gone(f"ticket {ticket_id} has no comment {comment_id}", status=404)
        new = replace(old, body=replace(body, text=tidy(body.text)), private=old.private or private)
        comments = tuple(new if comment is old else comment for comment in self.conversation(ticket_id))
        self._touch(ticket_id, "comment-edit", by_person, comments=comments)
        return new

    def keep(self, file_name: str, content_type: str, content: bytes | None, held_at: str | None = None) -> Attachment:
        """Store a file's content, or that behind a URL of ours, and return what a comment shows of it."""
        file_id = str(next(self._child_ids))
        if content is None:
            content = self.files[str(held_at).rpartition("/")[2]]
        self.files[file_id] = content
        name = PurePosixPath(tidy(file_name).replace("\n", " ")).name.strip() or "file"
        return Attachment(file_id, name, content_type, len(content), f"memory://{self.name}/files/{file_id}")

    # -- what the server makes of a value -----------------------------------------------------------------------

    def clean(self, name: str, value: Value) -> Value:
        """What is stored when this value is written: one tidy line of a limited length, a status under one name."""
        if name == "subject":
            return " ".join(tidy(str(value or "")).split())[: self.subject_limit].strip()
        if name == "status":
            return self.aliases.get(str(value), value)
        return " ".join(tidy(value).split()) if isinstance(value, str) else value

    def clean_tag(self, tag: str) -> str:
        """What is stored when this tag is added."""
        tag = " ".join(tidy(tag).split())
        return tag.lower() if self.lower_tags else tag

    def _demand(self, name: str, value: Value) -> None:
        known: dict[str, set[Any]] = {
            "status": {status.name for status in self.statuses},
            "priority": {None, *self.priorities},
            "assignee": {None, *(user.id for user in self.users if user.active)},
            "team": {None, *(team.name for team in self.teams)},
            **{CUSTOM + field.name: {None, "", *field.options} for field in self.fields if field.options},
        }
        free = {"subject", *(CUSTOM + field.name for field in self.fields)}
        if (name not in known and name not in free) or (name in known and value not in known[name]):
            raise Refused(f"the desk does not take {value!r} for {name}", fields=[name])

    # -- time ---------------------------------------------------------------------------------------------------

    def clock(self) -> datetime:
        """What the desk's own clock shows."""
        return self.now() + timedelta(seconds=self.skew)

    def rounded(self, moment: datetime) -> datetime:
        """The moment as the desk's API writes it."""
        if not self.resolution:
            return moment
        return datetime.fromtimestamp(moment.timestamp() // self.resolution * self.resolution, UTC)

    def _tick(self) -> datetime:
        # No two things happen in one moment, even under a clock that a test has stopped.
        self._last = max(self.clock(), self._last + timedelta(microseconds=1))
        return self._last

    def _touch(
        self,
        ticket_id: str,
        why: str,
        by_person: bool,
        changed: Iterable[str] = (),
        *,
        comment_id: str | None = None,
        **news: Any,
    ) -> None:
        ticket = replace(self.read(ticket_id), **news)
        if why not in self.invisible:
            stamp = self.rounded(self._note(ticket_id, why, by_person, comment_id))
            times = MappingProxyType({**ticket.times, **dict.fromkeys(changed, stamp)})
            ticket = replace(ticket, updated_at=stamp, times=times if self.keeps_times else ticket.times)
        version = str(int(ticket.version or 0) + 1) if self.conditional else None
        self.tickets[ticket_id] = replace(ticket, comment_count=len(ticket.comments or ()), version=version)

    def _note(self, ticket_id: str, why: str, by_person: bool, comment_id: str | None = None) -> datetime:
        shown_at = self.clock() + timedelta(seconds=self.late if by_person else 0)
        self.log.append(Event(self._tick(), shown_at, ticket_id, why, comment_id))
        return self._last


def tidy(text: str) -> str:
    """The text with plain line ends and without NUL."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
