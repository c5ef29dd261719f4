"""Shelves made of a connector's own methods: what the unified API can do on every product.

A connector that can do more, such as list its tickets, derives from these and says so by `syncd.directory.Directory`.
"""

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from syncd.connector import Changes, Connector, Vocabulary
from syncd.directory import Directory, Draft, File, Query, Record, Rows, Shelf
from syncd.errors import BadRequest, Gone
from syncd.model import CUSTOM, Attachment, Body, Comment, Ticket, values
from syncd.unified import drafts, shapes

#: Seconds that a product's words are believed.
BELIEVED = 60.0
WHICH = "ticket[id]: say which ticket, because this product reaches it by its ticket only"


class Words:
    """The words of an account, read again from time to time."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._known: Vocabulary | None = None
        self._at = 0.0

    async def get(self) -> Vocabulary:
        """The words."""
        if self._known is None or time.monotonic() - self._at > BELIEVED:
            self._known, self._at = await self._connector.vocabulary(), time.monotonic()
        return self._known

    def forget(self) -> None:
        """They have changed."""
        self._known = None


class Tickets(Shelf):
    """Tickets that can be read, made, changed and deleted; a connector adds how they are listed."""

    def __init__(self, connector: Connector, words: Words) -> None:
        super().__init__("tickets", connector.name)
        self.connector = connector
        self.words = words
        if type(connector).delete is Connector.delete:
            self.because["delete"] = f"{connector.name} deletes no tickets"

    async def read(self, ticket_id: str) -> tuple[Ticket, Any]:
        """A whole ticket, and the product's own record of it."""
        return await self.connector.get(ticket_id), None

    async def record(self, ticket: Ticket, raw: Any) -> Record:
        """As the API shows it."""
        return Record(shapes.ticket(ticket, await self.words.get()), raw)

    async def get(self, object_id: str, ticket: str | None) -> Record:
        """With its description and files."""
        return await self.record(*await self.read(object_id))

    async def create(self, draft: Draft) -> Record:
        """Made without a marker, so that the sync takes it for a person's."""
        words, body, abilities = await self.words.get(), draft.body, self.connector.capabilities
        fields = drafts.fields_of(body, words)
        said = drafts.opening(body, words, keeps_contact=abilities.contact)
        built_in = {name: value for name, value in fields.items() if not name.startswith(CUSTOM)}
        custom = {name.removeprefix(CUSTOM): value for name, value in fields.items() if name.startswith(CUSTOM)}
        first = (said,) if said and abilities.comments_on_create else ()
        wanted: dict[str, Any] = {**built_in, "fields": custom, "tags": drafts.tags_of(body), "comments": first}
        wanted |= {"contact": drafts.contact_of(body), "created_at": drafts.moment(body.get("created_at"))}
        uploads = {drafts.OPENING: draft.files} if first else {}
        made = await self.connector.create(Ticket("", **wanted), "", uploads)
        draft.done.append(f"ticket {made.id} was made")
        if said and not first:
            await self.connector.comment(made.id, said, draft.files)
        late = {name: fields[name] for name in abilities.create_ignores & fields.keys()}
        late = {name: value for name, value in late.items() if values(made).get(name) != value}
        if late:
            await self.connector.update(made, Changes(late))
        return await self.get(made.id, None)

    async def update(self, object_id: str, draft: Draft) -> Record:
        """What differs is written; tags are added and taken off one by one."""
        if "contact" in draft.body:
            problem = f"contact: {self.product} is told once, when the ticket is made"
            raise BadRequest("the contact cannot be changed", [problem])
        before = await self.connector.get(object_id)
        fields = drafts.fields_of(draft.body, await self.words.get())
        wanted = drafts.tags_of(draft.body) if "tags" in draft.body else before.tags
        changes = Changes(fields, wanted - before.tags, before.tags - wanted)
        if changes:
            await self.connector.update(before, changes)
            draft.done.append(f"ticket {object_id} was changed")
        return await self.get(object_id, None)

    async def delete(self, object_id: str, ticket: str | None) -> None:
        """For good, or as far as the product can. Raises Gone."""
        await self.connector.get(object_id)
        await self.connector.delete(object_id)


class Children(Shelf):
    """What is reached by its ticket."""

    whole = True
    needs_ticket = True

    def __init__(self, resource: str, connector: Connector, tickets: Tickets) -> None:
        super().__init__(resource, connector.name)
        self.connector = connector
        self.tickets = tickets

    async def conversation(self, ticket_id: str | None) -> tuple[str, Sequence[Comment], Any]:
        """A ticket's id, its comments and the product's own record of it. Raises BadRequest where none is named."""
        if ticket_id is None:
            raise BadRequest("which ticket?", [WHICH])
        ticket, raw = await self.tickets.read(ticket_id)
        return ticket.id, ticket.comments or (), raw


class Comments(Children):
    """The conversation of a ticket, the oldest first."""

    def __init__(self, connector: Connector, tickets: Tickets) -> None:
        super().__init__("comments", connector, tickets)
        if type(connector).edit_comment is Connector.edit_comment:
            self.because["update"] = f"{connector.name} changes no comment once it is written"

    def raw(self, record: Any, one: Comment) -> Any:
        """The product's own record of a comment, where its ticket's holds that."""
        return None

    def record(self, ticket_id: str, one: Comment, record: Any) -> Record:
        """As the API shows it."""
        raw = self.raw(record, one) if record else None
        return Record(shapes.comment(ticket_id, one, self.product), raw)

    async def rows(self, query: Query, cursor: str | None, size: int) -> Rows:
        """All of a ticket's."""
        ticket_id, said, raw = await self.conversation(query.only("ticket", "id"))
        return Rows([self.record(ticket_id, one, raw) for one in said])

    async def found(self, object_id: str, ticket: str | None) -> tuple[str, Comment, Any]:
        """Its ticket's id, the comment, and its ticket's record. Raises Gone."""
        parent, own = shapes.parent_and_own(object_id, ticket)
        ticket_id, said, raw = await self.conversation(parent)
        found = next((one for one in said if one.id == own), None)
        if found is None:
            raise Gone(f"ticket {ticket_id} of {self.product} has no comment {own}", status=404)
        return ticket_id, found, raw

    async def get(self, object_id: str, ticket: str | None) -> Record:
        """One of them."""
        return self.record(*await self.found(object_id, ticket))

    async def create(self, draft: Draft) -> Record:
        """Private unless the caller says otherwise; without a marker, so that the sync takes it for a person's."""
        if draft.ticket is None:
            raise BadRequest("which ticket?", [WHICH])
        words = await self.tickets.words.get()
        said = drafts.comment_of(draft.body, words, private=drafts.is_private(draft.body))
        said = replace(said, created_at=said.created_at or drafts.now())
        written = await self.connector.comment(draft.ticket, said, draft.files)
        draft.done.append(f"comment {shapes.child_id(draft.ticket, written.comment.id)} was made")
        return await self.get(shapes.child_id(draft.ticket, written.comment.id), None)

    async def update(self, object_id: str, draft: Draft) -> Record:
        """Its text, and its privacy where that grows."""
        ticket_id, before, _ = await self.found(object_id, draft.ticket)
        given = draft.body
        after = drafts.comment_of(given, await self.tickets.words.get(), private=False)
        body = after.body if given.get("body") or given.get("html_body") else before.body
        private = drafts.is_private(given, before.private)
        if before.private and not private:
            raise BadRequest("a private comment stays private", ["is_private: what was private is not made public"])
        await self.connector.edit_comment(ticket_id, replace(before, body=body, private=private))
        draft.done.append("the comment was changed")
        return await self.get(shapes.child_id(ticket_id, before.id), None)


class Attachments(Children):
    """The files of a ticket."""

    def __init__(self, connector: Connector, tickets: Tickets) -> None:
        super().__init__("attachments", connector, tickets)

    def raw(self, record: Any, file_id: str) -> Any:
        """The product's own record of a file, where its ticket's holds that."""
        return None

    async def _all(self, ticket: str | None) -> tuple[str, list[tuple[Attachment, Record]]]:
        ticket_id, said, record = await self.conversation(ticket)
        files = [file for one in said for file in one.attachments]
        raws = [self.raw(record, file.id) if record else None for file in files]
        rows = shapes.attachments(ticket_id, said)
        return ticket_id, [(file, Record(row, raw)) for file, row, raw in zip(files, rows, raws, strict=True)]

    async def _found(self, object_id: str, ticket: str | None) -> tuple[Attachment, Record]:
        parent, own = shapes.parent_and_own(object_id, ticket)
        ticket_id, files = await self._all(parent)
        for file, record in files:
            if file.id == own:
                return file, record
        raise Gone(f"ticket {ticket_id} of {self.product} has no file {own}", status=404)

    async def rows(self, query: Query, cursor: str | None, size: int) -> Rows:
        """All of a ticket's."""
        _, files = await self._all(query.only("ticket", "id"))
        return Rows([record for _, record in files])

    async def get(self, object_id: str, ticket: str | None) -> Record:
        """One of them."""
        return (await self._found(object_id, ticket))[1]

    async def create(self, draft: Draft) -> Record:
        """A comment with nothing but the file and its name."""
        ticket_id, private = str(draft.body["ticket_id"]), drafts.is_private(draft.body)
        said = Comment(drafts.OPENING, Body(draft.files[0].file_name), None, private, created_at=drafts.now())
        written = await self.connector.comment(ticket_id, said, draft.files)
        draft.done.append(f"comment {shapes.child_id(ticket_id, written.comment.id)} was made")
        if not written.comment.attachments:
            raise Gone(f"{self.product} took the comment and left the file out", status=404)
        return await self.get(shapes.child_id(ticket_id, written.comment.attachments[0].id), None)

    async def download(self, object_id: str, ticket: str | None) -> File:
        """Its bytes."""
        file, _ = await self._found(object_id, ticket)
        return File(file.file_name, file.content_type, self.connector.download(file))


class Listed(Shelf):
    """A short list that is read whole: users, teams, fields."""

    whole = True

    @abstractmethod
    async def everything(self) -> Sequence[Record]:
        """All of them."""

    async def rows(self, query: Query, cursor: str | None, size: int) -> Rows:
        """All at once."""
        return Rows(await self.everything())

    async def get(self, object_id: str, ticket: str | None) -> Record:
        """The one with this id. Raises Gone."""
        for record in await self.everything():
            if str(record.fields["id"]) == object_id:
                return record
        raise Gone(f"{self.product} has no {self.resource} with the id {object_id}", status=404)


class Vocabularies(Listed):
    """Of the words that every connector knows."""

    kinds: ClassVar[Mapping[str, Any]] = {
        "users": lambda words: map(shapes.user, words.users),
        "teams": lambda words: map(shapes.team, words.teams),
        "fields": lambda words: map(shapes.field, words.fields),
        "user-directory/users": lambda words: (shapes.directory_user(shapes.user(user)) for user in words.users),
    }

    def __init__(self, resource: str, product: str, words: Words) -> None:
        super().__init__(resource, product)
        self.words = words

    async def everything(self) -> Sequence[Record]:
        """All of them."""
        return [Record(row) for row in self.kinds[self.resource](await self.words.get())]


def basic(connector: Connector, words: Words, tickets: Tickets | None = None) -> dict[str, Shelf]:
    """The shelves that any connector fills."""
    tickets = tickets or Tickets(connector, words)
    found: dict[str, Shelf] = {
        "tickets": tickets,
        "comments": Comments(connector, tickets),
        "attachments": Attachments(connector, tickets),
    }
    found |= {kind: Vocabularies(kind, connector.name, words) for kind in Vocabularies.kinds}
    empty = {kind: Shelf(kind, connector.name) for kind in ("collections", "contacts", "tags")}
    return found | empty


def shelves_of(connector: Connector) -> Mapping[str, Shelf]:
    """Every resource's shelf, the connector's own where it has one."""
    own = connector.shelves() if isinstance(connector, Directory) else {}
    return {**basic(connector, Words(connector)), **own}
