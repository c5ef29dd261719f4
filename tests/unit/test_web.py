"""The daemon's endpoints over a real socket: who is let in, what is answered, and what an answer never carries."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from syncd.errors import BadRequest, ConfigError, StoreBusy
from syncd.metrics import Metrics
from syncd.model import Side
from syncd.web.app import MAX_HOOK, make_app, serving
from syncd.web.health import Hint, Parked, SideHealth, WorkspaceHealth

TOKEN = "tökén-of-the-daemon"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
NOW = datetime.now(UTC)


class Daemon:
    """A source of health whose state the tests set."""

    def __init__(self) -> None:
        self.list: list[WorkspaceHealth] = [workspace("acme")]
        self.error: Exception | None = None
        self.hint = Hint.TAKEN
        self.hints: list[tuple[str, Side, bytes]] = []
        self.metrics = Metrics()

    async def workspaces(self) -> Sequence[WorkspaceHealth]:
        if self.error:
            raise self.error
        return self.list

    async def measure(self) -> None:
        if self.error:
            raise self.error
        self.metrics.queue("acme", "dirty", 3)

    async def hinted(self, name: str, side: Side, headers: Mapping[str, str], body: bytes) -> Hint:
        self.hints.append((name, side, body))
        return self.hint


def workspace(name: str, **changes: Any) -> WorkspaceHealth:
    """A workspace in good order, with these changes."""
    sides = (SideHealth(Side.GORGIAS, "gorgias", bucket=0.25), SideHealth(Side.REMOTE, "redmine"))
    return WorkspaceHealth(**{"name": name, "sides": sides, "linked": 12, "last_success": NOW} | changes)


Ask = Callable[..., Awaitable[tuple[int, Mapping[str, str], str]]]


@pytest.fixture
def daemon() -> Daemon:
    """What the endpoints report on."""
    return Daemon()


async def _asking(daemon: Daemon, token: SecretStr | None) -> AsyncIterator[Ask]:
    app = make_app(daemon, daemon.metrics, token)

    async def fail(request: web.Request) -> web.Response:
        raise {"bad": BadRequest("wrong", ["id is missing"])}.get(
            request.match_info["how"], RuntimeError("inner detail")
        )

    app.router.add_get("/fail/{how}", fail)
    async with serving(app, "127.0.0.1", 0, token) as base, aiohttp.ClientSession() as session:

        async def ask(path: str, method: str = "GET", **options: Any) -> tuple[int, Mapping[str, str], str]:
            async with session.request(method, base + path, **options) as answer:
                return answer.status, answer.headers, await answer.text()

        yield ask


@pytest.fixture
async def ask(daemon: Daemon) -> AsyncIterator[Ask]:
    """Calls the application that is guarded by a token."""
    async for asking in _asking(daemon, SecretStr(TOKEN)):
        yield asking


@pytest.fixture
async def ask_open(daemon: Daemon) -> AsyncIterator[Ask]:
    """Calls the application that has no token and serves this machine only."""
    async for asking in _asking(daemon, None):
        yield asking


@pytest.mark.parametrize("path", ["/", "/readyz", "/metrics", "/nowhere"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Token {TOKEN}"},
        {"Authorization": "Basic !"},
        {"X-Syncd-Token": TOKEN[:-1]},
    ],
)
async def test_without_the_token_nobody_gets_in(ask: Ask, path: str, headers: dict[str, str]) -> None:
    """Every endpoint but /healthz refuses a missing or wrong token, and says what kind it wants."""
    status, answered, body = await ask(path, headers=headers)
    assert status == 401
    assert body == '{"statusCode": 401, "error": "Unauthorized", "message": "the token is missing or wrong"}'
    assert answered["WWW-Authenticate"].startswith("Basic" if path == "/" else "Bearer")


async def test_healthz_is_open_and_needs_no_store(ask: Ask, daemon: Daemon) -> None:
    """Being alive is told to everybody, whatever else is broken."""
    daemon.error = StoreBusy("locked")
    assert (await ask("/healthz"))[0] == 200


async def test_the_page_takes_the_token_as_a_password(ask: Ask) -> None:
    """A browser gets the page with any user and the token as password; the other endpoints want a bearer."""
    basic = {"Authorization": aiohttp.encode_basic_auth("anybody", TOKEN, "utf-8")}
    assert (await ask("/", headers=basic))[0] == 200
    assert (await ask("/readyz", headers=basic))[0] == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8787"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_without_a_token_only_this_machine_is_served(ask_open: Ask, headers: dict[str, str], status: int) -> None:
    """A web page in a local browser reaches nothing: neither by its own name for 127.0.0.1 nor across origins."""
    assert (await ask_open("/readyz", headers=headers))[0] == status


async def test_every_answer_has_the_security_headers(ask: Ask) -> None:
    """Good answers and errors alike forbid framing, sniffing and caching, and do not name the server's version."""
    for path, headers in (("/healthz", {}), ("/readyz", BEARER), ("/nowhere", BEARER), ("/", {})):
        _, answered, _ = await ask(path, headers=headers)
        assert answered["X-Content-Type-Options"] == "nosniff"
        assert answered["X-Frame-Options"] == "DENY"
        assert answered["Cache-Control"] == "no-store"
        assert "default-src 'none'" in answered["Content-Security-Policy"]
        assert answered["Server"] == "syncd"


async def test_readyz_tells_each_workspace(ask: Ask, daemon: Daemon) -> None:
    """200 when all are ready, 503 when one is not or when there is none; parked items are only counted."""
    daemon.list[0] = workspace("acme", parked=(Parked("#7", "status", "no such status"),), parked_total=1)
    status, headers, body = await ask("/readyz", headers=BEARER)
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert '"ready":true' in body
    assert '"parked":1' in body
    daemon.list.append(workspace("beta", ready=False, reason="first load"))
    status, _, body = await ask("/readyz", headers=BEARER)
    assert status == 503
    assert '"reason":"first load"' in body
    daemon.list.clear()
    assert (await ask("/readyz", headers=BEARER))[0] == 503


async def test_a_store_that_is_away_is_a_503(ask: Ask, daemon: Daemon) -> None:
    """Readiness and the page say so, without details; the metrics are served as far as they are known."""
    daemon.error = StoreBusy("postgresql://u:geheim@h/db is away")
    for path in ("/readyz", "/"):
        status, headers, body = await ask(path, headers=BEARER)
        assert (status, headers["Retry-After"]) == (503, "5")
        assert "geheim" not in body
    assert (await ask("/metrics", headers=BEARER))[0] == 200


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/nowhere", "GET", 404), ("/readyz", "DELETE", 405), ("/fail/bad", "GET", 400), ("/fail/other", "GET", 500)],
)
async def test_errors_are_json(ask: Ask, path: str, method: str, status: int) -> None:
    """Every error has the one form, and an unexpected one keeps its details to the log."""
    answered, headers, body = await ask(path, method, headers=BEARER)
    assert answered == status
    assert headers["Content-Type"].startswith("application/json")
    assert body.startswith(f'{{"statusCode": {status}, "error": ')
    assert "inner detail" not in body
    assert ("Allow" in headers) == (status == 405)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [("", "text/plain"), ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text")],
)
async def test_metrics_in_both_formats(ask: Ask, accept: str, content_type: str) -> None:
    """A scraper gets the format it asks for, with gauges brought up to date for it."""
    status, headers, body = await ask("/metrics", headers=BEARER | {"Accept": accept})
    assert status == 200
    assert headers["Content-Type"].startswith(content_type)
    assert 'syncd_queue_tickets{state="dirty",workspace="acme"} 3.0' in body
    if content_type == "text/plain":
        assert all(family.name.startswith("syncd_") for family in text_string_to_metric_families(body))


async def test_hooks_are_passed_on(ask: Ask, daemon: Daemon) -> None:
    """A call with the token, as bearer or in its own header, reaches the daemon with its body."""
    for headers in (BEARER, {"X-Syncd-Token": TOKEN}):
        status, _, _ = await ask("/hooks/acme/remote", "POST", headers=headers, data=b'{"id": 7}')
        assert status == 202
    assert daemon.hints == [("acme", Side.REMOTE, b'{"id": 7}')] * 2


@pytest.mark.parametrize("hint", list(Hint))
async def test_a_hook_is_answered_as_the_daemon_decides(ask: Ask, daemon: Daemon, hint: Hint) -> None:
    """Taken is 202, a forged call 403, an unknown workspace 404."""
    daemon.hint = hint
    assert (await ask("/hooks/acme/gorgias", "POST", headers=BEARER))[0] == hint.value


async def test_a_hook_for_no_side_or_too_large_is_refused(ask: Ask, daemon: Daemon) -> None:
    """An unknown side is 404 and more than a megabyte is 413, announced or not; the daemon hears of neither."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b"x" * (MAX_HOOK // 16)

    assert (await ask("/hooks/acme/elsewhere", "POST", headers=BEARER))[0] == 404
    for data in (b"x" * (MAX_HOOK + 1), chunks()):
        assert (await ask("/hooks/acme/remote", "POST", headers=BEARER, data=data))[0] == 413
    assert daemon.hints == []


async def test_the_page_shows_what_matters(ask: Ask, daemon: Daemon) -> None:
    """Workspaces, sides with their reasons, queues, and parked items with theirs, under a policy without scripts."""
    down = SideHealth(Side.REMOTE, "redmine", up=False, reason="401", since=NOW - timedelta(hours=3), lag=400)
    parked = Parked("Redmine #7", "status", "no such status", NOW - timedelta(days=3), "https://redmine.example/7")
    daemon.list = [workspace("acme", dirty=5, parked=(parked,), parked_total=9, sides=(down,))]
    status, headers, body = await ask("/", headers=BEARER)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "script" not in headers["Content-Security-Policy"]
    for text in ("acme", "down (3 h ago): 401", "6 min", "5 to be looked at", "Waiting for a person: 9", "3 d ago"):
        assert text in body
    assert '<a href="https://redmine.example/7"' in body
    assert "something needs attention" in body


async def test_the_page_escapes_what_products_say(ask: Ask, daemon: Daemon) -> None:
    """Markup in a name or a reason stays text, and a link leads to a web address or nowhere."""
    evil = "<script>alert(1)</script>"
    item = Parked(evil, evil, evil, url="javascript:alert(1)")
    daemon.list = [workspace("acme", ready=False, reason=evil, parked=(item,), parked_total=1)]
    _, _, body = await ask("/", headers=BEARER)
    assert "<script" not in body
    assert "javascript:" not in body
    daemon.list = []
    assert "No workspace" in (await ask("/", headers=BEARER))[2]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
async def test_serving_others_needs_a_token(daemon: Daemon, host: str) -> None:
    """The address is judged once more when it is bound."""
    with pytest.raises(ConfigError, match="token must be set"):
        async with serving(make_app(daemon, daemon.metrics), host, 0, None):
            pass


async def test_a_taken_port_is_a_configuration_error(daemon: Daemon) -> None:
    """The message names the address."""
    async with serving(make_app(daemon, daemon.metrics), "127.0.0.1", 0, None) as base:
        port = int(base.rpartition(":")[2])
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}"):
            async with serving(make_app(daemon, daemon.metrics), "127.0.0.1", port, None):
                pass


def test_metrics_count_calls_by_difference() -> None:
    """A transport's totals are added once, also when it starts over, and a forgotten workspace leaves nothing."""
    metrics = Metrics()
    for totals in ({("GET", 200): 2, ("PUT", 429): 1}, {("GET", 200): 5, ("PUT", 429): 1}, {("GET", 204): 1}):
        metrics.calls("acme", "remote", totals)
    metrics.calls("acme", "remote", {("GET", 204): 1, ("GET", 0): 2})
    labels = {"workspace": "acme", "side": "remote"}
    counts = {
        name: metrics.registry.get_sample_value("syncd_calls_total", labels | {"status": name})
        for name in ("2xx", "429", "none")
    }
    assert counts == {"2xx": 6.0, "429": 1.0, "none": 2.0}
    metrics.forget("acme")
    assert 'workspace="acme"' not in metrics.render("")[0].decode()


def test_metrics_of_passes_and_writes() -> None:
    """Each fact has its metric."""
    metrics = Metrics()
    metrics.up("a", "remote", up=False)
    metrics.lag("a", "remote", 2.5)
    metrics.bucket("a", "remote", 0.5)
    metrics.linked("a", 4)
    metrics.wrote("a", "remote", "comment")
    metrics.conflict("a")
    metrics.passed("a", 0.2, 1000.0)
    metrics.failed("a", 0.2)
    text = metrics.render("")[0].decode()
    for line in (
        'syncd_up{side="remote",workspace="a"} 0.0',
        'syncd_lag_seconds{side="remote",workspace="a"} 2.5',
        'syncd_bucket_used_ratio{side="remote",workspace="a"} 0.5',
        'syncd_linked_tickets{workspace="a"} 4.0',
        'syncd_writes_total{kind="comment",side="remote",workspace="a"} 1.0',
        'syncd_conflicts_total{workspace="a"} 1.0',
        'syncd_passes_total{outcome="ok",workspace="a"} 1.0',
        'syncd_passes_total{outcome="failed",workspace="a"} 1.0',
        'syncd_pass_seconds_count{workspace="a"} 2.0',
        'syncd_last_success_timestamp_seconds{workspace="a"} 1000.0',
    ):
        assert line in text
