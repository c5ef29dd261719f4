"""The project's resources for the unified API, beyond what every connector has: lists, records, projects and tags."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from connectors.redmine import reading
from connectors.redmine.client import LIMIT, Client, Json, part
from connectors.redmine.config import RedmineConfig
from syncd.directory import Draft, Query, Record, Rows, Shelf
from syncd.errors import BadRequest, Refused
from syncd.model import Comment, Ticket, utc
from syncd.text import read
from syncd.unified import shapes
from syncd.unified.shapes import Row
from syncd.unified.shelves import Attachments, Comments, Listed, Tickets, Vocabularies, Words, basic
from syncd.unified.words import unified_status

#: Pages of issues that are looked through for tags, where those are free text.
TAG_PAGES = 10


class Issues(Tickets):
    """Issues of the project without its subprojects."""

    sorts = frozenset({"created_at", "updated_at"})

    def __init__(self, account: Any, words: Words) -> None:
        super().__init__(account, words)
        self.account = account
        self.client: Client = account.client
        self.config: RedmineConfig = account.config

    async def read(self, ticket_id: str) -> tuple[Ticket, Any]:
        """An issue and its record."""
        issue = await self.client.issue(ticket_id)
        return (await self.account.reader()).full(issue), issue

    async def record(self, ticket: Ticket, raw: Any) -> Record:
        """With what only Redmine's record tells."""
        row = (await super().record(ticket, raw)).fields
        described = row["description"] or read(raw.get("description") or "", self.config.text_format).text or None
        return Record({**row, **more(raw), "description": described}, raw)

    async def rows(self, query: Query, cursor: str | None, size: int) -> Rows:
        """A page by offset; by creation it goes on behind the last issue, wherever that is by now."""
        order = query.sort or (("updated_at", True) if query.bounds("updated_at") else ("created_at", True))
        params = await self._params(query, order)
        offset, tail = parsed(cursor)
        if tail and order[0] == "created_at":
            issues, end, total = await self._behind(params, offset, size, tail, order[1])
        else:
            issues, end, total = await self._page(params, offset, size)
        tail = issues[-1]["id"] if issues else tail
        reader = await self.account.reader()
        records = [await self.record(reader.row(issue), issue) for issue in issues]
        return Rows(records, f"{end}:{tail}" if end < total else None, order=order)

    async def _page(self, params: Mapping[str, str], start: int, size: int) -> tuple[list[Json], int, int]:
        page = {"offset": str(start), "limit": str(min(LIMIT, size))}
        answer = await self.client.issues({**params, **page})
        issues: list[Json] = answer["issues"]
        return issues, start + len(issues) if issues else answer["total_count"], answer["total_count"]

    async def _behind(
        self, params: Mapping[str, str], offset: int, size: int, tail: int, downwards: bool
    ) -> tuple[list[Json], int, int]:
        """The issues behind one: from a row that was seen on, because rows move up where others leave the list."""
        start, size = max(0, offset - 1), size + 1
        while True:
            issues, end, total = await self._page(params, start, size)
            unseen = [one for one in issues if one["id"] != tail and (one["id"] < tail) is downwards]
            if start == 0 or len(unseen) < len(issues):
                return unseen, end, total
            start, size = max(0, start - LIMIT + 1), LIMIT

    async def _params(self, query: Query, order: tuple[str, bool]) -> dict[str, str]:
        """What narrows a list. Redmine ignores what it does not know, so that all is compared again."""
        names = (await self.account.reader()).names
        by = {"created_at": "id", "updated_at": "updated_on"}[order[0]]
        params = {"sort": f"{by}:desc" if order[1] else by, "subproject_id": "!*"}
        params["project_id"] = query.only("collections", "id") or str(names.account.project["id"])
        if self.config.only_tracker:
            params["tracker_id"] = str(names.tracker)
        if (assignee := query.only("assignees", "id")) is not None and assignee.isdecimal():
            params["assigned_to_id"] = assignee
        if (status := query.only("status", "name")) is not None:
            account = names.account
            own = {name in account.closed for name in account.statuses if said(name, account.closed) == status}
            if len(own) == 1:
                params["status_id"] = "closed" if own.pop() else "open"
        ids = [
            value for one in query.filters if one.path == ("ids",) and one.op in {"eq", "in"} for value in one.values
        ]
        if ids:
            params["issue_id"] = ",".join([value for value in ids if value.isdecimal()][:LIMIT] or ["0"])
        for name, theirs in (("created_at", "created_on"), ("updated_at", "updated_on")):
            lower = [one.values[0] for one in query.bounds(name) if one.op in {"gt", "gte"}]
            if lower:  # whole seconds of UTC; an upper bound leaves out what it should not (5.0)
                params[theirs] = f">={min(lower_bound(one) for one in lower)}"
        return params


class Notes(Comments):
    """The description and the notes of an issue."""

    def __init__(self, account: Any, issues: Issues) -> None:
        super().__init__(account, issues)
        self.client = issues.client

    async def delete(self, object_id: str, ticket: str | None) -> None:
        """A note without words is none. Raises Refused for the description."""
        ticket_id, found, _ = await self.found(object_id, ticket)
        if found.id == reading.DESCRIPTION:
            raise Refused(f"the description of issue {ticket_id} is no note", hint="write another one over it")
        await self.client.put_note(found.id, {"notes": ""})

    def raw(self, record: Any, one: Comment) -> Any:
        """The journal."""
        return next((row for row in record.get("journals", ()) if str(row["id"]) == one.id), None)


class Files(Attachments):
    """The files of an issue."""

    def __init__(self, account: Any, issues: Issues) -> None:
        super().__init__(account, issues)
        self.client = issues.client

    async def delete(self, object_id: str, ticket: str | None) -> None:
        """By a change of the issue, which its history and the change feed show; a deletion by itself they do not."""
        file, record = await self._found(object_id, ticket)
        await self.client.put(record.fields["ticket_id"], {"deleted_attachment_ids": [int(file.id)]})

    def raw(self, record: Any, file_id: str) -> Any:
        """As Redmine lists it."""
        return next((row for row in record.get("attachments", ()) if str(row["id"]) == file_id), None)


class Projects(Listed):
    """The projects that the key sees."""

    def __init__(self, client: Client) -> None:
        super().__init__("collections", "redmine")
        self.client = client

    async def everything(self) -> Sequence[Record]:
        """All of them."""
        return [Record(project(row), row) for row in await self.client.every("/projects.json", "projects")]


class Categories(Vocabularies):
    """The project's issue categories, where those are its teams."""

    lacks = frozenset({"description"})

    def __init__(self, account: Any, words: Words) -> None:
        super().__init__("teams", "redmine", words)
        self.account = account
        if account.config.team_field != "category":
            reason = "teams are the values of a custom field here: an administrator of Redmine edits those"
            self.because = dict.fromkeys(("create", "update", "delete"), reason)

    async def create(self, draft: Draft) -> Record:
        """One more."""
        project = (await self.account.reader()).names.account.project["id"]
        path, body = f"/projects/{project}/issue_categories.json", _category(draft)
        made = part(await self.account.transport.json("POST", path, json=body), "issue_category", path)
        draft.done.append(f"team {made['id']} was made")
        self.words.forget()
        return await self.get(str(made["id"]), None)

    async def update(self, object_id: str, draft: Draft) -> Record:
        """A new name."""
        await self._call("PUT", object_id, json=_category(draft))
        return await self.get(object_id, None)

    async def delete(self, object_id: str, ticket: str | None) -> None:
        """Its issues have none afterwards."""
        await self._call("DELETE", object_id)

    async def _call(self, method: str, object_id: str, **options: Any) -> None:
        await self.get(object_id, None)  # one of another project is none of ours
        await self.account.transport.request(method, f"/issue_categories/{object_id}.json", **options)
        self.words.forget()


class Tags(Listed):
    """What the tags field may hold or, where it is free text, what the newest issues hold in it."""

    def __init__(self, account: Any) -> None:
        super().__init__("tags", "redmine")
        self.account = account
        if account.config.tags_field is None:
            self.because = dict.fromkeys(("list", "get"), "this Redmine has no tags: name their field in tags_field")

    async def everything(self) -> Sequence[Record]:
        """By name."""
        names = (await self.account.reader()).names
        found = {label for _, label in names.tags.options} or await self._seen(names.tags.id)
        rows = ({"id": name, "name": name, "status": "active"} for name in sorted(found))
        return [Record(row, {"custom_field": names.tags.id, "value": row["name"]}) for row in rows]

    async def _seen(self, field_id: int) -> set[str]:
        found: set[str] = set()
        for page in range(TAG_PAGES):
            params = {f"cf_{field_id}": "*", "sort": "id:desc", "offset": str(page * LIMIT)}
            answer = await self.account.client.issues(params)
            for issue in answer["issues"]:
                values = (row.get("value") for row in issue.get("custom_fields", ()) if row["id"] == field_id)
                found |= {tag for value in values for tag in reading.tags_in(value)}
            if (page + 1) * LIMIT >= answer["total_count"]:
                break
        return found


def shelves_of(account: Any) -> Mapping[str, Shelf]:
    """By resource."""
    words = Words(account)
    issues = Issues(account, words)
    own: dict[str, Shelf] = {
        "comments": Notes(account, issues),
        "attachments": Files(account, issues),
        "collections": Projects(account.client),
        "teams": Categories(account, words),
        "tags": Tags(account),
    }
    return {**basic(account, words, issues), **own}


# -- helpers -------------------------------------------------------------------------------------------------------


def _category(draft: Draft) -> Json:
    return {"issue_category": {"name": draft.body.get("name")}}


def parsed(cursor: str | None) -> tuple[int, int]:
    """How many issues were shown, and the number of the last one. Raises BadRequest."""
    try:
        offset, tail = map(int, (cursor or "0:0").split(":"))
    except ValueError as error:
        raise BadRequest("this is no cursor of Redmine's", ["next_cursor: take it from the page before"]) from error
    return offset, tail


def lower_bound(value: str) -> str:
    """A time in whole seconds of UTC, which is all that Redmine takes."""
    return f"{utc(datetime.fromisoformat(value)):%Y-%m-%dT%H:%M:%SZ}"


def said(status: str, closed: frozenset[str]) -> str:
    """The unified word for a status."""
    return unified_status(status, status in closed)


def more(issue: Json) -> Row:
    """What an issue tells beside what the model of a ticket holds."""
    assignee, due = issue.get("assigned_to"), issue.get("due_date")
    place = _named(issue.get("project"), type="project")
    found: Row = {
        "created_by": _named(issue.get("author"), type="user"),
        "collections": [place] if place else [],
        "ticket_type": _named(issue.get("tracker")),
        "parent_ticket": {"id": str(issue["parent"]["id"])} if issue.get("parent") else None,
        "due_date": f"{due}T00:00:00Z" if due else None,
        "closed_at": issue.get("closed_on"),
    }
    if assignee and "name" in assignee:
        found["assignees"] = [{"id": str(assignee["id"]), **shapes.names(assignee["name"])}]
    return found


def _named(row: Json | None, **more: str) -> Row | None:
    return {"id": str(row["id"]), "name": row.get("name"), **more} if row else None


def project(row: Json) -> Row:
    """A project."""
    return {
        "id": str(row["id"]),
        "name": row.get("name"),
        "description": row.get("description") or None,
        "type": "project",
        "parent_collection_id": str(row["parent"]["id"]) if row.get("parent") else None,
        "created_at": row.get("created_on"),
        "updated_at": row.get("updated_on"),
        "entity_type": "ticket",
    }
