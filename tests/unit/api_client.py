"""What the tests of the HTTP API share: the daemon's application over a sandbox, and a client with a token."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import SecretStr

from connectors.gorgias.connector import GorgiasConfig, GorgiasConnector
from connectors.gorgias.sandbox import Options, Sandbox, seed
from connectors.memory import MemoryConnector
from state.store import Store
from state.tables import ApiToken
from syncd import access
from syncd.access import Keys
from syncd.connector import Connector
from syncd.errors import LeaseHeld, SyncdError
from syncd.metrics import Metrics
from syncd.model import Side
from syncd.web import openapi, proxy, unified
from syncd.web.app import make_app, serving
from tests.unit.sandbox_client import KEY, Reply
from tests.unit.test_web import Daemon

ADMIN = "the-daemons-own-token"


@dataclass(frozen=True)
class Worked:
    """A workspace that is worked on."""

    accounts: Mapping[Side, Connector]


@dataclass
class Source:
    """Workspaces as the daemon has them."""

    runners: dict[str, Worked] = field(default_factory=dict)
    kept_out: dict[str, SyncdError] = field(default_factory=lambda: {"busy": LeaseHeld("another process has it")})


@dataclass
class Api:
    """The application, served, with what is behind it."""

    url: str
    session: aiohttp.ClientSession
    sandbox: Sandbox
    store: Store
    source: Source

    async def send(self, method: str, path: str, *, token: str = ADMIN, **options: Any) -> Reply:
        """One request with this token; none for an empty one. The workspace is acme unless the path says another."""
        options.setdefault("allow_redirects", False)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= options.pop("headers", {})
        async with self.session.request(method, self.url + path, headers=headers, **options) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def call(self, method: str, path: str, params: Any = (), **options: Any) -> Reply:
        """One call of the proxy on the workspace acme."""
        pairs = list(params.items() if isinstance(params, Mapping) else params)
        return await self.send(method, f"/proxy/{path}", params=[("integrated_account_id", "acme"), *pairs], **options)

    async def token(self, level: str = "read", operations: str = "*", workspace: str = "acme", **more: Any) -> str:
        """A new token, as its holder sees it."""
        minted = access.mint()
        given = {"workspace": workspace, "access": level, "operations": operations.split(",")}
        row = ApiToken(id=minted.id, digest=minted.digest, created_at=datetime.now(UTC), **given | more)
        await self.store.add_token(row)
        return minted.shown


@asynccontextmanager
async def served(
    folder: Path, options: Options | None = None, tickets: int = 25, more: Callable[..., None] | None = None
) -> AsyncIterator[Api]:
    """A seeded sandbox without a limit behind the daemon's application, as the workspaces acme and other.

    `more` adds routes; it gets the application, the accounts, the store and the sandbox's address.
    """
    sandbox = Sandbox(options or Options(rate_limit=None))
    seed(sandbox, tickets=tickets)
    async with (
        sandbox.serve() as url,
        GorgiasConnector.open(_config(url), Side.GORGIAS, "acme") as gorgias,
        MemoryConnector.open(MemoryConnector.Config(), Side.REMOTE, "acme") as memory,
        Store(f"sqlite:///{folder / 'api.db'}", lambda: datetime.now(UTC)) as store,
    ):
        worked = Worked({Side.GORGIAS: gorgias, Side.REMOTE: memory})
        source = Source({"acme": worked, "other": worked})
        token = SecretStr(ADMIN)
        app = make_app(Daemon(), Metrics(), token, keys=Keys(store))
        proxy.add_routes(app, source, store)
        unified.add_routes(app, source, store)
        openapi.add_routes(app, source)
        if more:
            more(app, source, store, url)
        async with serving(app, "127.0.0.1", 0, token) as base, aiohttp.ClientSession() as session:
            yield Api(base, session, sandbox, store, source)
    sandbox.close()


def _config(url: str) -> GorgiasConfig:
    values = {"base_url": url, "email": "ops@acme.example", "api_key": KEY, "rate_window": 20.0}
    return GorgiasConfig.model_validate(values)


def expired() -> dict[str, Any]:
    """What makes a token an expired one."""
    return {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}
