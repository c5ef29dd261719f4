"""The Redmine connector: every call it makes, and what each makes sure of.

A success of Redmine's says little: a 204 may have dropped a value, made a private note public or left a file out, and
a 200 may be the answer to nobody. So each write is read back, and each read proves that our key still counts.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Self

from connectors.redmine import feed, reading, writing
from connectors.redmine.account import FORMATS, CustomField, Names, load, resolve
from connectors.redmine.check import findings
from connectors.redmine.client import KEY, LIMIT, SWITCH_USER, Client, Json, explained
from connectors.redmine.config import RedmineConfig
from connectors.redmine.shelves import shelves_of
from syncd.connector import Capabilities, Change, Changes, Connector, Finding, Page, Upload, Vocabulary, Written
from syncd.directory import Shelf
from syncd.errors import Forbidden, Gone, Refused
from syncd.http import Transport
from syncd.model import CUSTOM, Attachment, Comment, Field, Side, Status, Team, Ticket, Value, values
from syncd.text import read, write

PRIVATE_HINT = "the user's role needs the permission 'Set notes as private'"
FILTER_HINT = "tick 'Used as a filter' on it: Administration → Custom fields"
#: A transaction may become visible this many seconds after the time that it wrote to `updated_on` (inferred).
SETTLED_AFTER = 10


class RedmineConnector(Connector):
    """One project of a Redmine."""

    name = "redmine"
    Config = RedmineConfig

    def __init__(self, config: RedmineConfig, side: Side, workspace: str, transport: Transport) -> None:
        super().__init__(side, workspace)
        self.config = config
        self.transport: Transport = transport
        self.client = Client(transport, config.max_attachment)
        self.capabilities = Capabilities(
            resolution=1.0,
            comments_on_create=1,
            create_ignores=frozenset({"status"}),
            tags=config.tags_field is not None,
            team=bool(config.team_field),
            contact=config.contact_field is not None,
            max_attachment=config.max_attachment,
            invisible=frozenset({"comment-edit", "comment-delete", "attachment-delete"}),
        )
        self._reader: reading.Reader | None = None
        self._loading = asyncio.Lock()
        self._settled = ""

    @classmethod
    @asynccontextmanager
    async def open(cls, config: RedmineConfig, side: Side, workspace: str) -> AsyncIterator[Self]:
        """The account, ready to use; nothing is read before the first call."""
        headers = {KEY: config.api_key.get_secret_value()}
        async with Transport(
            config.url, "Redmine", headers=headers, timeout=config.timeout, explain=explained
        ) as transport:
            yield cls(config, side, workspace, transport)

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def streams(self) -> Sequence[str]:
        """One feed, the issue list; Redmine has no webhooks."""
        return ("issues",)

    async def changes(self, stream: str, cursor: str | None) -> AsyncIterator[Page]:
        """The issues of the project by `updated_on`, whose newest value seen is the cursor."""
        reader = await self.reader()
        place = feed.Place.parse(cursor, SETTLED_AFTER) or feed.Place(cursor or "", self._bound(cursor))
        query = {"project_id": str(reader.names.account.project["id"]), "subproject_id": "!*", "sort": "updated_on,id"}
        if self.config.only_tracker:
            query["tracker_id"] = str(reader.names.tracker)

        async def fetch(bound: str | None, offset: int) -> Json:
            since = {"updated_on": f">={bound}"} if bound else {}
            return await self.client.issues({**query, **since, "offset": str(offset)})

        after = ""
        async for rows, after in feed.pages(fetch, place):
            found = [reader.row(issue) for issue in rows]
            yield Page(tuple(Change(row.id, row.updated_at, row=row) for row in found), after)
        if after and feed.shifted(after, SETTLED_AFTER) < self._now():
            self._settled = after

    def _bound(self, cursor: str | None) -> str:
        """From where to read: what was settled when it was last read to the end need not be read again."""
        if not cursor:
            return ""
        return feed.shifted(cursor, 1 if cursor == self._settled else -SETTLED_AFTER)

    def _now(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.skew))

    async def get(self, ticket_id: str) -> Ticket:
        """The issue with its description and notes. Raises Gone, Forbidden."""
        return (await self.reader()).full(await self.client.issue(ticket_id))

    async def get_many(self, ids: Sequence[str]) -> Mapping[str, Ticket]:
        """The issues in the short form, a hundred a call: Redmine answers 500 to many more."""
        reader = await self.reader()
        numbers = [ticket_id for ticket_id in ids if ticket_id.isdigit()]
        batches = [numbers[start : start + LIMIT] for start in range(0, len(numbers), LIMIT)]
        answers = [await self.client.issues({"issue_id": ",".join(batch)}) for batch in batches]
        found = [reader.row(issue) for answer in answers for issue in answer["issues"]]
        return {ticket.id: ticket for ticket in found}

    async def find(self, marker: str) -> Sequence[Ticket]:
        """The issues with this marker, in any project: an issue that was moved is still ours.

        Raises Refused where the field is no filter, because Redmine then lists every issue instead.
        """
        reader = await self.reader()
        field = reader.names.marker
        # The value needs its own "=": without it a leading ~ ! * ^ $ is an operator.
        answer = await self.client.issues({f"cf_{field.id}": f"={marker}", "sort": "id"})
        rows = [reader.row(issue) for issue in answer["issues"]]
        if any((row.marker or "").strip().casefold() != marker.strip().casefold() for row in rows):
            raise Refused(f"Redmine cannot search for {field.name!r}", hint=FILTER_HINT)
        return sorted((row for row in rows if row.marker == marker), key=lambda row: int(row.id))

    async def vocabulary(self) -> Vocabulary:
        """The words of the project, read afresh."""
        names = (await self.reader(afresh=True)).names
        account = names.account
        return Vocabulary(
            statuses=tuple(Status(name, name in account.closed) for name in account.statuses),
            priorities=tuple(account.priorities),
            users=account.users,
            teams=self._teams(names),
            fields=tuple(described(item) for item in names.plain_fields),
            own_user=account.me.id,
        )

    def _teams(self, names: Names) -> tuple[Team, ...]:
        if self.config.team_field == "category":
            return tuple(Team(str(number), name) for name, number in names.account.categories.items())
        return tuple(Team(label, label) for _, label in names.team.options) if names.team else ()

    async def check(self) -> Sequence[Finding]:
        """Key, project, tracker, fields and rights."""
        return await findings(self.client, self.config)

    def download(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """The file's content in chunks; without its name in the path, so that a renamed file is found too."""
        return self.transport.download(f"{self.config.url}/attachments/download/{attachment.id}")

    # -- writing ------------------------------------------------------------------------------------------------

    async def create(self, ticket: Ticket, marker: str, uploads: Mapping[str, Sequence[Upload]]) -> Ticket:
        """Make the issue; its first comment becomes the description unless it is private, which no description is."""
        reader = await self.reader()
        first = next((comment for comment in ticket.comments or () if not comment.private), None)
        files = uploads.get(first.id, ()) if first else ()
        given = {name: value for name, value in values(ticket).items() if value is not None}
        body = await self._attributes({**given, "subject": ticket.subject})
        body["custom_fields"] = [*body.get("custom_fields", ()), *self._extras(reader.names, ticket, marker)]
        body |= {"project_id": reader.names.account.project["id"], "tracker_id": reader.names.tracker}
        body |= {"start_date": None, "description": self._source(first) if first else ""}
        body |= {"uploads": [await self.client.upload(file) for file in files]}
        try:
            issue = await self.client.post(body)
        except Refused as error:
            raise self._explained(error, reader.names) from error
        return reader.full(issue)

    def _extras(self, names: Names, ticket: Ticket, marker: str) -> list[Json]:
        """What a new issue holds in custom fields beside its fields: marker, tags, the customer's address."""
        extras: list[Json] = [{"id": names.marker.id, "value": marker}]
        if names.tags and ticket.tags:
            tags = Changes(add_tags=frozenset(map(self.canonical_tag, ticket.tags)))
            extras.append({"id": names.tags.id, "value": writing.merged_tags([] if names.tags.multiple else "", tags)})
        if names.contact and ticket.contact and ticket.contact.email:
            extras.append({"id": names.contact.id, "value": ticket.contact.email})
        return extras

    def _explained(self, error: Refused, names: Names) -> Exception:
        """A 422 says the same of a wrong value and of a project where we may not create; our role tells them apart."""
        project = names.account.project["identifier"]
        if names.account.may("add_issues"):
            return error
        hint = f"give the user {names.account.me.login} a role with the right to add issues in {project}"
        return Forbidden(f"Redmine lets this key add no issue to {project}", status=403, hint=hint)

    async def update(self, ticket: Ticket, changes: Changes) -> Ticket:
        """Write what is different, all or nothing, and read it back: Redmine drops silently what it does not allow."""
        reader = await self.reader()
        body = await self._attributes(writing.differing(ticket, changes, self.canonical))
        if changes.add_tags or changes.remove_tags:
            body = self._with_tags(body, reader.names, await self.client.issue(ticket.id), changes)
        if body:
            await self.client.put(ticket.id, body)
        return await self.get(ticket.id)

    def _with_tags(self, body: Json, names: Names, issue: Json, changes: Changes) -> Json:
        """The body with the tags of the issue as it is now and these changes, unless they change nothing."""
        if names.tags is None:
            raise Refused("this Redmine has no field for tags", hint="set tags_field", fields=["tags"])
        held = next((row["value"] for row in issue.get("custom_fields", ()) if row["id"] == names.tags.id), None)
        wanted = replace(changes, add_tags=frozenset(map(self.canonical_tag, changes.add_tags)))
        merged = writing.merged_tags(held, wanted)
        if reading.tags_in(merged) == reading.tags_in(held):
            return body
        return {**body, "custom_fields": [*body.get("custom_fields", ()), {"id": names.tags.id, "value": merged}]}

    async def comment(self, ticket_id: str, comment: Comment, uploads: Sequence[Upload]) -> Written:
        """Add the note, and make sure that it is there, with its files, and no more public than asked for."""
        reader = await self.reader()
        if comment.private and not self.config.private_files:
            comment, uploads = writing.without_files(comment, uploads), ()
        notes = self._source(comment)
        if not notes.strip() and (comment.private or not uploads):
            raise Refused("Redmine stores no empty note", fields=["notes"])
        headers = self._as_author(reader.names, comment)
        if comment.private and not headers:
            self._must_be_able_to_hide(reader.names)
        body: Json = {"notes": notes, "uploads": [await self.client.upload(file) for file in uploads]}
        body |= {"private_notes": True} if comment.private else {}
        await self.client.put(ticket_id, body, headers)
        ticket = await self.get(ticket_id)
        text = read(notes, self.config.text_format).text
        stored = reading.stored_as(ticket, comment, text, reader.names.account.me.id)
        if comment.private and not stored.private:
            return await self._hidden(ticket_id, stored)
        missing = {upload["token"].partition(".")[0] for upload in body["uploads"]} - {f.id for f in stored.attachments}
        if missing:
            raise Refused(f"Redmine took the note {stored.id} but left out {len(missing)} of its files")
        return Written(stored, ticket)

    async def _hidden(self, ticket_id: str, stored: Comment) -> Written:
        """The note made private after all. Raises Refused when it could only be emptied, or not even that."""
        try:
            await self.client.put_note(stored.id, {"private_notes": True})
            ticket = await self.get(ticket_id)
            again = next((item for item in ticket.comments or () if item.id == stored.id), stored)
            if again.private:
                return Written(again, ticket)
            await self.client.put_note(stored.id, {"notes": ""})
        except Forbidden as error:
            hint = f"hide or delete the note by hand; {PRIVATE_HINT}"
            raise Refused(f"issue {ticket_id}: note {stored.id} should be private and is public", hint=hint) from error
        raise Refused("Redmine stored a private note as public; it was removed again", hint=PRIVATE_HINT)

    async def edit_comment(self, ticket_id: str, comment: Comment) -> Comment:
        """Replace the text of a note or of the description, below our line where it has one. Raises Gone, Refused."""
        reader = await self.reader()
        issue = await self.client.issue(ticket_id)
        held = reading.held(issue, comment.id)
        line, _, _ = reader.opened(held.text, held.author)
        text = writing.below(line, write(comment.body, self.config.text_format))
        if not text and comment.id != reading.DESCRIPTION:
            raise Refused("Redmine deletes a note that is emptied", fields=["notes"])
        if comment.private and not held.private:
            await self._tighten(reader.names, comment)
        if text != held.text:
            await self._rewrite(ticket_id, comment.id, text)
        stored = await self.get(ticket_id)
        return next(item for item in stored.comments or () if item.id == comment.id)

    async def _tighten(self, names: Names, comment: Comment) -> None:
        if comment.id == reading.DESCRIPTION:
            raise Refused("the description of an issue cannot be private", fields=["private"])
        self._must_be_able_to_hide(names)
        await self.client.put_note(comment.id, {"private_notes": True})

    async def _rewrite(self, ticket_id: str, comment_id: str, text: str) -> None:
        if comment_id == reading.DESCRIPTION:
            await self.client.put(ticket_id, {"description": text})
        else:
            await self.client.put_note(comment_id, {"notes": text})

    async def delete(self, ticket_id: str) -> None:
        """Delete the issue for good. Raises Refused when it has subtasks, which Redmine would delete along with it."""
        try:
            await self.client.delete(ticket_id)
        except Gone:
            return

    # -- calls --------------------------------------------------------------------------------------------------

    async def reader(self, *, afresh: bool = False) -> reading.Reader:
        """How to read this account, once its names are known. Raises AccountError for a name that does not exist."""
        async with self._loading:
            if self._reader is None or afresh:
                names = resolve(await load(self.client, self.config), self.config)
                self._reader = reading.Reader(
                    names=names,
                    url=self.config.url,
                    markup=self.config.text_format,
                    workspace=self.workspace,
                    other=self.side.other,
                    by_category=self.config.team_field == "category",
                    trust_all=self.config.impersonate,
                )
            return self._reader

    async def _attributes(self, wanted: Mapping[str, Value]) -> Json:
        """The values as Redmine's own; a name that is not known may be new, so the names are read once more."""
        by_category = self.config.team_field == "category"
        try:
            return writing.attributes((await self.reader()).names, wanted, by_category)
        except Refused:
            return writing.attributes((await self.reader(afresh=True)).names, wanted, by_category)

    def _source(self, comment: Comment) -> str:
        return writing.signed(comment, self.config.text_format, self.side)

    def _as_author(self, names: Names, comment: Comment) -> dict[str, str]:
        """The header that keeps the comment's author, where that user exists and may do all that we want."""
        email = (comment.author.email or "").lower() if comment.author else ""
        account = names.account
        if not (self.config.impersonate and account.me.admin and email in account.logins):
            return {}
        user = next((item for item in account.users if item.active and (item.email or "").lower() == email), None)
        needed = ["add_issue_notes", *(["set_notes_private"] if comment.private else [])]
        able = user is not None and all(account.may(permission, user.id) for permission in needed)
        return {SWITCH_USER: account.logins[email]} if able else {}

    def _must_be_able_to_hide(self, names: Names) -> None:
        """Redmine stores a private note as a public one when the user may not write private ones (5.0: 204)."""
        if not names.account.may("set_notes_private"):
            raise Refused("this key may not write private notes", status=403, hint=PRIVATE_HINT, fields=["private"])

    # -- what the unified API asks ------------------------------------------------------------------------------

    def shelves(self) -> Mapping[str, Shelf]:
        """The project's resources beside its issues."""
        return shelves_of(self)

    # -- pure ---------------------------------------------------------------------------------------------------

    def canonical(self, name: str, value: Value) -> Value:
        """The subject on one line and not blank; custom fields as Redmine reads them back, once they are known."""
        if name == "subject":
            return writing.subject(value)
        item = self._reader.names.by_name(name.removeprefix(CUSTOM)) if self._reader else None
        if not name.startswith(CUSTOM) or item is None:
            return None if value == "" else value
        try:
            return reading.decoded(item, writing.encoded(item, value))
        except Refused:  # no such label: the write will say so
            return value

    def canonical_tag(self, tag: str) -> str:
        """Without commas, which separate tags; a list field holds its own spellings."""
        is_list = self._reader and self._reader.names.tags and self._reader.names.tags.multiple
        return tag if is_list else writing.tag(tag)

    def label(self, ticket_id: str) -> str:
        """How people name an issue."""
        return f"Redmine #{ticket_id}"


def described(item: CustomField) -> Field:
    """A custom field as the vocabulary lists it."""
    options = tuple(label for _, label in item.options) if FORMATS.get(item.format) == "enum" else ()
    return Field(str(item.id), item.name, FORMATS.get(item.format, "string"), options, item.required)
