"""What the engine's parts share while they work on one workspace: accounts, store, rules, clock."""

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from state.store import Store
from state.tables import Lease, Snapshot
from syncd import text
from syncd.connector import Connector
from syncd.model import Comment, Side, Ticket, values
from syncd.plan import Base, Rules
from syncd.settings import SyncSettings
from syncd.translate import Translation

T = TypeVar("T")
#: A short form read this long ago, in seconds, still stands for the ticket.
FRESH = 10.0
#: So many short forms are remembered at once: a first load has more of them than memory should hold.
MOST_ROWS = 2000
#: The reason to look at a ticket whose time may hide a change, because it is as coarse as it is recent.
STAMP = "stamp"


@dataclass(slots=True)
class Report:
    """What a pass did, for people, metrics and exit codes."""

    noticed: int = 0
    looked: int = 0
    writes: Counter[tuple[Side, str]] = field(default_factory=Counter)
    conflicts: int = 0
    parked: int = 0
    postponed: int = 0
    failed: int = 0
    down: dict[Side, str] = field(default_factory=dict)
    guard: str = ""

    @property
    def quiet(self) -> bool:
        """Whether nothing was found and nothing was written."""
        return not (self.looked or self.writes or self.postponed or self.failed or self.down or self.guard)


class LoopBreaker:
    """Counts the writes to one field of one ticket, to stop a mapping that is no fixpoint."""

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._writes: dict[tuple[int, str], deque[float]] = defaultdict(deque)

    def allows(self, link_id: int, what: str) -> bool:
        """Whether one more write now stays within the limit; counts it if so."""
        now, times = time.monotonic(), self._writes[link_id, what]
        while times and times[0] < now - self._window:
            times.popleft()
        if len(times) >= self._limit:
            return False
        times.append(now)
        return True


class Rows:
    """The short forms that the feeds carried, for as long as they are fresh."""

    def __init__(self) -> None:
        self._rows: dict[tuple[Side, str], tuple[float, Ticket]] = {}

    def put(self, side: Side, ticket: Ticket) -> None:
        """Remember a short form that was read just now, unless it lacks fields or there are too many already."""
        if ticket.fields is not None and len(self._rows) < MOST_ROWS:
            self._rows[side, ticket.id] = (time.monotonic(), ticket)

    def take(self, side: Side, ticket_id: str) -> Ticket | None:
        """The short form, if it is still fresh."""
        at, ticket = self._rows.pop((side, ticket_id), (0.0, None))
        return ticket if ticket is not None and time.monotonic() - at < FRESH else None

    def clear(self) -> None:
        """Forget them all."""
        self._rows.clear()


@dataclass(slots=True)
class Bench:
    """One workspace at work."""

    workspace: str
    sync: SyncSettings
    store: Store
    lease: Lease
    accounts: Mapping[Side, Connector]
    translation: Translation
    now: Callable[[], datetime]
    folder: Path
    loops: LoopBreaker
    force: bool = False
    dry: bool = False
    #: A first load leaves alone what has not changed since then.
    since: datetime | None = None
    rows: Rows = field(default_factory=Rows)
    report: Report = field(default_factory=Report)
    #: What was strange about files: whose, which and what, and how often.
    doubted: Counter[tuple[Side, str, str]] = field(default_factory=Counter)

    @property
    def rules(self) -> Rules:
        """The planner's rules as they are now: the skew is measured anew with every answer."""
        to = {"both": frozenset(Side), "to_remote": frozenset({Side.REMOTE}), "to_gorgias": frozenset({Side.GORGIAS})}
        return Rules(
            workspace=self.workspace,
            translator=self.translation,
            digest=digest,
            to=to[self.sync.direction],
            tags=all(account.capabilities.tags for account in self.accounts.values()),
            edits=frozenset(side for side, account in self.accounts.items() if account.capabilities.edits),
            public_to_gorgias=self.sync.comments_to_gorgias == "public",
            resolution=timedelta(seconds=max(account.capabilities.resolution for account in self.accounts.values())),
            skew={side: timedelta(seconds=account.skew) for side, account in self.accounts.items()},
        )


def digest(comment: Comment) -> str:
    """What identifies a comment's text from one look to the next."""
    return text.digest(comment.body)


def base(snapshot: Snapshot | None) -> Base:
    """A stored snapshot as the planner takes it."""
    if snapshot is None:
        return Base()
    return Base(snapshot.fields, None if snapshot.tags is None else frozenset(snapshot.tags))


def looks_the_same(ticket: Ticket, snapshot: Snapshot) -> bool:
    """Whether a short form shows nothing that the snapshot does not hold, its conversation included."""
    if ticket.comment_count is None or ticket.comment_count != snapshot.comment_count or ticket.fields is None:
        return False
    shown = {name: value for name, value in values(ticket).items() if name in snapshot.fields}
    return shown == dict(snapshot.fields) and ticket.tags == frozenset(snapshot.tags or ())


def settled(ticket: Ticket, snapshot: Snapshot, resolution: float) -> bool:
    """Whether a ticket's time proves that nothing happened since it was read whole.

    A product whose stamps are coarse may change a ticket twice within one of them: such a stamp proves something
    only once it lies well before the reading.
    """
    if ticket.updated_at is None or snapshot.updated_at != ticket.updated_at or snapshot.read_at is None:
        return False
    return resolution == 0 or snapshot.read_at - snapshot.updated_at > timedelta(seconds=resolution + 1)


async def all_ended(works: Iterable[Coroutine[None, None, T]]) -> list[T]:
    """Every result, once all have ended: a failure of one leaves none of the others writing behind the pass's back."""
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
