"""What people do in the demo's tracker, by its own REST API: the same colleagues as in the helpdesk."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

from syncd.demo.roundup_tracker import RoundupServer
from syncd.http import Transport

Doc = dict[str, Any]

#: The agents of the helpdesk who also work in the tracker: login, name, address.
COLLEAGUES = (
    ("mia", "Mia Keller", "mia.keller@acme.example"),
    ("tom", "Tom Becker", "tom.becker@acme.example"),
    ("claire", "Claire Dubois", "claire.dubois@acme.example"),
    ("sofia", "Sofía Marín", "sofia.marin@acme.example"),
    ("yuki", "Yuki Tanaka", "yuki.tanaka@acme.example"),
    ("omar", "Omar Haddad", "omar.haddad@acme.example"),
)


class Tracker:
    """The hands of everybody who works in the tracker."""

    def __init__(self, doors: Mapping[str, Transport]) -> None:
        self._doors = doors

    @classmethod
    @asynccontextmanager
    async def open(cls, server: RoundupServer) -> AsyncIterator["Tracker"]:
        """The tracker, with an account for each colleague."""
        async with AsyncExitStack() as stack:
            logins = [server.admin, *(login for login, _, _ in COLLEAGUES)]
            doors = {login: await stack.enter_async_context(_door(server, login)) for login in logins}
            for login, name, address in COLLEAGUES:
                user = {"username": login, "realname": name, "address": address, "roles": "User"}
                await doors[server.admin].json("POST", "/data/user", json={**user, "password": server.password})
            yield cls(doors)

    async def open_issue(
        self, who: str, title: str, text: str, files: Mapping[str, str] | None = None, **more: Any
    ) -> str:
        """Somebody writes an issue."""
        message, attached = await self._message(who, text, files or {}, private=False)
        values = {"title": title, "messages": [message], "files": attached, **more}
        if "keyword" in more:
            values["keyword"] = [await self._keyword(name) for name in more["keyword"]]
        return await self._made(who, "issue", values)

    async def issue(self, words: str) -> str:
        """The id of the issue whose title holds these words."""
        rows = (await self._doors["mia"].json("GET", "/data/issue", query={"@fields": "title"}))["data"]["collection"]
        return next(str(row["id"]) for row in rows if words in row["title"])

    async def say(
        self, who: str, issue: str, text: str, files: Mapping[str, str] | None = None, *, private: bool = False
    ) -> None:
        """Somebody writes a message, with files."""
        message, attached = await self._message(who, text, files or {}, private=private)
        await self._patch(who, issue, {"@op": "add", "messages": [message], "files": attached})

    async def change(self, who: str, issue: str, **fields: Any) -> None:
        """Somebody changes fields of an issue; links by their names."""
        await self._patch(who, issue, fields)

    async def tag(self, who: str, issue: str, *, add: str = "", remove: str = "") -> None:
        """Somebody adds and removes a keyword."""
        for kind, name in (("add", add), ("remove", remove)):
            if name:
                await self._patch(who, issue, {"@op": kind, "keyword": [await self._keyword(name)]})

    async def _keyword(self, name: str) -> str:
        query = {"name:": name, "@fields": "name"}
        found = (await self._doors["mia"].json("GET", "/data/keyword", query=query))["data"]["collection"]
        return str(found[0]["id"]) if found else await self._made("mia", "keyword", {"name": name})

    async def _message(self, who: str, text: str, files: Mapping[str, str], *, private: bool) -> tuple[str, list[str]]:
        attached = [
            await self._made(who, "file", {"name": name, "type": "text/plain", "content": content})
            for name, content in files.items()
        ]
        values = {"content": text, "author": who, "date": ".", "private": str(private), "files": attached}
        return await self._made(who, "msg", values), attached

    async def _made(self, who: str, kind: str, values: Doc) -> str:
        return str((await self._doors[who].json("POST", f"/data/{kind}", json=values))["data"]["id"])

    async def _patch(self, who: str, issue: str, values: Doc) -> None:
        path = f"/data/issue/{issue}"
        tag = (await self._doors[who].json("GET", path))["data"]["@etag"]
        await self._doors[who].json("PATCH", path, json=values, headers={"If-Match": tag})


def _door(server: RoundupServer, login: str) -> Transport:
    headers = {
        "Authorization": aiohttp.encode_basic_auth(login, server.password),
        "X-Requested-With": "demo",
        "Origin": str(URL(server.url).origin()),
    }
    return Transport(f"{server.url}rest", "the tracker", headers=headers, limit_header="")
