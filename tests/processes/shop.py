"""A shop to run the command against: a Gorgias sandbox and a Redmine at the wire, both open to interference."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler

from connectors.gorgias.sandbox import Options, Sandbox
from tests.fakes.redmine import Redmine
from tests.fakes.redmine_people import RedminePeople
from tests.fakes.redmine_words import ADMIN
from tests.processes.command import Command, Done

AGENTS = ("alice@example.net", "bob@example.net")
Interference = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
CONFIG = """
[workspace]
name = "{name}"
poll_interval = "0.2s"
[store]
url = "{store}"
[http]
listen = "127.0.0.1:{port}"
[log]
format = "json"
[gorgias]
base_url = "{gorgias}"
email = "{email}"
api_key = "{gorgias_key}"
[remote]
connector = "redmine"
url = "{redmine}"
api_key = "{redmine_key}"
project = "{project}"
tracker = "Support"
{remote}
[sync]
grace_period = "10s"
{sync}
"""


@dataclass
class Wire:
    """What passes between syncd and one product; `interfere` may answer in its place, or wait."""

    calls: list[tuple[str, str]] = field(default_factory=list)
    interfere: Interference | None = None

    def onto(self, app: web.Application) -> web.Application:
        """Put this in front of an application."""

        @web.middleware
        async def between(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.calls.append((request.method, request.path))
            answer = await self.interfere(request) if self.interfere else None
            return answer or await handler(request)

        app.middlewares.append(between)
        return app

    def writes(self) -> list[tuple[str, str]]:
        """The calls that were no reads."""
        return [call for call in self.calls if call[0] != "GET"]

    def answer(self, status: int = 200, body: str = "", kind: str = "application/json") -> None:
        """Answer everything with this from now on."""

        async def always(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, text=body, content_type=kind)

        self.interfere = always

    def slow_writes(self, seconds: float) -> None:
        """Let every write wait before it is carried out."""

        async def wait(request: web.Request) -> None:
            if request.method != "GET":
                await asyncio.sleep(seconds)

        self.interfere = wait


@dataclass
class Shop:
    """Both products, the people in them, and syncd between."""

    command: Command
    folder: Path
    sandbox: Sandbox
    redmine: Redmine
    urls: dict[str, str]
    gorgias: Wire
    remote: Wire

    @property
    def people(self) -> RedminePeople:
        """An administrator who works in Redmine."""
        return RedminePeople(self.urls["redmine"], ADMIN, self.move)

    def move(self, seconds: float) -> None:
        """Let time pass at Redmine, whose stamps are whole seconds."""
        self.redmine.ahead += timedelta(seconds=seconds)

    def config(self, name: str = "acme", **options: Any) -> Path:
        """A workspace's file; what is given replaces what is right."""
        path = self.folder / f"{name}.toml"
        values = {
            "name": name, "store": f"sqlite:///{self.folder / 'syncd.db'}", "port": 0, "email": "ops@acme.example",
            "gorgias": self.urls["gorgias"], "gorgias_key": "sandbox-key", "redmine": self.urls["redmine"],
            "redmine_key": ADMIN, "project": "support", "remote": "", "sync": "",
        }  # fmt: skip
        path.write_text(CONFIG.format(**{**values, **options}), encoding="utf-8")
        return path

    async def syncd(self, *words: str | Path, **options: Any) -> Done:
        """Run the command to its end."""
        return await self.command.run(*map(str, words), **options)

    async def once(self, *more: str, code: int = 0, **options: Any) -> Done:
        """`syncd once`, which must end with this code."""
        done = await self.syncd("once", self.folder / "acme.toml", *more, **options)
        assert done.code == code, f"{done.code}\n{done.out}\n{done.err}"
        return done

    @property
    def severity(self) -> int:
        """The id of Gorgias' custom field Severity, which takes one value more than Redmine's."""
        return next(int(row["id"]) for row in self.sandbox["custom_fields"] if row["label"] == "Severity")

    def subjects(self) -> tuple[list[str], list[str]]:
        """The subjects on both sides, sorted."""
        gorgias = sorted(str(row.get("subject")) for row in self.sandbox.tickets)
        return gorgias, sorted(str(issue["subject"]) for issue in self.redmine.issues.values())

    def rows(self, table: str) -> list[dict[str, Any]]:
        """A table of the database."""
        with closing(sqlite3.connect(self.folder / "syncd.db")) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(f"SELECT * FROM {table}")]

    def dump(self, *, without: str = "lease") -> list[str]:
        """Everything in the database but the leases."""
        with closing(sqlite3.connect(self.folder / "syncd.db")) as database:
            return [line for line in database.iterdump() if f'INSERT INTO "{without}"' not in line]


@asynccontextmanager
async def open_shop(command: Command, folder: Path) -> AsyncIterator[Shop]:
    """A fresh shop without tickets."""
    sandbox = Sandbox(Options(accounts=dict.fromkeys(AGENTS, "key")))
    choices = {"data_type": "text", "input_settings": {"input_type": "dropdown", "choices": ["S1", "S2", "S3"]}}
    severity = {"object_type": "Ticket", "label": "Severity", "definition": choices}
    sandbox["custom_fields"].add({**severity, "created_datetime": sandbox.stamp()})
    redmine, gorgias, remote = Redmine(), Wire(), Wire()
    command.folder = folder
    async with TestServer(gorgias.onto(sandbox.app())) as left, TestServer(remote.onto(redmine.app())) as right:
        urls = {"gorgias": str(left.make_url("")).rstrip("/"), "redmine": str(right.make_url("")).rstrip("/")}
        sandbox.base_url = urls["gorgias"]
        try:
            yield Shop(command, folder, sandbox, redmine, urls, gorgias, remote)
        finally:
            await command.end_all()
    sandbox.close()
