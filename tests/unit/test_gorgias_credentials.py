"""Keys that change where they are kept, and the tokens of an app: renewed in time, once, and stored safely."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connectors.gorgias.config import GorgiasConfig
from connectors.gorgias.connector import GorgiasConnector
from connectors.gorgias.sandbox import Options, Sandbox
from connectors.gorgias.tokens import Tokens, write_secret
from syncd.errors import ConfigError, Unauthorized
from syncd.model import Side
from tests.processes.command import Command

APP = ("app-id", "app-secret-1a2b")
CONFIG = """
[workspace]
name = "acme"
[http]
listen = "127.0.0.1:0"
[gorgias]
base_url = "{url}"
oauth = {{ client_id = "{app}", client_secret = "{secret}", token_file = "tokens.json" }}
[remote]
connector = "memory"
"""


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox that knows one app."""
    made = Sandbox(Options(app=APP, api_key="right-key"))
    async with made.serve() as url:
        made.base_url = url
        yield made
    made.close()


def config(sandbox: Sandbox, folder: Path, **more: Any) -> GorgiasConfig:
    """A configuration in this folder."""
    return GorgiasConfig.model_validate({"base_url": sandbox.base_url, **more}, context={"folder": folder})


def with_app(sandbox: Sandbox, folder: Path) -> GorgiasConfig:
    """A configuration of the app."""
    app = {"client_id": APP[0], "client_secret": APP[1], "token_file": "tokens.json"}
    return config(sandbox, folder, oauth=app)


def stored(sandbox: Sandbox, folder: Path, *, life: timedelta, access: str = "old") -> None:
    """Tokens that the sandbox knows, whose access ends after `life`."""
    sandbox.server.apps.refresh.add("refresh-1")
    sandbox.server.apps.access[access] = sandbox.now() + life
    Tokens(access, "refresh-1", datetime.now(UTC) + life).write(folder / "tokens.json")


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return [file.name for file in folder.iterdir()]


async def whoami(connector: GorgiasConnector) -> str:
    """The address of the caller."""
    return str((await connector.client.call("get_single_gorgias_user_by_id", {"id": 0}))["email"])


async def test_a_key_that_is_changed_in_its_file_is_taken_up(sandbox: Sandbox, tmp_path: Path) -> None:
    """Without a restart: refused once, read again, shown again; a key that stays wrong is refused as before."""
    (tmp_path / "key").write_text("wrong-key\n")
    settings = config(sandbox, tmp_path, email="ops@acme.example", api_key={"file": "key"})
    async with GorgiasConnector.open(settings, Side.GORGIAS, "acme") as connector:
        with pytest.raises(Unauthorized):
            await whoami(connector)
        (tmp_path / "key").write_text("right-key\n")
        before = sandbox.requests
        assert await whoami(connector) == "ops@acme.example"
        assert await whoami(connector) == "ops@acme.example"
        assert sandbox.requests - before == 3
        (tmp_path / "key").unlink()
        assert await whoami(connector) == "ops@acme.example"


async def test_a_token_that_ends_soon_is_renewed_once(sandbox: Sandbox, tmp_path: Path) -> None:
    """Many calls at once make one renewal; the new token is stored for the owner alone, and used from then on."""
    stored(sandbox, tmp_path, life=timedelta(minutes=1))
    async with GorgiasConnector.open(with_app(sandbox, tmp_path), Side.GORGIAS, "acme") as connector:
        said = await asyncio.gather(*(whoami(connector) for _ in range(8)))
        assert set(said) == {"ops@acme.example"}
        assert (await connector.vocabulary()).own_user
    assert sandbox.server.apps.given == 1
    kept = json.loads((tmp_path / "tokens.json").read_text())
    assert (kept["access_token"] != "old", kept["refresh_token"]) == (True, "refresh-1")
    assert stat.S_IMODE((tmp_path / "tokens.json").stat().st_mode) == 0o600
    assert names(tmp_path) == ["tokens.json"]


async def test_a_token_that_is_refused_is_renewed(sandbox: Sandbox, tmp_path: Path) -> None:
    """Also a write: what is refused was not carried out."""
    stored(sandbox, tmp_path, life=timedelta(hours=20))
    async with GorgiasConnector.open(with_app(sandbox, tmp_path), Side.GORGIAS, "acme") as connector:
        sandbox.server.apps.access.clear()
        await connector.client.call("create_a_gorgias_tag", body={"name": "once"})
    assert (len(sandbox.tags.where("name", "once")), sandbox.server.apps.given) == (1, 1)


async def test_tokens_that_another_process_renewed_are_taken_over(sandbox: Sandbox, tmp_path: Path) -> None:
    """What is in the file is tried before anything is renewed."""
    stored(sandbox, tmp_path, life=timedelta(hours=20))
    async with GorgiasConnector.open(with_app(sandbox, tmp_path), Side.GORGIAS, "acme") as connector:
        assert await whoami(connector)
        sandbox.server.apps.access.clear()
        stored(sandbox, tmp_path, life=timedelta(hours=20), access="of-another-process")
        assert await whoami(connector)
    assert sandbox.server.apps.given == 0


async def test_an_app_that_is_shut_out_says_what_to_do(sandbox: Sandbox, tmp_path: Path) -> None:
    """Its side is down, with the command that connects it again; no secret is in the words."""
    stored(sandbox, tmp_path, life=timedelta(hours=20))
    async with GorgiasConnector.open(with_app(sandbox, tmp_path), Side.GORGIAS, "acme") as connector:
        sandbox.server.apps.shut_out()
        with pytest.raises(Unauthorized, match="syncd connect gorgias --oauth") as caught:
            await whoami(connector)
    assert not any(secret in str(caught.value) for secret in (APP[1], "refresh-1"))


@pytest.mark.parametrize("text", [None, "", "[]", '{"access_token": 1}', '{"access_token": "a", "refresh_token": "b"}'])
async def test_a_token_file_that_is_none(sandbox: Sandbox, tmp_path: Path, text: str | None) -> None:
    """Said with its place and what to do, before anything is asked."""
    if text is not None:
        (tmp_path / "tokens.json").write_text(text)
    with pytest.raises(ConfigError, match=r"token_file: .*tokens\.json.*syncd connect"):
        async with GorgiasConnector.open(with_app(sandbox, tmp_path), Side.GORGIAS, "acme"):
            pass
    assert sandbox.requests == 0


def test_when_credentials_end_is_known(sandbox: Sandbox, tmp_path: Path) -> None:
    """Of an app; a user's key does not end."""
    assert with_app(sandbox, tmp_path).credentials_end() is None
    stored(sandbox, tmp_path, life=timedelta(hours=1))
    end = with_app(sandbox, tmp_path).credentials_end()
    assert end
    assert timedelta(minutes=50) < end - datetime.now(UTC) < timedelta(hours=2)
    assert config(sandbox, tmp_path, email="a@b.example", api_key="key").credentials_end() is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"email": "a@b.example"}, "api_key is required"),
        ({"api_key": "key"}, "email is required"),
        ({"email": "a@b.example", "api_key": "k", "oauth": {"client_id": "i", "client_secret": "s", "token_file": "t"}},
         "either email and api_key, or oauth"),
    ],
)  # fmt: skip
def test_one_way_in(sandbox: Sandbox, tmp_path: Path, values: dict[str, Any], said: str) -> None:
    """Neither none nor two."""
    with pytest.raises(ValueError, match=said):
        config(sandbox, tmp_path, **values)


def test_a_secret_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """What was there stays when the new one cannot be written, and nothing half is left."""
    (tmp_path / "key").write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_secret(tmp_path / "key", "\ud800")
    assert ((tmp_path / "key").read_text(), len(list(tmp_path.iterdir()))) == ("old", 1)


async def test_status_and_metrics_tell_the_end(sandbox: Sandbox, tmp_path: Path, command: Command) -> None:
    """`syncd status` in words and as JSON, and the daemon's gauge."""
    stored(sandbox, tmp_path, life=timedelta(hours=5))
    (tmp_path / "acme.toml").write_text(CONFIG.format(url=sandbox.base_url, app=APP[0], secret=APP[1]))
    command.folder = tmp_path
    process = await command.start("run", "acme.toml")
    (line,) = await process.until(lambda: process.events("running"))
    async with aiohttp.ClientSession() as session, session.get(line["url"] + "/metrics") as answer:
        metrics = await answer.text()
    assert 'syncd_credentials_end_timestamp_seconds{side="gorgias",workspace="acme"}' in metrics
    told = await command.run("status", "acme.toml")
    assert "the credentials of gorgias end" in told.out
    (row,) = (await command.run("status", "acme.toml", "--json")).json
    assert row["credentials_end"].keys() == {"gorgias"}
    assert await process.stop() == 0
    assert APP[1] not in process.err + metrics + told.out
