"""One ticket's turn: what both sides show now, what is stored about them, and the recording of what each step did."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from state.store import Settlement, Unit
from state.tables import Audit, Child, Conflict, Intent, Link, Parked, Snapshot
from syncd.bench import Bench, base
from syncd.errors import BadRequest, Forbidden, Gone, Moved, Refused, SyncdError
from syncd.model import Comment, Side, Ticket, Value
from syncd.plan import Clash, Pair, State

log = structlog.get_logger(__name__)
G, R = Side.GORGIAS, Side.REMOTE
#: What a product, or our own check before a call, does not take: a person must act, trying again does not help.
REFUSALS = (Refused, Forbidden, BadRequest)


class Postponed(Exception):
    """This ticket waits: `seconds` until it is looked at again."""

    def __init__(self, why: str, seconds: float = 0.0) -> None:
        super().__init__(why)
        self.seconds = seconds


class GoneAt(Exception):
    """A linked ticket is no more on `side`; `to` is the ticket that it was merged into."""

    def __init__(self, side: Side, to: str | None) -> None:
        super().__init__(f"gone at {side}")
        self.side = side
        self.to = to


class Turn:
    """The state of one ticket's turn. `now` holds each side as last read or written, `whole` those read whole."""

    def __init__(self, bench: Bench, unit: Unit, short: dict[Side, Ticket]) -> None:
        self.bench = bench
        self.unit = unit
        self.now = short
        self.whole: set[Side] = set()
        self._moved: set[Side] = set()
        self._relinked = False

    @property
    def link(self) -> Link:
        """The link; only after `ensure_link`."""
        if self.unit.link is None:
            raise RuntimeError("a turn without a link")
        return self.unit.link

    def ensure_link(self, source: Side) -> None:
        """A new ticket gets its link, which is stored with the first intent."""
        if self.unit.link is None:
            self.unit.link = Link(workspace=self.bench.workspace, created_at=self.bench.now())
            self.set_id(source, self.now[source].id)

    def set_id(self, side: Side, ticket_id: str) -> None:
        """Which ticket of this side the link is about."""
        self._relinked = True
        if side is G:
            self.link.gorgias_id = ticket_id
        else:
            self.link.remote_id = ticket_id

    def state(self) -> State:
        """What the planner decides upon."""
        pairs = tuple(
            Pair(c.gorgias_id, c.remote_id, c.gorgias_digest, c.remote_digest, c.private) for c in self.unit.children
        )
        bases = {side: base(self.unit.snapshots.get(side)) for side in Side}
        return State(dict(self.now), bases, pairs, frozenset(row.what for row in self.unit.parked))

    # -- both sides -------------------------------------------------------------------------------------------------

    async def read_whole(self, side: Side) -> None:
        """Read a side with its conversation. Raises GoneAt."""
        try:
            self.now[side] = await self.bench.accounts[side].get(self.unit.id(side) or "")
        except Moved as error:
            raise GoneAt(side, error.to) from error
        except Gone as error:
            raise GoneAt(side, None) from error
        self.whole.add(side)

    def keep(self, side: Side, after: Ticket) -> None:
        """What a write read back is the side's state now; a short form leaves the conversation as it was."""
        if after.comments is None:
            before = self.now[side]
            count = before.comment_count if after.comment_count is None else after.comment_count
            after = replace(after, comments=before.comments, comment_count=count)
        else:
            self.whole.add(side)
        self.now[side] = after

    def keep_comment(self, side: Side, comment: Comment, ticket: Ticket | None) -> None:
        """A comment that was written joins the conversation, unless the whole ticket was read again."""
        if ticket is not None:
            self.keep(side, ticket)
            return
        before = self.now[side]
        count = None if before.comment_count is None else before.comment_count + 1
        comments = None if before.comments is None else (*before.comments, comment)
        self.now[side] = replace(before, comments=comments, comment_count=count)

    # -- the base: the latest synchronised state, never the latest seen ---------------------------------------------

    def snapshot(self, side: Side) -> Snapshot:
        """The side's base, to be changed: it will be stored."""
        self._moved.add(side)
        if side not in self.unit.snapshots:
            self.unit.snapshots[side] = Snapshot(link_id=self.link.id or 0, side=side, fields={})
        return self.unit.snapshots[side]

    def advance(self, target: Side, name: str, shown: Value, source: str, seen: Value) -> None:
        """A write landed: it is agreed that `target` shows this for what the other side said."""
        self.snapshot(target).fields[name] = shown
        self.snapshot(target.other).fields[source] = seen

    def advance_tag(self, target: Side, tag: str, source: str, kind: str) -> None:
        """A tag landed at `target`, or was taken off, for `source` on the other side."""
        for side, name in ((target, tag), (target.other, source)):
            tags = set(self.snapshot(side).tags or ())
            self.snapshot(side).tags = sorted(tags | {name} if kind == "add" else tags - {name})

    def knows(self, side: Side, comment_id: str) -> bool:
        """Whether a comment is stored already."""
        return any((c.gorgias_id if side is G else c.remote_id) == comment_id for c in self.unit.children)

    def child(self, pair: Pair) -> Child:
        """The stored comment that this pair is now, known or new."""
        for child in self.unit.children:
            if (pair.gorgias and child.gorgias_id == pair.gorgias) or (pair.remote and child.remote_id == pair.remote):
                break
        else:
            child = Child(workspace=self.bench.workspace, link_id=self.link.id or 0)
            self.unit.children.append(child)
        child.gorgias_id, child.remote_id = pair.gorgias or child.gorgias_id, pair.remote or child.remote_id
        child.gorgias_digest = pair.gorgias_digest or child.gorgias_digest
        child.remote_digest = pair.remote_digest or child.remote_digest
        child.private = pair.private
        return child

    # -- record -----------------------------------------------------------------------------------------------------

    def intent(self, side: Side, kind: str, key: str, payload: dict[str, Any]) -> Intent:
        """A write that is about to happen."""
        link_id, now = (self.unit.link.id if self.unit.link else None) or 0, self.bench.now()
        return Intent(
            workspace=self.bench.workspace, link_id=link_id, side=side, kind=kind, key=key, payload=payload, sent_at=now
        )

    async def begin(self, intents: list[Intent]) -> list[Intent]:
        """Store intents before anything is sent."""
        self.unit.link, stored = await self.bench.store.begin(self.bench.lease, self.link, intents)
        return stored

    async def settle(self, settlement: Settlement, *, looked: bool = False) -> None:
        """Store what a step did, and the bases as they are now."""
        settlement.link, settlement.same_link = self.link, not self._relinked
        if looked:
            for side in self.now:
                self._looked(side)
        settlement.snapshots = [row for side, row in self.unit.snapshots.items() if side in self._moved]
        await self.bench.store.settle(self.bench.lease, settlement)
        self._moved, self._relinked = set(), False
        done = {intent.id for intent in settlement.done}
        self.unit.intents = [intent for intent in self.unit.intents if intent.id not in done]
        self.unit.parked += settlement.parked
        self.bench.report.parked += len(settlement.parked)

    def _looked(self, side: Side) -> None:
        """How far this side has been looked at: only a reading that showed the conversation counts."""
        ticket, snapshot = self.now[side], self.snapshot(side)
        if side in self.whole:
            snapshot.read_at = self.bench.now()
        if side in self.whole or ticket.comment_count is not None:
            snapshot.updated_at = ticket.updated_at
            snapshot.comment_count = ticket.comment_count

    async def clean(self) -> None:
        """There is nothing to do about this ticket."""
        await self.bench.store.settle(self.bench.lease, Settlement(link=self.unit.link, clean=self.unit.dirty))

    async def park(self, what: str, error: SyncdError, done: Sequence[Intent]) -> None:
        """Store that a write waits for a person."""
        await self.settle(Settlement(done=list(done), parked=[self.parked(what, error)]))

    def parked(self, what: str, error: SyncdError) -> Parked:
        """A write that waits for a person."""
        log.warning("a write waits for a person", what=what, reason=str(error))
        reason, link_id = str(error.args[0]), self.link.id or 0
        return Parked(
            workspace=self.bench.workspace, link_id=link_id, what=what, reason=reason, hint=error.hint,
            since=self.bench.now(),
        )  # fmt: skip

    def conflict(self, clash: Clash) -> Conflict:
        """A clash, for those who want the loser back."""
        log.info("both sides changed one field", field=clash.name, winner=clash.winner, why=clash.why)
        return Conflict(
            workspace=self.bench.workspace, link_id=self.link.id or 0, field=clash.name, gorgias_value=clash.gorgias,
            remote_value=clash.remote, winner=clash.winner, why=clash.why, at=self.bench.now(),
        )  # fmt: skip

    def audit(self, side: Side, kind: str, what: dict[str, Any]) -> Audit:
        """A write that landed."""
        at, link_id = self.bench.now(), self.link.id or 0
        return Audit(workspace=self.bench.workspace, link_id=link_id, side=side, kind=kind, what=what, at=at)
