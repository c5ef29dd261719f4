"""Jotter, a small notebook service, as a stranger would connect it: one file, on `syncd.connector` alone."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Self

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
from syncd.errors import AccountError, Gone, Refused
from syncd.http import Transport
from syncd.model import Attachment, Body, Comment, Person, Side, Status, Ticket, Value
from syncd.secret import SecretValue

TITLE = 80  # characters that Jotter keeps of a title
STATUSES = (Status("open"), Status("done", closed=True))
WIRE_NAMES = {"subject": "title", "status": "state"}


class JotterConfig(ConnectorConfig):
    """The `[remote]` table of a workspace that is kept in step with Jotter."""

    url: str
    token: SecretValue
    timeout: float = 60.0


class JotterConnector(Connector):
    """A Jotter notebook: titles, two states, public remarks, and nothing else."""

    name = "jotter"
    Config = JotterConfig
    capabilities = Capabilities(
        comments_on_create=1, private=False, tags=False, team=False, edits=False, attachments=False
    )

    def __init__(self, transport: Transport, side: Side, workspace: str) -> None:
        super().__init__(side, workspace)
        self.transport = transport
        self.json = transport.json

    @classmethod
    @asynccontextmanager
    async def open(cls, config: JotterConfig, side: Side, workspace: str) -> AsyncIterator[Self]:
        token = {"Authorization": f"Bearer {config.token.get_secret_value()}"}
        async with Transport(config.url, label="Jotter", headers=token, timeout=config.timeout) as transport:
            yield cls(transport, side, workspace)

    @property
    def streams(self) -> Sequence[str]:
        return ("notes",)

    async def changes(self, stream: str, cursor: str | None) -> AsyncIterator[Page]:
        while notes := await self.json("GET", "/notes", query={"after_revision": cursor or "0"}):
            cursor = str(notes[-1]["revision"])
            yield Page(tuple(Change(note["id"], parsed(note).updated_at, row=parsed(note)) for note in notes), cursor)

    async def get(self, ticket_id: str) -> Ticket:
        return parsed(await self.json("GET", f"/notes/{ticket_id}"))

    async def get_many(self, ids: Sequence[str]) -> Mapping[str, Ticket]:
        notes = await self.json("GET", "/notes", query={"ids": ",".join(ids)}) if ids else []
        return {note["id"]: parsed(note) for note in notes}

    async def find(self, marker: str) -> Sequence[Ticket]:
        # Jotter's filter ignores case, so what it finds is compared once more.
        notes = await self.json("GET", "/notes", query={"key": marker})
        return [parsed(note) for note in notes if note["key"] == marker]

    async def vocabulary(self) -> Vocabulary:
        me = await self.json("GET", "/me")
        return Vocabulary(statuses=STATUSES, own_user=me["id"])

    async def check(self) -> Sequence[Finding]:
        try:
            await self.json("GET", "/me")
        except AccountError as error:
            return [Finding("the token", ok=False, hint=str(error))]
        return [Finding("the token", ok=True)]

    async def create(self, ticket: Ticket, marker: str, uploads: Mapping[str, Sequence[Upload]]) -> Ticket:
        remarks = [remark_of(comment) for comment in (ticket.comments or ())[:1]]
        note = {"title": ticket.subject, "state": ticket.status or "open", "key": marker, "remarks": remarks}
        return parsed(await self.json("POST", "/notes", json=note))

    async def update(self, ticket: Ticket, changes: Changes) -> Ticket:
        unknown = set(changes.fields) - set(WIRE_NAMES)
        if unknown:
            raise Refused("Jotter has no such field", fields=sorted(unknown))
        fields = {WIRE_NAMES[name]: value for name, value in changes.fields.items()}
        return parsed(await self.json("PATCH", f"/notes/{ticket.id}", json=fields))

    async def comment(self, ticket_id: str, comment: Comment, uploads: Sequence[Upload]) -> Written:
        if comment.private:
            raise Refused("Jotter would show this remark to everybody", fields=["private"])
        answer = await self.json("POST", f"/notes/{ticket_id}/remarks", json=remark_of(comment))
        return Written(parsed_remark(answer))

    async def delete(self, ticket_id: str) -> None:
        try:
            await self.json("DELETE", f"/notes/{ticket_id}")
        except Gone:  # what was wanted
            return

    async def download(self, attachment: Attachment) -> AsyncIterator[bytes]:
        raise Gone(f"Jotter has no files, not even {attachment.file_name}")
        yield b""

    def canonical(self, name: str, value: Value) -> Value:
        if name != "subject":
            return value
        return " ".join(str(value or "").replace("\x00", "").split())[:TITLE].strip() or "(untitled)"


def parsed(note: dict[str, Any]) -> Ticket:
    """A note as a ticket."""
    comments = tuple(parsed_remark(remark) for remark in note["remarks"])
    return Ticket(
        note["id"], note["title"], note["state"], comments=comments, comment_count=len(comments),
        updated_at=datetime.fromisoformat(note["changed"]), marker=note["key"],
    )  # fmt: skip


def parsed_remark(remark: dict[str, Any]) -> Comment:
    """A remark as a comment."""
    author = Person(remark["by"], remark["by"]) if remark["by"] else None
    return Comment(remark["id"], Body(remark["text"]), author, marker=remark["key"])


def remark_of(comment: Comment) -> dict[str, Any]:
    """A comment as Jotter takes it."""
    return {"text": comment.body.text, "by": comment.author.name if comment.author else "", "key": comment.marker}
