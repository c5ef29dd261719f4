"""The unified API over the four products at once, and a client that validates everything it is answered."""

import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
from pydantic import SecretStr

from connectors.desk import Desk
from connectors.gorgias.sandbox import Options
from connectors.memory import MemoryConfig, MemoryConnector
from connectors.roundup import RoundupConnector
from connectors.roundup.config import RoundupConfig
from state.store import Store
from state.tables import ApiToken
from syncd import access
from syncd.access import Keys
from syncd.connector import Connector
from syncd.demo.roundup_tracker import roundup_server
from syncd.errors import SyncdError
from syncd.metrics import Metrics
from syncd.model import Side
from syncd.unified import schema
from syncd.web import unified
from syncd.web.app import make_app, serving
from tests.fakes.gorgias import Town, town
from tests.fakes.redmine_people import Shop, served
from tests.unit.test_web import Daemon

ADMIN = "the-daemons-own-token"
PRODUCTS = ("gorgias", "redmine", "roundup", "memory")


@dataclass(frozen=True)
class Worked:
    """A workspace that is worked on."""

    accounts: Mapping[Side, Connector]


@dataclass
class Source:
    """Workspaces as the daemon has them: each product is the remote of one that bears its name."""

    runners: dict[str, Worked] = field(default_factory=dict)
    kept_out: dict[str, SyncdError] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    json: Any = None

    @property
    def failures(self) -> list[str]:
        """What was wrong with the call."""
        found: list[str] = self.json["details"]["failures"]
        return found


@dataclass
class Client:
    """One client for every product."""

    url: str
    session: aiohttp.ClientSession
    store: Store
    database: Path
    product: str = ""
    token: str = ADMIN

    def of(self, product: str, token: str = ADMIN) -> "Client":
        """The client on this product's account."""
        return replace(self, product=product, token=token)

    async def send(self, method: str, path: str, params: Any = (), body: Any = None, **options: Any) -> Answer:
        """One call below `/unified/`."""
        pairs = [*(params.items() if isinstance(params, Mapping) else params)]
        pairs.append(("integrated_account_id", f"{self.product}:remote"))
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        request = self.session.request(
            method, f"{self.url}/unified/{path}", params=pairs, json=body, headers=headers, **options
        )
        async with request as response:
            content = await response.read()
            is_json = response.content_type == "application/json"
            return Answer(response.status, response.headers, content, await response.json() if is_json else None)

    async def one(self, method: str, path: str, params: Any = (), body: Any = None) -> Any:
        """An object, which fits its schema."""
        answer = await self.send(method, path, params, body)
        assert answer.status == (201 if method == "POST" else 200), answer.content
        model, name = path.split("/")[:2]
        valid(model, name, answer.json)
        return answer.json

    async def page(self, path: str, params: Any = ()) -> Any:
        """A page of a list, whose envelope and rows fit."""
        answer = await self.send("GET", path, params)
        assert answer.status == 200, answer.content
        model, name = path.split("/")
        assert set(answer.json) == {"result", "next_cursor", "prev_cursor", "result_count", "is_partial_response"}
        assert answer.json["result_count"] == len(answer.json["result"])
        for row in answer.json["result"]:
            valid(model, name, row)
        return answer.json

    async def every(self, path: str, params: Any = ()) -> list[Any]:
        """All rows of a list, page after page."""
        pairs = [*(params.items() if isinstance(params, Mapping) else params)]
        page = await self.page(path, pairs)
        rows = list(page["result"])
        while page["next_cursor"]:
            page = await self.page(path, [*pairs, ("next_cursor", page["next_cursor"])])
            rows += page["result"]
        return rows

    def record(self) -> list[tuple[str, Any, str, int]]:
        """The writes that are on record: operation, what it held, key and status."""
        with closing(sqlite3.connect(self.database)) as database:
            rows = database.execute("SELECT operation, what, key, status FROM api_call ORDER BY id").fetchall()
        return [(operation, json.loads(what), key, status) for operation, what, key, status in rows]

    async def key(self, level: str, workspace: str, operations: str = "*") -> str:
        """A new token, as its holder sees it."""
        minted = access.mint()
        given = {"workspace": workspace, "access": level, "operations": operations.split(",")}
        row = ApiToken(id=minted.id, digest=minted.digest, created_at=datetime.now(UTC), **given)
        await self.store.add_token(row)
        return minted.shown


def valid(model: str, name: str, row: Any) -> None:
    """Fails where an object does not fit its schema."""
    assert [error.message for error in validator(model, name).iter_errors(row)] == []
    assert [*row] == [*schema.every()[model, name].fields]


@cache
def validator(model: str, name: str) -> Any:
    """Of the objects of a resource."""
    of = schema.answer_schema(schema.every()[model, name])
    return jsonschema.Draft202012Validator(of, format_checker=jsonschema.FormatChecker())


@dataclass
class Place:
    """Everything behind the API."""

    client: Client
    source: Source
    gorgias: Town
    redmine: Shop


@asynccontextmanager
async def api(folder: Path, accounts: Mapping[str, Connector]) -> AsyncIterator[tuple[Client, Source]]:
    """The API over these accounts, each the remote of a workspace of this name."""
    source = Source({name: Worked({Side.REMOTE: account}) for name, account in accounts.items()})
    database = folder / "api.db"
    async with Store(f"sqlite:///{database}", lambda: datetime.now(UTC)) as store, aiohttp.ClientSession() as session:
        app = make_app(Daemon(), Metrics(), SecretStr(ADMIN), keys=Keys(store))
        unified.add_routes(app, source, store)
        async with serving(app, "127.0.0.1", 0, SecretStr(ADMIN)) as url:
            yield Client(url, session, store, database), source


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Place]:
    """The API over a sandbox of Gorgias, a fake Redmine, a real Roundup and a desk."""
    async with AsyncExitStack() as stack:
        gorgias = await stack.enter_async_context(town(Options(rate_limit=None)))
        redmine = await stack.enter_async_context(served())
        tracker = await stack.enter_async_context(roundup_server(folder / "tracker"))
        login = {"url": tracker.url, "user": tracker.user, "password": tracker.password}
        config = RoundupConfig.model_validate({**login, "fields": {"severity": "string"}})
        Desk.forget_all()
        opening = (
            redmine.connect(),
            RoundupConnector.open(config, Side.REMOTE, "roundup"),
            MemoryConnector.open(MemoryConfig(desk="unified"), Side.REMOTE, "memory"),
        )
        others = [await stack.enter_async_context(one) for one in opening]
        accounts = dict(zip(PRODUCTS, [gorgias.connector, *others], strict=True))
        client, source = await stack.enter_async_context(api(folder, accounts))
        yield Place(client, source, gorgias, redmine)
