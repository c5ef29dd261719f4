"""The MCP server as the protocol's own inspector sees it; skips, with the reason, where that cannot be had."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from connectors.gorgias.operations import OPERATIONS
from connectors.gorgias.sandbox import Options, Sandbox, seed

pytestmark = pytest.mark.timeout(900)

INSPECTOR = "@modelcontextprotocol/inspector"
CONFIG = """
[workspace]
name = "acme"
[store]
url = "sqlite:///{folder}/api.db"
[gorgias]
base_url = "{url}"
email = "ops@acme.example"
api_key = "sandbox-key"
[remote]
connector = "memory"
"""


async def _run(*words: str) -> tuple[int, str, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture(scope="module")
async def npx() -> str:
    """The command, with the inspector at hand."""
    found = shutil.which("npx")
    if found is None:
        pytest.skip("npx is not installed")
    code, _, err = await _run(found, "--yes", f"--package={INSPECTOR}", "--", "node", "--version")
    if code:
        pytest.skip(f"the inspector cannot be fetched: {err[-200:]}")
    return found


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[str]]:
    """The command that serves a seeded sandbox."""
    folder: Path = tmp_path_factory.mktemp("inspector")
    sandbox = Sandbox(Options(rate_limit=None))
    seed(sandbox, tickets=5)
    async with sandbox.serve() as url:
        (folder / "acme.toml").write_text(CONFIG.format(folder=folder, url=url))
        yield [sys.executable, "-m", "syncd", "mcp", str(folder / "acme.toml")]
    sandbox.close()


async def _asked(npx: str, server: list[str], *words: str) -> Any:
    code, out, err = await _run(npx, "--yes", INSPECTOR, "--cli", *server, *words)
    assert code == 0, err
    return json.loads(out)


async def test_the_inspector_lists_the_tools(npx: str, server: list[str]) -> None:
    """The common jobs and the operations are among what it takes for tools."""
    answer = await _asked(npx, server, "--method", "tools/list")
    names = {tool["name"] for tool in answer["tools"]}
    assert "find_tickets" in names
    assert "list_all_gorgias_tickets" in names & set(OPERATIONS)


async def test_the_inspector_calls_a_tool(npx: str, server: list[str]) -> None:
    """It takes the structured answer as fitting."""
    call = ["--method", "tools/call", "--tool-name", "list_all_gorgias_tags", "--tool-arg", "limit=2"]
    answer = await _asked(npx, server, *call)
    assert answer["structuredContent"]["result_count"] == 2
