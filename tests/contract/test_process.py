"""The daemon as a process: signals, leases, health, logs, and what other processes see of it."""

import asyncio
import json
import signal
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from tests.processes.command import Process, until
from tests.processes.shop import AGENTS, Shop

pytestmark = pytest.mark.timeout(300)
TOKEN = "token-of-the-daemon-1a2b"
SLOW = 0.8
#: A workspace that has nothing to do: two that work on the same accounts would copy each other's copies.
IDLE = 'direction = "to_remote"\ntags = ["never"]'


class Daemon:
    """A running daemon, and what its web part answers."""

    def __init__(self, process: Process, url: str, session: aiohttp.ClientSession) -> None:
        self.process, self.url, self.session = process, url, session

    async def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Status and text of an answer."""
        async with self.session.request(method, self.url + path, headers=headers) as answer:
            return answer.status, await answer.text()

    async def ready(self) -> dict[str, Any]:
        """What `/readyz` says."""
        return dict(json.loads((await self.ask("/readyz"))[1]))

    async def state(self, name: str = "acme") -> dict[str, Any]:
        """What `/readyz` says of a workspace; empty when it says nothing."""
        return dict((await self.ready())["workspaces"].get(name, {}))

    async def metric(self, name: str, **labels: str) -> float | None:
        """A number of `/metrics`."""
        families = text_string_to_metric_families((await self.ask("/metrics"))[1])
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return next((s.value for s in samples if labels.items() <= s.labels.items()), None)


@asynccontextmanager
async def running(shop: Shop, *configs: Path, flags: tuple[str, ...] = (), **options: Any) -> AsyncIterator[Daemon]:
    """A daemon from its start to its end by SIGTERM, which must be in good order."""
    process = await shop.command.start("run", *flags, *map(str, configs), **options)
    (line,) = await process.until(lambda: process.events("running"))
    async with aiohttp.ClientSession() as session:
        yield Daemon(process, line["url"], session)
    if not process.ended.done():
        code = await process.stop()
        assert code == 0, f"{code}\n{process.err}"
    assert "Traceback" not in process.err
    assert "exc_info" not in process.err


def in_step(shop: Shop, number: int) -> bool:
    """Whether both sides have so many tickets, with equal subjects."""
    left, right = shop.subjects()
    return len(left) == number and left == right


def change(shop: Shop, statement: str) -> None:
    """Change the database from outside."""
    with closing(sqlite3.connect(shop.folder / "syncd.db", timeout=10)) as database, database:
        database.execute(statement)


# -- health -----------------------------------------------------------------------------------------------------------


async def test_health_and_metrics_have_real_numbers(shop: Shop) -> None:
    """Links, writes, calls and passes are counted as they happen; SIGTERM ends it with 0."""
    shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
    await shop.people.create("Pump leaks", "Drip.")
    async with running(shop, shop.config()) as daemon:
        await daemon.process.until(lambda: in_step(shop, 2))
        await until(lambda: _after_a_quiet_pass(daemon))
        assert (await daemon.ask("/healthz"))[0] == 200
        status, text = await daemon.ask("/readyz")
        (workspace,) = json.loads(text)["workspaces"].values()
        assert (status, workspace["ready"], workspace["linked"], workspace["dirty"]) == (200, True, 2, 0)
        assert [side["up"] for side in workspace["sides"]] == [True, True]
        assert await daemon.metric("syncd_linked_tickets", workspace="acme") == 2
        assert await daemon.metric("syncd_writes_total", side="remote", kind="create") == 1
        assert await daemon.metric("syncd_up", side="remote") == 1
        assert await daemon.metric("syncd_lag_seconds", side="gorgias") == 0
        calls = await daemon.metric("syncd_calls_total", side="remote", status="2xx")
        assert 0 < (calls or 0) <= len(shop.remote.calls)
    assert daemon.process.events("stopped")[0]["in_time"] is True


async def _after_a_quiet_pass(daemon: Daemon) -> bool:
    state = await daemon.state()
    return state["linked"] == 2 and state["dirty"] == 0 and state["last_success"] is not None


async def test_logs_are_json_with_workspace_and_ticket(shop: Shop) -> None:
    """Every line; what is about a ticket says which."""
    gid = shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
    shop.config()
    await shop.once()
    shop.redmine.dropped.add("subject")
    async with running(shop, shop.folder / "acme.toml") as daemon:
        shop.move(5)
        shop.sandbox.set_subject(gid, "Renamed", by=AGENTS[0])
        (line,) = await daemon.process.until(lambda: daemon.process.events("a write waits for a person"))
        assert (line["workspace"], line["ticket"]) == ("acme", str(gid))
        await until(lambda: _parked(daemon, 1))
        page = (await daemon.ask("/"))[1]
        assert "set &#x27;subject&#x27; in Redmine" in page or "set 'subject' in Redmine" in page
    lines = daemon.process.err.splitlines()
    assert all({"event", "level", "logger", "timestamp"} <= json.loads(line).keys() for line in lines)
    assert all(line["workspace"] == "acme" for line in daemon.process.events("pass"))


async def _parked(daemon: Daemon, number: int) -> bool:
    return (await daemon.state())["parked"] == number


async def test_secrets_are_in_no_answer_and_no_log(shop: Shop) -> None:
    """Keys and tokens, even when a product that fails sends our own key back."""
    key = "redmine-key-5c4b3a"
    shop.redmine.keys[key] = next(row for row in shop.redmine.keys.values() if row["admin"])
    config = shop.config(redmine_key=key, port='0"\ntoken = "' + TOKEN)

    async def echo(request: web.Request) -> web.StreamResponse:
        return web.Response(status=403, text=f"no {request.headers['X-Redmine-API-Key']} {request.headers}")

    shop.remote.interfere = echo
    shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    async with running(shop, config) as daemon:
        await daemon.process.until(lambda: daemon.process.events("an account cannot be worked with"))
        assert (await daemon.ask("/readyz"))[0] == 401
        answers = [await daemon.ask(path, **bearer) for path in ("/readyz", "/metrics", "/")]
        assert [status for status, _ in answers] == [503, 200, 200]
    everything = daemon.process.err + "".join(text for _, text in answers) + "\n".join(shop.dump())
    assert [secret for secret in (key, TOKEN, "sandbox-key") if secret in everything] == []


async def test_a_hook_wakes_a_pass(shop: Shop) -> None:
    """Long before the next poll; a hook for nobody is 404, a flood makes few passes."""
    config = shop.config()
    config.write_text(config.read_text().replace('"0.2s"', '"1h"'))
    async with running(shop, config) as daemon:
        await until(lambda: _passes(daemon, 1))
        shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
        assert (await daemon.ask("/hooks/nobody/gorgias", "POST"))[0] == 404
        taken = [await daemon.ask("/hooks/acme/gorgias", "POST") for _ in range(20)]
        assert {status for status, _ in taken} == {202}
        await daemon.process.until(lambda: in_step(shop, 1))
        assert (await daemon.metric("syncd_passes_total", outcome="ok") or 0) <= 3


async def _passes(daemon: Daemon, number: int) -> bool:
    return (await daemon.metric("syncd_passes_total", outcome="ok") or 0) >= number


# -- an account that is down ------------------------------------------------------------------------------------------


async def test_an_outage_is_logged_twice_and_costs_few_calls(shop: Shop) -> None:
    """Its begin and its end, whatever is tried between; what changed meanwhile is carried over then."""
    async with running(shop, shop.config()) as daemon:
        await until(lambda: _passes(daemon, 1))
        shop.remote.answer(401, "")
        process = daemon.process
        (down,) = await process.until(lambda: process.events("an account cannot be worked with"))
        assert (down["workspace"], down["side"], down["level"]) == ("acme", "remote", "warning")
        shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
        shop.remote.calls.clear()
        await asyncio.sleep(1.5)
        assert len(shop.remote.calls) <= 6
        state = await daemon.state()
        assert (state["ready"], "401" in state["reason"]) == (False, True)
        assert await daemon.metric("syncd_up", side="remote") == 0
        assert await daemon.metric("syncd_up", side="gorgias") == 1
        shop.remote.interfere = None
        await process.until(lambda: in_step(shop, 1))
        (up,) = await process.until(lambda: process.events("the account can be worked with again"))
        assert up["failures"] > 1
        assert len(process.events("an account cannot be worked with")) == 1


async def test_a_side_that_is_down_all_the_time_stops_nobody_else(shop: Shop) -> None:
    """Three workspaces in one process, two of them broken in different ways: the third is in step."""
    shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
    broken = (shop.config("down", project="nowhere"), shop.config("key", redmine_key="wrong-key"))
    async with running(shop, *broken, shop.config()) as daemon:
        await daemon.process.until(lambda: in_step(shop, 1))
        await daemon.process.until(lambda: len(daemon.process.events("an account cannot be worked with")) == 2)
        ready = await daemon.ready()
        assert {name: one["ready"] for name, one in ready["workspaces"].items()} == {
            "acme": True,
            "down": False,
            "key": False,
        }
        assert (await daemon.ask("/readyz"))[0] == 503


# -- stopping ---------------------------------------------------------------------------------------------------------


async def test_sigterm_lets_a_write_under_way_end(shop: Shop) -> None:
    """Exit code 0 within the grace period, nothing new is begun, and after a restart nothing is there twice."""
    for number in range(6):
        shop.sandbox.create_ticket(f"Ticket {number}", "text")
    config = shop.config(sync="concurrency = 2")
    shop.remote.slow_writes(SLOW)
    async with running(shop, config) as daemon:
        await daemon.process.until(shop.remote.writes)
        begun = time.monotonic()
        assert await daemon.process.stop() == 0
    assert time.monotonic() - begun < 3 * SLOW
    assert 2 <= len(shop.redmine.issues) <= 4
    assert shop.rows("intent") == []
    assert [row["holder"] for row in shop.rows("lease")] == [""]
    assert daemon.process.events("stopped")[0]["in_time"] is True
    shop.remote.interfere = None
    await shop.once()
    assert in_step(shop, 6)


async def test_a_second_sigterm_stops_at_once(shop: Shop) -> None:
    """The write is cut off; the next run finds out whether it landed, and makes nothing twice."""
    shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
    config = shop.config()
    shop.remote.slow_writes(2.5)
    async with running(shop, config) as daemon:
        await daemon.process.until(shop.remote.writes)
        begun = time.monotonic()
        daemon.process.send(signal.SIGTERM)
        await daemon.process.until(lambda: not daemon.process.ended.done())
        await asyncio.sleep(0.2)
        assert await daemon.process.stop() == 0
        assert time.monotonic() - begun < 1.5
    assert daemon.process.events("stopped")[0]["in_time"] is False
    shop.remote.interfere = None
    await asyncio.sleep(2.5 - (time.monotonic() - begun))  # what was sent may still land
    await shop.once()
    assert in_step(shop, 1)


async def test_after_sigkill_the_next_one_takes_over_at_once(shop: Shop) -> None:
    """Nobody waits for the lease of a process that has ended on this machine."""
    shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
    config = shop.config()
    shop.remote.slow_writes(0.3)
    async with running(shop, config) as daemon:
        await daemon.process.until(shop.remote.writes)
        daemon.process.send(signal.SIGKILL)
        assert await daemon.process.wait() == -signal.SIGKILL
    begun = time.monotonic()
    async with running(shop, config) as daemon:
        await daemon.process.until(lambda: in_step(shop, 1))
        assert time.monotonic() - begun < 8
    await asyncio.sleep(0.3)
    assert in_step(shop, 1)


# -- leases -----------------------------------------------------------------------------------------------------------


async def test_a_second_daemon_refuses_and_names_the_first(shop: Shop) -> None:
    """Exit code 1; `once` refuses too; what only looks works beside it."""
    config = shop.config()
    shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
    async with running(shop, config) as daemon:
        await daemon.process.until(lambda: in_step(shop, 1))
        second, once, plan, status = await asyncio.gather(
            shop.syncd("run", config),
            shop.syncd("once", config),
            shop.syncd("plan", config),
            shop.syncd("status", config, "--json"),
        )
        assert (second.code, once.code) == (1, 1)
        assert f"workspace acme is already worked on by {socket.gethostname()} pid {daemon.process.pid}" in second.err
        assert f"pid {daemon.process.pid} " in once.out
        assert (plan.code, plan.out) == (0, "acme: in step, nothing would be written\n")
        assert f"pid {daemon.process.pid} " in status.json[0]["worked_on_by"]


async def test_a_workspace_that_another_process_holds_does_not_stop_the_others(shop: Shop) -> None:
    """At the start it is kept out and said so; once it is free it is taken up."""
    shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
    mine, other = shop.config(), shop.config("other", sync=IDLE)
    async with running(shop, other), running(shop, mine, other) as daemon:
        await daemon.process.until(lambda: in_step(shop, 1))
        (line,) = daemon.process.events("a workspace is kept out; the others go on")
        assert (line["workspace"], "already worked on by" in line["error"]) == ("other", True)
        state = await daemon.state("other")
        assert (state["ready"], "already worked on" in state["reason"]) == (False, True)
        await asyncio.sleep(0.5)
        assert len(daemon.process.events("a workspace is kept out; the others go on")) == 1
        change(shop, "UPDATE lease SET holder = '' WHERE workspace = 'other'")
        await daemon.process.until(lambda: daemon.process.events("the workspace is worked on here now"))
        await until(lambda: _is_ready(daemon, "other"))
        # The first daemon has lost its only workspace: it says so, and ends.
        first = shop.command.processes[0]
        assert await first.wait() == 1
        assert "was taken over" in first.err


async def _is_ready(daemon: Daemon, name: str) -> bool:
    return bool((await daemon.state(name)).get("ready"))


async def test_a_lost_lease_stops_that_workspace_only(shop: Shop) -> None:
    """It is said once, nothing more is written for it, and it is taken back when it is free again."""
    mine, lost = shop.config(), shop.config("lost", sync=IDLE)
    async with running(shop, mine, lost) as daemon:
        await until(lambda: _is_ready(daemon, "lost"))
        taken = "UPDATE lease SET epoch = epoch + 1, holder = 'elsewhere pid 1 started 1' WHERE workspace = 'lost'"
        change(shop, taken)
        await daemon.process.until(lambda: daemon.process.events("the workspace was taken over"))
        shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
        await daemon.process.until(lambda: in_step(shop, 1))
        state = await daemon.state("lost")
        assert (state["ready"], "elsewhere pid 1" in state["reason"]) == (False, True)
        assert len(daemon.process.events("the workspace was taken over")) == 1
        change(shop, "UPDATE lease SET holder = '' WHERE workspace = 'lost'")
        await until(lambda: _is_ready(daemon, "lost"))


async def test_a_standby_waits_for_its_turn(shop: Shop) -> None:
    """It serves health while it has nothing to do, and takes over when the first one ends."""
    config = shop.config()
    async with running(shop, config) as first:
        await until(lambda: _is_ready(first, "acme"))
        process = await shop.command.start("run", "--standby", str(config))
        await process.until(lambda: process.events("running"))
        assert process.events("running")[0]["kept_out"] == ["acme"]
    await process.until(lambda: process.events("the workspace is worked on here now"))
    shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
    await process.until(lambda: in_step(shop, 1))
    assert await process.stop() == 0


# -- reload -----------------------------------------------------------------------------------------------------------


async def test_sighup_adds_changes_and_removes_workspaces(shop: Shop) -> None:
    """What stays as it was is not touched; a pass under way ends before its workspace is changed."""
    folder = shop.folder / "conf"
    folder.mkdir()
    shop.config().rename(folder / "acme.toml")
    shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
    async with running(shop, folder) as daemon:
        process = daemon.process
        await process.until(lambda: in_step(shop, 1))
        shop.config("second", sync=IDLE).rename(folder / "second.toml")
        assert await _reloaded(daemon, 1) == ["second"]
        await until(lambda: _is_ready(daemon, "second"))
        (folder / "acme.toml").write_text((folder / "acme.toml").read_text().replace("10s", "9s"))
        shop.remote.slow_writes(1.0)
        before = len(shop.remote.writes())
        shop.sandbox.create_ticket("Where is my order?", "Three weeks!")
        await process.until(lambda: len(shop.remote.writes()) > before)
        assert await _reloaded(daemon, 2) == ["acme"]
        assert in_step(shop, 2)
        (folder / "second.toml").unlink()
        assert await _reloaded(daemon, 3) == ["second"]
        assert set((await daemon.ready())["workspaces"]) == {"acme"}
        assert await daemon.metric("syncd_linked_tickets", workspace="second") is None
        assert not process.events("work under way was cut off")


async def _reloaded(daemon: Daemon, times: int) -> list[str]:
    """SIGHUP; which workspaces changed."""
    daemon.process.send(signal.SIGHUP)
    said = await daemon.process.until(
        lambda: (
            len(daemon.process.events("configuration read again")) == times
            and daemon.process.events("configuration read again")
        )
    )
    return list(said[-1]["changed"])


async def test_a_faulty_file_changes_nothing_at_a_reload(shop: Shop) -> None:
    """Every problem is logged with file and key, and the daemon goes on as it was."""
    config = shop.config()
    async with running(shop, config) as daemon:
        await until(lambda: _is_ready(daemon, "acme"))
        right = config.read_text()
        config.write_text(right + '\nspeed = "high"\non_delete = "burn"')
        daemon.process.send(signal.SIGHUP)
        (line,) = await daemon.process.until(
            lambda: daemon.process.events("the new configuration is faulty: the old one stays")
        )
        assert len(line["problems"]) == 2
        assert all(str(config) in problem and "[sync] " in problem for problem in line["problems"])
        shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
        await daemon.process.until(lambda: in_step(shop, 1))


# -- systemd ----------------------------------------------------------------------------------------------------------


@contextmanager
def service_manager(path: Path) -> Iterator[list[str]]:
    """A notify socket, and what was said to it."""
    said: list[str] = []
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(str(path))
        loop.add_reader(listener, lambda: said.append(listener.recv(4096).decode()))
        yield said
        loop.remove_reader(listener)


async def test_systemd_is_told(shop: Shop) -> None:
    """Ready with a summary, a heartbeat, the reload's begin and end, and the stop."""
    config = shop.config()
    with service_manager(shop.folder / "notify") as said:
        env = {"NOTIFY_SOCKET": str(shop.folder / "notify"), "WATCHDOG_USEC": "200000"}
        async with running(shop, config, env=env) as daemon:
            await until(lambda: "WATCHDOG=1" in said)
            assert "READY=1\nSTATUS=1 workspaces" in said
            said.clear()
            daemon.process.send(signal.SIGHUP)
            await until(lambda: any(line.startswith("READY=1") for line in said))
            assert said[[line.startswith("RELOADING=1") for line in said].index(True)].count("MONOTONIC_USEC=") == 1
        await until(lambda: "STOPPING=1" in said)


# -- the store --------------------------------------------------------------------------------------------------------


async def test_the_store_is_locked_for_a_while(shop: Shop) -> None:
    """Longer than the driver waits: the daemon is not ready and goes on later, `once` waits, `status` says what is."""
    config, other = shop.config(), shop.config("other", sync=IDLE)
    async with running(shop, config) as daemon:
        await until(lambda: _is_ready(daemon, "acme"))
        with closing(sqlite3.connect(shop.folder / "syncd.db", isolation_level=None)) as holding:
            holding.execute("BEGIN IMMEDIATE")
            shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
            once = await shop.command.start("once", str(other))
            told = await shop.syncd("status", other)
            (line,) = await daemon.process.until(lambda: daemon.process.events("the store cannot be used"))
            assert line["workspace"] == "acme"
            await once.until(lambda: once.events("waiting for the database"))
            holding.execute("ROLLBACK")
        await daemon.process.until(lambda: in_step(shop, 1))
        assert await daemon.process.until(lambda: daemon.process.events("the store can be used again"))
        assert await daemon.metric("syncd_passes_total", outcome="failed") == 1
    assert (told.code, told.out) == (1, "")
    assert f"the database {shop.folder}/syncd.db: the database is locked" in told.err
    assert await once.wait() == 0, once.err


async def test_a_listening_address_in_use_is_said(shop: Shop) -> None:
    """Which key, and why; exit code 2, and the workspaces are let go."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = await shop.syncd("run", shop.config(port=port))
    assert (done.code, f"[http] listen: cannot listen on 127.0.0.1:{port}" in done.err) == (2, True)
    assert [row["holder"] for row in shop.rows("lease")] == [""]
