"""Messages and their files for the unified API. Nothing is sent to a customer unless the caller asks for it."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from connectors.gorgias import mapping, unified
from connectors.gorgias.shelves import Doc, Kept, Place, number_of, quiet, remote, uploaded
from syncd.connector import Connector, Vocabulary
from syncd.directory import Draft, File, Query, Record
from syncd.errors import BadRequest, Gone, Refused
from syncd.model import Attachment, Body, Comment
from syncd.unified import drafts
from syncd.unified.drafts import Json
from syncd.unified.shapes import Row

MESSAGES = "list_all_gorgias_messages"
EVENTS = "list_all_gorgias_events"
#: Messages of these channels were never sent anywhere, so that their words may be changed.
EDITABLE = frozenset({mapping.NOTE, "api"})
#: The events of one request share a context and are written within this time (recorded: milliseconds).
TOGETHER = timedelta(seconds=2)

Answer = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


class Comments(Kept):
    """Messages, of a ticket or of the whole account."""

    listed = MESSAGES
    sends = True

    def __init__(self, place: Place, answer_to: Answer) -> None:
        super().__init__("comments", place)
        self._answer_to = answer_to

    def shown(self, doc: Doc) -> Row:
        """As the API shows it."""
        return unified.comment(doc)

    def narrowed(self, query: Query) -> tuple[dict[str, Any], frozenset[str]]:
        """By ticket; Gorgias filters by nothing else."""
        return of_ticket(query), frozenset()

    def order(self, query: Query) -> tuple[str, bool] | None:
        """Those of one ticket as they were said, as everywhere; those of the account the newest first."""
        return super().order(query) or ("created_at", query.only("ticket", "id") is None)

    def records(self, doc: Doc) -> list[Record]:
        """Itself, unless it was deleted."""
        return [] if doc.get("deleted_datetime") else [self.record(doc)]

    async def get(self, object_id: str, ticket: str | None) -> Record:
        """Raises Gone."""
        return self.record(await self._read(object_id, ticket))

    async def _read(self, object_id: str, ticket: str | None) -> Doc:
        number = mapping.number(object_id)
        if ticket is None:
            newest = await self.place.client.call(MESSAGES, {"limit": 100, "order_by": "created_datetime:desc"})
            recent: list[Doc] = [doc for doc in newest["data"] if doc.get("id") == number]
            if recent:
                return recent[0]
        parent = mapping.number(ticket) if ticket else await self._ticket_of(number)
        params = {"ticket_id": parent, "id": number}
        found: Doc = await self.place.client.call("get_single_gorgias_message_by_id", params)
        return found

    async def _ticket_of(self, number: int) -> int:
        """By the events of the request that made the message: one names it, another one its ticket."""
        about = {"object_type": "TicketMessage", "object_id": number, "limit": 100}
        for row in (await self.place.client.call(EVENTS, about))["data"]:
            ticket = await self._ticket_in(row.get("context"), mapping.event_time(row))
            if ticket is not None:
                return ticket
        raise Gone(f"message {number} cannot be found by its id alone: name its ticket, as ticket[id]", status=404)

    async def _ticket_in(self, context: Any, at: datetime) -> int | None:
        """The ticket of a request that wrote events at this time."""
        around = {
            "created_datetime[gte]": mapping.iso(at - TOGETHER),
            "created_datetime[lte]": mapping.iso(at + TOGETHER),
            "order_by": "created_datetime:asc",
        }
        async for rows in self.place.client.pages(EVENTS, around):
            for one in rows:
                if context and one.get("context") == context and one.get("object_type") == "Ticket":
                    return int(one["object_id"])
        return None

    async def create(self, draft: Draft) -> Record:
        """A note, unless the caller says that the customer may see it; sent only when that is asked for as well."""
        number = number_of(draft.ticket or "", "ticket[id]")
        body = draft.body
        said = drafts.comment_of({**body, "author": None}, Vocabulary(), private=drafts.is_private(body))
        message: Row = {**mapping.body_of(said, signed=False), **await self._how(number, draft, said.private)}
        if body.get("created_at") and not draft.send:
            message["created_datetime"] = body["created_at"]
        if draft.files:
            message["attachments"] = await uploaded(self.place, draft)
        message |= remote(body)
        given = message if draft.send else quiet(message)
        made: Doc = await self.place.client.call("create_a_gorgias_message", {"ticket_id": number}, given)
        return self.record(made)

    async def _how(self, number: int, draft: Draft, private: bool) -> Row:
        """Channel, direction and sender."""
        author = draft.body.get("author") or {}
        if author.get("type") == "contact" and (private or draft.send):
            raise BadRequest(
                "whose words?", ["author: a customer's words are public; say is_private: false, and not send"]
            )
        if draft.send and private:
            raise Refused("a private comment is sent to nobody", hint="say is_private: false")
        if draft.send:
            ticket = await self.place.client.call("get_single_gorgias_ticket_by_id", {"id": number})
            return {**await self._answer_to(ticket), **_sender(author)}
        if private:
            return {"channel": mapping.NOTE, "via": "api", "from_agent": True, "public": False, **_sender(author)}
        channel = draft.body.get("channel") or {}
        where = channel.get("id") or channel.get("name") or channel.get("type") or "api"
        from_agent = author.get("type") != "contact"
        return {"channel": where, "via": "api", "from_agent": from_agent, "public": True, **_sender(author)}

    async def update(self, object_id: str, draft: Draft) -> Record:
        """Its words, where nobody was sent them; it may become private, and never public."""
        before = await self._read(object_id, draft.ticket)
        if before.get("channel") not in EDITABLE:
            hint = "write another one, or edit it in Gorgias itself"
            raise Refused("a message that a customer wrote or was sent is not changed", hint=hint)
        private = before.get("public") is False or drafts.is_private(draft.body, False)
        body: Row = {"channel": before["channel"], "from_agent": before.get("from_agent") is not False}
        body["public"] = not private
        if draft.body.get("body") or draft.body.get("html_body"):
            said = drafts.comment_of({**draft.body, "author": None}, Vocabulary(), private=private)
            body |= mapping.body_of(said, signed=False)
        params = {"ticket_id": before["ticket_id"], "id": before["id"]}
        await self.place.client.call("update_a_gorgias_message_by_id", params, {**body, **remote(draft.body)})
        draft.done.append("the message was changed")
        return self.record(await self.place.client.call("get_single_gorgias_message_by_id", params))

    async def delete(self, object_id: str, ticket: str | None) -> None:
        """For good."""
        before = await self._read(object_id, ticket)
        params = {"ticket_id": before["ticket_id"], "id": before["id"]}
        await self.place.client.call("delete_a_gorgias_message_by_id", params)


class Attachments(Kept):
    """The files of messages; a page holds those of a hundred messages."""

    listed = MESSAGES

    def __init__(self, place: Place, account: Connector) -> None:
        super().__init__("attachments", place)
        self._account = account

    def shown(self, doc: Doc) -> Row:
        """As the API shows it; here a row is one already."""
        return dict(doc)

    def records(self, doc: Doc) -> list[Record]:
        """The files of one message."""
        raw = [] if doc.get("deleted_datetime") else unified.items(doc, "attachments")
        return [Record(row, file) for row, file in zip(unified.files(doc), raw, strict=False)]

    def narrowed(self, query: Query) -> tuple[dict[str, Any], frozenset[str]]:
        """By ticket."""
        return {**of_ticket(query)}, frozenset()

    async def get(self, object_id: str, ticket: str | None) -> Record:
        """The id says which ticket, which message and which of its files."""
        parts = object_id.split(".")
        if len(parts) != 3 or not all(map(mapping.is_number, parts)):
            raise Gone(f"{object_id!r} is no file of Gorgias", status=404)
        params = {"ticket_id": int(parts[0]), "id": int(parts[1])}
        records = self.records(await self.place.client.call("get_single_gorgias_message_by_id", params))
        if int(parts[2]) >= len(records):
            raise Gone(f"message {parts[1]} has no file number {parts[2]}", status=404)
        return records[int(parts[2])]

    async def create(self, draft: Draft) -> Record:
        """A note that holds the file; one that the customer may see where the caller says so."""
        number = number_of(draft.body["ticket_id"], "ticket_id")
        private = drafts.is_private(draft.body)
        how = {"channel": mapping.NOTE if private else "api", "via": "api", "from_agent": True, "public": not private}
        words = mapping.body_of(Comment("", Body(draft.files[0].file_name)), signed=False)
        message = {**how, **words, "attachments": await uploaded(self.place, draft)}
        params = {"ticket_id": number}
        made = await self.place.client.call(
            "create_a_gorgias_message", params, quiet({**message, **remote(draft.body)})
        )
        return self.records(made)[0]

    async def download(self, object_id: str, ticket: str | None) -> File:
        """From the account's own hosts only."""
        row = (await self.get(object_id, ticket)).fields
        name, kind = row["file_name"] or "file", row["content_type"] or "application/octet-stream"
        return File(name, kind, self._account.download(Attachment(object_id, name, kind, url=row["file_url"])))


def of_ticket(query: Query) -> dict[str, Any]:
    """The parameter that names a ticket."""
    ticket = query.only("ticket", "id")
    return {} if ticket is None else {"ticket_id": number_of(ticket, "ticket[id]")}


def _sender(author: Json) -> Row:
    """A person by id; a customer also by address."""
    if mapping.is_number(author.get("id") or ""):
        return {"sender": {"id": int(author["id"])}}
    address = author.get("username") or ""
    return {"sender": {"email": address}} if author.get("type") == "contact" and "@" in address else {}
