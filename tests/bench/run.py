"""`make bench`: how fast, how thrifty and how large syncd is, as ratios measured in one run on one machine.

The baseline makes the very same calls (method, path, body) by the same way to the same products, started afresh, with a
bare aiohttp client of the same concurrency, and does nothing else. By default the tracker is a real Roundup;
`--tracker redmine` takes a real Redmine, `--tracker fake` one in memory, which shows what syncd itself costs.
The result is printed, and written as JSON with `--json FILE`.
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
from syncd.connector import Changes
from syncd.model import Body, Comment, Person, Side, Ticket
from syncd.passes import Outcome, once
from syncd.runner import account
from syncd.settings import Settings
from tests.bench.trackers import Tracker, tracker

CONCURRENCY = 8
BOTH = ("gorgias", "tracker")
Calls = dict[str, list[dict[str, Any]]]


@asynccontextmanager
async def servers(tickets: int, products: Tracker) -> AsyncIterator[dict[str, str]]:
    """Gorgias with this many tickets, and the window on the tracker, in a process of their own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.servers", str(tickets), products.url, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    if process.stdout is None or process.stdin is None:
        raise RuntimeError("no pipes")
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


def workspace(folder: Path, where: dict[str, str], products: Tracker) -> Settings:
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
{products.remote(where["tracker"])}
""")
    return config.load([path])


async def seed(settings: Settings, number: int) -> list[str]:
    """Issues at the tracker, made by its own connector; their ids."""
    author = Person("", "Somebody", None, "user")
    async with account(settings.workspaces[0], Side.REMOTE) as remote:
        words = await remote.vocabulary()
        made = []
        for n in range(number):
            said = Comment(f"seed-{n}", Body(f"What is wrong {n}"), author)
            issue = Ticket("", f"Issue {n}", words.statuses[0].name, words.priorities[0], comments=(said,))
            made.append((await remote.create(issue, f"bench:{n}", {})).id)
        return made


async def edit(settings: Settings) -> int:
    """Another subject for every ticket of the tracker; how many changes that were."""
    async with account(settings.workspaces[0], Side.REMOTE) as remote:
        seen = [c async for stream in _pages(remote) for c in stream.changes]
        rows = await remote.get_many([change.id for change in seen][:100])
        ids = {change.id for change in seen}
        for number, ticket_id in enumerate(sorted(ids)):
            ticket = rows.get(ticket_id) or await remote.get(ticket_id)
            await remote.update(ticket, Changes({"subject": f"Edited {number}"}))
    return len(ids)


async def _pages(remote: Any) -> AsyncIterator[Any]:
    for stream in remote.streams:
        async for page in remote.changes(stream, None):
            yield page


async def calls(session: aiohttp.ClientSession, where: dict[str, str]) -> Calls:
    """What was called on both sides since the last time this was asked."""
    made = {}
    for name in BOTH:
        async with session.get(where[name] + "/_calls") as answer:
            made[name] = await answer.json()
    return made


async def replay(where: dict[str, str], made: Calls, products: Tracker) -> float:
    """Make the same calls again with nothing but aiohttp; the seconds that takes."""
    own = {
        "gorgias": {"Authorization": aiohttp.BasicAuth(where["email"], where["key"]).encode()},
        "tracker": products.headers,
    }
    queue = _in_turn(made)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32)) as session:

        async def worker() -> None:
            while not queue.empty():
                name, call = queue.get_nowait()
                body = base64.b64decode(call["body"]) or None
                headers, url = {**call["headers"], **own[name]}, where[name] + call["path"]
                async with session.request(call["method"], url, data=body, headers=headers) as answer:
                    await answer.read()

        started = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
        return time.perf_counter() - started


def _in_turn(made: Calls) -> asyncio.Queue[tuple[str, dict[str, Any]]]:
    """Both products' calls, spread evenly: neither waits for the other to end."""
    queue: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
    placed = [((place + 0.5) / len(made[name]), name, call) for name in BOTH for place, call in enumerate(made[name])]
    for _, name, call in sorted(placed, key=lambda item: item[:2]):
        queue.put_nowait((name, call))
    return queue


async def synced(settings: Settings) -> tuple[float, Outcome]:
    """One run of `once`: its seconds and its outcome."""
    started = time.perf_counter()
    (outcome,) = await once(settings)
    seconds = time.perf_counter() - started
    if not outcome.in_step:
        raise SystemExit(f"not in step: {outcome}")
    return seconds, outcome


async def bench(tickets: int, issues: int, kind: str) -> dict[str, Any]:
    """Load, edit and idle, then the baseline against fresh products."""
    result: dict[str, Any] = {"tracker": kind, "tickets": tickets, "issues": issues}
    async with aiohttp.ClientSession() as session:
        with tempfile.TemporaryDirectory(prefix="syncd-bench-") as folder:
            async with tracker(kind) as products, servers(tickets, products) as where:
                settings = workspace(Path(folder), where, products)
                made = await _measure(result, session, where, settings)
        with tempfile.TemporaryDirectory(prefix="syncd-bench-") as folder:
            async with tracker(kind) as products, servers(tickets, products) as where:
                await seed(workspace(Path(folder), where, products), issues)
                result["baseline_seconds"] = round(await replay(where, made, products), 3)
    result["ratio"] = round(result["baseline_seconds"] / result["load"]["seconds"], 3)
    result["rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return result


async def _measure(
    result: dict[str, Any], session: aiohttp.ClientSession, where: dict[str, str], settings: Settings
) -> Calls:
    await seed(settings, result["issues"])
    await calls(session, where)
    cpu = time.process_time()
    seconds, outcome = await synced(settings)
    cpu = time.process_time() - cpu
    made = await calls(session, where)
    number, changes = sum(map(len, made.values())), result["tickets"] + result["issues"]
    result["load"] = {
        "seconds": round(seconds, 3),
        "calls": {name: len(some) for name, some in made.items()},
        "calls_per_second": round(number / seconds),
        "own_milliseconds_per_call": round(1000 * cpu / number, 2),
        "gorgias_calls_per_change": round(len(made["gorgias"]) / changes, 3),
        "gorgias_methods": dict(Counter(call["method"] for call in made["gorgias"])),
        "writes": outcome.writes,
    }
    changes = await edit(settings)
    await calls(session, where)
    await synced(settings)
    after = await calls(session, where)
    result["edits"] = {"changes": changes, "gorgias_calls_per_change": round(len(after["gorgias"]) / changes, 3)}
    await asyncio.sleep(3)  # until the newest stamps prove something
    await synced(settings)
    await calls(session, where)
    seconds, _ = await synced(settings)
    idle = await calls(session, where)
    result["idle"] = {"calls": {name: len(some) for name, some in idle.items()}, "seconds": round(seconds, 3)}
    return made


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small size")
    parser.add_argument("--tracker", choices=("roundup", "redmine", "fake"), default="roundup")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    log.configure("error", "json")
    tickets, issues = (40, 10) if options.quick else (200, 50)
    result = asyncio.run(bench(tickets, issues, options.tracker))
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(f"throughput is {result['ratio']:.2f} of a bare client's making the same calls ({options.tracker})")


if __name__ == "__main__":
    main()
