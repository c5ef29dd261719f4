"""Gorgias as an account: https://developers.gorgias.com/reference.

No request made here can mail a customer: an agent's message on a channel that sends always carries `sent_datetime`
(which imports it as sent), unless the configuration says `allow_send`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Self

import aiohttp
from pydantic import Field as Option
from pydantic import model_validator

from connectors.gorgias import mapping
from connectors.gorgias.client import PAGE_LIMIT, Client, explain, gate
from connectors.gorgias.doors import Doors
from connectors.gorgias.feeds import Feeds
from syncd import text
from syncd.connector import (
    Capabilities,
    Changes,
    Connector,
    ConnectorConfig,
    Finding,
    Page,
    Upload,
    Vocabulary,
    Written,
)
from syncd.errors import AccountError, Gone, Refused, VersionConflict
from syncd.http import Transport
from syncd.model import CUSTOM, Attachment, Comment, Field, Person, Side, Status, Team, Ticket, Value
from syncd.secret import SecretValue

STATUSES = (Status("open"), Status("closed", closed=True))
PRIORITIES = ("low", "normal", "high", "critical")
#: Where attachments live besides the account's own host (inferred: the names seen in public samples).
ATTACHMENT_HOSTS = ("gorgias.com", "gorgias.io", "gorgi.us")


class GorgiasConfig(ConnectorConfig):
    """The `[gorgias]` table: `subdomain`, or `base_url` for a sandbox, and the credentials of one user."""

    subdomain: str | None = Option(default=None, pattern=r"^[A-Za-z0-9-]+$")
    base_url: str | None = Option(default=None, pattern=r"^https?://")
    email: str = Option(min_length=3)
    api_key: SecretValue
    views: tuple[int, ...] = ()
    rate_window: float = Option(default=20.0, gt=0)
    overlap: float = Option(default=120.0, ge=0)
    index_lag: float = Option(default=5.0, ge=0)
    attachment_hosts: tuple[str, ...] = ATTACHMENT_HOSTS
    attachments_from_private_hosts: bool = False
    allow_send: bool = False

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.subdomain is None) == (self.base_url is None):
            raise ValueError("give either subdomain or base_url")
        return self

    @property
    def url(self) -> str:
        """The account's address, without a trailing slash."""
        return (self.base_url or f"https://{self.subdomain}.gorgias.com").rstrip("/").removesuffix("/api")


class GorgiasConnector(Doors, Connector):
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
        self._feeds = Feeds(self.client, config.overlap)
        self._words: Vocabulary | None = None
        self._fields: dict[int, Field] = {}
        self._tags: set[str] | None = None
        self._in_view: set[str] = set()
        self._learning = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, config: GorgiasConfig, side: Side, workspace: str) -> AsyncIterator[Self]:
        """The account behind one HTTP session and one rate budget."""
        headers = {"Authorization": aiohttp.encode_basic_auth(config.email, config.api_key.get_secret_value())}
        label = f"Gorgias ({config.url.removeprefix('https://')})"
        async with Transport(
            config.url, label, headers=headers, gate=gate(config.rate_window), explain=explain
        ) as transport:
            yield cls(config, side, workspace, transport)

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def streams(self) -> Sequence[str]:
        """Events first; then the tickets, or the items of each view."""
        return (
            ("events", *(f"view:{view}" for view in self.config.views)) if self.config.views else ("events", "tickets")
        )

    async def changes(self, stream: str, cursor: str | None) -> AsyncIterator[Page]:
        """See `Feeds`."""
        if stream == "events":
            pages = self._feeds.events(cursor)
        elif stream == "tickets":
            pages = self._feeds.tickets(stream, "list_all_gorgias_tickets", {}, cursor, self._reader)
        else:
            view = {"view_id": int(stream.removeprefix("view:"))}
            pages = self._feeds.tickets(stream, "list_all_gorgias_view_items", view, cursor, self._view_reader)
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
        return mapping.ticket(doc, self._fields if self._words else None)

    def _view_row(self, doc: Mapping[str, Any]) -> Ticket:
        self._in_view.add(str(doc["id"]))
        return self._row(doc)

    async def get(self, ticket_id: str) -> Ticket:
        """The ticket with all its messages. Raises Gone, and Moved for a merged one."""
        await self.vocabulary()
        params = {"id": _number(ticket_id), "relationships": ["custom_fields"]}
        doc = await self.client.call("get_single_gorgias_ticket_by_id", params)
        return self._full(doc)

    def _full(self, doc: Mapping[str, Any]) -> Ticket:
        found = mapping.ticket(doc, self._fields if self._words else None)
        if self.config.views and found.id not in self._in_view:
            found = replace(found, hidden=True)
        return found

    async def get_many(self, ids: Sequence[str]) -> Mapping[str, Ticket]:
        """Short forms, a hundred a call; those have no messages but their number."""
        await self.vocabulary()
        found: dict[str, Ticket] = {}
        for start in range(0, len(ids), PAGE_LIMIT):
            wanted = [_number(ticket_id) for ticket_id in ids[start : start + PAGE_LIMIT]]
            answer = await self.client.call("list_all_gorgias_tickets", {"ticket_ids": wanted, "limit": PAGE_LIMIT})
            found.update({str(doc["id"]): self._row(doc) for doc in answer["data"]})
        return found

    async def find(self, marker: str) -> Sequence[Ticket]:
        """The tickets with this `external_id`, whose uniqueness is not documented."""
        answer = await self.client.call("list_all_gorgias_tickets", {"external_id": marker, "limit": PAGE_LIMIT})
        found = [self._row(doc) for doc in answer["data"] if doc.get("external_id") == marker]
        return sorted(found, key=lambda ticket: int(ticket.id))

    async def vocabulary(self) -> Vocabulary:
        """Statuses and priorities are fixed; agents, teams and the tickets' custom fields are listed once."""
        async with self._learning:
            if self._words is None:
                users = [mapping.user(doc) async for doc in self._all("list_all_gorgias_users")]
                teams = [Team(str(doc["id"]), doc["name"]) async for doc in self._all("list_all_gorgias_teams")]
                fields = [doc async for doc in self._all("list_all_gorgias_custom_fields", object_type="Ticket")]
                active = [doc for doc in fields if not doc.get("deactivated_datetime")]
                self._fields = {int(doc["id"]): mapping.field(doc) for doc in active}
                own = next((u.id for u in users if (u.email or "").casefold() == self.config.email.casefold()), None)
                self._words = Vocabulary(
                    STATUSES, PRIORITIES, tuple(users), tuple(teams), tuple(self._fields.values()), own
                )
            return self._words

    async def _all(self, operation: str, **params: Any) -> AsyncIterator[dict[str, Any]]:
        async for rows in self.client.pages(operation, params):
            for row in rows:
                yield row

    async def field_times(self, ticket: Ticket) -> Mapping[str, datetime]:
        """From the ticket's events; priority has no event of its own, so a lone `ticket-updated` stands for it."""
        params = {
            "object_type": "Ticket", "object_id": _number(ticket.id), "order_by": "created_datetime:desc",
            "limit": PAGE_LIMIT,
        }  # fmt: skip
        rows = (await self.client.call("list_all_gorgias_events", params))["data"]
        times: dict[str, datetime] = {}
        typed = {row.get("context") for row in rows if row["type"] in mapping.FIELD_EVENTS}
        for row in rows:
            name = mapping.FIELD_EVENTS.get(row["type"])
            if row["type"] == "ticket-updated" and row.get("context") not in typed:
                name = "priority"
            when = mapping.moment(row["created_datetime"])
            if name and when:
                times.setdefault(name, when)
        return times

    async def check(self) -> Sequence[Finding]:
        """The credentials, the role, and the views."""
        try:
            me = await self.client.call("get_single_gorgias_user_by_id", {"id": 0})
        except AccountError as error:
            return [Finding("credentials", False, f"{error}: check subdomain, email and api_key")]
        role = (me.get("role") or {}).get("name")
        fine = role in {"admin", "agent", "bot"}
        findings = [
            Finding(f"credentials of {me.get('email')}", True),
            Finding(
                f"role {role}", fine, "" if fine else "this role may be too low to write tickets: use agent or admin"
            ),
        ]
        for view in self.config.views:
            try:
                await self.client.call("get_single_gorgias_view_by_id", {"id": view})
                findings.append(Finding(f"view {view}", True))
            except AccountError as error:
                findings.append(Finding(f"view {view}", False, f"{error}: take the id from the view's address"))
        return findings

    # -- writing ------------------------------------------------------------------------------------------------

    async def create(self, ticket: Ticket, marker: str, uploads: Mapping[str, Sequence[Upload]]) -> Ticket:
        """One POST with all messages, tags and fields; files are uploaded before it."""
        words = await self.vocabulary()
        messages = [await self._message(said, uploads.get(said.id, ())) for said in ticket.comments or ()]
        body: dict[str, Any] = {
            "external_id": marker,
            "subject": ticket.subject or None,
            "channel": "api",
            "via": "api",
            "from_agent": False,
            "messages": messages or [self._placeholder(ticket)],
            "status": ticket.status or "open",
            "priority": ticket.priority or "normal",
            "tags": [{"name": tag} for tag in await self._existing(ticket.tags)],
            "custom_fields": self._field_values(ticket.fields or {}),
            "created_datetime": mapping.iso(ticket.created_at) if ticket.created_at else None,
            "assignee_user": {"id": _number(ticket.assignee)} if ticket.assignee else None,
            "assignee_team": self._team(words, ticket.team),
            "customer": self._customer(words, ticket.contact),
        }
        given = {name: value for name, value in body.items() if value not in (None, [])}
        return self._full(await self.client.call("create_a_gorgias_ticket", body=given))

    def _placeholder(self, ticket: Ticket) -> dict[str, Any]:
        """Gorgias has no ticket without a message: an issue without a text says its title."""
        return {**_note(), "body_text": ticket.subject, "body_html": text.text_to_html(ticket.subject)}

    def _customer(self, words: Vocabulary, contact: Person | None) -> dict[str, Any] | None:
        """An e-mail finds the customer or makes one; an agent's own address never becomes a customer."""
        if contact is None or not contact.email:
            return None
        if any((user.email or "").casefold() == contact.email.casefold() for user in words.users):
            return None
        return {"email": contact.email, **({"name": contact.name} if contact.name else {})}

    def _team(self, words: Vocabulary, name: str | None) -> dict[str, Any] | None:
        found = next((team for team in words.teams if team.name == name), None)
        return {"id": _number(found.id)} if found else None

    def _field_values(self, fields: Mapping[str, Value]) -> list[dict[str, Any]]:
        numbers = {field.name: number for number, field in self._fields.items()}
        unknown = sorted(set(fields) - set(numbers))
        if unknown:
            raise Refused(f"Gorgias has no ticket field {unknown[0]!r}", hint=f"it has: {', '.join(sorted(numbers))}")
        return [{"id": numbers[name], "value": value} for name, value in fields.items()]

    async def _message(self, said: Comment, uploads: Sequence[Upload]) -> dict[str, Any]:
        words = await self.vocabulary()
        email = (said.author.email or "").casefold() if said.author else ""
        sender = next((user for user in words.users if email and (user.email or "").casefold() == email), None)
        message = {**(_note() if said.private else self._public()), **mapping.body_of(said, signed=sender is None)}
        if sender is not None:
            message["sender"] = {"id": _number(sender.id)}
        if said.marker:
            message["external_id"] = said.marker
        if said.created_at:
            message["created_datetime"] = mapping.iso(said.created_at)
        if uploads:
            message["attachments"] = [await self._stored(file) for file in uploads]
        return message

    def _public(self) -> dict[str, Any]:
        """A message that the customer may see; without `allow_send` it is imported as sent, and so never mailed."""
        sent = {} if self.config.allow_send else {"sent_datetime": mapping.iso(datetime.now(UTC))}
        return {"channel": "api", "via": "api", "from_agent": True, "public": True, **sent}

    async def _stored(self, file: Upload) -> dict[str, Any]:
        if file.held_at:
            return mapping.file_of(file, {"url": file.held_at})
        return mapping.file_of(file, await self.client.upload(file))

    async def _existing(self, tags: frozenset[str]) -> list[str]:
        """The tags, each made first where it does not exist: whether an unknown name is made on the fly is disputed."""
        async with self._learning:
            if tags and self._tags is None:
                self._tags = {doc["name"] async for doc in self._all("list_all_gorgias_tags")}
            for tag in sorted(tags - (self._tags or set())):
                with contextlib.suppress(VersionConflict):  # somebody made it meanwhile
                    await self.client.call("create_a_gorgias_tag", body={"name": tag})
                self._tags = {*(self._tags or ()), tag}
        return sorted(tags)

    async def update(self, ticket: Ticket, changes: Changes) -> Ticket:
        """A partial PUT for the fields; tags are added and removed by calls of their own, never replaced."""
        number, after = _number(ticket.id), ticket
        if changes.fields:
            body = await self._partial(ticket, changes.fields)
            after = self._full(await self.client.call("update_a_gorgias_ticket_by_id", {"id": number}, body))
        tags = after.tags
        if changes.add_tags:
            names = await self._existing(changes.add_tags)
            await self.client.call("create_a_gorgias_ticket_tag", {"ticket_id": number}, {"names": names})
            tags |= changes.add_tags
        if changes.remove_tags:
            names = sorted(changes.remove_tags)
            await self.client.call("delete_a_gorgias_ticket_tag_by_id", {"ticket_id": number}, {"names": names})
            tags -= changes.remove_tags
        return replace(after, tags=tags)

    async def _partial(self, ticket: Ticket, fields: Mapping[str, Value]) -> dict[str, Any]:
        words = await self.vocabulary()
        body: dict[str, Any] = {name: fields[name] for name in ("subject", "status", "priority") if name in fields}
        if "assignee" in fields:
            assignee = fields["assignee"]
            body["assignee_user"] = {"id": _number(str(assignee)) if assignee is not None else None}
        if "team" in fields:
            body["assignee_team"] = self._team(words, fields["team"]) or {"id": None}  # type: ignore[arg-type]
        custom = {name.removeprefix(CUSTOM): value for name, value in fields.items() if name.startswith(CUSTOM)}
        if custom:
            # Whether a PUT keeps the fields it does not name is disputed: so it names them all.
            kept = {name: value for name, value in (ticket.fields or {}).items() if value is not None}
            body["custom_fields"] = self._field_values({**kept, **custom})
        return body

    async def comment(self, ticket_id: str, comment: Comment, uploads: Sequence[Upload]) -> Written:
        """One POST; a private comment is an internal note."""
        body = await self._message(comment, uploads)
        doc = await self.client.call("create_a_gorgias_message", {"ticket_id": _number(ticket_id)}, body)
        return Written(mapping.comment(doc))

    async def edit_comment(self, ticket_id: str, comment: Comment) -> Comment:
        """Only an internal note is edited: what customers wrote, or were sent, stays as it was."""
        params = {"ticket_id": _number(ticket_id), "id": _number(comment.id)}
        before = await self.client.call("get_single_gorgias_message_by_id", params)
        if before.get("channel") != mapping.NOTE:
            raise Refused("a message that a customer wrote or was sent is not edited", hint="edit it in Gorgias itself")
        signed = text.unsign(before.get("body_text") or "")[1] is not None
        body = {"channel": mapping.NOTE, "from_agent": True, **mapping.body_of(comment, signed)}
        doc = await self.client.call("update_a_gorgias_message_by_id", params, body)
        return mapping.comment(doc)

    async def delete(self, ticket_id: str) -> None:
        """For good."""
        try:
            await self.client.call("delete_a_gorgias_ticket_by_id", {"id": _number(ticket_id)})
        except Gone:
            return

    async def download(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """From the account's own host, or from one of `attachment_hosts` without our credentials."""
        if not attachment.url:
            raise Gone(f"the attachment {attachment.file_name} has no address")
        if self.transport is None:
            raise RuntimeError("the account is not open")
        async for chunk in self.transport.download(
            attachment.url,
            hosts=self.config.attachment_hosts,
            private=self.config.attachments_from_private_hosts,
        ):
            yield chunk

    # -- pure ---------------------------------------------------------------------------------------------------

    def canonical(self, name: str, value: Value) -> Value:
        """A subject is cut to 998 characters and has one line; nothing else is respelled."""
        if name == "subject" and isinstance(value, str):
            return text.shorten(" ".join(text.plain(value).split()), mapping.SUBJECT_LIMIT)
        return text.plain(value) if name.startswith(CUSTOM) and isinstance(value, str) else value

    def canonical_tag(self, tag: str) -> str:
        """At most 256 characters; names are case sensitive."""
        return text.shorten(text.plain(tag), mapping.TAG_LIMIT)

    def label(self, ticket_id: str) -> str:
        """How people name this ticket."""
        return f"Gorgias {ticket_id}"


def _note() -> dict[str, Any]:
    return {"channel": mapping.NOTE, "via": "api", "from_agent": True, "public": False}


def _number(ticket_id: str) -> int:
    try:
        return int(ticket_id)
    except ValueError as error:
        raise Gone(f"{ticket_id!r} is no id of Gorgias") from error
