"""The unified model: what every connector reads and writes, and the only words the engine knows.

Ids are strings, times are aware UTC datetimes, bodies carry text and HTML. Every class is frozen: a changed
ticket is a new ticket (`dataclasses.replace`). This module imports nothing of ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Literal


class Side(StrEnum):
    """One end of a workspace."""

    GORGIAS = "gorgias"
    REMOTE = "remote"

    @property
    def other(self) -> "Side":
        """The opposite end."""
        return Side.REMOTE if self is Side.GORGIAS else Side.GORGIAS


#: What a field of a ticket may hold in the engine: always JSON, so that a snapshot can be stored as it is.
Value = str | bool | int | float | None

NOTHING: Mapping[str, Value] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Body:
    """A text as people read it (`text`) and, where the product keeps it, as HTML (`html`, sanitised)."""

    text: str = ""
    html: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who writes or is written to: an agent (`user`), a customer (`contact`) or a rule (`system`)."""

    id: str
    name: str = ""
    email: str | None = None
    kind: Literal["user", "contact", "system"] = "contact"


@dataclass(frozen=True, slots=True)
class User:
    """An agent: somebody with a seat, who can be assigned; `login` is the short name that some products have."""

    id: str
    name: str
    email: str | None = None
    active: bool = True
    login: str | None = None


@dataclass(frozen=True, slots=True)
class Contact:
    """A customer: somebody who asks."""

    id: str
    name: str = ""
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Team:
    """A group of agents that a ticket can be assigned to."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A label of tickets; `color` is a hex string such as `#ff0000`."""

    id: str
    name: str
    color: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A custom field of tickets: `options` are its allowed values, empty when any value is."""

    id: str
    name: str
    type: Literal["string", "text", "number", "boolean", "date", "datetime", "enum", "array", "user"] = "string"
    options: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True)
class Collection:
    """A place that holds tickets: a project, a queue, a view."""

    id: str
    name: str
    type: str = "project"


@dataclass(frozen=True, slots=True)
class Status:
    """A status of a product's vocabulary and whether a ticket in it counts as closed."""

    name: str
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a comment; `size` is in bytes, `url` is where its account serves it (None before upload)."""

    id: str
    file_name: str
    content_type: str = "application/octet-stream"
    size: int | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Comment:
    """One message of a ticket's conversation.

    A product's description is the comment that opens the conversation, so that everything people wrote is in one
    list. `marker` is the key by which we know a comment that we made: see `Marker`.
    """

    id: str
    body: Body
    author: Person | None = None
    private: bool = False
    created_at: datetime | None = None
    attachments: tuple[Attachment, ...] = ()
    marker: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket as one side shows it, in that side's own words (statuses, priorities, user ids).

    `comments` is None when the product's short form was read, which says nothing about them; `comment_count` may
    still tell whether there is something new. `fields` maps a custom field's name to its value, and is None when
    the short form leaves them out. `assignee` is a user's id, `team` a team's name. `times` holds, where the product
    knows, when a single field last changed.
    """

    id: str
    subject: str = ""
    status: str | None = None
    priority: str | None = None
    assignee: str | None = None
    team: str | None = None
    tags: frozenset[str] = frozenset()
    fields: Mapping[str, Value] | None = field(default_factory=lambda: NOTHING)
    contact: Person | None = None
    comments: tuple[Comment, ...] | None = None
    comment_count: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    marker: str | None = None
    url: str | None = None
    hidden: bool = False
    trashed: bool = False
    version: str | None = None
    times: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))


#: The names of the fields that every ticket has; a custom field is `field:` and its name.
BUILT_IN = ("subject", "status", "priority", "assignee", "team")
CUSTOM = "field:"


def values(ticket: Ticket) -> dict[str, Value]:
    """The ticket's fields in one flat mapping: the form that snapshots, plans and intents use."""
    flat: dict[str, Value] = {name: getattr(ticket, name) for name in BUILT_IN}
    flat.update({CUSTOM + name: value for name, value in (ticket.fields or {}).items()})
    return flat


@dataclass(frozen=True, slots=True)
class Marker:
    """Our key, stored at the destination inside the create call: which source object a copy was made of.

    Written as `syncd:WORKSPACE:SIDE:ID`; a workspace's name holds no colon, an id may.
    """

    workspace: str
    side: Side
    id: str

    def __str__(self) -> str:
        return f"syncd:{self.workspace}:{self.side}:{self.id}"

    @classmethod
    def parse(cls, text: str | None) -> "Marker | None":
        """The marker that `text` is, or None when it is something else."""
        parts = (text or "").split(":", 3)
        if len(parts) != 4 or parts[0] != "syncd" or parts[2] not in set(Side) or not parts[3]:
            return None
        return cls(parts[1], Side(parts[2]), parts[3])


def utc(moment: datetime) -> datetime:
    """The same moment in UTC; a naive one is taken as UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
