"""The writes of a plan: every one stored as an intent, then done in order, and recorded by what was read back."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from state.store import Settlement
from state.tables import Intent
from syncd import files
from syncd.bench import digest
from syncd.connector import Changes
from syncd.creating import held
from syncd.errors import Gone, Refused, SyncdError, VersionConflict
from syncd.model import Comment, Side, Ticket, values
from syncd.plan import CommentEdit, CommentWrite, FieldWrite, Pair, Plan, TagWrite, blank
from syncd.turn import REFUSALS, G, Postponed, R, Turn


@dataclass(frozen=True, slots=True)
class Step:
    """A write: its intent, and what does it once the intent is stored."""

    intent: Intent
    do: Callable[[Intent], Awaitable[None]]


async def apply(turn: Turn, todo: Plan) -> None:
    """Do what a plan says. Raises AccountError and Postponed; the intent of what may have landed then stays."""
    if todo.adopted or todo.clashes:
        children = [turn.child(pair) for pair in todo.adopted]
        await turn.settle(Settlement(children=children, conflicts=[turn.conflict(clash) for clash in todo.clashes]))
        turn.bench.report.conflicts += len(todo.clashes)
    steps = _steps(turn, todo)
    intents = await turn.begin([step.intent for step in steps])
    left = list(intents)
    for intent, step in zip(intents, steps, strict=True):
        left.remove(intent)
        try:
            await step.do(intent)
        except BaseException as error:
            # This one may have landed, wholly or in part: its intent stays. Those after it were never sent.
            await turn.settle(Settlement(done=left))
            if isinstance(error, VersionConflict):
                raise Postponed(f"it changed while it was written to: {error}") from error
            if isinstance(error, Gone):
                raise Postponed("it is gone; it is read again") from error
            raise


def _steps(turn: Turn, todo: Plan) -> list[Step]:
    """What is said comes first: a message can reopen a closed ticket, and would undo a close that came before it."""
    steps = []
    for comment in todo.comments:
        intent = turn.intent(comment.side, "comment", comment.comment.marker or "", {"source": comment.source})
        steps.append(Step(intent, partial(_comment, turn, comment)))
    for edit in todo.edits:
        intent = turn.intent(edit.side, "edit", f"edit:{turn.link.id}:{edit.comment.id}", {"source": edit.source})
        steps.append(Step(intent, partial(_edit, turn, edit)))
    for side in Side:
        fields = [write for write in todo.fields if write.side is side]
        tags = [write for write in todo.tags if write.side is side]
        if fields or tags:
            payload = {"fields": [_row(write) for write in fields], "tags": [_row(write) for write in tags]}
            intent = turn.intent(side, "update", f"update:{turn.link.id}", payload)
            steps.append(Step(intent, partial(_update, turn, fields, tags)))
    return steps


def _row(write: FieldWrite | TagWrite) -> dict[str, Any]:
    if isinstance(write, FieldWrite):
        return {"name": write.name, "value": write.value, "source": write.source, "seen": write.seen}
    return {"tag": write.tag, "source": write.source, "kind": write.kind}


# -- fields and tags ----------------------------------------------------------------------------------------------


async def _update(turn: Turn, fields: list[FieldWrite], tags: list[TagWrite], intent: Intent) -> None:
    side = Side(intent.side)
    settlement = Settlement(done=[intent])
    stopped = [write for write in fields if not _within_limit(turn, write)]
    settlement.parked = [turn.parked(f"{w.side}:{w.name}", _too_often(turn, w)) for w in stopped]
    fields = [write for write in fields if write not in stopped]
    if fields or tags:
        before = turn.now[side]
        try:
            turn.keep(side, await turn.bench.accounts[side].update(before, _changes(fields, tags)))
        except REFUSALS as error:
            await _one_by_one(turn, fields, tags, error, settlement)
        else:
            _landed(turn, fields, tags, before, settlement)
            turn.bench.report.writes[side, "update"] += 1
    await turn.settle(settlement)


def _within_limit(turn: Turn, write: FieldWrite) -> bool:
    return turn.bench.loops.allows(turn.link.id or 0, f"{write.side}:{write.name}")


def _too_often(turn: Turn, write: FieldWrite) -> Refused:
    minutes = round(turn.bench.sync.loop_window / 60)
    return Refused(
        f"{write.name} was written {turn.bench.sync.loop_limit} times within {minutes} minutes: this looks like a loop",
        hint="something else changes it back each time, or its name table does not lead back to the same value",
    )


async def _one_by_one(
    turn: Turn, fields: list[FieldWrite], tags: list[TagWrite], error: SyncdError, settlement: Settlement
) -> None:
    """Something in it is not taken: each field stands for itself, and what is refused is parked."""
    side = fields[0].side if fields else tags[0].side
    parts: list[tuple[str, list[FieldWrite], list[TagWrite]]] = [(f"{side}:{w.name}", [w], []) for w in fields]
    parts += [(f"{side}:tags", [], tags)] if tags else []
    for what, some_fields, some_tags in parts:
        before = turn.now[side]
        try:
            if len(parts) == 1:
                raise error
            turn.keep(side, await turn.bench.accounts[side].update(before, _changes(some_fields, some_tags)))
        except REFUSALS as own:
            settlement.parked.append(turn.parked(what, own))
        else:
            _landed(turn, some_fields, some_tags, before, settlement)
            turn.bench.report.writes[side, "update"] += 1


def _changes(fields: Sequence[FieldWrite], tags: Sequence[TagWrite]) -> Changes:
    return Changes(
        {write.name: write.value for write in fields},
        frozenset(write.tag for write in tags if write.kind == "add"),
        frozenset(write.tag for write in tags if write.kind == "remove"),
    )


def _landed(
    turn: Turn, fields: Sequence[FieldWrite], tags: Sequence[TagWrite], before: Ticket, settlement: Settlement
) -> None:
    """Advance the base by what the read-back shows; what was silently not taken is parked."""
    for write in fields:
        _field_landed(turn, write, before, settlement)
    for tag in tags:
        if (tag.tag in turn.now[tag.side].tags) == (tag.kind == "add"):
            turn.advance_tag(tag.side, tag.tag, tag.source, tag.kind)
        else:
            error = Refused(f"the tag {tag.tag!r} was not taken", hint="may this account change tags?")
            settlement.parked.append(turn.parked(f"{tag.side}:tags", error))
    if tags:
        changed = {kind: [tag.tag for tag in tags if tag.kind == kind] for kind in ("add", "remove")}
        settlement.audit.append(turn.audit(tags[0].side, "tags", changed))


def _field_landed(turn: Turn, write: FieldWrite, before: Ticket, settlement: Settlement) -> None:
    shown, was = values(turn.now[write.side]).get(write.name), values(before).get(write.name)
    turn.advance(write.side, write.name, shown, write.source, write.seen)
    if blank(shown) != blank(write.value) and blank(shown) == blank(was):
        product = turn.bench.accounts[write.side].name
        reason = f"{product} kept {shown!r} and did not take {write.value!r}"
        error = Refused(reason, hint="a workflow, a permission or a read-only field stands in the way")
        settlement.parked.append(turn.parked(f"{write.side}:{write.name}", error))
    what = {"field": write.name, "before": was, "after": shown}
    settlement.audit.append(turn.audit(write.side, "update", what))


# -- comments -----------------------------------------------------------------------------------------------------


async def _comment(turn: Turn, write: CommentWrite, intent: Intent) -> None:
    side = write.side
    account = turn.bench.accounts[side]
    comment = replace(write.comment, channel=turn.bench.accounts[side.other].name)
    try:
        async with files.carried(turn.bench, side, comment) as carried:
            done = await account.comment(turn.now[side].id, carried.comment, carried.uploads)
    except REFUSALS as error:
        await turn.park(f"{side}:comment:{write.source}", error, [intent])
        return
    turn.keep_comment(side, done.comment, done.ticket)
    turn.bench.report.writes[side, "comment"] += 1
    what = {"id": done.comment.id, "of": write.source, "private": done.comment.private}
    settlement = Settlement(
        done=[intent],
        children=[turn.child(_pair(turn, side, done.comment, write.source))],
        audit=[turn.audit(side, "comment", what)],
        files=held(turn.bench, side, carried.uploads, [done.comment]),
    )
    await turn.settle(settlement)


async def _edit(turn: Turn, edit: CommentEdit, intent: Intent) -> None:
    side = edit.side
    comment = replace(edit.comment, channel=turn.bench.accounts[side.other].name)
    try:
        done = await turn.bench.accounts[side].edit_comment(turn.now[side].id, comment)
    except (*REFUSALS, Gone) as error:
        await turn.park(f"{side}:edit:{edit.comment.id}", error, [intent])
        return
    kept = tuple(done if c.id == done.id else c for c in turn.now[side].comments or ())
    turn.now[side] = replace(turn.now[side], comments=kept)
    turn.bench.report.writes[side, "edit"] += 1
    children = [turn.child(_pair(turn, side, replace(done, id=edit.comment.id), edit.source))]
    audit = [turn.audit(side, "edit", {"id": edit.comment.id, "of": edit.source})]
    await turn.settle(Settlement(done=[intent], children=children, audit=audit))


def _pair(turn: Turn, side: Side, copy: Comment, source: str) -> Pair:
    """A copy and its original, with both texts as they are now."""
    original = next(c for c in turn.now[side.other].comments or () if c.id == source)
    ids = {side: copy.id, side.other: source}
    texts = {side: digest(copy), side.other: digest(original)}
    return Pair(ids[G], ids[R], texts[G], texts[R], copy.private)
