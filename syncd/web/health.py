"""What the web part asks the daemon: a protocol, and plain values for the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol

from syncd.model import Side


class Hint(Enum):
    """What became of a wake-up call; the value is the HTTP status that says so."""

    TAKEN = 202
    FORGED = 403
    UNKNOWN = 404


@dataclass(frozen=True, slots=True)
class SideHealth:
    """One account: whether it can be worked with, since when not and why not, how far behind, how busy."""

    side: Side
    connector: str
    up: bool = True
    reason: str = ""
    since: datetime | None = None
    lag: float = 0.0
    bucket: float = 0.0


@dataclass(frozen=True, slots=True)
class Parked:
    """Something that waits for a person: the ticket as people name it, what was to be done, and why it was not."""

    ticket: str
    what: str
    reason: str
    since: datetime | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class WorkspaceHealth:
    """One workspace: `ready` says whether it can do its work now, `reason` why not."""

    name: str
    ready: bool = True
    reason: str = ""
    sides: tuple[SideHealth, ...] = ()
    linked: int = 0
    dirty: int = 0
    waiting: int = 0
    conflicts: int = 0
    parked: tuple[Parked, ...] = field(default=())
    #: How many there are, when `parked` lists only the newest.
    parked_total: int = 0
    last_success: datetime | None = None


class HealthSource(Protocol):
    """The daemon, as far as its web part can see it."""

    async def workspaces(self) -> Sequence[WorkspaceHealth]:
        """All workspaces, in the order in which they are shown. Raises StoreError."""

    async def measure(self) -> None:
        """Bring the metrics up to date that are not counted as things happen. Raises StoreError."""

    async def hinted(self, workspace: str, side: Side, headers: Mapping[str, str], body: bytes) -> Hint:
        """Pass on a webhook's call."""
