"""A Jotter server in memory, for the tests of its connector."""

import itertools
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

PAGE = 20


class FakeJotter:
    """The notes, and the application that serves them."""

    def __init__(self) -> None:
        self.notes: dict[str, dict[str, Any]] = {}
        self.numbers = itertools.count(1)
        self.app = web.Application()
        self.app.add_routes(
            [
                web.get("/me", self.me),
                web.get("/notes", self.list_notes),
                web.post("/notes", self.add_note),
                web.get("/notes/{id}", self.show_note),
                web.patch("/notes/{id}", self.change_note),
                web.delete("/notes/{id}", self.drop_note),
                web.post("/notes/{id}/remarks", self.add_remark),
            ]
        )

    def note(self, request: web.Request) -> dict[str, Any]:
        """The note that the path names."""
        if request.match_info["id"] not in self.notes:
            raise web.HTTPNotFound
        return self.notes[request.match_info["id"]]

    def write(self, note: dict[str, Any], **news: Any) -> dict[str, Any]:
        """Store what changed, under a new revision."""
        note.update(news, revision=next(self.numbers), changed=datetime.now(UTC).isoformat())
        return note

    def fields(self, given: dict[str, Any]) -> dict[str, Any]:
        """Title and state as Jotter keeps them."""
        fields = {name: given[name] for name in ("title", "state") if name in given}
        if fields.get("state", "open") not in {"open", "done"}:
            raise web.HTTPUnprocessableEntity
        if "title" in fields:
            fields["title"] = " ".join(fields["title"].replace("\x00", "").split())[:80].strip() or "(untitled)"
        return fields

    def remark(self, given: dict[str, Any]) -> dict[str, Any]:
        """A remark as Jotter keeps it."""
        text = given["text"].replace("\r\n", "\n").replace("\x00", "")
        return {"id": str(next(self.numbers)), "text": text, "by": given.get("by", ""), "key": given.get("key")}

    async def me(self, _request: web.Request) -> web.Response:
        return web.json_response({"id": "1"})

    async def list_notes(self, request: web.Request) -> web.Response:
        notes = sorted(self.notes.values(), key=lambda note: note["revision"])
        if "key" in request.query:
            key = request.query["key"].lower()
            return web.json_response([note for note in notes if (note["key"] or "").lower() == key])
        if "ids" in request.query:
            ids = request.query["ids"].split(",")
            return web.json_response([note for note in notes if note["id"] in ids])
        after = int(request.query["after_revision"])
        return web.json_response([note for note in notes if note["revision"] > after][:PAGE])

    async def add_note(self, request: web.Request) -> web.Response:
        given = await request.json()
        note = {"id": str(next(self.numbers)), "title": "", "state": "open", "key": given.get("key")}
        note["remarks"] = [self.remark(remark) for remark in given.get("remarks", [])]
        self.notes[note["id"]] = self.write(note, **self.fields(given))
        return web.json_response(note, status=201)

    async def show_note(self, request: web.Request) -> web.Response:
        return web.json_response(self.note(request))

    async def change_note(self, request: web.Request) -> web.Response:
        return web.json_response(self.write(self.note(request), **self.fields(await request.json())))

    async def drop_note(self, request: web.Request) -> web.Response:
        del self.notes[self.note(request)["id"]]
        return web.Response(status=204)

    async def add_remark(self, request: web.Request) -> web.Response:
        note, remark = self.note(request), self.remark(await request.json())
        self.write(note, remarks=[*note["remarks"], remark])
        return web.json_response(remark, status=201)
