"""The reference connector: a whole account in this process, and the file to read first before writing another one.

It speaks to a `Desk` (`connectors/desk.py`) where another connector speaks HTTP, and is otherwise complete. A
connector's file is always in this order: constants, Config, the class, pure helpers.
"""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Self

import orjson
from pydantic import Field as Option

from connectors.desk import SYNC_USER, Desk, Event
from syncd.connector import (
    Capabilities,
    Change,
    Changes,
    Connector,
    ConnectorConfig,
    Finding,
    Page,
    Upload,
    Vocabulary,
    Written,
)
from syncd.directory import Query, Rows, Shelf
from syncd.errors import Gone, Refused, VersionConflict
from syncd.model import Attachment, Comment, Person, Side, Ticket, Value
from syncd.secret import SecretValue
from syncd.unified import shelves
from syncd.unified.shelves import Words, basic

SIGNATURE = "X-Desk-Signature"
OWN = Person(SYNC_USER.id, SYNC_USER.name, SYNC_USER.email, "user")
#: Before the first thing that could have happened: where a first load starts.
START = datetime(1970, 1, 1, tzinfo=UTC)
#: Changes of a conversation that a ticket's short form does not show.
DEEP = frozenset({"comment-edit", "comment-delete", "attachment-delete"})
CHUNK = 64 * 1024


class MemoryConfig(ConnectorConfig):
    """The `[remote]` table: `desk` names the desk, which every connector of this process shares."""

    desk: str = Option(default="desk", min_length=1)
    hook_secret: SecretValue | None = None


class MemoryConnector(Connector):
    """An account of a desk."""

    name = "memory"
    Config = MemoryConfig

    def __init__(self, desk: Desk, side: Side, workspace: str, config: MemoryConfig | None = None) -> None:
        super().__init__(side, workspace)
        self.desk = desk
        self.config = config or MemoryConfig(desk=desk.name)
        self.capabilities = Capabilities(
            resolution=desk.resolution,
            index_lag=desk.index_lag,
            comments_on_create=desk.comments_on_create,
            create_ignores=desk.create_ignores,
            private=desk.private,
            contact=True,
            trash=True,
            reuses_uploads=desk.reuses_uploads,
            invisible=desk.invisible,
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, config: MemoryConfig, side: Side, workspace: str) -> AsyncIterator[Self]:
        """The account, ready to use; a connector that speaks HTTP opens its Transport here and closes it."""
        yield cls(Desk.named(config.desk), side, workspace, config)

    @asynccontextmanager
    async def _call(self, method: str) -> AsyncIterator[Desk]:
        self.desk.calls[method] += 1
        await asyncio.sleep(0)  # as every real call does, let the others run
        await self.desk.fault(method, "before")
        yield self.desk
        await self.desk.fault(method, "after")

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def streams(self) -> Sequence[str]:
        """A desk has one feed that shows everything."""
        return ("updates",)

    async def changes(self, stream: str, cursor: str | None) -> AsyncIterator[Page]:
        """The desk's log since `cursor`, which is the stamp and the number of the last change that was yielded.

        Stamps may be coarse and changes may be shown late, so the time around the cursor is read again.
        """
        last = parse_cursor(cursor)
        since, skip = last[0] - timedelta(seconds=self.desk.late), 0
        while True:
            async with self._call("changes") as desk:
                events = desk.events(since, skip)
            if not events:
                return
            skip = events[-1][0]
            found = [self._change(number, event) for number, event in events]
            fresh = [change for change in found if self.desk.resolution or (change.updated_at, change.event) != last]
            newest = max(last[0], found[-1].updated_at or START)
            if fresh:
                yield Page(tuple(fresh), f"{newest.isoformat()} {found[-1].event}")

    def _change(self, number: int, event: Event) -> Change:
        ticket = self.desk.tickets.get(event.ticket_id)
        named = not (self.desk.nameless and event.comment_id)
        return Change(
            event.ticket_id if named else "",
            self.desk.rounded(event.at),
            event.why,
            deep=event.why in DEEP,
            event=str(number),
            comment=event.comment_id,
            row=short(ticket) if ticket and named and self.desk.short_rows else None,
        )

    async def get(self, ticket_id: str) -> Ticket:
        """The ticket with its whole conversation. Raises Gone, Moved."""
        async with self._call("get") as desk:
            return desk.read(ticket_id)

    async def get_many(self, ids: Sequence[str]) -> Mapping[str, Ticket]:
        """The tickets that exist, without comments where the desk's lists are short."""
        async with self._call("get_many") as desk:
            found = {ticket_id: desk.tickets[ticket_id] for ticket_id in ids if ticket_id in desk.tickets}
        return {ticket_id: short(ticket) if self.desk.short_rows else ticket for ticket_id, ticket in found.items()}

    async def find(self, marker: str) -> Sequence[Ticket]:
        """The tickets with exactly this marker, once the desk has indexed them."""
        async with self._call("find") as desk:
            return desk.search(marker)

    async def vocabulary(self) -> Vocabulary:
        """The desk's words."""
        async with self._call("vocabulary") as desk:
            return Vocabulary(desk.statuses, desk.priorities, desk.users, desk.teams, desk.fields, SYNC_USER.id)

    async def ticket_of(self, comment_id: str) -> str | None:
        """The ticket whose conversation holds this comment."""
        async with self._call("ticket_of") as desk:
            holders = (ticket.id for ticket in desk.tickets.values() if comment_id in ids_of(ticket.comments))
            return next(holders, None)

    async def check(self) -> Sequence[Finding]:
        """A desk is always there; whether it has an agent for us is worth a look."""
        async with self._call("check") as desk:
            known = SYNC_USER in desk.users
        return [
            Finding(f"an agent named {SYNC_USER.name}", known, "" if known else "add the agent to the desk's users")
        ]

    async def download(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """The file's content in chunks. Raises Gone."""
        async with self._call("download") as desk:
            content = desk.files.get(attachment.id)
        if content is None:
            raise Gone(f"there is no file {attachment.id}", status=404)
        for start in range(0, len(content), CHUNK):
            yield content[start : start + CHUNK]

    # -- writing ------------------------------------------------------------------------------------------------

    async def create(self, ticket: Ticket, marker: str, uploads: Mapping[str, Sequence[Upload]]) -> Ticket:
        """Make the ticket with its opening comments, in one call that carries the marker."""
        desk = self.desk
        comments = (ticket.comments or ())[: desk.comments_on_create]
        contents = {
            comment.id: await contents_of(uploads.get(comment.id, ()), desk.reuses_uploads) for comment in comments
        }
        fields = {name: value for name, value in given(ticket).items() if name not in desk.create_ignores}
        self._refuse_private(*comments)
        async with self._call("create"):
            desk.checked(fields)  # a ticket with a value that is refused is not made at all
            ticket_id = desk.open(ticket, marker)
            desk.write(ticket_id, fields, ticket.tags)
            for comment in comments:
                self._append(ticket_id, comment, contents[comment.id])
            return desk.read(ticket_id)

    async def update(self, ticket: Ticket, changes: Changes) -> Ticket:
        """Write all of it or nothing. Raises Refused, VersionConflict, Gone."""
        async with self._call("update") as desk:
            if desk.conditional and ticket.version != desk.read(ticket.id).version:
                raise VersionConflict(f"ticket {ticket.id} has changed", status=409)
            desk.write(ticket.id, changes.fields, changes.add_tags, changes.remove_tags)
            return desk.read(ticket.id)

    async def comment(self, ticket_id: str, comment: Comment, uploads: Sequence[Upload]) -> Written:
        """Add the comment with its files."""
        contents = await contents_of(uploads, self.desk.reuses_uploads)
        self._refuse_private(comment)
        async with self._call("comment"):
            return Written(self._append(ticket_id, comment, contents))

    async def edit_comment(self, ticket_id: str, comment: Comment) -> Comment:
        """Replace the comment's body; its privacy can only grow. Raises Gone."""
        async with self._call("edit_comment") as desk:
            return desk.rewrite(ticket_id, comment.id, comment.body, private=comment.private)

    async def delete(self, ticket_id: str) -> None:
        """Delete the ticket, if it is still there."""
        async with self._call("delete") as desk:
            desk.delete(ticket_id, by_person=False)

    def _append(self, ticket_id: str, comment: Comment, contents: Sequence[tuple[Upload, bytes | None]]) -> Comment:
        self.desk.read(ticket_id)
        files = tuple(
            self.desk.keep(upload.file_name, upload.content_type, content, upload.held_at)
            for upload, content in contents
        )
        return self.desk.append(ticket_id, replace(comment, author=comment.author or OWN, attachments=files))

    def _refuse_private(self, *comments: Comment) -> None:
        if not self.desk.private and any(comment.private for comment in comments):
            raise Refused("the desk would show this comment to its customers", fields=["private"])

    # -- what the unified API asks ------------------------------------------------------------------------------

    def shelves(self) -> Mapping[str, Shelf]:
        """A connector that can list its tickets says so here; all else is made of the methods above."""
        words = Words(self)
        return basic(self, words, Tickets(self, words))

    # -- pure ---------------------------------------------------------------------------------------------------

    def canonical(self, name: str, value: Value) -> Value:
        """What the desk makes of a value; another connector states here what its product does."""
        return self.desk.clean(name, value)

    def canonical_tag(self, tag: str) -> str:
        """What the desk makes of a tag."""
        return self.desk.clean_tag(tag)

    def hinted(self, headers: Mapping[str, str], body: bytes) -> Iterable[str] | None:
        """The ticket that a hook names as `{"ticket": ID}`, when it is signed with `hook_secret`."""
        if self.config.hook_secret is None:
            return None
        signature = signed(self.config.hook_secret.get_secret_value(), body)
        if not hmac.compare_digest(signature.encode(), headers.get(SIGNATURE, "").encode()):
            return None
        try:
            return [str(orjson.loads(body)["ticket"])]
        except (orjson.JSONDecodeError, TypeError, KeyError):  # ours, and in words that we do not know
            return []

    # -- what the engine may ask --------------------------------------------------------------------------------

    def label(self, ticket_id: str) -> str:
        """How people name this ticket."""
        return f"{self.desk.name} #{ticket_id}"

    @property
    def skew(self) -> float:
        """How many seconds the desk's clock is ahead of ours."""
        return self.desk.skew


class Tickets(shelves.Tickets):
    """The desk's tickets, which are listed all at once; where there may be many, `rows` brings a page."""

    whole = True

    def __init__(self, connector: MemoryConnector, words: Words) -> None:
        super().__init__(connector, words)
        self.desk = connector.desk

    async def rows(self, query: Query, cursor: str | None, size: int) -> Rows:
        """All of them, the newest first."""
        found = await self.connector.get_many([*reversed(self.desk.tickets)])
        return Rows([await self.record(ticket, None) for ticket in found.values()])


def parse_cursor(cursor: str | None) -> tuple[datetime, str]:
    """The stamp and the event's number that a cursor holds."""
    stamp, _, number = (cursor or START.isoformat()).partition(" ")
    return datetime.fromisoformat(stamp), number


def short(ticket: Ticket) -> Ticket:
    """The ticket as a list shows it."""
    return replace(ticket, comments=None)


def given(ticket: Ticket) -> dict[str, Value]:
    """The fields that a new ticket brings along; an absent one is left to the desk."""
    fields = {name: getattr(ticket, name) for name in ("status", "priority", "assignee", "team")}
    fields.update({f"field:{name}": value for name, value in (ticket.fields or {}).items()})
    return {name: value for name, value in fields.items() if value is not None}


def signed(secret: str, body: bytes) -> str:
    """The signature of a hook's body."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def ids_of(comments: Sequence[Comment] | None) -> set[str]:
    """The ids of a conversation's comments."""
    return {comment.id for comment in comments or ()}


async def contents_of(uploads: Sequence[Upload], reuse: bool) -> list[tuple[Upload, bytes | None]]:
    """The uploads with their content, but for what the account holds already.

    A connector that speaks HTTP streams them with `syncd.http.file_body`.
    """
    return [
        (upload, None if reuse and upload.held_at else await asyncio.to_thread(upload.path.read_bytes))
        for upload in uploads
    ]
