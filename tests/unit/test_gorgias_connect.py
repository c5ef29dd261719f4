"""`syncd connect gorgias`: asks, tries, and writes the configuration and its secrets where they belong."""

import asyncio
import re
import stat
import tomllib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner, Result

from connectors.gorgias.sandbox import Options, Sandbox
from syncd.cli import main
from tests.processes.command import Command, Process

APP = ("app-id", "app-secret-1a2b")
FORMER = """# ours
[workspace]
name = "acme"
[gorgias]
subdomain = "old"
views = [7]
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


async def connect(sandbox: Sandbox, config: Path, *words: str, said: str = "") -> Result:
    """The command, with what a person types."""
    line = ["connect", "gorgias", str(config), "--base-url", sandbox.base_url, *words]
    return await asyncio.to_thread(CliRunner().invoke, main, line, input=said)


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return [file.name for file in folder.iterdir()]


def written(config: Path) -> dict[str, Any]:
    """The configuration."""
    return tomllib.loads(config.read_text())


async def test_a_new_workspace(sandbox: Sandbox, tmp_path: Path) -> None:
    """The key is asked for unseen, tried, and stands in a file of its own that only its owner reads."""
    result = await connect(sandbox, tmp_path / "acme.toml", said="ops@acme.example\nright-key\n")
    assert result.exit_code == 0, result.output
    assert written(tmp_path / "acme.toml") == {
        "workspace": {"name": "acme"},
        "gorgias": {
            "base_url": sandbox.base_url, "email": "ops@acme.example", "api_key": {"file": "acme-gorgias.key"},
        },
    }  # fmt: skip
    key = tmp_path / "acme-gorgias.key"
    assert (key.read_text(), stat.S_IMODE(key.stat().st_mode)) == ("right-key\n", 0o600)
    assert "connected as ops@acme.example" in result.stdout
    assert "add the table [remote]" in result.stdout
    assert "right-key" not in result.output


async def test_an_existing_workspace_keeps_all_else(sandbox: Sandbox, tmp_path: Path) -> None:
    """Comments, other tables, and what [gorgias] says besides; not without --force."""
    config = tmp_path / "acme.toml"
    config.write_text(FORMER)
    (tmp_path / "key").write_text("right-key")
    words = ("--email", "ops@acme.example", "--key-file", str(tmp_path / "key"))
    refused = await connect(sandbox, config, *words)
    assert (refused.exit_code, "--force" in refused.stderr, config.read_text()) == (1, True, FORMER)
    result = await connect(sandbox, config, *words, "--force")
    assert result.exit_code == 0, result.output
    assert config.read_text().startswith("# ours\n")
    assert written(config)["gorgias"]["views"] == [7]
    assert "subdomain" not in written(config)["gorgias"]
    assert "syncd check" in result.stdout
    checked = await asyncio.to_thread(CliRunner().invoke, main, ["check", str(config)])
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize(
    ("name", "said", "reason"),
    [
        ("acme.toml", "ops@acme.example\nwrong\n", "401"),
        ("acme.toml", "\n" * 5, ""),
        ("Not A Name.toml", "ops@acme.example\nright-key\n", "name it after the workspace"),
    ],
)
async def test_what_does_not_work_is_not_written(
    sandbox: Sandbox, tmp_path: Path, name: str, said: str, reason: str
) -> None:
    """A wrong key, no answer, a name that no workspace can have."""
    result = await connect(sandbox, tmp_path / name, said=said)
    assert (result.exit_code != 0, reason in result.output) == (True, True)
    assert names(tmp_path) == []


async def agreed(sandbox: Sandbox, command: Command, *more: str) -> Process:
    """`syncd connect gorgias --oauth` in the command's folder, once the browser came back from Gorgias."""
    (command.folder / "secret").write_text(APP[1])
    words = ["--base-url", sandbox.base_url, "--oauth", "--client-id", APP[0], "--secret-file", "secret", *more]
    process = await command.start("connect", "gorgias", "acme.toml", *words, "--no-browser")
    (address,) = await process.until(lambda: re.findall(r"Agree in the browser: (\S+)\n", process.err))
    async with aiohttp.ClientSession() as browser, browser.get(address) as page:
        assert "You can close this page" in await page.text()
    return process


async def test_an_app(sandbox: Sandbox, tmp_path: Path, command: Command) -> None:
    """The browser is led to Gorgias and back to this machine; the tokens are kept, and work."""
    command.folder = tmp_path
    process = await agreed(sandbox, command)
    assert await process.wait() == 0, process.err
    oauth = written(tmp_path / "acme.toml")["gorgias"]["oauth"]
    assert oauth["client_id"] == APP[0]
    for name in (oauth["client_secret"]["file"], oauth["token_file"]):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert APP[1] not in process.out + process.err + (tmp_path / "acme.toml").read_text()
    with (tmp_path / "acme.toml").open("a") as file:
        file.write('[remote]\nconnector = "memory"\n')
    shown = await command.run("gorgias", "--config", "acme.toml", "get_single_gorgias_user_by_id", "--id", "0")
    assert shown.json["email"] == "ops@acme.example", shown.err


async def test_an_app_that_gets_in_at_the_second_try(sandbox: Sandbox, tmp_path: Path, command: Command) -> None:
    """Tokens that do not work are not kept, so that nothing is in the way; with --force the former ones stay."""
    command.folder = tmp_path
    lasting, former = sandbox.options, tmp_path / "acme-gorgias.tokens"
    sandbox.options = replace(lasting, token_life=0)
    process = await agreed(sandbox, command)
    assert await process.wait() != 0
    assert {name for name in names(tmp_path) if "acme" in name} == set()
    former.write_text("former")
    process = await agreed(sandbox, command, "--force")
    assert (await process.wait() != 0, former.read_text()) == (True, "former")
    former.unlink()
    sandbox.options = lasting
    process = await agreed(sandbox, command)
    assert await process.wait() == 0, process.err
    assert {name for name in names(tmp_path) if "acme" in name} == {
        "acme.toml", "acme-gorgias.secret", "acme-gorgias.tokens",
    }  # fmt: skip
