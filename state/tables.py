"""The rows. Every UNIQUE carries weight: it is what makes a second copy impossible rather than unlikely."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

Json = dict[str, Any]
#: PostgreSQL uses up a number for every INSERT that turns into an UPDATE: 31 bits do not last.
Id: Any = BigInteger().with_variant(Integer(), "sqlite")
#: SQLite gives the number of a deleted last row to the next new one, unless told otherwise. Work that still holds the
#: old row must not take the new one for it.
NEVER_AGAIN = {"sqlite_autoincrement": True}
#: Constraints with names can be changed by a later migration, on SQLite too.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Lease(SQLModel, table=True):
    """Who works on a workspace; `epoch` grows with every owner, so that a former one can be refused."""

    workspace: str = Field(primary_key=True)
    holder: str
    epoch: int
    expires_at: datetime


class Link(SQLModel, table=True):
    """This Gorgias ticket and that remote ticket are one; an id is null until its create has landed."""

    __table_args__ = (
        UniqueConstraint("workspace", "gorgias_id"),
        UniqueConstraint("workspace", "remote_id"),
    )
    id: int | None = Field(default=None, primary_key=True, sa_type=Id)
    workspace: str
    gorgias_id: str | None = None
    remote_id: str | None = None
    created_at: datetime
    #: `linked`, `unlinked` (a person or `on_delete` said so) or `deleted`.
    state: str = "linked"


class Snapshot(SQLModel, table=True):
    """A side of a link at the last agreement, and how far we have looked at that side since."""

    link_id: int = Field(primary_key=True, foreign_key="link.id", ondelete="CASCADE", sa_type=Id)
    side: str = Field(primary_key=True)
    fields: Json = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    tags: list[str] | None = Field(default=None, sa_column=Column(JSON))
    #: The ticket's own time and comment count when it was last read whole, and when that was by our clock.
    updated_at: datetime | None = None
    comment_count: int | None = None
    read_at: datetime | None = Field(default=None, index=True)


class Child(SQLModel, table=True):
    """A comment's two ids; one is null when it has no copy. Digests are the texts at the last agreement."""

    __table_args__ = (
        UniqueConstraint("link_id", "gorgias_id"),
        UniqueConstraint("link_id", "remote_id"),
    )
    id: int | None = Field(default=None, primary_key=True, sa_type=Id)
    workspace: str
    link_id: int = Field(foreign_key="link.id", ondelete="CASCADE", sa_type=Id)
    gorgias_id: str | None = Field(default=None, index=True)
    remote_id: str | None = Field(default=None, index=True)
    gorgias_digest: str | None = None
    remote_digest: str | None = None
    private: bool = False


class File(SQLModel, table=True):
    """A content that an account already holds, and where: the same bytes are uploaded once."""

    __table_args__ = (UniqueConstraint("workspace", "side", "sha256", "file_name"),)
    id: int | None = Field(default=None, primary_key=True, sa_type=Id)
    workspace: str
    side: str
    sha256: str
    file_name: str
    url: str = Field(sa_column=Column(Text, nullable=False))


class Intent(SQLModel, table=True):
    """A write that is about to happen, stored before it is sent; it is gone once the write is settled."""

    __table_args__ = (UniqueConstraint("workspace", "side", "key"), Index("ix_intent_link", "link_id"), NEVER_AGAIN)
    id: int | None = Field(default=None, primary_key=True, sa_type=Id)
    workspace: str
    link_id: int = Field(foreign_key="link.id", ondelete="CASCADE", sa_type=Id)
    side: str
    #: `create`, `update`, `comment`, `edit` or `delete`.
    kind: str
    #: What the write is about, once per side: the marker of a create or a comment, the link of an update.
    key: str
    payload: Json = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    sent_at: datetime


class Dirty(SQLModel, table=True):
    """A ticket that must be looked at; durable, so that the watermark can pass it."""

    __table_args__ = (
        UniqueConstraint("workspace", "side", "ticket_id"),
        Index("ix_dirty_due", "workspace", "not_before"),
        NEVER_AGAIN,
    )
    id: int | None = Field(default=None, primary_key=True, sa_type=Id)
    workspace: str
    side: str
    ticket_id: str
    #: Grows with every notice, so that work on an older notice does not clear a newer one.
    seq: int = 0
    why: str = "changed"
    deep: bool = False
    tries: int = 0
    noticed_at: datetime
    not_before: datetime
    error: str = ""


class Watermark(SQLModel, table=True):
    """How far a side's change feed has been read."""

    workspace: str = Field(primary_key=True)
    side: str = Field(primary_key=True)
    stream: str = Field(primary_key=True)
    cursor: str = Field(sa_column=Column(Text, nullable=False))
    moved_at: datetime


class SeenEvent(SQLModel, table=True):
    """An event inside the overlap that was acted upon already."""

    __tablename__ = "seen_event"
    workspace: str = Field(primary_key=True)
    side: str = Field(primary_key=True)
    event_id: str = Field(primary_key=True)
    at: datetime = Field(index=True)


class Tombstone(SQLModel, table=True):
    """A ticket that is gone: it is never made again."""

    workspace: str = Field(primary_key=True)
    side: str = Field(primary_key=True)
    ticket_id: str = Field(primary_key=True)
    at: datetime
    why: str = ""


class Conflict(SQLModel, table=True):
    """Both sides changed one field: what each held, who won, and why; the loser can be taken back."""

    id: int | None = Field(default=None, primary_key=True, sa_type=Id)
    workspace: str = Field(index=True)
    link_id: int = Field(sa_type=Id, index=True)
    field: str
    gorgias_value: Any = Field(default=None, sa_column=Column(JSON))
    remote_value: Any = Field(default=None, sa_column=Column(JSON))
    winner: str
    why: str
    at: datetime
    #: What became of a person's wish to have the loser's value back: null, `asked`, `taken` or `refused`; and why.
    taking: str | None = None
    said: str | None = Field(default=None, sa_type=Text)


class Parked(SQLModel, table=True):
    """A write that cannot succeed without a person; visible, never dropped by age."""

    __table_args__ = (UniqueConstraint("link_id", "what"),)
    id: int | None = Field(default=None, primary_key=True, sa_type=Id)
    workspace: str = Field(index=True)
    link_id: int = Field(foreign_key="link.id", ondelete="CASCADE", sa_type=Id)
    #: `SIDE:FIELD`, `SIDE:tags`, `SIDE:comment:ID`, `SIDE:edit:ID`, `SIDE:create` or `SIDE:delete`.
    what: str
    reason: str = Field(sa_column=Column(Text, nullable=False))
    hint: str = Field(default="", sa_column=Column(Text, nullable=False))
    since: datetime


class Audit(SQLModel, table=True):
    """A write that landed: before and after."""

    id: int | None = Field(default=None, primary_key=True, sa_type=Id)
    workspace: str = Field(index=True)
    link_id: int = Field(index=True, sa_type=Id)
    side: str
    kind: str
    what: Json = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    at: datetime


class ApiToken(SQLModel, table=True):
    """A key to the HTTP API: what it may do, and the digest of what its holder shows."""

    __tablename__ = "api_token"
    #: The part of the token by which it is found, and by which people name it.
    id: str = Field(primary_key=True)
    digest: str
    workspace: str = Field(index=True)
    #: `read`, `write` or `send`; each includes those before it.
    access: str
    #: Patterns of `resource.method`, or of an operation's name.
    operations: list[str] = Field(sa_column=Column(JSON, nullable=False))
    note: str = ""
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class ApiCall(SQLModel, table=True):
    """A write through the HTTP API, stored before it is sent; with a key, its answer is kept for a repetition."""

    __tablename__ = "api_call"
    __table_args__ = (
        UniqueConstraint("workspace", "side", "path", "key"),
        Index("ix_api_call_workspace", "workspace", "id"),
    )
    id: int | None = Field(default=None, primary_key=True, sa_type=Id)
    workspace: str
    side: str
    #: The token's id, or `admin`.
    token: str
    operation: str
    path: str
    #: Parameters, and the names (not the values) of what the body held.
    what: Json = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    at: datetime
    #: What was answered; null while it is under way, and for good when the process ended meanwhile.
    status: int | None = None
    answer: bytes | None = None
    #: The caller's own name for this call, the digest of what it held, and until when both mean something.
    key: str | None = None
    digest: str | None = None
    key_until: datetime | None = Field(default=None, index=True)
