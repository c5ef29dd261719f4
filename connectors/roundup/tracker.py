"""The calls to a Roundup tracker: its rows, its names, its files, and its answers as our errors."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import quote

import aiohttp
import orjson

from connectors.roundup.config import RoundupConfig
from connectors.roundup.mapping import age, file_at, issue_fields, link_id, one_line, person_of
from syncd.connector import Upload
from syncd.errors import AccountError, Gone, OutcomeUnknown, Refused, TooLarge, TryLater, VersionConflict
from syncd.http import Transport
from syncd.model import Person
from syncd.text import safe_file_name

PAGE = 100
CONCURRENT = 4
#: The words that stand for an exception inside Roundup, such as a locked database; its status is 400 all the same.
CRASHED = "An error occurred. Please check the server log"
RETIRED = "Requested item is retired"
NOT_REST = "not an answer of Roundup's REST API"
STRANGE = "an answer that Roundup does not give"


class Tracker:
    """One tracker behind a Transport, a few calls at a time."""

    def __init__(self, transport: Transport, config: RoundupConfig) -> None:
        self.transport = transport
        self.config = config
        self.people: dict[str, Person] = {}
        self._ids: dict[str, dict[str, str]] = {}
        self._own: str | None = None
        self._naming = asyncio.Lock()
        self._places = asyncio.Semaphore(CONCURRENT)

    async def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The `data` of an answer."""
        try:
            async with self._places:
                answer = await self.transport.json(method, path, **options)
        except AccountError as error:
            translated(error, method)
        data: dict[str, Any] | None = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict):
            kind = TryLater if method == "GET" else OutcomeUnknown
            raise kind(f"{self.transport.label} answered {method} {path} without data", detail=NOT_REST)
        return data

    # -- items --------------------------------------------------------------------------------------------------

    async def rows(self, kind: str, *filters: tuple[str, str], fields: str, verbose: int = 1) -> list[dict[str, Any]]:
        """The items of a class that match, without the retired ones."""
        query = [*filters, ("@fields", fields), ("@verbose", str(verbose)), ("@pretty", "false")]
        collection: Any = (await self.call("GET", f"/data/{kind}", query=query)).get("collection")
        if not isinstance(collection, list):
            raise TryLater(f"{self.transport.label} answered a list of {kind} without a collection", detail=NOT_REST)
        return list(collection)

    async def many(self, kind: str, ids: Sequence[str], fields: str, verbose: int = 1) -> list[dict[str, Any]]:
        """The items with these ids, in one call for each hundred."""
        parts = [ids[start : start + PAGE] for start in range(0, len(ids), PAGE)]
        calls = [self.rows(kind, *(("id", one) for one in part), fields=fields, verbose=verbose) for part in parts]
        return [row for rows in await asyncio.gather(*calls) for row in rows]

    async def marked(self, kind: str, marker: str, fields: str, verbose: int = 1) -> list[dict[str, Any]]:
        """The items with exactly this marker, the oldest first."""
        name = self.config.marker_property
        # A colon behind the name asks for equality; without it the filter finds substrings in any case.
        rows = await self.rows(kind, (f"{name}:", marker), fields=f"{fields},{name}", verbose=verbose)
        return sorted((row for row in rows if row.get(name) == marker), key=lambda row: age(str(row["id"])))

    async def item(self, kind: str, item_id: str) -> dict[str, Any]:
        """One item with all its properties and its ETag, retired or not."""
        query = {"@verbose": "2", "@protected": "true"}
        data = await self.call("GET", f"/data/{kind}/{quote(item_id, safe='')}", query=query)
        attributes = data.get("attributes")
        if not isinstance(attributes, dict):
            raise TryLater(f"{self.transport.label} answered {kind}{item_id} without attributes", detail=NOT_REST)
        return {**attributes, "id": str(data.get("id") or item_id), "@etag": data.get("@etag")}

    async def issue(self, issue_id: str) -> dict[str, Any]:
        """The row of an issue. Asked for by its id alone a retired one reads like any other; a list leaves it out."""
        found = await self.many("issue", [issue_id], issue_fields(self.config), verbose=2) if issue_id.isdigit() else []
        if not found:
            raise Gone(f"{self.transport.label} has no issue {issue_id}, or it is retired", status=404)
        return found[0]

    async def make(self, kind: str, values: Mapping[str, Any]) -> str:
        """The id of a new item."""
        return str((await self.call("POST", f"/data/{kind}", json=values))["id"])

    async def patch(self, kind: str, item: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Change an item as it was read. Raises VersionConflict when it is another one by now."""
        path = f"/data/{kind}/{item['id']}"
        await self.call("PATCH", path, json=values, headers={"If-Match": str(item["@etag"])})

    async def upload(self, upload: Upload) -> str:
        """The id of the file, which the tracker may hold already; a new one is not linked to anything."""
        if held := file_at(upload.held_at):
            return held
        limit = self.config.max_attachment
        if limit is not None and upload.size > limit:
            raise TooLarge(f"{upload.file_name} has {upload.size} bytes; max_attachment is {limit}", status=413)
        values = {"name": safe_file_name(upload.file_name), "type": upload.content_type}
        if upload.size == 0:  # as a form an empty file is refused; as JSON a blank becomes one
            return await self.make("file", {**values, "content": " "})

        def form() -> aiohttp.FormData:
            data = aiohttp.FormData(values)
            data.add_field("content", upload.path.open("rb"), filename="content", content_type=upload.content_type)
            return data

        return str((await self.call("POST", "/data/file", data=form))["id"])

    # -- names --------------------------------------------------------------------------------------------------

    async def own(self) -> str | None:
        """The id of our user. Not asked for by its name in the path: what follows a dot there is taken for a format."""
        if self._own is None:
            rows = await self.rows("user", ("username:", self.config.user), fields="username")
            self._own = next((str(row["id"]) for row in rows), None)
        return self._own

    async def users(self) -> list[dict[str, Any]]:
        """Every user; their addresses only when we may see them."""
        users = await self.rows("user", fields="username,realname,address")
        self.people = {str(user["id"]): person_of(user) for user in users}
        return users

    async def people_of(self, rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Person]:
        """The users by id, at least those whom the rows name."""
        named = {link_id(row.get(name)) for row in rows for name in ("author", "creator")} - {None}
        if named - set(self.people):
            await self.users()
        for user_id in filter(None, named - set(self.people)):  # a retired user is in no list
            self.people[user_id] = Person(user_id, f"user{user_id}", kind="user")
        return self.people

    async def user_with(self, address: str | None) -> str | None:
        """The id of the user with this address, where we may see it."""
        if not address:
            return None
        if not self.people:
            await self.users()
        return next((one.id for one in self.people.values() if (one.email or "").lower() == address.lower()), None)

    async def id_of(self, kind: str, name: str) -> str:
        """The id of a status or a priority by its name. Raises Refused."""
        if name not in self._ids.get(kind, ()):
            await self._names(kind)
        if name not in self._ids[kind]:
            known = ", ".join(self._ids[kind])
            raise Refused(f"this tracker has no {kind} {name!r}", hint=f"it has {known}", fields=[kind])
        return self._ids[kind][name]

    async def _names(self, kind: str) -> dict[str, str]:
        self._ids[kind] = {str(row.get("name")): str(row["id"]) for row in await self.rows(kind, fields="name")}
        return self._ids[kind]

    async def tag_ids(self, tags: Iterable[str]) -> list[str]:
        """The ids of these keywords; those that the tracker has not are made."""
        wanted = [tag for tag in sorted(set(map(one_line, tags))) if tag]
        if not wanted:
            return []
        async with self._naming:
            known = await self._names(self.config.tags_class)
            return [known.get(tag) or await self._new_tag(tag) for tag in wanted]

    async def _new_tag(self, tag: str) -> str:
        try:
            return await self.make(self.config.tags_class, {"name": tag})
        except Refused:  # somebody else may just have made it
            known = await self._names(self.config.tags_class)
            if tag not in known:
                raise
            return known[tag]


def translated(error: AccountError, method: str) -> NoReturn:
    """Raise what the failure means: Roundup's statuses say other things than HTTP's."""
    safe = method == "GET"
    if isinstance(error, Gone) and error.detail.startswith(NOT_REST):
        # A tracker with its REST API switched off, or another server: no proof that an issue is gone.
        hint = "is the URL right, and is enable_rest = yes in the tracker's config.ini?"
        raise TryLater(str(error), status=error.status, detail=error.detail, hint=hint) from error
    if isinstance(error, VersionConflict) and error.status == 409 and not error.detail.startswith((NOT_REST, STRANGE)):
        kind: type[AccountError] = Gone if RETIRED in error.detail else Refused
        meant = kind(str(error), status=error.status, detail=error.detail)
        raise meant.with_answer(error.headers, error.body) from error
    if isinstance(error, Refused) and CRASHED in error.detail:
        raise (TryLater if safe else OutcomeUnknown)(str(error), status=error.status, detail=error.detail) from error
    raise error


def explain(_status: int, body: bytes) -> str:
    """What the tracker says about a failure."""
    shown = body[:200].decode("utf-8", "replace")
    try:
        return str(orjson.loads(body)["error"]["msg"])
    except orjson.JSONDecodeError:
        return f"{NOT_REST}: {shown}"
    except (KeyError, TypeError, IndexError):
        return f"{STRANGE}: {shown}"
