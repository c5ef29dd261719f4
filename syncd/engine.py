"""Notice, plan, apply, settle for one workspace; the only caller of connectors and Store.

A pass reads both sides' feeds to their ends and then works off what is dirty, ticket by ticket, several at once. A
failure stays with its ticket; only an account that cannot be reached, or that refuses our credentials, stops a pass.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import structlog

from state.store import Notice, Settlement, Store, Unit
from state.tables import Audit, Lease, Tombstone
from syncd.bench import Bench, LoopBreaker, Report, all_ended, base, digest
from syncd.connector import Changes, Connector, Vocabulary
from syncd.errors import AccountError, Forbidden, Gone, RateLimited, StoreError, TryLater, Unauthorized
from syncd.http import BACKFILL
from syncd.model import Side, Ticket, values
from syncd.notice import notice_all, sweep
from syncd.settings import SyncSettings
from syncd.translate import Translation
from syncd.turn import GoneAt, Postponed, Turn
from syncd.work import nothing_new, unsure_only, work_on

log = structlog.get_logger(__name__)

#: Tickets read in one go: small enough that what was read is fresh when it is written over, large enough that the
#: reading costs little (one call of Gorgias for all of them).
CHUNK = 50
BACKOFF = (5.0, 900.0)  # seconds: the first pause of a ticket that failed, and the longest
#: After so many tickets that failed in passing, with none between them that did not, the pass ends.
IN_A_ROW = 8


T = TypeVar("T")


class SideDown(Exception):
    """An account cannot be worked with for now: the pass ends here."""

    def __init__(self, side: Side, why: str) -> None:
        super().__init__(why)
        self.side = side


async def _of(side: Side, call: Awaitable[T]) -> T:
    """A call that is about the whole account, and not about one ticket."""
    try:
        return await call
    except AccountError as error:
        raise SideDown(side, str(error)) from error


class Engine:
    """One workspace: `run_pass` is one look at everything that changed."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._gone: list[tuple[Unit, GoneAt]] = []
        self._vocabulary_at: datetime | None = None
        self._in_a_row = 0
        self._began = bench.now()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        workspace: str,
        sync: SyncSettings,
        store: Store,
        lease: Lease,
        accounts: Mapping[Side, Connector],
        folder: Path,
        now: Callable[[], datetime],
    ) -> AsyncIterator["Engine"]:
        """An engine on open accounts, under a lease."""
        loops = LoopBreaker(sync.loop_limit, sync.loop_window)
        words = Translation(sync, accounts, {side: Vocabulary() for side in Side})
        yield cls(Bench(workspace, sync, store, lease, accounts, words, now, folder, loops))

    async def run_pass(self) -> Report:
        """Notice and work until nothing is due. Raises LeaseHeld and StoreError; accounts' failures are reported."""
        bench = self.bench
        bench.report, bench.rows = Report(), type(bench.rows)()
        self._gone, self._in_a_row = [], 0
        first_load = not await bench.store.watermarks(bench.workspace)
        token = BACKFILL.set(first_load)
        try:
            await notice_all(bench)
            if not bench.report.down and not bench.report.guard:
                await sweep(bench)
                await self._work()
                await self._bury()
        except SideDown as error:
            bench.report.down[error.side] = str(error)
        finally:
            BACKFILL.reset(token)
        return bench.report

    async def _work(self) -> None:
        self._began = self.bench.now()
        while not self.bench.report.down:
            units = await self.bench.store.due(self.bench.workspace, CHUNK, self._began)
            if not units:
                return
            gate = asyncio.Semaphore(self.bench.sync.concurrency)
            unsure = [unit for unit in units if unsure_only(unit)]
            done = await all_ended(self._one(gate, unit, nothing_new(self.bench, unit)) for unit in unsure)
            left = [unit for unit in units if unit not in unsure or not done[unsure.index(unit)]]
            if left and not self.bench.report.down:
                await self._learn_words()
                short = await self._short_forms(left)
                work = [work_on(self.bench, unit, known) for unit, known in zip(left, short, strict=True)]
                await all_ended(self._one(gate, unit, do) for unit, do in zip(left, work, strict=True))

    async def _learn_words(self) -> None:
        """Read both accounts' vocabularies once there is something to translate, and again every hour."""
        now = self.bench.now()
        if self._vocabulary_at and now - self._vocabulary_at < timedelta(hours=1):
            return
        words = [await _of(side, self.bench.accounts[side].vocabulary()) for side in Side]
        self.bench.translation = Translation(self.bench.sync, self.bench.accounts, dict(zip(Side, words, strict=True)))
        self._vocabulary_at = now

    async def _short_forms(self, units: Sequence[Unit]) -> list[dict[Side, Ticket]]:
        """The short forms of linked tickets, a hundred a call; what a feed just carried is not read again."""
        short: list[dict[Side, Ticket]] = [{} for _ in units]
        for side in Side:
            wanted: dict[str, int] = {}
            for number, unit in enumerate(units):
                ticket_id = unit.id(side)
                if ticket_id is None:
                    continue
                if row := self.bench.rows.take(side, ticket_id):
                    short[number][side] = row
                elif unit.link is not None and side in unit.snapshots and not unit.intents and not _deep(unit, side):
                    wanted[ticket_id] = number
            if wanted:
                rows = await _of(side, self.bench.accounts[side].get_many(list(wanted)))
                for ticket_id, row in rows.items():
                    short[wanted[ticket_id]][side] = row
        return short

    async def _one(self, gate: asyncio.Semaphore, unit: Unit, work: Coroutine[None, None, bool]) -> bool:
        """Do one unit's work; False when there is still something to do about it."""
        async with gate:
            if self.bench.report.down:
                work.close()
                return True
            ticket = unit.id(Side.GORGIAS) or unit.id(Side.REMOTE)
            with structlog.contextvars.bound_contextvars(ticket=ticket):
                return await self._guarded(unit, work)

    async def _guarded(self, unit: Unit, work: Coroutine[None, None, bool]) -> bool:
        """A failure stays with its ticket; only a side that is down stops the others."""
        report = self.bench.report
        try:
            done = await work
        except Postponed as error:
            report.postponed += 1
            await self._postpone(unit, str(error), error.seconds)
        except GoneAt as error:
            self._gone.append((unit, error))
            await self._postpone(unit, f"it is gone at {error.side}", 0)
        except Unauthorized as error:
            self._down(error)
        except AccountError as error:
            await self._failed(unit, error)
        except (StoreError, asyncio.CancelledError):
            raise
        except Exception as error:  # a defect of ours must not stop the other tickets
            report.failed += 1
            log.exception("a ticket met a defect of syncd")
            await self._postpone(unit, f"{type(error).__name__}: {error}", None)
        else:
            self._in_a_row = 0
            report.looked += done
            return done
        report.looked += 1
        return True

    async def _failed(self, unit: Unit, error: AccountError) -> None:
        """A ticket waits for its next try; when one after the other has to, the account is down and not the tickets."""
        self.bench.report.failed += 1
        passing, pause = isinstance(error, TryLater), None
        level = logging.INFO if passing and not any(row.tries for row in unit.dirty) else logging.WARNING
        log.log(level, "a ticket could not be brought into step", error=str(error))
        self._in_a_row = self._in_a_row + 1 if passing else 0
        if self._in_a_row >= IN_A_ROW or isinstance(error, RateLimited):
            self._down(error)
        if isinstance(error, TryLater) and error.retry_after is not None:
            pause = min(error.retry_after, BACKOFF[1])
        await self._postpone(unit, str(error), pause)

    async def _postpone(self, unit: Unit, why: str, seconds: float | None) -> None:
        tries = max((row.tries for row in unit.dirty), default=0)
        if seconds is None:
            seconds = min(BACKOFF[1], BACKOFF[0] * 2**tries) * random.uniform(0.8, 1.2)
        # Beyond this pass, however short the pause: a pass takes each ticket once.
        until = max(self.bench.now() + timedelta(seconds=seconds), self._began + timedelta(milliseconds=1))
        await self.bench.store.postpone(self.bench.lease, unit.dirty, until, why)

    def _down(self, error: AccountError) -> None:
        for side, account in self.bench.accounts.items():
            if account.transport and account.transport.label in str(error):
                self.bench.report.down[side] = str(error)
        if not self.bench.report.down:
            self.bench.report.down[Side.REMOTE] = str(error)

    # -- deletions ----------------------------------------------------------------------------------------------------

    async def _bury(self) -> None:
        """Act on what is gone, unless so much is gone at once that it looks like an accident."""
        if not self._gone:
            return
        links = (await self.bench.store.counts(self.bench.workspace))["links"]
        limit = max(self.bench.sync.guard_floor, int(links * self.bench.sync.guard_share))
        if len(self._gone) > limit and not self.bench.force:
            self.bench.report.guard = (
                f"{len(self._gone)} of {links} linked tickets are gone at once (more than {limit}): nothing was done "
                "about them. If that is right, run `syncd once --force`"
            )
            log.error("the mass-delete guard stopped a pass", gone=len(self._gone), limit=limit)
            for unit, _ in self._gone:
                await self._postpone(unit, self.bench.report.guard, 3600)
            return
        for unit, gone in self._gone:
            try:
                await self._bury_one(unit, gone)
            except AccountError as error:
                self.bench.report.failed += 1
                await self._postpone(unit, str(error), None)

    async def _bury_one(self, unit: Unit, gone: GoneAt) -> None:
        link, ticket_id = unit.link, unit.id(gone.side) or ""
        tombstone = Tombstone(
            workspace=self.bench.workspace, side=gone.side, ticket_id=ticket_id, at=self.bench.now(),
            why="deleted" if gone.to is None else "merged",
        )  # fmt: skip
        settlement = Settlement(link=link, tombstones=[tombstone], clean=unit.dirty)
        if link is None:
            await self.bench.store.settle(self.bench.lease, settlement)
            return
        if gone.to is not None and await self._repoint(unit, gone, settlement):
            return
        link.state = "deleted"
        other = unit.id(gone.side.other)
        settlement.done = unit.intents
        if other is not None and gone.side.other in self.bench.rules.to and self.bench.sync.on_delete != "unlink":
            if await self._edited_since(unit, gone.side.other, other):
                log.info("a deleted ticket's copy was edited since: it is kept", side=gone.side.other, copy=other)
            else:
                # What a merged ticket said goes on at the survivor: its copy is closed at the most, never deleted.
                delete = self.bench.sync.on_delete == "delete" and gone.to is None
                settlement.audit = await self._end(unit, gone.side.other, delete=delete)
        if self.bench.sync.on_delete == "unlink":
            link.state = "unlinked"
        await self.bench.store.settle(self.bench.lease, settlement)

    async def _repoint(self, unit: Unit, gone: GoneAt, settlement: Settlement) -> bool:
        """A merged ticket's link goes over to the survivor, if that has no link of its own."""
        taken = await self.bench.store.snapshots(self.bench.workspace, gone.side, [gone.to or ""])
        if taken or unit.link is None:
            return False
        if gone.side is Side.GORGIAS:
            unit.link.gorgias_id = gone.to
        else:
            unit.link.remote_id = gone.to
        # First, so that no crash comes between: what the survivor says was no news while it had no link.
        await self.bench.store.mark(self.bench.workspace, gone.side, [Notice(gone.to or "", "merged", deep=True)])
        await self.bench.store.settle(self.bench.lease, settlement)
        return True

    async def _edited_since(self, unit: Unit, side: Side, ticket_id: str) -> bool:
        """Whether the other side was changed by a person after the last agreement: an edit beats a delete."""
        try:
            ticket = await self.bench.accounts[side].get(ticket_id)
        except Gone:
            return False
        agreed = base(unit.snapshots.get(side))
        shown = {name: value for name, value in values(ticket).items() if name in agreed.values}
        known = {pair.id(side): pair.digest(side) for pair in Turn(self.bench, unit, {}).state().pairs}
        said = any(known.get(comment.id) != digest(comment) for comment in ticket.comments or ())
        return said or shown != dict(agreed.values) or agreed.tags not in (None, ticket.tags)

    async def _end(self, unit: Unit, side: Side, *, delete: bool) -> list[Audit]:
        """Delete the ticket that is left, or close it; what was done, for the record."""
        account, ticket_id, turn = self.bench.accounts[side], unit.id(side) or "", Turn(self.bench, unit, {})
        try:
            if delete and account.capabilities.delete:
                await account.delete(ticket_id)
                self.bench.report.writes[side, "delete"] += 1
                return [turn.audit(side, "delete", {"ticket": ticket_id})]
            ticket = await account.get(ticket_id)
            closed = self.bench.translation.closed(side)
            if closed and ticket.status != closed:
                after = await account.update(ticket, Changes({"status": closed}))
                self.bench.report.writes[side, "close"] += 1
                return [turn.audit(side, "close", {"field": "status", "before": ticket.status, "after": after.status})]
        except (Gone, Forbidden) as error:
            log.info("the copy of a deleted ticket could not be ended", side=side, copy=ticket_id, error=str(error))
        return []


def _deep(unit: Unit, side: Side) -> bool:
    return any(row.deep for row in unit.dirty if row.side == side)
