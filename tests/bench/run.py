"""`make bench`: how fast, how thrifty and how large syncd is, as ratios measured in one run on one machine.

The baseline makes the very same calls (method, path, body) to the same servers, started afresh, with a bare aiohttp
client of the same concurrency, and does nothing else. The result is printed and written as JSON.
"""

import argparse
import asyncio
import base64
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from syncd import config, log
from syncd.passes import Outcome, once

CONCURRENCY = 8


@asynccontextmanager
async def servers(tickets: int) -> AsyncIterator[dict[str, str]]:
    """Both products in a process of their own, with this many tickets at Gorgias."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.servers", str(tickets), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    if process.stdout is None or process.stdin is None:
        raise RuntimeError("no pipes")
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


def workspace(folder: Path, where: dict[str, str]) -> Path:
    """A configuration for these servers."""
    path = folder / "bench.toml"
    path.write_text(f"""
[workspace]
name = "bench"
[store]
url = "sqlite:///bench.db"
[log]
level = "error"
[gorgias]
base_url = "{where["gorgias"]}"
email = "{where["email"]}"
api_key = "{where["key"]}"
[remote]
connector = "redmine"
url = "{where["redmine"]}"
api_key = "{where["admin"]}"
project = "support"
tracker = "Support"
""")
    return path


async def seed_issues(session: aiohttp.ClientSession, where: dict[str, str], number: int) -> None:
    """Issues at Redmine."""
    for n in range(number):
        issue = {"project_id": "support", "tracker_id": 3, "subject": f"Issue {n}", "description": f"What is wrong {n}"}
        headers = {"X-Redmine-API-Key": where["admin"]}
        async with session.post(where["redmine"] + "/issues.json", json={"issue": issue}, headers=headers) as answer:
            answer.raise_for_status()


async def edit(session: aiohttp.ClientSession, where: dict[str, str], number: int) -> int:
    """One edit of each of this many issues at Redmine; returns how many changes that were."""
    for n in range(1, number + 1):
        headers = {"X-Redmine-API-Key": where["admin"]}
        change = {"issue": {"subject": f"Edited {n}"}}
        async with session.put(f"{where['redmine']}/issues/{n}.json", json=change, headers=headers) as answer:
            answer.raise_for_status()
    return number


async def calls(session: aiohttp.ClientSession, url: str) -> list[dict[str, str]]:
    """What was called since the last time this was asked."""
    async with session.get(url + "/_calls") as answer:
        made: list[dict[str, str]] = await answer.json()
    async with session.get(url + "/_forget") as answer:
        await answer.read()
    return made


async def replay(where: dict[str, str], made: dict[str, list[dict[str, str]]]) -> float:
    """Make the same calls again with nothing but aiohttp; the seconds that takes."""
    auth = aiohttp.BasicAuth(where["email"], where["key"]).encode()
    headers = {"gorgias": {"Authorization": auth}, "redmine": {"X-Redmine-API-Key": where["admin"]}}
    queue: asyncio.Queue[tuple[str, dict[str, str]]] = asyncio.Queue()
    # The two products' calls in turn, as far as both have some: neither waits for the other to end.
    for pair in zip(*(made[name] for name in made), strict=False):
        for name, call in zip(made, pair, strict=True):
            queue.put_nowait((name, call))
    shortest = min(map(len, made.values()))
    for name, rest in made.items():
        for call in rest[shortest:]:
            queue.put_nowait((name, call))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32)) as session:

        async def worker() -> None:
            while not queue.empty():
                name, call = queue.get_nowait()
                own = {**headers[name], **({"Content-Type": call["type"]} if call["type"] else {})}
                body = base64.b64decode(call["body"]) or None
                async with session.request(
                    call["method"], where[name] + call["path"], data=body, headers=own
                ) as answer:
                    await answer.read()

        started = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
        return time.perf_counter() - started


async def synced(path: Path) -> tuple[float, Outcome]:
    """One run of `once`: its seconds and its outcome."""
    settings = config.load([path])
    started = time.perf_counter()
    (outcome,) = await once(settings)
    return time.perf_counter() - started, outcome


async def bench(tickets: int, issues: int) -> dict[str, Any]:
    """Load, edit and idle against both servers, then the baseline against fresh ones."""
    result: dict[str, Any] = {"tickets": tickets, "issues": issues}
    made: dict[str, list[dict[str, str]]] = {}
    async with servers(tickets) as where, aiohttp.ClientSession() as session:
        await seed_issues(session, where, issues)
        for name in ("gorgias", "redmine"):
            await calls(session, where[name])
        with tempfile.TemporaryDirectory(prefix="syncd-bench-") as folder:
            path = workspace(Path(folder), where)
            seconds, outcome = await synced(path)
            made = {name: await calls(session, where[name]) for name in ("gorgias", "redmine")}
            result |= _load(tickets + issues, seconds, outcome, made)
            changes = await edit(session, where, tickets + issues)
            await calls(session, where["redmine"])
            await synced(path)
            after = await calls(session, where["gorgias"])
            await calls(session, where["redmine"])
            result["edits"] = {"changes": changes, "gorgias_calls_per_change": round(len(after) / changes, 3)}
            seconds, _ = await synced(path)
            idle = {name: len(await calls(session, where[name])) for name in ("gorgias", "redmine")}
            result["idle"] = {"calls": idle, "seconds": round(seconds, 3)}
    async with servers(tickets) as where, aiohttp.ClientSession() as session:
        await seed_issues(session, where, issues)
        result["baseline_seconds"] = round(await replay(where, made), 3)
    result["ratio"] = round(result["baseline_seconds"] / result["load"]["seconds"], 3)
    result["rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return result


def _load(changes: int, seconds: float, outcome: Outcome, made: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
    if not outcome.in_step:
        raise SystemExit(f"not in step: {outcome}")
    number = sum(map(len, made.values()))
    kinds = Counter(call["method"] for call in made["gorgias"])
    return {
        "load": {
            "seconds": round(seconds, 3),
            "calls": {name: len(some) for name, some in made.items()},
            "calls_per_second": round(number / seconds),
            "gorgias_calls_per_change": round(len(made["gorgias"]) / changes, 3),
            "gorgias_methods": dict(kinds),
            "writes": outcome.writes,
        }
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the size")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    log.configure("error", "json")
    tickets, issues = (100, 20) if options.quick else (500, 100)
    result = asyncio.run(bench(tickets, issues))
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(f"throughput is {result['ratio']:.2f} of a bare client's making the same calls")


if __name__ == "__main__":
    main()
