"""Gorgias as an account: https://developers.gorgias.com/reference.

No request made here can mail a customer, unless the configuration says `allow_send`: see `outgoing`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Self, TypeVar

from connectors.gorgias import credentials, mapping, outgoing
from connectors.gorgias.account import Account
from connectors.gorgias.agents import Agents
from connectors.gorgias.client import PAGE_LIMIT, Client, explain, gate
from connectors.gorgias.config import GorgiasConfig
from connectors.gorgias.doors import Doors
from connectors.gorgias.feeds import Feeds
from connectors.gorgias.library import Library
from syncd import text
from syncd.connector import Capabilities, Changes, Connector, Finding, Page, Upload, Vocabulary, Written
from syncd.errors import AccountError, BadRequest, Gone, Refused
from syncd.http import Transport
from syncd.model import CUSTOM, Attachment, Comment, Marker, Side, Ticket, Value

__all__ = ["GorgiasConfig", "GorgiasConnector"]

T = TypeVar("T")
#: What the rights of a user are called who may write tickets.
ROLES = frozenset({"admin", "agent", "bot"})
VIEW_ITEMS = "list_all_gorgias_view_items"
#: On these a message of ours was never mailed, so that it may be rewritten.
EDITABLE = frozenset({mapping.NOTE, "api"})


class GorgiasConnector(Agents, Library, Doors, Connector):
    """One Gorgias account, in its own words: statuses open and closed, ids of users, names of teams and tags."""

    name = "gorgias"
    Config = GorgiasConfig

    def __init__(self, config: GorgiasConfig, side: Side, workspace: str, transport: Transport) -> None:
        super().__init__(side, workspace)
        self.config = config
        self.transport = transport
        self.client = Client(transport)
        self.capabilities = Capabilities(
            index_lag=config.index_lag,
            comments_on_create=500,  # reference: messages, maxItems
            contact=True,
            trash=True,
            reuses_uploads=True,
            invisible=frozenset({"fields", "comment-edit", "comment-delete"}),
        )
        self._account = Account(self.client, config.email)
        self._outgoing = outgoing.Outgoing(self.client, self._account, config)
        self._feeds = Feeds(self.client, config.overlap)
        self._in_view: set[str] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, config: GorgiasConfig, side: Side, workspace: str) -> AsyncIterator[Self]:
        """The account behind one HTTP session and one rate budget."""
        label = f"Gorgias ({config.url.partition('://')[2]})"
        async with Transport(
            config.url,
            label,
            headers=credentials.headers(config),
            renew=credentials.renewal(config),
            gate=gate(config.rate_window),
            timeout=config.timeout,
            explain=explain,
        ) as transport:
            yield cls(config, side, workspace, transport)

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def streams(self) -> Sequence[str]:
        """Events first; then the tickets, or the items of each view."""
        return "events", *(tuple(f"view:{view}" for view in self.config.views) or ("tickets",))

    async def changes(self, stream: str, cursor: str | None) -> AsyncIterator[Page]:
        """See `Feeds`."""
        if stream == "events":
            pages = self._feeds.events(cursor)
        elif stream == "tickets":
            pages = self._feeds.tickets(stream, "list_all_gorgias_tickets", {}, cursor, self._reader)
        else:
            view = {"view_id": int(stream.removeprefix("view:"))}
            pages = self._feeds.tickets(stream, VIEW_ITEMS, view, cursor, self._view_reader)
        async for page in pages:
            yield page

    async def _reader(self, news: bool) -> Callable[[Mapping[str, Any]], Ticket]:
        """Custom fields have labels only in the vocabulary, which an idle look at the feeds does without."""
        if news:
            await self.vocabulary()
        return self._row

    async def _view_reader(self, news: bool) -> Callable[[Mapping[str, Any]], Ticket]:
        await self._reader(news)
        return self._view_row

    def _row(self, doc: Mapping[str, Any]) -> Ticket:
        return mapping.ticket(doc, self._account.fields)

    def _view_row(self, doc: Mapping[str, Any]) -> Ticket:
        found = self._row(doc)
        self._in_view.add(found.id)
        return found

    async def get(self, ticket_id: str) -> Ticket:
        """The ticket with all its messages. Raises Gone, and Moved for a merged one."""
        found = await self._read(mapping.number(ticket_id))
        return found if await self._is_in_scope(found) else replace(found, hidden=True)

    async def _read(self, number: int) -> Ticket:
        await self.vocabulary()
        params = {"id": number, "relationships": ["custom_fields"]}
        return self._row(await self.client.call("get_single_gorgias_ticket_by_id", params))

    async def _is_in_scope(self, ticket: Ticket) -> bool:
        """Whether one of the views shows it; each look there teaches where a hundred others are."""
        for view in self.config.views:
            if ticket.id in self._in_view:
                return True
            params = {"view_id": view, "order_by": "updated_datetime:desc"}
            async for rows in self.client.pages(VIEW_ITEMS, params):
                shown = [self._view_row(row) for row in rows]
                times = [row.updated_at for row in shown if row.updated_at]
                if ticket.id in self._in_view or not ticket.updated_at or not times or min(times) < ticket.updated_at:
                    break
        return not self.config.views or ticket.id in self._in_view

    async def get_many(self, ids: Sequence[str]) -> Mapping[str, Ticket]:
        """Short forms, a hundred a call; those have no messages but their number."""
        await self.vocabulary()
        numbers = [int(ticket_id) for ticket_id in ids if mapping.is_number(ticket_id)]
        found: dict[str, Ticket] = {}
        for start in range(0, len(numbers), PAGE_LIMIT):
            wanted = numbers[start : start + PAGE_LIMIT]
            answer = await self.client.call("list_all_gorgias_tickets", {"ticket_ids": wanted, "limit": PAGE_LIMIT})
            rows = [self._row(doc) for doc in answer["data"]]
            found.update({row.id: row for row in rows if int(row.id) in wanted})
        return found

    async def find(self, marker: str) -> Sequence[Ticket]:
        """The tickets with this `external_id`, whose uniqueness is not documented."""
        answer = await self.client.call("list_all_gorgias_tickets", {"external_id": marker, "limit": PAGE_LIMIT})
        found = [ticket for ticket in map(self._row, answer["data"]) if ticket.marker == marker]
        return sorted(found, key=lambda ticket: int(ticket.id))

    async def vocabulary(self) -> Vocabulary:
        """See `Account`."""
        return await self._account.vocabulary()

    async def field_times(self, ticket: Ticket) -> Mapping[str, datetime]:
        """From the ticket's events; priority has no event of its own, so a lone `ticket-updated` stands for it."""
        params = {
            "object_type": "Ticket", "object_id": mapping.number(ticket.id), "order_by": "created_datetime:desc",
            "limit": PAGE_LIMIT,
        }  # fmt: skip
        return mapping.field_times((await self.client.call("list_all_gorgias_events", params))["data"])

    async def check(self) -> Sequence[Finding]:
        """The credentials, the role, the views, and the address of replies."""
        try:
            me = await self.client.call("get_single_gorgias_user_by_id", {"id": 0})
        except AccountError as error:
            return [Finding("credentials", False, f"{error}: check subdomain, email and api_key, or oauth")]
        role = (me.get("role") or {}).get("name")
        hint = "" if role in ROLES else "this role may be too low to write tickets: use agent or admin"
        findings = [Finding(f"credentials of {me.get('email')}", True), Finding(f"role {role}", not hint, hint)]
        for view in self.config.views:
            call = self.client.call("get_single_gorgias_view_by_id", {"id": view})
            findings.append(await _finding(f"view {view}", call, "take the id from the view's address"))
        if self.config.allow_send:
            call = self._account.mailbox(self.config.reply_from)
            findings.append(await _finding("the address of replies", call, "answers could not be mailed"))
        return findings

    # -- writing ------------------------------------------------------------------------------------------------

    async def create(self, ticket: Ticket, marker: str, uploads: Mapping[str, Sequence[Upload]]) -> Ticket:
        """One POST with all messages, tags and fields; files are uploaded before it."""
        body = await self._outgoing.ticket(ticket, marker, uploads)
        made = await self._with_tags(ticket.tags, lambda: self._write("create_a_gorgias_ticket", {}, body))
        return self._row(made)

    async def update(self, ticket: Ticket, changes: Changes) -> Ticket:
        """Tags are added and removed by calls of their own, never replaced; then a partial PUT for the fields."""
        number = {"ticket_id": mapping.number(ticket.id)}
        if ticket.fields is None and any(name.startswith(CUSTOM) for name in changes.fields):
            ticket = await self._read(number["ticket_id"])
        body = await self._outgoing.changes(ticket, changes.fields)
        if changes.add_tags:
            added = {"names": sorted(changes.add_tags)}
            await self._with_tags(
                changes.add_tags, lambda: self._write("create_a_gorgias_ticket_tag", number, added, safe=True)
            )
        if changes.remove_tags:
            removed = {"names": sorted(changes.remove_tags)}
            await self._write("delete_a_gorgias_ticket_tag_by_id", number, removed, safe=True)
        if not body:
            return await self._read(number["ticket_id"])
        return self._row(await self._write("update_a_gorgias_ticket_by_id", {"id": number["ticket_id"]}, body))

    async def comment(self, ticket_id: str, comment: Comment, uploads: Sequence[Upload]) -> Written:
        """One POST; a private comment is an internal note."""
        number = mapping.number(ticket_id)
        body = await self._outgoing.comment(number, comment, uploads)
        return Written(mapping.comment(await self._write("create_a_gorgias_message", {"ticket_id": number}, body)))

    async def edit_comment(self, ticket_id: str, comment: Comment) -> Comment:
        """Notes, and messages of ours that were never mailed: what customers wrote, or were sent, stays as it was."""
        params = {"ticket_id": mapping.number(ticket_id), "id": mapping.number(comment.id)}
        before = await self.client.call("get_single_gorgias_message_by_id", params)
        ours = before.get("channel") == mapping.NOTE or Marker.parse(before.get("external_id"))
        if not ours or before.get("channel") not in EDITABLE:
            raise Refused("a message that a customer wrote or was sent is not edited", hint="edit it in Gorgias itself")
        body = self._outgoing.edit(before, comment)
        return mapping.comment(await self._write("update_a_gorgias_message_by_id", params, body))

    async def delete(self, ticket_id: str) -> None:
        """For good."""
        try:
            await self.client.call("delete_a_gorgias_ticket_by_id", {"id": mapping.number(ticket_id)})
        except Gone:
            return

    async def download(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """From the account's own host, or from one of `attachment_hosts` without our credentials."""
        if not attachment.url:
            raise Gone(f"the attachment {attachment.file_name} has no address")
        hosts, private = self.config.attachment_hosts, self.config.attachments_from_private_hosts
        async for chunk in self.client.transport.download(attachment.url, hosts=hosts, private=private):
            yield chunk

    async def _write(self, name: str, params: Mapping[str, Any], body: Any, *, safe: bool = False) -> Any:
        """A write whose values come from the other side: one that does not fit the documented schema is Refused."""
        try:
            return await self.client.call(name, params, body, safe=safe)
        except BadRequest as error:
            raise Refused(str(error)) from error

    async def _with_tags(self, names: frozenset[str], write: Callable[[], Awaitable[T]]) -> T:
        """A write that names tags, which are made before it, and once more where one was deleted meanwhile."""
        await self._account.make_tags(names)
        try:
            return await write()
        except (Refused, Gone):
            if not names or not await self._account.make_tags(names, afresh=True):
                raise
        return await write()

    # -- pure ---------------------------------------------------------------------------------------------------

    def canonical(self, name: str, value: Value) -> Value:
        """A subject is cut to 998 characters and has one line; nothing else is respelled."""
        if name == "subject" and isinstance(value, str):
            return outgoing.subject(value)
        return text.plain(value) if name.startswith(CUSTOM) and isinstance(value, str) else value

    def canonical_tag(self, tag: str) -> str:
        """At most 256 characters; names are case sensitive."""
        return outgoing.tag(tag)

    def label(self, ticket_id: str) -> str:
        """How people name this ticket."""
        return f"Gorgias {ticket_id}"


async def _finding(what: str, call: Awaitable[Any], hint: str) -> Finding:
    try:
        await call
    except AccountError as error:
        return Finding(what, False, f"{error}: {hint}")
    return Finding(what, True)
