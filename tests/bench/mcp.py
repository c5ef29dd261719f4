"""What the MCP server costs: characters of its list of tools, and how long calls take, over standard input and output.

Prints JSON. `--against COMMAND` measures another server beside ours, with the same account in its environment
(GORGIAS_URL, GORGIAS_EMAIL, GORGIAS_API_KEY) and `--against-tool NAME` for the call. A token is about four characters.
"""

import argparse
import asyncio
import json
import os
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters

from connectors.gorgias.sandbox import Options, Sandbox, seed

CONFIG = """
[workspace]
name = "bench"
[gorgias]
base_url = "{url}"
email = "ops@acme.example"
api_key = "sandbox-key"
[remote]
connector = "memory"
"""
CALLS: dict[str, dict[str, Any]] = {
    "list_all_gorgias_tickets": {"limit": 30},
    "list_all_gorgias_tags": {"limit": 30},
    "get_single_gorgias_account_by_id": {},
}
ROUNDS = 100


async def measured(words: list[str], env: dict[str, str], calls: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A server's list of tools, and the median of each call in milliseconds."""
    params = StdioServerParameters(command=words[0], args=words[1:], env={**os.environ, **env})
    async with Client(params) as client:
        tools = (await client.list_tools()).tools
        rows = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]
        size = len(json.dumps(rows, separators=(",", ":"), ensure_ascii=False))
        medians = {name: await _median(client, name, given) for name, given in calls.items()}
    return {"tools": len(tools), "characters": size, "tokens": size // 4, "p50_milliseconds": medians}


async def _median(client: Client, name: str, given: dict[str, Any]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        result = await client.call_tool(name, given)
        seconds.append(time.perf_counter() - begun)
        assert not result.is_error, result.content
    return round(statistics.median(seconds) * 1000, 2)


async def _all(against: str, tool: str) -> dict[str, Any]:
    sandbox = Sandbox(Options(rate_limit=None))
    seed(sandbox, tickets=60)
    with tempfile.TemporaryDirectory(prefix="syncd-bench-") as folder:
        async with sandbox.serve() as url:
            file = Path(folder) / "bench.toml"
            file.write_text(CONFIG.format(url=url))
            words = [sys.executable, "-m", "syncd", "mcp", str(file), "--access", "admin"]
            found = {"syncd": await measured(words, {}, CALLS)}
            if against:
                env = {"GORGIAS_URL": url, "GORGIAS_EMAIL": "ops@acme.example", "GORGIAS_API_KEY": "sandbox-key"}
                calls = {tool: {"limit": 30}} if tool else {}
                found["other"] = await measured(shlex.split(against), env, calls)
    sandbox.close()
    return found


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", default="", help="another server's command")
    parser.add_argument("--against-tool", default="", help="its tool that lists tickets")
    given = parser.parse_args()
    print(json.dumps(asyncio.run(_all(given.against, given.against_tool)), indent=2))


if __name__ == "__main__":
    main()
