"""What is written to Gorgias: the bodies of tickets and messages, with the rule that nothing is mailed unasked.

An agent's message on a channel that sends is mailed unless it carries `sent_datetime`, which imports it as sent. All
messages made here carry it, except those of `_mailed`: public, new, and allowed by `allow_send`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.gorgias import mapping
from connectors.gorgias.account import Account
from connectors.gorgias.client import Client
from connectors.gorgias.config import GorgiasConfig
from syncd import text
from syncd.connector import Upload
from syncd.http import BACKFILL
from syncd.model import CUSTOM, Comment, Ticket, Value

#: A reply that is older is history: it is imported, and not mailed.
NEWS = timedelta(days=1)


def subject(value: str) -> str:
    """A subject as Gorgias keeps it: one line of at most 998 characters."""
    return text.shorten(" ".join(text.plain(value).split()), mapping.SUBJECT_LIMIT)


def tag(value: str) -> str:
    """A tag as Gorgias keeps it: at most 256 characters; names are case sensitive."""
    return text.shorten(text.plain(value), mapping.TAG_LIMIT)


class Outgoing:
    """Makes the bodies of one account's writes."""

    def __init__(self, client: Client, account: Account, config: GorgiasConfig) -> None:
        self._client = client
        self._account = account
        self._config = config

    async def ticket(self, ticket: Ticket, marker: str, uploads: Mapping[str, Sequence[Upload]]) -> dict[str, Any]:
        """A ticket with its conversation so far, which is history and never mailed; files are uploaded before it."""
        said = ticket.comments or ()
        messages = [await self._message(one, uploads.get(one.id, ()), self._imported(one)) for one in said]
        body: dict[str, Any] = {
            "external_id": marker,
            "subject": subject(ticket.subject) or None,
            "channel": "api",
            "via": "api",
            "from_agent": False,
            "messages": messages or [_title(ticket, marker)],
            "status": ticket.status or "open",
            "priority": ticket.priority or "normal",
            "tags": [{"name": name} for name in sorted(ticket.tags)],
            "custom_fields": await self._account.field_values(ticket.fields or {}),
            "created_datetime": mapping.iso(ticket.created_at) if ticket.created_at else None,
            "assignee_user": {"id": _user(ticket.assignee)} if ticket.assignee else None,
            "assignee_team": await self._account.team(ticket.team) if ticket.team else None,
            "customer": await self._account.customer(ticket.contact),
        }
        return {name: value for name, value in body.items() if value not in (None, [])}

    async def changes(self, ticket: Ticket, fields: Mapping[str, Value]) -> dict[str, Any]:
        """The part of a ticket that a PUT changes."""
        body: dict[str, Any] = {name: fields[name] for name in ("status", "priority") if name in fields}
        if "subject" in fields:
            body["subject"] = subject(str(fields["subject"] or ""))
        if "assignee" in fields:
            body["assignee_user"] = {"id": _user(fields["assignee"])}
        if "team" in fields:
            body["assignee_team"] = await self._account.team(_text(fields["team"]))
        if ticket.trashed and fields.get("status") == "open":
            body["trashed_datetime"] = None  # what is in the trash reads as closed
        custom = {name.removeprefix(CUSTOM): value for name, value in fields.items() if name.startswith(CUSTOM)}
        if custom:
            # Whether a PUT keeps the fields it does not name is disputed: so it names them all.
            kept = {name: value for name, value in (ticket.fields or {}).items() if value is not None}
            body["custom_fields"] = await self._account.field_values({**kept, **custom})
        return body

    async def comment(self, number: int, said: Comment, uploads: Sequence[Upload]) -> dict[str, Any]:
        """A message for a ticket that is there already."""
        how = await self._mailed(number, said) or self._imported(said)
        return await self._message(said, uploads, how)

    def edit(self, before: Mapping[str, Any], after: Comment) -> dict[str, Any]:
        """A new text for a message of ours; channel and from_agent must be sent again (reference)."""
        signed = text.unsign(before.get("body_text") or "")[1] is not None
        public = bool(before.get("public", True)) and before["channel"] != mapping.NOTE and not after.private
        same = {"channel": before["channel"], "from_agent": bool(before.get("from_agent", True)), "public": public}
        return {**same, **mapping.body_of(after, signed)}

    async def _message(self, said: Comment, uploads: Sequence[Upload], how: Mapping[str, Any]) -> dict[str, Any]:
        sender = await self._account.agent(said.author)
        message = {**how, **mapping.body_of(said, signed=sender is None)}
        if sender is not None:
            message["sender"] = {"id": _user(sender.id)}
        if said.marker:
            message["external_id"] = said.marker
        if said.created_at:
            message["created_datetime"] = mapping.iso(said.created_at)
        if uploads:
            message["attachments"] = [await self._stored(file) for file in uploads]
        return message

    async def _stored(self, file: Upload) -> dict[str, Any]:
        return mapping.file_of(file, {"url": file.held_at} if file.held_at else await self._client.upload(file))

    def _imported(self, said: Comment) -> dict[str, Any]:
        """An internal note, or a message that the customer may see and that counts as sent already."""
        if said.private:
            return _note()
        sent = mapping.iso(datetime.now(UTC))
        return {"channel": "api", "via": "api", "from_agent": True, "public": True, "sent_datetime": sent}

    async def _mailed(self, number: int, said: Comment) -> dict[str, Any] | None:
        """A reply that Gorgias mails; None where it must not, or where there is nobody to write to."""
        if not self._config.allow_send or said.private or not _is_news(said):
            return None
        ticket = await self._client.call("get_single_gorgias_ticket_by_id", {"id": number})
        customer = ticket.get("customer") or {}
        address = customer.get("email") or ""
        own_words = said.author is not None and (said.author.email or "").casefold() == address.casefold()
        if not address or own_words or ticket.get("spam") or ticket.get("trashed_datetime"):
            return None
        box = await self._account.mailbox(self._config.reply_from)
        source = {
            "type": "email",
            "from": {"name": box.name, "address": box.address},
            "to": [{"name": customer.get("name"), "address": address}],
        }
        return {
            "channel": "email",
            "via": "api",
            "from_agent": True,
            "public": True,
            "subject": ticket.get("subject"),
            "source": source,
            "receiver": {"id": customer["id"]},
            "integration_id": box.id,
        }


def _is_news(said: Comment) -> bool:
    return not BACKFILL.get() and said.created_at is not None and datetime.now(UTC) - said.created_at < NEWS


def _note() -> dict[str, Any]:
    return {"channel": mapping.NOTE, "via": "api", "from_agent": True, "public": False}


def _title(ticket: Ticket, marker: str) -> dict[str, Any]:
    """Gorgias has no ticket without a message: an issue without a text says its title, in a note known as ours."""
    words = subject(ticket.subject)
    said = {"body_text": words, "body_html": text.text_to_html(words), "external_id": f"{marker}.subject"}
    return {**_note(), **said}


def _user(value: Value) -> int | None:
    return None if value is None else mapping.number(str(value))


def _text(value: Value) -> str | None:
    return None if value is None else str(value)
