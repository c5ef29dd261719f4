"""Two desks, a store on disk and the engine between them, with a fault at any step: the bench of the engine's tests."""

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from connectors.desk import SYNC_USER, Desk
from connectors.memory import MemoryConnector
from state.store import Store
from state.tables import Dirty
from syncd.bench import Report
from syncd.engine import Engine
from syncd.errors import OutcomeUnknown, StoreBusy, TryLater
from syncd.model import Person, Side, Status, User
from syncd.runner import LEASE
from syncd.settings import SyncSettings

G, R = Side.GORGIAS, Side.REMOTE
START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
#: A world lives for a fraction of a second: where there is memory to keep its database in, no disk is waited for.
SHM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
Kind = Literal["crash", "error"]
Moment = Literal["before", "after"]
#: Calls of a connector that change the account.
WRITES = frozenset({"create", "update", "comment", "edit_comment", "delete"})


class Crash(BaseException):
    """The process is gone: nothing of ours catches it."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong at which step: a crash, or an error that the caller sees."""

    step: int
    moment: Moment
    kind: Kind


@dataclass
class Steps:
    """Numbers each step of a run and strikes at one of them; after a crash nothing works any more."""

    fault: Fault | None = None
    number: int = 0
    dead: bool = False
    struck: str = ""
    trail: list[str] = field(default_factory=list)
    on_strike: Callable[[], None] | None = None
    meanwhile: Callable[["Steps", str, str], None] | None = None

    def pass_by(self, what: str, moment: str) -> None:
        """Count a step's two moments; raise what the fault says."""
        if self.dead:
            raise Crash
        if moment == "before":
            self.number += 1
            self.trail.append(what)
        if self.meanwhile:
            self.meanwhile(self, what, moment)
        fault = self.fault
        if fault is None or fault.step != self.number or fault.moment != moment or self.struck:
            return
        self.struck = f"{fault.kind} {moment} step {fault.step} ({what})"
        if self.on_strike:
            self.on_strike()
        if fault.kind == "crash":
            self.dead = True
            raise Crash
        raise self._error(what, moment)

    def _error(self, what: str, moment: str) -> Exception:
        if what.startswith("store"):
            return StoreBusy("the database is locked")
        wrote = what.partition(".")[2] in WRITES
        return OutcomeUnknown("answer lost") if wrote and moment == "after" else TryLater("server error", status=500)


class FaultyStore(Store):
    """One process's door to the world's database; each of its transactions is a step."""

    def __init__(self, opened: Store, steps: Steps) -> None:
        # Opening a database costs more than all that a pass does with it: the world's processes share one connection.
        self._database, self._now = opened._database, opened._now
        self.steps = steps

    async def _run(self, work: Any, lease: Any = None) -> Any:
        self.steps.pass_by("store", "before")
        result = await super()._run(work, lease)
        self.steps.pass_by("store", "after")
        return result


def gorgias_desk(now: Callable[[], datetime], **options: Any) -> Desk:
    """A desk with the habits of Gorgias."""
    given = {
        "short_rows": True, "comments_on_create": 500, "index_lag": 5, "reuses_uploads": True,
        "statuses": (Status("open"), Status("closed", closed=True)), "subject_limit": 998,
    }  # fmt: skip
    return Desk("gorgias", now=now, **{**given, **options})


def remote_desk(now: Callable[[], datetime], **options: Any) -> Desk:
    """A desk with the habits of a tracker: coarse stamps, a create that ignores the status, tags in lower case."""
    given = {
        "resolution": 1.0, "short_rows": True, "comments_on_create": 1, "create_ignores": frozenset({"status"}),
        "statuses": (Status("New"), Status("In Progress"), Status("Closed", closed=True)),
        "priorities": ("Low", "Normal", "High", "Urgent"),
        "users": (User("51", "Ann Agent", "ann@desk.example"), User("52", "Bob Agent", "bob@desk.example"), SYNC_USER),
        "subject_limit": 60,
    }  # fmt: skip
    return Desk("remote", now=now, **{**given, **options})


class World:
    """Everything that outlives a process: the desks and the database; `run` is a process."""

    def __init__(
        self,
        template: Path | None = None,
        *,
        gorgias: Mapping[str, Any] | None = None,
        remote: Mapping[str, Any] | None = None,
        url: str | None = None,
        **sync: Any,
    ) -> None:
        self.now = START
        self.steps = Steps()
        self.sync = SyncSettings(**sync)
        self.desks = {G: gorgias_desk(self.clock, **(gorgias or {})), R: remote_desk(self.clock, **(remote or {}))}
        self.folder = Path(tempfile.mkdtemp(prefix="syncd-world-", dir=SHM))
        self.template, self.url = template, url
        self.connector = MemoryConnector
        self._store: Store | None = None
        for side, desk in self.desks.items():
            desk.fault = self._fault_of(side)

    def _fault_of(self, side: Side) -> Callable[[str, str], Any]:
        async def fault(method: str, moment: str) -> None:
            self.steps.pass_by(f"{side}.{method}", moment)

        return fault

    def clock(self) -> datetime:
        """The world's clock; it moves only when it is told to."""
        return self.now

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    @property
    def gorgias(self) -> Desk:
        """The Gorgias side."""
        return self.desks[G]

    @property
    def remote(self) -> Desk:
        """The remote side."""
        return self.desks[R]

    async def passes(
        self,
        number: int = 1,
        *,
        pause: float = 3.0,
        force: bool = False,
        between: Callable[[], None] = lambda: None,
    ) -> list[Report]:
        """A process that makes this many passes and ends in good order; a Crash ends it at once."""
        reports = []
        async with AsyncExitStack() as stack:
            store = FaultyStore(await self.store(), self.steps)
            lease = await store.acquire("acme", "test", LEASE, lambda _holder: True)
            accounts = {side: self.connector(desk, side, "acme") for side, desk in self.desks.items()}
            engine = await stack.enter_async_context(
                Engine.open("acme", self.sync, store, lease, accounts, self.folder, self.clock)
            )
            engine.bench.force = force
            for _ in range(number):
                reports.append(await engine.run_pass())
                self.wait(pause)
                between()
        return reports

    async def settle(self, most: int = 30) -> list[Report]:
        """Passes of healthy processes until one writes nothing and nothing waits; time passes between them."""
        self.steps = Steps()
        reports: list[Report] = []
        for _ in range(most):
            reports += await self.passes(1)
            last = reports[-1]
            if (
                not last.writes
                and not last.failed
                and not last.down
                and not last.postponed
                and not await self.waiting()
            ):
                return reports
            self.wait(20)
        raise AssertionError(f"no rest after {most} passes: {reports[-1]}; {await self.waiting()}")

    async def waiting(self) -> list[str]:
        """Why what is dirty is still dirty."""
        return [f"{row.side} {row.ticket_id}: {row.error or row.why}" for row in await self.rows(Dirty)]

    async def rows(self, table: Any) -> list[Any]:
        """The rows of a table of the store."""
        return await (await self.store()).rows(table, "acme")

    async def store(self) -> Store:
        """The database, opened when it is first asked for."""
        if self._store is None:
            file = self.folder / "world.db"
            if self.template:
                shutil.copy(self.template, file)
            self._store = await Store(self.url or f"sqlite:///{file}", self.clock).open()
        return self._store

    async def lose_store(self) -> None:
        """The database is gone, as after a disk failure."""
        if self._store is not None:
            await self._store.close()
            self._store = None
        for file in self.folder.glob("world.db*"):
            file.unlink()

    async def close(self) -> None:
        """Remove the database."""
        await self.lose_store()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- oracles ------------------------------------------------------------------------------------------------

    def texts(self, side: Side) -> Counter[str]:
        """How often each text stands on a side, all tickets together."""
        return Counter(c.body.text for ticket in self.desks[side].tickets.values() for c in ticket.comments or ())

    def written(self) -> int:
        """How many writes both desks have taken so far."""
        return sum(desk.calls[method] for desk in self.desks.values() for method in WRITES)


async def run_through(world: World, fault: Fault | None, number: int = 2) -> Steps:
    """A process with a fault; when it crashed, what is left is the desks and the database."""
    world.steps = Steps(fault, on_strike=world.steps.on_strike)
    steps = world.steps
    with suppress(Crash, StoreBusy):
        await world.passes(number)
    # What was under way in other tasks of the dead process dies with it.
    steps.dead = True
    for _ in range(3):
        await asyncio.sleep(0)
    world.wait(10)
    return steps


ANN = Person("1", "Ann Agent", "ann@desk.example", "user")
BOB = Person("52", "Bob Agent", "bob@desk.example", "user")
