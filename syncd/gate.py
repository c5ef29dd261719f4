"""The rate gate: a leaky bucket that mirrors the account's own, so that no call is refused for coming too early."""

import asyncio
import re
import time
from contextvars import ContextVar

#: Set while a first load runs: its calls leave a tenth of the allowance to live changes.
BACKFILL: ContextVar[bool] = ContextVar("BACKFILL", default=False)

_LIMITS = re.compile(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*")


class Gate:
    """`capacity` calls fit at once and drain within `window` seconds; None lets everything pass.

    The account counts a call at some moment between its start and its answer, and what it counted drains from then on.
    A call in flight is therefore held as not counted yet, and one that was answered as counted just now: the level is
    never below the account's, whatever the network does. An answer's `used/capacity` header corrects it both ways,
    because others may use the same key. Until the first answer the bucket is assumed; a success without the header
    opens the gate.
    """

    def __init__(self, capacity: float | None = 40, window: float = 20.0, reserve: float = 0.1) -> None:
        self.capacity = capacity
        self.window = window
        self.reserve = reserve
        self._counted = 0.0
        self._at = time.monotonic()
        self._closed_until = 0.0
        self._last = 0
        self._answered = 0
        # By call: how many had been answered when it started.
        self._in_flight: dict[int, int] = {}
        self._queues = {True: asyncio.Lock(), False: asyncio.Lock()}

    @property
    def level(self) -> float:
        """How many calls are in the bucket, at the most."""
        self._drain()
        return self._counted + len(self._in_flight)

    @property
    def used(self) -> float:
        """The share of the bucket that is full, between 0 and 1; 0 where no limit is known."""
        return min(1.0, self.level / self.capacity) if self.capacity else 0.0

    async def enter(self) -> int:
        """Wait for a place in the bucket; the number belongs to `leave`. Live calls do not queue behind backfill."""
        backfill = BACKFILL.get()
        async with self._queues[backfill]:
            while (pause := self._pause(backfill)) > 0:
                await asyncio.sleep(pause)
            self._last += 1
            self._in_flight[self._last] = self._answered
            return self._last

    def leave(self, number: int, header: str | None, succeeded: bool = True) -> None:
        """The call has ended; learn from the answer's header, if there is one."""
        self._drain()
        answered_before = self._in_flight.pop(number)
        self._counted += 1
        limits = _LIMITS.fullmatch(header or "")
        if limits and int(limits[2]):
            used, self.capacity = float(limits[1]), float(limits[2])
            # Of ours, those in flight may be among the used, and those answered meanwhile may not be.
            at_least, at_most = used - len(self._in_flight), used + self._answered - answered_before
            self._counted = min(max(self._counted, at_least), at_most)
        elif succeeded:
            self.capacity = None
        self._answered += 1

    def close(self, seconds: float) -> None:
        """Let nothing pass for this long, and take the bucket for full: the account said so."""
        self._drain()
        self._closed_until = max(self._closed_until, self._at + seconds)
        if self.capacity:
            self._counted = max(self._counted, self.capacity - len(self._in_flight))

    def _drain(self) -> None:
        now = time.monotonic()
        if self.capacity:
            self._counted = max(0.0, self._counted - (now - self._at) * self.capacity / self.window)
        self._at = now

    def _pause(self, backfill: bool) -> float:
        level = self.level
        closed = self._closed_until - self._at
        if closed > 0 or not self.capacity:
            return max(0.0, closed)
        brim = self.capacity * (1 - self.reserve) if backfill else self.capacity
        # One call below the brim: the account's clock ticks in its own steps.
        return (level + 1 - max(1.0, brim - 1)) * self.window / self.capacity
