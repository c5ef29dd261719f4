"""One workspace in this process: what its outages, defects and pauses come to, and how it ends."""

import asyncio
import io
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.desk import Desk
from connectors.gorgias.sandbox import Sandbox
from state.store import Settlement, Store
from state.tables import Lease
from syncd import config, log
from syncd.errors import LeaseHeld, StoreBusy, TryLater
from syncd.model import Side
from syncd.runner import Runner, holder, is_dead, running, utc_now
from tests.logs import own_log  # noqa: F401 - a fixture

MINUTE = timedelta(minutes=1)
CONFIG = """
[workspace]
name = "acme"
poll_interval = "{interval}"
[store]
url = "sqlite:///syncd.db"
[gorgias]
base_url = "{url}"
email = "ops@acme.example"
api_key = "sandbox-key"
[remote]
connector = "memory"
desk = "{desk}"
[sync]
{sync}
"""


class Flaky(Store):
    """A store that fails once in a while, when it is told to."""

    failures = 0

    async def settle(self, lease: Lease, settlement: Settlement) -> None:
        """Record a settlement, unless it is to fail."""
        if self.failures:
            self.failures -= 1
            raise StoreBusy("the database is locked")
        await super().settle(lease, settlement)


class Stage:
    """A runner between a Gorgias sandbox and a desk, and what was logged."""

    def __init__(self, runner: Runner, sandbox: Sandbox, desk: Desk, stream: io.StringIO, store: Flaky) -> None:
        self.runner, self.sandbox, self.desk, self.store = runner, sandbox, desk, store
        self._stream = stream

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of this event."""
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        return [line for line in lines if line["event"] == name]

    def fail(self, method: str, error: Exception | None) -> None:
        """Let calls of this method fail at the desk, or with None succeed again."""

        async def fault(called: str, _moment: str) -> None:
            if error and called == method:
                raise error

        self.desk.fault = fault


@asynccontextmanager
async def staged(folder: Path, interval: str = "0.05s", sync: str = "concurrency = 1") -> AsyncIterator[Stage]:
    """A runner that holds its workspace, without timers."""
    stream = io.StringIO()
    log.configure("info", "json", stream)
    sandbox, desk = Sandbox(), Desk.named(str(folder))
    async with sandbox.serve() as url:
        path = folder / "acme.toml"
        path.write_text(CONFIG.format(url=url, desk=folder, interval=interval, sync=sync))
        settings = config.load([path])
        async with (
            Flaky(settings.store.url.get_secret_value(), utc_now) as store,
            running(settings.workspaces[0], store, folder) as runner,
        ):
            yield Stage(runner, sandbox, desk, stream, store)
    sandbox.close()


async def test_a_pass_carries_over_and_says_so(tmp_path: Path) -> None:
    """The first one has news, the next is quiet and logs nothing."""
    async with staged(tmp_path) as stage:
        stage.sandbox.create_ticket("Broken lamp", "It does not glow.")
        report = await stage.runner.look()
        assert report is not None
        assert report.writes[Side.REMOTE, "create"] == 1
        quiet = await stage.runner.look()
        assert quiet is not None
        assert not quiet.writes
        assert (stage.runner.trouble, len(stage.events("pass"))) == ("", 1)
        assert stage.runner.last_success is not None


@pytest.mark.promise("P21")
async def test_an_outage_is_logged_at_its_begin_and_its_end(tmp_path: Path) -> None:
    """Between them it is tried less and less often, and `trouble` says why; no pass counts as a success."""
    async with staged(tmp_path, "0.1s") as stage:
        stage.fail("changes", TryLater("the desk cannot be reached"))
        for _ in range(3):
            assert await stage.runner.look(force=True)
        assert stage.runner.trouble == "remote: the desk cannot be reached"
        assert stage.runner.last_success is None
        assert await stage.runner.look() is None  # it is too early
        stage.fail("changes", None)
        assert await stage.runner.look(force=True)
        assert (stage.runner.trouble, stage.runner.since) == ("", {})
        (down,), (up,) = (
            stage.events("an account cannot be worked with"),
            stage.events("the account can be worked with again"),
        )
        assert (down["workspace"], down["side"], up["failures"]) == ("acme", "remote", 3)
        assert await stage.runner.look()  # nothing is put off any more


async def test_a_defect_stays_with_its_workspace(tmp_path: Path) -> None:
    """Whatever a connector raises is logged once with its traceback, and the next pass is tried."""
    async with staged(tmp_path) as stage:
        stage.fail("changes", ZeroDivisionError("a connector's own mistake"))
        assert await stage.runner.look(force=True) is None
        assert await stage.runner.look(force=True) is None
        assert stage.runner.trouble == "defect: ZeroDivisionError: a connector's own mistake"
        (line,) = stage.events("a pass met a defect of syncd")
        assert (line["workspace"], "exception" in line) == ("acme", True)
        stage.fail("changes", None)
        assert await stage.runner.look(force=True)
        assert stage.runner.trouble == ""


@pytest.mark.promise("P21")
async def test_a_hook_does_not_undo_the_pause_of_another_side(tmp_path: Path) -> None:
    """Only a side that was down and now speaks is tried at once, and no more often than it is polled."""
    async with staged(tmp_path, "0.2s") as stage:
        stage.fail("changes", TryLater("away"))
        for _ in range(6):
            await stage.runner.look(force=True)
        stage.fail("changes", None)
        stage.runner.wake(Side.GORGIAS)
        assert await stage.runner.look() is None
        stage.runner.wake(Side.REMOTE)
        assert await stage.runner.look() is None  # polled a moment ago
        await asyncio.sleep(0.2)
        assert await stage.runner.look()


async def test_finish_takes_up_no_further_ticket(tmp_path: Path) -> None:
    """The ticket under way is brought to its end, those behind it wait, and no pass begins any more."""
    async with staged(tmp_path) as stage:
        for number in range(5):
            stage.sandbox.create_ticket(f"Ticket {number}", "text")
        begun = asyncio.Event()

        async def slow(method: str, moment: str) -> None:
            if (method, moment) == ("create", "before"):
                begun.set()
                await asyncio.sleep(0.1)

        stage.desk.fault = slow
        looking = asyncio.create_task(stage.runner.look())
        await begun.wait()
        assert await stage.runner.stop(5)
        report = await looking
        assert report is not None
        assert (len(stage.desk.tickets), report.down) == (1, {})
        assert stage.events("an account cannot be worked with") == []
        assert await stage.runner.look(force=True) is None
        assert (await stage.store.counts("acme"))["intents"] == 0


async def test_stop_cuts_off_what_does_not_end(tmp_path: Path) -> None:
    """After the grace period; what the write was about is still known."""
    async with staged(tmp_path) as stage:
        stage.sandbox.create_ticket("Broken lamp", "It does not glow.")
        begun = asyncio.Event()

        async def hang(method: str, moment: str) -> None:
            if (method, moment) == ("create", "before"):
                begun.set()
                await asyncio.sleep(60)

        stage.desk.fault = hang
        looking = asyncio.create_task(stage.runner.look())
        await begun.wait()
        started = time.monotonic()
        assert not await stage.runner.stop(0.1)
        assert time.monotonic() - started < 2
        with pytest.raises(asyncio.CancelledError):
            await looking
        assert (await stage.store.counts("acme"))["intents"] == 1


async def test_a_pass_that_fails_leaves_no_write_behind(tmp_path: Path) -> None:
    """The store fails for one ticket while another is being made: it is not made again by the next pass."""
    async with staged(tmp_path, sync="concurrency = 2") as stage:
        for number in range(2):
            stage.sandbox.create_ticket(f"Ticket {number}", "text")
        creates = 0

        async def second_is_slow(method: str, moment: str) -> None:
            nonlocal creates
            if (method, moment) == ("create", "before"):
                creates += 1
                await asyncio.sleep(0.4 if creates == 2 else 0)

        stage.desk.fault = second_is_slow
        stage.store.failures = 1
        assert await stage.runner.look(force=True) is None
        assert stage.runner.trouble.startswith("store: ")
        await stage.runner.look(force=True)
        await asyncio.sleep(0.5)
        await stage.runner.look(force=True)
        assert sorted(ticket.subject for ticket in stage.desk.tickets.values()) == ["Ticket 0", "Ticket 1"]


async def test_a_workspace_that_is_taken_over_stops(tmp_path: Path) -> None:
    """The pass ends without a word to the products; it is said once, and no further pass begins."""
    async with staged(tmp_path) as stage:
        lease = await stage.store.acquire("acme", "elsewhere pid 1 started 1", MINUTE, lambda _name: True)
        stage.sandbox.create_ticket("Broken lamp", "It does not glow.")
        assert await stage.runner.look() is None
        assert await stage.runner.look(force=True) is None
        assert stage.runner.lost.is_set()
        assert "taken over" in stage.runner.trouble
        assert len(stage.events("the workspace was taken over")) == 1
        assert stage.desk.tickets == {}
        with pytest.raises(LeaseHeld):
            await stage.store.renew(stage.runner.lease, MINUTE)
        await stage.store.release(lease)


def test_only_a_process_that_has_certainly_ended_is_dead() -> None:
    """Of this machine: no such number, or one that began at another time. Of others nothing is known."""
    host = socket.gethostname()
    assert holder().startswith(f"{host} pid {os.getpid()} started ")
    assert not is_dead(holder())
    assert is_dead(f"{host} pid {os.getpid()} started 1")
    assert is_dead(f"{host} pid 4194305 started 1")
    assert not is_dead("elsewhere pid 4194305 started 1")
    assert not is_dead("a name of another kind")
