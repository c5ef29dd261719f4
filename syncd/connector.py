"""The port: what a connector's author implements, and nothing else they must read.

The author writes no retry, no paging state, no linking, no echo detection, no conflict rule, no logging and no SQL.
`connectors/memory.py` is the reference; `syncd/testing.py` is the suite that every connector inherits.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from syncd.http import Transport
from syncd.model import Attachment, Comment, Field, Person, Side, Status, Team, Ticket, User, Value


class ConnectorConfig(BaseModel):
    """The base of every connector's own table of the configuration: unknown keys are errors, secrets are masked."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def credentials_end(self) -> datetime | None:
        """When the account's credentials end, where that is known: for `syncd status` and the metrics."""
        return None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a product can and cannot do, so that the engine asks only for what is possible.

    `resolution` is the coarseness of `updated_at` in seconds. `index_lag` is how long, in seconds, a fresh ticket may
    stay unseen by `find`. `comments_on_create` is how many comments one create call carries. `create_ignores` names
    fields that a create call may silently leave at the product's default. `private` says whether a comment can be
    hidden from customers, `tags`, `team`, `contact` and `edits` whether the product has them. `reuses_uploads` says
    that a file once uploaded can be named again by its URL. `invisible` names kinds
    of change that `changes` never shows, which the sweep finds: `fields`, `comment-edit`, `comment-delete`,
    `attachment-delete`.
    """

    resolution: float = 0.0
    index_lag: float = 0.0
    comments_on_create: int = 0
    create_ignores: frozenset[str] = frozenset()
    private: bool = True
    tags: bool = True
    team: bool = True
    contact: bool = False
    edits: bool = True
    attachments: bool = True
    delete: bool = True
    trash: bool = False
    reuses_uploads: bool = False
    max_attachment: int | None = None
    invisible: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Change:
    """One row of a change feed: look at this ticket.

    `deep` asks for a full read because the conversation changed in a way the short form does not show. `row` is the
    ticket itself where the feed carries it. `event` is the id of an event that a later reading may show again.
    `comment` is the comment it is about: a new one that is known already is no news, and where the feed does not
    name the ticket (`id` is empty) it leads there.
    """

    id: str
    updated_at: datetime | None = None
    why: str = "changed"
    deep: bool = False
    event: str | None = None
    comment: str | None = None
    row: Ticket | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a change feed and the cursor that is safe to store once the page's changes are."""

    changes: tuple[Change, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What to write to a ticket: new values by field name (`subject`, `field:Severity`, …), tags to add and remove."""

    fields: Mapping[str, Value] = field(default_factory=dict)
    add_tags: frozenset[str] = frozenset()
    remove_tags: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.fields or self.add_tags or self.remove_tags)


@dataclass(frozen=True, slots=True)
class Written:
    """What a comment's write left behind: the comment as stored, and the ticket when it had to be read again."""

    comment: Comment
    ticket: Ticket | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on our own disk that a comment shall carry; `sha256` is its content's hex digest.

    `held_at` is where this account already holds the same bytes under the same name, if it does.
    """

    path: Path
    file_name: str
    content_type: str
    size: int
    sha256: str
    held_at: str | None = None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of an account that name tables translate: resolved once, at start.

    `priorities` are ordered from the lowest to the highest.
    """

    statuses: tuple[Status, ...] = ()
    priorities: tuple[str, ...] = ()
    users: tuple[User, ...] = ()
    teams: tuple[Team, ...] = ()
    fields: tuple[Field, ...] = ()
    own_user: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a live check: what was looked at, whether it is fine, and what to do when it is not."""

    what: str
    ok: bool
    hint: str = ""


class Connector(ABC):
    """One configured account of one product.

    Every coroutine raises the classes of `syncd.errors` and nothing else. Reading changes nothing. A write returns
    what the product stored, as read back: never what was asked for.
    """

    name: ClassVar[str]
    Config: ClassVar[type[ConnectorConfig]]
    capabilities: Capabilities

    #: What reaches the account, where it speaks HTTP: the engine reads its clock skew and its counters there.
    transport: Transport | None = None

    def __init__(self, side: Side, workspace: str) -> None:
        self.side = side
        self.workspace = workspace

    @classmethod
    @abstractmethod
    def open(cls, config: Any, side: Side, workspace: str) -> AbstractAsyncContextManager["Connector"]:
        """The account, ready to use inside `async with`; opens the HTTP session and closes it."""

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def streams(self) -> Sequence[str]:
        """The names of the change feeds, in the order in which they are read; the later ones repair the first."""

    @abstractmethod
    def changes(self, stream: str, cursor: str | None) -> AsyncIterator[Page]:
        """The pages of a change feed since `cursor`; None reads everything there is.

        A page's cursor is stored together with its changes, so a cursor must never pass a change that was not yielded.
        """

    @abstractmethod
    async def get(self, ticket_id: str) -> Ticket:
        """The ticket with its whole conversation. Raises Gone, Moved."""

    @abstractmethod
    async def get_many(self, ids: Sequence[str]) -> Mapping[str, Ticket]:
        """Up to 100 tickets, in the short form where that is cheaper; an id that is missing there is not listed."""

    @abstractmethod
    async def find(self, marker: str) -> Sequence[Ticket]:
        """The tickets that carry exactly this marker, the oldest first."""

    @abstractmethod
    async def vocabulary(self) -> Vocabulary:
        """The account's statuses, priorities, users, teams and custom fields."""

    async def ticket_of(self, comment_id: str) -> str | None:
        """The ticket that a comment named by the change feed belongs to, or None when it cannot be found."""
        return None

    async def field_times(self, ticket: Ticket) -> Mapping[str, datetime]:
        """When each field last changed, for the fields where the product can tell; asked only on a conflict."""
        return ticket.times

    @abstractmethod
    async def check(self) -> Sequence[Finding]:
        """Try credentials, rights and names against the account, for `syncd check --live`."""

    # -- writing ------------------------------------------------------------------------------------------------

    @abstractmethod
    async def create(self, ticket: Ticket, marker: str, uploads: Mapping[str, Sequence[Upload]]) -> Ticket:
        """Make the ticket, carrying `marker` in the create call itself; `uploads` are the files by comment id.

        A ticket that is nobody's copy, because a caller of the API makes it, has an empty marker.
        `ticket.comments` holds at most `capabilities.comments_on_create` comments. Their `marker`s go along too.
        """

    @abstractmethod
    async def update(self, ticket: Ticket, changes: Changes) -> Ticket:
        """Write these fields and tags; `ticket` is the destination as it was last read.

        Raises Refused when the product does not take a value: nothing of `changes` is then written, or
        the ticket as read back by the next `get` shows what was.
        """

    @abstractmethod
    async def comment(self, ticket_id: str, comment: Comment, uploads: Sequence[Upload]) -> Written:
        """Add the comment, carrying `comment.marker`; never more public than `comment.private` says."""

    async def edit_comment(self, ticket_id: str, comment: Comment) -> Comment:
        """Replace the body of the comment with this id. Raises Refused where the product cannot."""
        raise NotImplementedError(f"{self.name} has no comment edits")

    async def delete(self, ticket_id: str) -> None:
        """Delete the ticket for good; a ticket that is gone already is fine."""
        raise NotImplementedError(f"{self.name} has no delete")

    @abstractmethod
    def download(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """The file's content in chunks. Raises Gone, Forbidden."""

    # -- pure ---------------------------------------------------------------------------------------------------

    def canonical(self, name: str, value: Value) -> Value:
        """What will be read back when `value` is written to the field `name`: truncated, cleaned, respelled."""
        return value

    def canonical_tag(self, tag: str) -> str:
        """What will be read back when this tag is added."""
        return tag

    def hinted(self, headers: Mapping[str, str], body: bytes) -> Iterable[str] | None:
        """The ids that a verified webhook call names (empty: something changed), or None when it is not genuine."""
        return None

    # -- what the engine may ask --------------------------------------------------------------------------------

    def label(self, ticket_id: str) -> str:
        """How people name this ticket."""
        return f"{self.name} {ticket_id}"

    @property
    def skew(self) -> float:
        """How many seconds the account's clock is ahead of ours, as measured."""
        return self.transport.skew if self.transport else 0.0

    def author(self, person: Person | None) -> str:
        """The name under which a comment's author is shown elsewhere."""
        return (person.name or person.email or "somebody") if person else "somebody"
