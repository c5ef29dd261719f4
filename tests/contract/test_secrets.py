"""Planted secrets: whatever fails, in whatever way, none of them shows in anything that a process leaves behind."""

import base64
import html
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web

from tests.contract.test_process import running
from tests.processes.shop import AGENTS, Shop

pytestmark = pytest.mark.timeout(300)
TOKEN = "token-of-the-daemon/1a2b+3c"
REDMINE_KEY = "redmine-key-5c4b3a"
GORGIAS_KEY = "sandbox-key"
PROXY = "password-of-the-proxy-77"
PLANTED = (TOKEN, REDMINE_KEY, GORGIAS_KEY, PROXY)
ACCOUNT = "ops@acme.example"


def forms() -> list[str]:
    """Each secret as it is, and as it stands in headers, addresses, JSON and pages."""
    basic = [base64.b64encode(f"{name}:{key}".encode()).decode() for name in (ACCOUNT, "me", "") for key in PLANTED]
    bare = [base64.b64encode(key.encode()).decode().rstrip("=") for key in PLANTED]
    spelled = [form(key) for key in PLANTED for form in (str, quote, html.escape, json.dumps)]
    return sorted({*basic, *bare, *(text.strip('"') for text in spelled)})


def shown(texts: list[str]) -> list[str]:
    """The secrets that show in these texts."""
    everything = "\n".join(texts)
    return [form for form in forms() if form in everything]


def left_behind(folder: Path) -> list[str]:
    """Every file that is not the configuration, byte by byte."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".toml"]
    return [path.read_bytes().decode("latin-1") for path in files]


def planted(shop: Shop) -> Path:
    """A workspace with a secret wherever there can be one."""
    shop.redmine.keys[REDMINE_KEY] = next(row for row in shop.redmine.keys.values() if row["admin"])
    return shop.config(redmine_key=REDMINE_KEY, gorgias_key=GORGIAS_KEY, port='0"\ntoken = "' + TOKEN)


def echo(shop: Shop, status: int, kind: str, *, reads: bool) -> None:
    """Both products fail, and say in their answer everything that they were sent."""

    async def answer(request: web.Request) -> web.StreamResponse | None:
        if request.method == "GET" and not reads:
            return None
        ours = (request.headers.get(name, "") for name in ("Authorization", "X-Redmine-API-Key"))
        said = f"{' '.join(ours).strip()} {request.path} {dict(request.headers)}"
        text = said if kind == "text/html" else json.dumps({"error": {"msg": said}, "errors": [said]})
        return web.Response(status=status, text=text, content_type=kind, headers={"X-Echo": "yes"})

    shop.gorgias.interfere = shop.remote.interfere = answer


async def words(shop: Shop, ticket: int) -> list[str]:
    """What the commands say that people ask when something went wrong."""
    config = shop.folder / "acme.toml"
    asked = (("status",), ("parked",), ("conflicts",), ("check",), ("explain", str(ticket)))
    said = [await shop.syncd(*name, config) for name in asked]
    return [text for done in said for text in (done.out, done.err)]


@pytest.mark.promise("P41")
async def test_no_failure_of_a_product_shows_a_secret(shop: Shop) -> None:
    """Refused writes, broken reads and wrong keys, while each answer repeats our own headers."""
    planted(shop)
    first = shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
    await shop.people.create("Pump leaks", "Drip.")
    texts = []
    for status, kind, reads in ((422, "application/json", False), (403, "text/html", False), (401, "text/html", True)):
        echo(shop, status, kind, reads=reads)
        done = await shop.syncd("once", shop.folder / "acme.toml")
        texts += [done.out, done.err, *await words(shop, first)]
    shop.gorgias.interfere = shop.remote.interfere = None
    assert any("… /" in text or "*** /" in text for text in texts), "no answer was repeated at all"
    assert shown([*texts, *left_behind(shop.folder)]) == []


@pytest.mark.promise("P41")
async def test_no_failure_of_the_network_shows_a_secret(shop: Shop) -> None:
    """A proxy that cannot be reached has a password in its address."""
    planted(shop)
    proxy = f"http://me:{PROXY}@127.0.0.1:1"
    done = await shop.syncd("once", shop.folder / "acme.toml", env={"HTTP_PROXY": proxy, "http_proxy": proxy})
    assert done.code != 0
    assert shown([done.out, done.err, *left_behind(shop.folder)]) == []


@pytest.mark.promise("P41")
async def test_no_page_of_the_daemon_shows_a_secret(shop: Shop) -> None:
    """While an account refuses our key: logs, health, metrics, the page, and the answers to wrong tokens."""
    config = planted(shop)
    echo(shop, 401, "text/html", reads=True)
    shop.sandbox.create_ticket("Broken lamp", "It does not glow.", by=AGENTS[0])
    async with running(shop, config) as daemon:
        await daemon.process.until(lambda: daemon.process.events("an account cannot be worked with"))
        for bearer in (f"Bearer {TOKEN}", f"Bearer {TOKEN}x", f"Basic {TOKEN}", ""):
            for path in ("/readyz", "/metrics", "/", "/healthz", f"/nothing?token={TOKEN}"):
                _, text = await daemon.ask(path, **({"Authorization": bearer} if bearer else {}))
                assert shown([text]) == []
    assert shown([daemon.process.out, daemon.process.err, *left_behind(shop.folder)]) == []
