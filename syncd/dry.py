"""The dry run of `syncd plan`: the same passes on a copy of the store, with accounts that are only read."""

import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from state.store import Store
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
from syncd.errors import GuardTripped
from syncd.model import BUILT_IN, CUSTOM, Attachment, Comment, Side, Ticket, Value, values
from syncd.runner import running, utc_now
from syncd.settings import Settings, Workspace


@dataclass(frozen=True, slots=True)
class Intended:
    """A write that would have been done: its kind, the ticket it would have changed, and what."""

    workspace: str
    side: Side
    kind: str
    ticket: str
    what: Mapping[str, Any]


async def dry_run(settings: Settings) -> list[Intended]:
    """What `once` would write now. Raises GuardTripped when a side cannot be read or a guard would stop it."""
    intended: list[Intended] = []
    with tempfile.TemporaryDirectory(prefix="syncd-") as folder:
        async with Store(settings.store.url.get_secret_value(), utc_now) as store:
            for workspace in settings.workspaces:
                async with store.copied(workspace.name, Path(folder) / f"{workspace.name}.db") as copy:
                    await _dry(workspace, copy, Path(folder), intended)
    return intended


async def _dry(workspace: Workspace, copy: Store, folder: Path, intended: list[Intended]) -> None:
    async with running(workspace, copy, folder, wrap=lambda account: ReadOnly(account, intended)) as runner:
        report = await runner.look(force=True)
        if report and (report.down or report.guard):
            raise GuardTripped(report.guard or "; ".join(f"{side}: {why}" for side, why in report.down.items()))


class ReadOnly(Connector):
    """An account whose writes are noted instead of done; what they would have stored is made up."""

    name = "read-only"
    Config = ConnectorConfig

    def __init__(self, account: Connector, intended: list[Intended]) -> None:
        super().__init__(account.side, account.workspace)
        self.account = account
        self.capabilities = replace(account.capabilities, comments_on_create=1000)
        self.transport = account.transport
        self._intended = intended
        self._numbers = count(1)

    @classmethod
    def open(cls, config: Any, side: Side, workspace: str) -> AbstractAsyncContextManager["Connector"]:
        """It is never opened: it wraps an account that is."""
        raise NotImplementedError

    def _note(self, kind: str, ticket: str, what: Mapping[str, Any]) -> None:
        self._intended.append(Intended(self.workspace, self.side, kind, ticket, what))

    # -- reading: passed on ---------------------------------------------------------------------------------------

    @property
    def streams(self) -> Sequence[str]:
        """The account's own."""
        return self.account.streams

    def changes(self, stream: str, cursor: str | None) -> AsyncIterator[Page]:
        """The account's own."""
        return self.account.changes(stream, cursor)

    async def get(self, ticket_id: str) -> Ticket:
        """The account's own."""
        return await self.account.get(ticket_id)

    async def get_many(self, ids: Sequence[str]) -> Mapping[str, Ticket]:
        """The account's own."""
        return await self.account.get_many(ids)

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

    async def create(self, ticket: Ticket, marker: str, uploads: Mapping[str, Sequence[Upload]]) -> Ticket:
        """Note a new ticket."""
        fields = {name: value for name, value in values(ticket).items() if value not in (None, "")}
        comments = [_said(comment) for comment in ticket.comments or ()]
        self._note("create", marker.rpartition(":")[2], {**fields, "tags": sorted(ticket.tags), "comments": comments})
        return replace(ticket, id=f"new-{next(self._numbers)}", marker=marker, comments=self._numbered(ticket.comments))

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
        return replace(ticket, fields={**(ticket.fields or {}), **custom}, tags=tags, **built_in)

    async def comment(self, ticket_id: str, comment: Comment, uploads: Sequence[Upload]) -> Written:
        """Note a new comment."""
        self._note("comment", ticket_id, _said(comment))
        return Written(replace(comment, id=f"new-{next(self._numbers)}"))

    async def edit_comment(self, ticket_id: str, comment: Comment) -> Comment:
        """Note a comment's new text."""
        self._note("edit", ticket_id, _said(comment))
        return comment

    async def delete(self, ticket_id: str) -> None:
        """Note a deletion."""
        self._note("delete", ticket_id, {})


def _said(comment: Comment) -> dict[str, Any]:
    said: dict[str, Any] = {"text": comment.body.text[:200], "private": comment.private}
    if comment.attachments:
        said["files"] = [file.file_name for file in comment.attachments]
    return said
