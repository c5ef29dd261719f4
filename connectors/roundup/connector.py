"""Roundup as a connector. What its REST API does, as found by experiment, is in docs/connectors/roundup.md.

An issue has no description: its conversation is its messages, in the order of their dates. A message is made first
and linked to its issue afterwards. It carries its marker from the start, so one that was made and never linked,
because we died in between, is found by its marker and linked, not made again.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from connectors.roundup import check, mapping
from connectors.roundup.config import RoundupConfig
from connectors.roundup.mapping import PROPERTIES, STAMP, ids, label_of, link_id, moment
from connectors.roundup.shelves import shelves_of
from connectors.roundup.tracker import PAGE, Tracker, explain
from syncd.connector import (
    Capabilities,
    Change,
    Changes,
    Connector,
    Finding,
    Page,
    Upload,
    Vocabulary,
    Written,
)
from syncd.directory import Shelf
from syncd.errors import Gone, Refused, VersionConflict
from syncd.http import Transport
from syncd.model import CUSTOM, Attachment, Comment, Field, Marker, Person, Side, Status, Ticket, User, Value
from syncd.text import sign, write

#: A change is stamped before it is committed, and a tracker that sends mail does so in between.
OVERLAP = timedelta(seconds=10)
#: A feed that was not read for longer answers with ids alone, so that a hundred thousand issues fit in one answer.
RECENT = timedelta(days=1)
#: How often a write is tried again on the newest version, when others keep changing the same issue.
ATTEMPTS = 5


class RoundupConnector(Connector):
    """An account of a Roundup tracker."""

    name = "roundup"
    Config = RoundupConfig

    def __init__(self, transport: Transport, config: RoundupConfig, side: Side, workspace: str) -> None:
        super().__init__(side, workspace)
        self.transport = transport
        self.config = config
        self.tracker = Tracker(transport, config)
        self.base = str(config.url).rstrip("/")
        self.capabilities = Capabilities(
            resolution=1.0,
            comments_on_create=50,
            private=config.private_property is not None,
            tags=config.tags_property is not None,
            team=False,
            reuses_uploads=True,
            max_attachment=config.max_attachment,
            # A new text of a message moves no stamp at all, a retired file none of the issue's.
            invisible=frozenset({"comment-edit", "attachment-delete"}),
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, config: RoundupConfig, side: Side, workspace: str) -> AsyncIterator[Self]:
        """The tracker, ready to use."""
        url = URL(str(config.url))
        transport = Transport(
            f"{str(url).rstrip('/')}/rest",
            f"Roundup ({url.host})",
            # A write wants both, and Origin must be the start of the tracker's own idea of its address.
            headers={
                "X-Requested-With": "syncd",
                "Origin": config.origin or str(url.origin()),
                "Authorization": aiohttp.encode_basic_auth(config.user, config.password.get_secret_value()),
            },
            timeout=config.timeout,
            limit_header="",
            explain=explain,
        )
        async with transport:
            yield cls(transport, config, side, workspace)

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def streams(self) -> Sequence[str]:
        """One feed: issues by their last activity."""
        return ("issues",)

    async def changes(self, stream: str, cursor: str | None) -> AsyncIterator[Page]:
        """The issues since `cursor` (the newest stamp seen), as one list, so that no row moves while it is paged.

        Roundup's own pages are no cheaper than the whole: it formats every row that matches and then cuts.
        """
        newest, since = cursor or "", moment(cursor)
        whole = since is not None and datetime.now(UTC) - since < RECENT
        fields = mapping.issue_fields(self.config) if whole else "activity"
        bound = [("activity", f"{since - OVERLAP:{STAMP}};")] if since else []
        rows = await self.tracker.rows("issue", *bound, ("@sort", "activity,id"), fields=fields, verbose=2)
        people = await self.tracker.people_of(rows) if whole else {}
        # What was seen before goes into the first page, so that every page gets further than the one before it.
        seen = sum(str(row.get("activity")) <= newest for row in rows)
        for start, end in pairwise([0, *range(seen + PAGE, len(rows), PAGE), len(rows)]):
            part = rows[start:end]
            newest = max([newest, *(str(row.get("activity") or "") for row in part)])
            yield Page(tuple(self._change(row, people, whole) for row in part), newest)

    def _change(self, row: Mapping[str, Any], people: Mapping[str, Person], whole: bool) -> Change:
        return Change(str(row["id"]), moment(row.get("activity")), row=self._ticket(row, people) if whole else None)

    async def get(self, ticket_id: str) -> Ticket:
        """The ticket with its whole conversation. Raises Gone, also for a retired issue."""
        issue = await self.tracker.issue(ticket_id)
        comments = await self._comments(issue)
        return replace(await self._shown(issue), comments=comments)

    async def _comments(self, issue: Mapping[str, Any]) -> tuple[Comment, ...]:
        messages, loose = await asyncio.gather(
            self.tracker.many("msg", ids(issue.get("messages")), mapping.message_fields(self.config), verbose=3),
            self.tracker.many("file", ids(issue.get("files")), mapping.FILE_FIELDS),
        )
        files = {str(file["id"]): file for file in loose}
        linked = {file_id for message in messages for file_id in ids(message.get("files"))}
        others = await self.tracker.many("file", sorted(linked - set(files)), mapping.FILE_FIELDS)
        messages = mapping.with_loose_files(messages, [file for file in loose if str(file["id"]) not in linked])
        files |= {str(file["id"]): file for file in others}
        people = await self.tracker.people_of(messages)
        own = await self.tracker.own()
        comments = [self._comment(message, files, people, own) for message in messages]
        return tuple(sorted(comments, key=lambda one: (one.created_at or datetime.now(UTC), mapping.age(one.id))))

    def _comment(
        self, row: Mapping[str, Any], files: Mapping[str, Any], people: Mapping[str, Person], own: str | None
    ) -> Comment:
        author = link_id(row.get("author") or row.get("creator")) or ""
        comment = mapping.comment_of(row, self.config, people.get(author), author == own)
        known = [files[file_id] for file_id in ids(row.get("files")) if file_id in files]
        return replace(comment, attachments=tuple(mapping.attachment_of(file, self.base) for file in known))

    async def _shown(self, issue: Mapping[str, Any]) -> Ticket:
        return self._ticket(issue, await self.tracker.people_of([issue]))

    def _ticket(self, row: Mapping[str, Any], people: Mapping[str, Person]) -> Ticket:
        return mapping.ticket_of(row, self.config, self.base, people)

    async def get_many(self, ids: Sequence[str]) -> Mapping[str, Ticket]:
        """The tickets that exist, without their conversations, in one call for each hundred."""
        numbers = [ticket_id for ticket_id in ids if ticket_id.isdigit()]
        rows = await self.tracker.many("issue", numbers, mapping.issue_fields(self.config), verbose=2)
        people = await self.tracker.people_of(rows)
        return {str(row["id"]): self._ticket(row, people) for row in rows}

    async def find(self, marker: str) -> Sequence[Ticket]:
        """The tickets with exactly this marker, the oldest first; a retired one is not found."""
        rows = await self.tracker.marked("issue", marker, mapping.issue_fields(self.config), verbose=2)
        return [await self._shown(row) for row in rows]

    async def vocabulary(self) -> Vocabulary:
        """The tracker's words; it numbers its priorities from the most urgent one."""
        statuses = await self.tracker.rows("status", ("@sort", "order"), fields="name")
        priorities = await self.tracker.rows("priority", ("@sort", "-order"), fields="name")
        users = await self.tracker.users()
        people = [
            (self.tracker.people[str(user["id"])], user.get("username"))
            for user in users
            if user.get("username") != "anonymous"
        ]
        return Vocabulary(
            statuses=tuple(Status(row["name"], row["name"] in self.config.closed_statuses) for row in statuses),
            priorities=tuple(row["name"] for row in priorities),
            users=tuple(User(one.id, one.name, one.email, login=login) for one, login in people),
            fields=tuple(Field(name, name, kind) for name, kind in self.config.fields.items()),
            own_user=await self.tracker.own(),
        )

    async def check(self) -> Sequence[Finding]:
        """Try the API, the account, the properties, the rights and the time zone; nothing is written."""
        return await check.findings(self.tracker)

    async def download(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """The file's content in chunks. Raises Gone, Forbidden."""
        assert self.transport is not None  # noqa: S101 (for the type checker: set by __init__)
        path = f"/data/file/{quote(attachment.id, safe='')}/binary_content"
        async for chunk in self.transport.download(self.transport.api + path):
            yield chunk

    # -- writing ------------------------------------------------------------------------------------------------

    async def create(self, ticket: Ticket, marker: str, uploads: Mapping[str, Sequence[Upload]]) -> Ticket:
        """Make the issue with its marker and its opening messages, which were made before and wait unseen."""
        comments = ticket.comments or ()
        self._refuse_private(*comments)
        given = {name: getattr(ticket, name) for name in PROPERTIES}
        given |= {CUSTOM + name: value for name, value in (ticket.fields or {}).items()}
        values = await self._values({name: value for name, value in given.items() if value is not None})
        messages = [await self._message(comment, uploads.get(comment.id, ())) for comment in comments]
        values |= {self.config.marker_property: marker} if marker else {}
        values["messages"] = [message["id"] for message in messages]
        values["files"] = [file_id for message in messages for file_id in ids(message["files"])]
        if self.config.tags_property:
            values[self.config.tags_property] = await self.tracker.tag_ids(ticket.tags)
        return await self.get(await self.tracker.make("issue", values))

    async def update(self, ticket: Ticket, changes: Changes) -> Ticket:
        """Write all of it in one call, on condition that the fields are still as `ticket` has them."""
        values = await self._values(changes.fields)
        for _ in range(ATTEMPTS):
            issue = await self.tracker.item("issue", ticket.id)
            current = await self._shown(issue)
            moved = sorted(mapping.moved(ticket, current) & changes.fields.keys())
            if moved:
                raise VersionConflict(f"issue {ticket.id}: {', '.join(moved)} changed since it was read", status=412)
            if not (wanted := values | await self._tags_after(issue, current.tags, changes)):
                return current
            if await self._patched(issue, wanted):
                return await self._shown(await self.tracker.issue(ticket.id))
        raise VersionConflict(f"issue {ticket.id} keeps changing", status=412)

    async def _patched(self, issue: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
        """Whether the issue was still as we read it, and took the values."""
        try:
            await self.tracker.patch("issue", issue, values)
        except VersionConflict:
            return False
        return True

    async def _tags_after(self, issue: Mapping[str, Any], tags: frozenset[str], changes: Changes) -> dict[str, Any]:
        add = frozenset(map(self.canonical_tag, changes.add_tags)) - tags - {""}
        remove = frozenset(map(self.canonical_tag, changes.remove_tags)) & tags
        name = self.config.tags_property
        if not (add or remove):
            return {}
        if name is None:
            raise Refused("this tracker has no tags", hint="name their property in tags_property", fields=["tags"])
        keep = [str(link["id"]) for link in issue.get(name) or () if label_of(link) not in remove]
        return {name: [*keep, *await self.tracker.tag_ids(add)]}

    async def comment(self, ticket_id: str, comment: Comment, uploads: Sequence[Upload]) -> Written:
        """Make the message, or take the one that was made before with this marker, and link it to the issue."""
        self._refuse_private(comment)
        issue = await self.tracker.item("issue", ticket_id)
        message = await self._message(comment, uploads)
        for _ in range(ATTEMPTS):
            if message["id"] in ids(issue.get("messages")) or await self._patched(issue, linking(issue, message)):
                return Written(await self._stored(message["id"]))
            issue = await self.tracker.item("issue", ticket_id)
        raise VersionConflict(f"issue {ticket_id} keeps changing", status=412)

    async def _stored(self, message_id: str) -> Comment:
        comments = await self._comments({"messages": [{"id": message_id}]})
        if not comments:
            raise Gone(f"message {message_id} is retired", status=404)
        return comments[0]

    async def _message(self, comment: Comment, uploads: Sequence[Upload]) -> dict[str, Any]:
        """The message of this comment, which may have been made before, and may be linked to nothing yet."""
        if comment.marker and (known := await self.tracker.marked("msg", comment.marker, "files")):
            return {"id": str(known[0]["id"]), "files": known[0].get("files") or []}
        author, text = await self._authored(comment)
        at = comment.created_at or datetime.now(UTC) + timedelta(seconds=self.skew)
        files = [await self.tracker.upload(upload) for upload in uploads]
        values = {**self._content(text, comment.private), "author": author, "date": f"{at:{STAMP}}", "files": files}
        if comment.marker:
            values[self.config.marker_property] = comment.marker
        return {"id": await self.tracker.make("msg", values), "files": [{"id": file_id} for file_id in files]}

    def _content(self, text: str, private: bool) -> dict[str, Any]:
        # A blank becomes an empty text; an empty one is refused.
        content = {"content": text.strip() or " "}
        return content | ({self.config.private_property: "true"} if private and self.config.private_property else {})

    async def _authored(self, comment: Comment) -> tuple[str, str]:
        """The user to name as the author, and the text: signed when its author is no user here."""
        own = await self.tracker.own() or ""
        text = write(comment.body, self.config.markup)
        # Agents alone: whoever writes to a helpdesk by mail may give any address as theirs.
        address = comment.author.email if comment.author and comment.author.kind == "user" else None
        if author := await self.tracker.user_with(address):
            return author, text
        if comment.author is None:
            return own, text
        return own, sign(text, self.author(comment.author), comment.created_at or datetime.now(UTC), ref_of(comment))

    async def edit_comment(self, ticket_id: str, comment: Comment) -> Comment:
        """Replace the message's text under its author's name; its privacy can only grow."""
        self._refuse_private(comment)
        message = await self.tracker.item("msg", comment.id)
        stored = await self._stored(comment.id)
        text = write(comment.body, self.config.markup)
        if stored.marker and stored.author and stored.author.kind == "contact":
            known = replace(comment, marker=stored.marker)
            text = sign(text, self.author(stored.author), stored.created_at or datetime.now(UTC), ref_of(known))
        await self.tracker.patch("msg", message, self._content(text, comment.private))
        return await self._stored(comment.id)

    async def delete(self, ticket_id: str) -> None:
        """Retire the issue, which hides it: the REST API cannot do more."""
        for _ in range(ATTEMPTS):
            try:
                await self.tracker.issue(ticket_id)
                issue = await self.tracker.item("issue", ticket_id)
                done = await self._patched(issue, {"@op": "action", "@action_name": "retire"})
            except Gone:
                return
            if done:
                return
        raise VersionConflict(f"issue {ticket_id} keeps changing", status=412)

    async def _values(self, fields: Mapping[str, Value]) -> dict[str, Any]:
        """The properties to send: links by id, because a name of digits would be taken for an id."""
        values: dict[str, Any] = {}
        for name, value in fields.items():
            custom = name.removeprefix(CUSTOM)
            if name == "subject":
                values["title"] = self.canonical(name, value) or " "
            elif name in {"status", "priority"}:
                values[name] = await self.tracker.id_of(name, str(value)) if value else ""
            elif name == "assignee":
                values["assignedto"] = str(value or "")
            elif name != custom and custom in self.config.fields:
                values[custom] = mapping.to_property(self.config.fields[custom], value)
            else:
                raise Refused(f"this tracker has no {name}", hint="name it in `fields`", fields=[name])
        return values

    def _refuse_private(self, *comments: Comment) -> None:
        if self.config.private_property is None and any(comment.private for comment in comments):
            raise Refused("everybody could read this private comment", hint=check.PRIVATE, fields=["private"])

    # -- what the unified API asks ------------------------------------------------------------------------------

    def shelves(self) -> Mapping[str, Shelf]:
        """The tracker's resources beside its issues."""
        return shelves_of(self)

    # -- pure ---------------------------------------------------------------------------------------------------

    def canonical(self, name: str, value: Value) -> Value:
        """Texts lose their outer white space, a subject is one line, and empty is absent."""
        if name == "subject":
            return mapping.one_line(value)
        kind = self.config.fields.get(name.removeprefix(CUSTOM)) if name.startswith(CUSTOM) else None
        return mapping.canonical_property(kind, value) if kind else value

    def canonical_tag(self, tag: str) -> str:
        """A keyword is one line without outer white space; its case counts."""
        return mapping.one_line(tag)

    def label(self, ticket_id: str) -> str:
        """How people name an issue."""
        return f"issue{ticket_id}"


def linking(issue: Mapping[str, Any], message: Mapping[str, Any]) -> dict[str, Any]:
    """What to write to the issue so that the message and its files are part of it."""
    return {
        "messages": [*ids(issue.get("messages")), message["id"]],
        "files": list(dict.fromkeys(ids(issue.get("files")) + ids(message["files"]))),
        # Said again, because the classic tracker reopens an issue for a message that comes without a status.
        "status": link_id(issue.get("status")) or "",
    }


def ref_of(comment: Comment) -> str:
    """Where a copied comment came from, for people: its channel, or else its side, and its id there."""
    marker = Marker.parse(comment.marker)
    if marker is None:
        return comment.channel or "syncd"
    return f"{comment.channel or marker.side}:{marker.id}"
