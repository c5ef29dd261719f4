"""The calls to Redmine, each with what must be made sure of before its answer is believed."""

import time
from collections.abc import Mapping
from typing import Any

import orjson

from syncd.connector import Upload
from syncd.errors import Gone, Refused, TooLarge, TryLater, VersionConflict
from syncd.http import Transport, file_body
from syncd.text import safe_file_name

Json = dict[str, Any]

KEY = "X-Redmine-API-Key"
SWITCH_USER = "X-Redmine-Switch-User"
LIMIT = 100  # rows of a list; a larger limit is silently taken as this one
#: How long, in seconds, a proof that our key counts is believed of a list; a single issue brings its own.
PROVEN_FOR = 300.0
ELSEWHERE = "is the URL that of Redmine itself, and is its REST web service switched on?"


class Client:
    """The REST API of one Redmine under one key.

    With a bad key Redmine 5.0 does not refuse a read: it answers 200 with what anybody may see, so that private notes
    and private issues seem to be gone. Every read therefore comes with a proof that we are still somebody.
    """

    def __init__(self, transport: Transport, max_attachment: int) -> None:
        self.transport = transport
        self.max_attachment = max_attachment
        self._proven = 0.0

    async def whoami(self) -> Json:
        """Our own user with its memberships, which is the proof. Raises Unauthorized."""
        try:
            user = await self.read("/users/current.json", "user", {"include": "memberships"}, proof=False)
        except Gone as error:  # a 404 of everything is no absence of anything
            raise TryLater("there is no Redmine at this address", status=404, hint=ELSEWHERE) from error
        self._proven = time.monotonic()
        return dict(user)

    async def read(self, path: str, key: str, query: Mapping[str, str] | None = None, *, proof: bool = True) -> Any:
        """What an answer holds under `key`. Raises Gone only while our key counts."""
        try:
            answer = await self.transport.json("GET", path, query=query)
        except Gone:
            if proof:
                await self.whoami()
            raise
        return part(answer, key, path)

    async def issue(self, issue_id: str) -> Json:
        """The issue with its conversation, and with the watchers, which are not shown to who is anonymous."""
        if not issue_id.isdigit():
            raise Gone(f"Redmine has no issue {issue_id!r}", status=404)
        query = {"include": "journals,attachments,watchers"}
        issue: Json = await self.read(f"/issues/{issue_id}.json", "issue", query)
        if "watchers" not in issue:
            await self.whoami()
        return issue

    async def issues(self, query: Mapping[str, str]) -> Json:
        """A page of the issue list, open and closed."""
        path = "/issues.json"
        answer: Json = await self.transport.json("GET", path, query={"status_id": "*", "limit": str(LIMIT), **query})
        part(answer, "total_count", path)
        part(answer, "issues", path)
        if time.monotonic() - self._proven > PROVEN_FOR:
            await self.whoami()
        return answer

    async def every(self, path: str, key: str) -> list[Json]:
        """All rows of a list that hardly changes. Raises TryLater for a list that ends too early."""
        rows: list[Json] = []
        while True:
            page = {"limit": str(LIMIT), "offset": str(len(rows))}
            answer = await self.transport.json("GET", path, query=page)
            found = part(answer, key, path)
            rows += found
            if len(rows) >= part(answer, "total_count", path):
                return rows
            if not found:
                raise TryLater(f"Redmine's list {path} ended early, after {len(rows)} rows")

    async def post(self, body: Json) -> Json:
        """Make an issue; the answer shows it with its files."""
        path = "/issues.json"
        answer = await self.transport.json("POST", path, query={"include": "attachments"}, json={"issue": body})
        return dict(part(answer, "issue", path))

    async def put(self, issue_id: str, body: Json, headers: Mapping[str, str] | None = None) -> None:
        """Change an issue. A 204 does not say that all of it was taken."""
        path = f"/issues/{issue_id}.json"
        try:
            await self.transport.request("PUT", path, json={"issue": body}, headers=headers)
        except VersionConflict as error:
            if not headers or error.status != 412:
                raise
            await self.transport.request("PUT", path, json={"issue": body})  # that user is locked: in our own name

    async def put_note(self, note_id: str, body: Json) -> None:
        """Change a note. One without text, and without changes of fields, is deleted."""
        await self.transport.request("PUT", f"/journals/{note_id}.json", json={"journal": body})

    async def delete(self, issue_id: str) -> None:
        """Delete an issue. Raises Gone, and Refused when it has subtasks, which Redmine would delete along with it."""
        issue = await self.read(f"/issues/{issue_id}.json", "issue", {"include": "children"})
        if issue.get("children"):
            raise Refused(f"issue {issue_id} has subtasks, which would be deleted too", hint="move them first")
        await self.transport.request("DELETE", f"/issues/{issue_id}.json")

    async def upload(self, upload: Upload) -> Json:
        """Send a file from disk; it belongs to no issue yet, and Redmine forgets it if it never does."""
        if upload.size > self.max_attachment:
            raise TooLarge(f"{upload.file_name} has {upload.size} bytes, more than {self.max_attachment}")
        name, path = safe_file_name(upload.file_name), "/uploads.json"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(upload.size)}
        body = file_body(upload.path)
        try:
            answer = await self.transport.json(
                "POST", path, query={"filename": name}, data=body, headers=headers, safe=True
            )
        except Refused as error:
            raise TooLarge(f"Redmine does not take {name}", status=error.status, detail=error.detail) from error
        token = part(part(answer, "upload", path), "token", path)
        return {"token": token, "filename": name, "content_type": upload.content_type}


def part(answer: Any, key: str, path: str) -> Any:
    """What an answer holds under `key`. Raises TryLater for an answer that is not Redmine's."""
    if not isinstance(answer, dict) or key not in answer:
        raise TryLater(f"Redmine answered {path} with something unexpected", hint=ELSEWHERE)
    return answer[key]


def explained(_status: int, body: bytes) -> str:
    """The sentences of an error, in the language of the key's owner: for people, never to be parsed."""
    try:
        answer: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[:300].decode("utf-8", "replace").strip()
    errors = answer.get("errors") if isinstance(answer, dict) else None
    return "; ".join(map(str, errors)) if isinstance(errors, list) else ""
