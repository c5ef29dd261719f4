"""One ticket's turn, from beginning to end: read, settle what a crash left open, plan, write, until all is still."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import structlog

from state.notices import UNASKED
from state.store import Settlement, Unit
from state.tables import Intent
from syncd.applying import apply
from syncd.bench import STAMP, Bench, digest, settled
from syncd.creating import create, settle_create
from syncd.model import Marker, Side, Ticket, values
from syncd.plan import Plan, State, blank, plan
from syncd.taking import take_back
from syncd.turn import G, Postponed, R, Turn

log = structlog.get_logger(__name__)
#: A plan is made again after its writes, until nothing is left; more rounds than this are no fixpoint.
MAX_ROUNDS = 6
#: Seconds after which such a ticket is looked at again.
RESTLESS_PAUSE = 600.0
UNSURE = "whether its copy was made is not known: no answer came, and a new ticket cannot be searched for at once"


async def work_on(bench: Bench, unit: Unit, short: dict[Side, Ticket]) -> bool:
    """Bring a unit's two tickets into step, as far as that can be done now; True when it is done.

    `short` holds what is known of them already. Raises AccountError, Postponed and GoneAt; all else is recorded.
    """
    turn = Turn(bench, unit, dict(short))
    if unit.link is not None and unit.link.state != "linked":
        await turn.clean()
        return True
    if not turn.now or _wanted(turn):
        await _read(turn)
    if not _wanted(turn):
        await turn.clean()
        return True
    await _unpark(turn)
    for intent in list(unit.intents):
        await _recover(turn, intent)
    for conflict in unit.asked:
        await take_back(turn, conflict)
    for _ in range(MAX_ROUNDS):
        if not await _round(turn):
            return True
    raise Postponed("the two sides do not come to rest: each write is stored as something else", RESTLESS_PAUSE)


def unsure_only(unit: Unit) -> bool:
    """Whether a ticket is looked at only because its stamp is too coarse to prove that nothing happened within it."""
    sides = {dirty.side for dirty in unit.dirty}
    linked = unit.link is not None and unit.link.state == "linked"
    return linked and len(sides) == 1 and not unit.intents and all(dirty.why == STAMP for dirty in unit.dirty)


async def nothing_new(bench: Bench, unit: Unit) -> bool:
    """Read the side whose stamp proves nothing; True, and recorded, when it shows exactly what is stored."""
    turn, side = Turn(bench, unit, {}), Side(unit.dirty[0].side)
    await turn.read_whole(side)
    ticket, snapshot = turn.now[side], turn.snapshot(side)
    shown = {name: value for name, value in values(ticket).items() if name in snapshot.fields}
    known = {c.id(side): c.digest(side) for c in turn.state().pairs}
    same_words = all(known.get(comment.id) == digest(comment) for comment in ticket.comments or ())
    same = same_words and shown == dict(snapshot.fields) and ticket.tags == frozenset(snapshot.tags or ())
    if same:
        await turn.settle(Settlement(clean=unit.dirty), looked=True)
    return same


# -- read ---------------------------------------------------------------------------------------------------------


async def _read(turn: Turn) -> None:
    sides = [side for side in Side if turn.unit.id(side) is not None and _needs_whole(turn, side)]
    for result in await asyncio.gather(*(turn.read_whole(side) for side in sides), return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _needs_whole(turn: Turn, side: Side) -> bool:
    """Whether what is known of a side leaves open what its conversation looks like."""
    row, snapshot = turn.now.get(side), turn.unit.snapshots.get(side)
    if row is None or snapshot is None or snapshot.read_at is None or turn.unit.intents:
        return True
    if row.fields is None or any(dirty.deep for dirty in turn.unit.dirty if dirty.side == side):
        return True
    if row.comment_count is not None and snapshot.comment_count is not None:
        return row.comment_count != snapshot.comment_count
    return not settled(row, snapshot, turn.bench.accounts[side].capabilities.resolution)


# -- is it ours? --------------------------------------------------------------------------------------------------


def _wanted(turn: Turn) -> bool:
    """Whether a ticket that has no copy shall get one."""
    if turn.unit.link is not None:
        return True
    side, ticket = next(iter(turn.now.items()))
    marker = Marker.parse(ticket.marker)
    if marker and marker.workspace == turn.bench.workspace and marker.side is side.other:
        log.warning("a second copy of one ticket was left alone", side=side, copy=ticket.id, original=marker.id)
        return False
    if ticket.hidden or ticket.trashed or side.other not in turn.bench.rules.to:
        return False
    scope = turn.bench.sync.tags
    return side is R or not scope or bool(ticket.tags & set(scope))


async def _unpark(turn: Turn) -> None:
    """Whatever happens to a ticket on purpose gives what waits on it another try."""
    unit = turn.unit
    if not unit.parked or all(dirty.why in UNASKED for dirty in unit.dirty):
        return
    waiting = [row.what for row in unit.parked]
    for names in turn.bench.translation.fields:
        for side, mine, theirs in ((G, *names), (R, *names[::-1])):
            if f"{side.other}:{theirs}" in waiting:
                turn.snapshot(side).fields.pop(mine, None)
    unit.parked = []
    await turn.settle(Settlement(unparked=waiting))


# -- what a crash, or a lost answer, left open --------------------------------------------------------------------


async def _recover(turn: Turn, intent: Intent) -> None:
    if intent.kind != "create":
        return await _recover_write(turn, intent)
    target = Side(intent.side)
    if turn.unit.id(target) is None:
        await _look_for_copy(turn, intent, target)
    if turn.unit.id(target) is None:
        return await turn.settle(Settlement(done=[intent]))
    if target not in turn.whole:
        await turn.read_whole(target)
    return await settle_create(turn, intent, turn.now[target], adopted=True)


async def _look_for_copy(turn: Turn, intent: Intent, target: Side) -> None:
    """Find what a create made, by its marker. Raises Postponed while it may be there and not be searchable yet."""
    account = turn.bench.accounts[target]
    found = await account.find(intent.key)
    if found:
        if len(found) > 1:
            others = [ticket.id for ticket in found[1:]]
            log.warning("several tickets carry one marker; the oldest is kept", marker=intent.key, others=others)
        turn.set_id(target, found[0].id)
        return
    wait = intent.sent_at + timedelta(seconds=account.capabilities.index_lag) - turn.bench.now()
    if wait > timedelta():
        raise Postponed(UNSURE, wait.total_seconds())


async def _recover_write(turn: Turn, intent: Intent) -> None:
    """What of a stored write the destination shows has landed; the rest is planned afresh."""
    target = Side(intent.side)
    if target in turn.now:
        shown, tags = values(turn.now[target]), turn.now[target].tags
        for write in intent.payload.get("fields", []):
            if blank(shown.get(write["name"])) == blank(write["value"]):
                turn.advance(target, write["name"], shown[write["name"]], write["source"], write["seen"])
        for write in intent.payload.get("tags", []):
            if (write["tag"] in tags) == (write["kind"] == "add"):
                turn.advance_tag(target, write["tag"], write["source"], write["kind"])
    await turn.settle(Settlement(done=[intent]))


# -- plan and write -----------------------------------------------------------------------------------------------


async def _round(turn: Turn) -> bool:
    """Plan and write once; False when nothing was left to write."""
    if len(turn.now) < 2:
        await create(turn)
        return True
    todo = plan(turn.state(), turn.bench.rules)
    if todo.needs:
        for side in sorted(todo.needs):
            await turn.read_whole(side)
        todo = plan(turn.state(), turn.bench.rules)
    if todo.clashes:
        todo = plan(await _with_times(turn), turn.bench.rules)
    if todo.writes:
        await apply(turn, todo)
        return True
    await _rest(turn, todo)
    return False


async def _with_times(turn: Turn) -> State:
    """The state with the times of single fields, which are only asked for when both sides changed one."""
    state = turn.state()
    accounts = turn.bench.accounts
    times = {side: await accounts[side].field_times(ticket) for side, ticket in state.now.items()}
    return replace(state, now={side: replace(ticket, times=times[side]) for side, ticket in state.now.items()})


async def _rest(turn: Turn, todo: Plan) -> None:
    """Nothing is left to write: what agrees is the new base, and the notices are done with."""
    shown = {side: values(turn.now[side]) for side in Side}
    for gorgias, remote in todo.agreed:
        turn.snapshot(G).fields[gorgias] = shown[G][gorgias]
        turn.snapshot(R).fields[remote] = shown[R][remote]
    if todo.tags_agree:
        for side in Side:
            turn.snapshot(side).tags = sorted(turn.now[side].tags)
    for side, name, _ in todo.unmapped:
        log.info("a value has no word on the other side", side=side, field=name)
    children = [turn.child(pair) for pair in todo.adopted]
    await turn.settle(Settlement(clean=turn.unit.dirty, children=children), looked=True)
