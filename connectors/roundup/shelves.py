"""The tracker's resources for the unified API, beyond what every connector has: lists, records and keywords."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors.roundup import mapping
from connectors.roundup.config import RoundupConfig
from connectors.roundup.mapping import STAMP
from connectors.roundup.tracker import Tracker
from syncd.directory import Draft, Query, Record, Rows, Shelf
from syncd.errors import BadRequest, Gone
from syncd.model import Comment, Ticket, utc
from syncd.unified import drafts, shapes
from syncd.unified.shapes import Row
from syncd.unified.shelves import Attachments, Comments, Listed, Tickets, Words, basic

SORTS = {"created_at": "creation", "updated_at": "activity"}


class Issues(Tickets):
    """Issues that are not retired."""

    sorts = frozenset(SORTS)

    def __init__(self, account: Any, words: Words) -> None:
        super().__init__(account, words)
        self.account = account
        self.tracker: Tracker = account.tracker
        self.config: RoundupConfig = account.config

    async def read(self, ticket_id: str) -> tuple[Ticket, Any]:
        """An issue with its conversation, and its record."""
        return await self.account.get(ticket_id), await self.tracker.issue(ticket_id)

    async def record(self, ticket: Ticket, raw: Any) -> Record:
        """With the ids of its keywords and the user who made it."""
        row = dict((await super().record(ticket, raw)).fields)
        made = self.tracker.people.get(mapping.link_id(raw.get("creator")) or "")
        links = raw.get(self.config.tags_property) if self.config.tags_property else None
        row["tags"] = [{"id": str(link["id"]), "name": mapping.label_of(link)} for link in links or ()]
        row["created_by"] = {"id": made.id, "name": made.name, "type": "user"} if made else None
        return Record(row, raw)

    async def rows(self, query: Query, cursor: str | None, size: int) -> Rows:
        """The ids of all that match, which is cheap, and then the rows behind the last one that was shown.

        Roundup's own pages are no cheaper than the whole, and move while they are read.
        """
        order = query.sort or (("updated_at", True) if query.bounds("updated_at") else ("created_at", True))
        by = "activity" if order[0] == "updated_at" else "id"
        found = await self.tracker.rows("issue", *_bounds(query), fields="activity")
        keys = sorted((_key(row, by) for row in found), reverse=order[1])
        if cursor:
            last = _parsed(cursor)
            keys = [key for key in keys if key != last and (key < last) is order[1]]
        page = [str(number) for _, number in keys[:size]]
        fields = mapping.issue_fields(self.config)
        rows = {str(row["id"]): row for row in await self.tracker.many("issue", page, fields, verbose=2)}
        people = await self.tracker.people_of(rows.values())
        opened = await self._openings(rows.values())
        shown = []
        for row in (rows[number] for number in page if number in rows):
            ticket = mapping.ticket_of(row, self.config, self.account.base, people)
            said = opened.get(_first(row))
            shown.append(await self.record(replace(ticket, comments=(said,) if said else ()), row))
        following = "{} {}".format(*keys[size - 1]) if len(keys) > size else None
        return Rows(shown, following, order=order)

    async def _openings(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, Comment]:
        """The messages with which issues begin, by their ids."""
        numbers = [number for row in rows if (number := _first(row))]
        found = await self.tracker.many("msg", numbers, mapping.message_fields(self.config), verbose=3)
        return {str(row["id"]): mapping.comment_of(row, self.config, None, False) for row in found}


class Messages(Comments):
    """The messages of an issue."""

    async def delete(self, object_id: str, ticket: str | None) -> None:
        """It is unlinked from its issue, as "remove" does in the tracker's pages."""
        ticket_id, found, _ = await self.found(object_id, ticket)
        tracker: Tracker = self.tickets.connector.tracker  # type: ignore[attr-defined]
        issue = await tracker.item("issue", ticket_id)
        linked = [number for number in mapping.ids(issue.get("messages")) if number != found.id]
        if len(linked) == len(mapping.ids(issue.get("messages"))):
            raise Gone(f"{found.id} is a file without a message: it is not removed", status=404)
        await tracker.patch("issue", issue, {"messages": linked})


class Files(Attachments):
    """The files of an issue, which hang on it, on its messages, or on both."""

    async def delete(self, object_id: str, ticket: str | None) -> None:
        """It is unlinked from all that it hangs on."""
        file, record = await self._found(object_id, ticket)
        tracker: Tracker = self.tickets.connector.tracker  # type: ignore[attr-defined]
        issue = await tracker.item("issue", record.fields["ticket_id"])
        messages = [await tracker.item("msg", number) for number in mapping.ids(issue.get("messages"))]
        for kind, item in (*(("msg", message) for message in messages), ("issue", issue)):
            kept = [number for number in mapping.ids(item.get("files")) if number != file.id]
            if len(kept) < len(mapping.ids(item.get("files"))):
                await tracker.patch(kind, item, {"files": kept})


class Keywords(Listed):
    """The tags."""

    lacks = frozenset({"color"})

    def __init__(self, account: Any) -> None:
        super().__init__("tags", "roundup")
        self.tracker: Tracker = account.tracker
        self.config: RoundupConfig = account.config
        if self.config.tags_property is None:
            reason = "this tracker has no tags: name their property in tags_property"
            self.because = dict.fromkeys(("list", "get", "create", "update", "delete"), reason)

    async def everything(self) -> Sequence[Record]:
        """By name."""
        rows = await self.tracker.rows(self.config.tags_class, ("@sort", "name"), fields="name,creation,activity")
        return [Record(keyword(row), row) for row in rows]

    async def create(self, draft: Draft) -> Record:
        """One that is there already is shown as it is."""
        made = await self.tracker.tag_ids([draft.body["name"]])
        if not made:
            raise BadRequest("a keyword needs a name", ["name: is blank"])
        return await self.get(made[0], None)

    async def update(self, object_id: str, draft: Draft) -> Record:
        """A new name, everywhere."""
        item = await self.tracker.item(self.config.tags_class, object_id)
        if draft.body.get("name"):
            await self.tracker.patch(self.config.tags_class, item, {"name": mapping.one_line(draft.body["name"])})
        return await self.get(object_id, None)

    async def delete(self, object_id: str, ticket: str | None) -> None:
        """It is retired."""
        await self.get(object_id, None)
        item = await self.tracker.item(self.config.tags_class, object_id)
        await self.tracker.patch(self.config.tags_class, item, {"@op": "action", "@action_name": "retire"})


def shelves_of(account: Any) -> Mapping[str, Shelf]:
    """By resource."""
    words = Words(account)
    issues = Issues(account, words)
    own: dict[str, Shelf] = {
        "comments": Messages(account, issues),
        "attachments": Files(account, issues),
        "tags": Keywords(account),
    }
    return {**basic(account, words, issues), **own}


# -- helpers -------------------------------------------------------------------------------------------------------


def keyword(row: Mapping[str, Any]) -> Row:
    """A keyword."""
    stamps = {ours: shapes.moment(mapping.moment(row.get(theirs))) for ours, theirs in SORTS.items()}
    return {"id": str(row["id"]), "name": row.get("name"), "status": "active", **stamps}


def _first(row: Mapping[str, Any]) -> str:
    """The id of an issue's first message, if it has one."""
    return min(mapping.ids(row.get("messages")), key=int, default="")


def _bounds(query: Query) -> list[tuple[str, str]]:
    """A lower bound of a time, in whole seconds; all is compared again."""
    found = []
    for name, theirs in SORTS.items():
        lower = [drafts.moment(one.values[0]) for one in query.bounds(name) if one.op in {"gt", "gte"}]
        found += [(theirs, f"{utc(when):{STAMP}};") for when in lower if when]
    return found


def _key(row: Mapping[str, Any], by: str) -> tuple[str, int]:
    return ("" if by == "id" else str(row.get("activity")), int(row["id"]))


def _parsed(cursor: str) -> tuple[str, int]:
    stamp, _, number = cursor.rpartition(" ")
    if not number.isdecimal():
        raise BadRequest("this is no cursor of Roundup's", ["next_cursor: take it from the page before"])
    return stamp, int(number)
