"""The dry run of `syncd plan`: the same passes on a copy of the store, with accounts that are only read."""

import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from state.store import Store
from state.tables import Dirty
from syncd import log, text, wording
from syncd.connector import (
    Changes,
    Connector,
    ConnectorConfig,
    Finding,
    Page,
    Upload,
    Vocabulary,
    Written,
)
from syncd.errors import AccountError, ConfigError
from syncd.model import BUILT_IN, CUSTOM, Attachment, Comment, Marker, Side, Ticket, Value, values
from syncd.runner import running, utc_now
from syncd.settings import Settings, Workspace
from syncd.stores import is_missing, looked_at

#: How much of a comment is shown.
SHOWN = 200


@dataclass(frozen=True, slots=True)
class Intended:
    """A write that would have been done: its kind, the ticket it is about in people's words, and what."""

    workspace: str
    side: Side
    kind: str
    ticket: str
    what: Mapping[str, Any]


@dataclass(slots=True)
class Intentions:
    """What `once` would write in one workspace, and what it could not tell or would not do."""

    workspace: str
    writes: list[Intended] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


async def dry_run(settings: Settings) -> list[Intentions]:
    """What `once` would write now, by workspace. Raises StoreError."""
    with tempfile.TemporaryDirectory(prefix="syncd-") as folder:
        async with AsyncExitStack() as stack:
            # Without a database nothing is known, and none is made: every ticket is new to an empty copy.
            store = None if is_missing(settings) else await stack.enter_async_context(looked_at(settings))
            return [await _one(workspace, store, Path(folder)) for workspace in settings.workspaces]


async def _one(workspace: Workspace, store: Store | None, folder: Path) -> Intentions:
    found = Intentions(workspace.name)
    path = folder / f"{workspace.name}.db"
    try:
        async with store.copied(workspace.name, path) if store else Store(f"sqlite:///{path}", utc_now) as copy:
            await _dry(workspace, copy, folder, found)
    except (AccountError, ConfigError) as error:
        found.problems.append(log.masked(str(error)))
    return found


async def _dry(workspace: Workspace, copy: Store, folder: Path, found: Intentions) -> None:
    def wrap(account: Connector) -> Connector:
        return ReadOnly(account, found.writes, wording.products(workspace))

    async with running(workspace, copy, folder, wrap=wrap) as runner:
        with log.bound(workspace=workspace.name, dry_run=True):
            runner.engine.bench.dry = True
            report = await runner.engine.run_pass()
        found.problems += [log.masked(f"{side}: {why}") for side, why in report.down.items()]
        found.problems += [log.masked(report.guard)] if report.guard else []
        names = wording.products(workspace)
        found.waits += [
            log.masked(f"{wording.ticket(names, Side(row.side), row.ticket_id)}: {row.error}")
            for row in await copy.rows(Dirty, workspace.name)
            if row.error
        ]


class ReadOnly(Connector):
    """An account whose writes are noted instead of done; what they would have stored is made up."""

    name = "read-only"
    Config = ConnectorConfig

    def __init__(self, account: Connector, intended: list[Intended], names: wording.Products) -> None:
        super().__init__(account.side, account.workspace)
        self.account = account
        self.capabilities = replace(account.capabilities, comments_on_create=1000)
        self.transport = account.transport
        self._intended = intended
        self._names = names
        self._numbers = count(1)
        #: The tickets that would have been made, by the ids they got here, and what each would be a copy of.
        self._made: dict[str, Ticket] = {}
        self._copies: dict[str, str] = {}

    @classmethod
    def open(cls, config: Any, side: Side, workspace: str) -> AbstractAsyncContextManager["Connector"]:
        """It is never opened: it wraps an account that is."""
        raise NotImplementedError

    def _note(self, kind: str, ticket: str, what: Mapping[str, Any]) -> None:
        self._intended.append(Intended(self.workspace, self.side, kind, self.label(ticket), what))

    # -- reading: passed on ---------------------------------------------------------------------------------------

    @property
    def streams(self) -> Sequence[str]:
        """The account's own."""
        return self.account.streams

    def changes(self, stream: str, cursor: str | None) -> AsyncIterator[Page]:
        """The account's own."""
        return self.account.changes(stream, cursor)

    async def get(self, ticket_id: str) -> Ticket:
        """The account's own, or one that would have been made."""
        return self._made.get(ticket_id) or await self.account.get(ticket_id)

    async def get_many(self, ids: Sequence[str]) -> Mapping[str, Ticket]:
        """The account's own, and those that would have been made."""
        made = {ticket_id: self._made[ticket_id] for ticket_id in ids if ticket_id in self._made}
        real = [ticket_id for ticket_id in ids if ticket_id not in made]
        return {**(await self.account.get_many(real) if real else {}), **made}

    async def find(self, marker: str) -> Sequence[Ticket]:
        """The account's own."""
        return await self.account.find(marker)

    async def vocabulary(self) -> Vocabulary:
        """The account's own."""
        return await self.account.vocabulary()

    async def ticket_of(self, comment_id: str) -> str | None:
        """The account's own."""
        return await self.account.ticket_of(comment_id)

    async def field_times(self, ticket: Ticket) -> Mapping[str, datetime]:
        """The account's own."""
        return await self.account.field_times(ticket)

    async def check(self) -> Sequence[Finding]:
        """The account's own."""
        return await self.account.check()

    async def download(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """Nothing: what is not written need not be fetched."""
        nothing: tuple[bytes, ...] = ()
        for chunk in nothing:
            yield chunk

    def canonical(self, name: str, value: Value) -> Value:
        """The account's own."""
        return self.account.canonical(name, value)

    def canonical_tag(self, tag: str) -> str:
        """The account's own."""
        return self.account.canonical_tag(tag)

    # -- writing: noted -------------------------------------------------------------------------------------------

    def label(self, ticket_id: str) -> str:
        """How people name this ticket; one that would have been made is named by what it is a copy of."""
        return self._copies.get(ticket_id) or wording.ticket(self._names, self.side, ticket_id)

    async def create(self, ticket: Ticket, marker: str, uploads: Mapping[str, Sequence[Upload]]) -> Ticket:
        """Note a new ticket."""
        shown = {name: value for name, value in values(ticket).items() if value not in (None, "")}
        comments = [_said(comment) for comment in ticket.comments or ()]
        source = Marker.parse(marker)
        made = f"new-{next(self._numbers)}"
        original = wording.ticket(self._names, source.side, source.id) if source else marker
        self._copies[made] = f"the copy of {original}"
        self._note("create", made, {**shown, "tags": sorted(ticket.tags), "comments": comments})
        return self._keep(replace(ticket, id=made, marker=marker, comments=self._numbered(ticket.comments)))

    def _keep(self, ticket: Ticket) -> Ticket:
        """What would be read back from now on of a ticket that would have been made."""
        if ticket.id in self._copies:
            self._made[ticket.id] = ticket
        return ticket

    def _numbered(self, comments: Sequence[Comment] | None) -> tuple[Comment, ...]:
        return tuple(replace(comment, id=f"new-{next(self._numbers)}") for comment in comments or ())

    async def update(self, ticket: Ticket, changes: Changes) -> Ticket:
        """Note new values with the old ones, and tags."""
        before = values(ticket)
        what: dict[str, Any] = {name: [before.get(name), value] for name, value in changes.fields.items()}
        what |= {"add tags": sorted(changes.add_tags)} if changes.add_tags else {}
        what |= {"remove tags": sorted(changes.remove_tags)} if changes.remove_tags else {}
        self._note("update", ticket.id, what)
        built_in: dict[str, Any] = {name: value for name, value in changes.fields.items() if name in BUILT_IN}
        custom = {n.removeprefix(CUSTOM): v for n, v in changes.fields.items() if n.startswith(CUSTOM)}
        tags = (ticket.tags | changes.add_tags) - changes.remove_tags
        return self._keep(replace(ticket, fields={**(ticket.fields or {}), **custom}, tags=tags, **built_in))

    async def comment(self, ticket_id: str, comment: Comment, uploads: Sequence[Upload]) -> Written:
        """Note a new comment."""
        self._note("comment", ticket_id, _said(comment))
        return Written(replace(comment, id=f"new-{next(self._numbers)}"))

    async def edit_comment(self, ticket_id: str, comment: Comment) -> Comment:
        """Note a comment's new text."""
        self._note("edit", ticket_id, {"comment": comment.id, **_said(comment)})
        return comment

    async def delete(self, ticket_id: str) -> None:
        """Note a deletion."""
        self._note("delete", ticket_id, {})


def _said(comment: Comment) -> dict[str, Any]:
    said: dict[str, Any] = {"text": text.shorten(comment.body.text, SHOWN), "private": comment.private}
    if comment.attachments:
        said["files"] = [file.file_name for file in comment.attachments]
    return said
