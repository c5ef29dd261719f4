"""Taking the loser of a conflict back: its value is set where it stood, as if a person had, and then carried over."""

import structlog

from state.store import Settlement
from state.tables import Conflict
from syncd.connector import Changes
from syncd.errors import Gone, VersionConflict
from syncd.model import Side, Value, values
from syncd.plan import blank
from syncd.turn import REFUSALS, G, Postponed, R, Turn

log = structlog.get_logger(__name__)
TAKEN, REFUSED = "taken", "refused"
CHANGED = (
    "the field was changed again since the conflict: nothing was done. Set the value by hand if it is still wanted"
)
ONE_WAY = "[sync] direction lets only one side's changes through, so its value always wins"


def lost(row: Conflict) -> Value:
    """What the side that lost had."""
    value: Value = row.remote_value if row.winner == G else row.gorgias_value
    return value


async def take_back(turn: Turn, conflict: Conflict) -> None:
    """Set the loser's value on its own side, and forget that side's base: the plan then carries it over like an edit.

    The stored wish stands for an intent: what a crash left half done is recognised by the value that is shown.
    """
    for side in Side:
        if side not in turn.whole:
            await turn.read_whole(side)
    name = _names(turn, conflict)
    if name is None or set(turn.bench.rules.to) != set(Side):
        return await _answer(turn, conflict, REFUSED, ONE_WAY if name else "the field is not kept the same any more")
    loser, value = Side(conflict.winner).other, blank(lost(conflict))
    shown = {side: blank(values(turn.now[side]).get(name[side])) for side in Side}
    kept = blank(conflict.gorgias_value if conflict.winner == G else conflict.remote_value)
    agreed = blank(turn.snapshot(loser).fields.get(name[loser]))
    if shown[loser.other] != kept or shown[loser] not in (agreed, value):
        return await _answer(turn, conflict, REFUSED, CHANGED)
    settlement = Settlement()
    said = "" if shown[loser] == value else await _set(turn, conflict, name[loser], settlement)
    if not said:
        turn.snapshot(loser).fields.pop(name[loser], None)
        turn.snapshot(loser.other).fields[name[loser.other]] = values(turn.now[loser.other])[name[loser.other]]
    return await _answer(turn, conflict, REFUSED if said else TAKEN, said, settlement)


def _names(turn: Turn, conflict: Conflict) -> dict[Side, str] | None:
    """What both sides call the field, while it is one that is kept the same."""
    found = next((names for names in turn.bench.translation.fields if names[0] == conflict.field), None)
    return {G: found[0], R: found[1]} if found else None


async def _set(turn: Turn, conflict: Conflict, name: str, settlement: Settlement) -> str:
    """Write the value; what is said about it when it was not taken."""
    side, value = Side(conflict.winner).other, blank(lost(conflict))
    account, before = turn.bench.accounts[side], values(turn.now[side]).get(name)
    try:
        turn.keep(side, await account.update(turn.now[side], Changes({name: value})))
    except (VersionConflict, Gone) as error:
        raise Postponed(f"it changed while it was written to: {error}") from error
    except REFUSALS as error:
        return str(error)
    turn.bench.report.writes[side, "update"] += 1
    shown = values(turn.now[side]).get(name)
    what = {"field": name, "before": before, "after": shown, "conflict": conflict.id}
    settlement.audit = [turn.audit(side, "update", what)]
    return "" if blank(shown) == value else f"{account.name} kept {shown!r} and did not take {value!r}"


async def _answer(turn: Turn, conflict: Conflict, taking: str, said: str, settlement: Settlement | None = None) -> None:
    log.info("a conflict's other value was asked for", field=conflict.field, answer=taking, why=said)
    conflict.taking, conflict.said = taking, said
    settlement = settlement or Settlement()
    settlement.answered = [conflict]
    await turn.settle(settlement)
