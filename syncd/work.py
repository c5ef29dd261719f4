"""One ticket's turn: read both sides, settle what a crash left open, plan, write, record what each write did."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from state.store import Settlement, Unit
from state.tables import Audit, Child, Conflict, File, Intent, Link, Parked, Snapshot
from syncd import files
from syncd.bench import Bench, base, digest, settled
from syncd.connector import Changes, Upload
from syncd.errors import AccountError, Forbidden, Gone, Moved, Refused, VersionConflict
from syncd.model import CUSTOM, Comment, Marker, Person, Side, Ticket, Value, values
from syncd.plan import (
    CommentEdit,
    CommentWrite,
    FieldWrite,
    Pair,
    Plan,
    State,
    TagWrite,
    Unmapped,
    blank,
    plan,
)

log = structlog.get_logger(__name__)
#: A plan is made again after its writes, until nothing is left; more rounds than this are no fixpoint.
MAX_ROUNDS = 6
#: Reasons to look at a ticket that say nothing new about it.
UNASKED = frozenset({"stamp", "sweep"})
G, R = Side.GORGIAS, Side.REMOTE


class Postponed(Exception):
    """This ticket waits: `seconds` until it is looked at again."""

    def __init__(self, why: str, seconds: float = 0.0) -> None:
        super().__init__(why)
        self.seconds = seconds


class GoneAt(Exception):
    """A linked ticket is no more on `side`."""

    def __init__(self, side: Side, to: str | None) -> None:
        super().__init__(f"gone at {side}")
        self.side = side
        self.to = to


class Job:
    """The work on one unit. `run` raises AccountError, Postponed or GoneAt; everything else is recorded."""

    def __init__(self, bench: Bench, unit: Unit, short: Mapping[Side, Ticket]) -> None:
        self.bench = bench
        self.unit = unit
        self.now: dict[Side, Ticket] = dict(short)
        self.whole: set[Side] = set()

    @property
    def link(self) -> Link:
        """The link; only after `_ensure_link`."""
        if self.unit.link is None:
            raise RuntimeError("a unit without a link")
        return self.unit.link

    async def run(self) -> None:
        """Bring the two tickets into step, as far as that can be done now."""
        if self.unit.link is not None and self.unit.link.state != "linked":
            return await self._clean()
        if self.now and not self._wanted():
            return await self._clean()
        await self._read()
        if not self._wanted():
            return await self._clean()
        await self._unpark()
        await self._recover()
        for _ in range(MAX_ROUNDS):
            if not await self._round():
                return None
        raise Postponed("the two sides do not come to rest: each write is stored as something else", 600)

    # -- read ----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        reads = [self._read_side(side) for side in Side if self.unit.id(side) is not None]
        for result in await asyncio.gather(*reads, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _read_side(self, side: Side) -> None:
        if side not in self.now or self._needs_whole(side, self.now[side]):
            await self._read_whole(side)

    async def _read_whole(self, side: Side) -> None:
        ticket_id = self.unit.id(side) or ""
        try:
            self.now[side] = await self.bench.accounts[side].get(ticket_id)
            self.whole.add(side)
        except Moved as error:
            raise GoneAt(side, error.to) from error
        except Gone as error:
            raise GoneAt(side, None) from error

    def _needs_whole(self, side: Side, row: Ticket) -> bool:
        """Whether the short form leaves open what the conversation looks like."""
        snapshot = self.unit.snapshots.get(side)
        if snapshot is None or snapshot.read_at is None or self.unit.intents:
            return True
        if row.fields is None or any(dirty.deep for dirty in self.unit.dirty if dirty.side == side):
            return True
        if row.comment_count is not None and snapshot.comment_count is not None:
            return row.comment_count != snapshot.comment_count
        return not settled(row, snapshot, self.bench.accounts[side].capabilities.resolution)

    # -- is it ours? ---------------------------------------------------------------------------------------------

    def _wanted(self) -> bool:
        if self.unit.link is not None:
            return True
        side = next(iter(self.now))
        ticket = self.now[side]
        marker = Marker.parse(ticket.marker)
        if marker and marker.workspace == self.bench.workspace and marker.side is side.other:
            log.warning(
                "a second copy of one ticket was found and left alone", side=side, ticket=ticket.id, original=marker.id
            )
            return False
        if ticket.hidden or ticket.trashed or side.other not in self.bench.rules.to:
            return False
        return not (side is G and self.bench.sync.tags) or bool(ticket.tags & set(self.bench.sync.tags))

    async def _clean(self) -> None:
        await self.bench.store.settle(self.bench.lease, Settlement(link=self.unit.link, clean=self.unit.dirty))

    async def _unpark(self) -> None:
        """Whatever happens to a ticket on purpose gives what waits on it another try."""
        if not self.unit.parked or all(dirty.why in UNASKED for dirty in self.unit.dirty):
            return
        for names in self.bench.translation.fields:
            for side, mine, theirs in ((G, *names), (R, *names[::-1])):
                if any(row.what == f"{side.other}:{theirs}" for row in self.unit.parked):
                    self._snapshot(side).fields.pop(mine, None)
        what = [row.what for row in self.unit.parked]
        self.unit.parked = []
        await self._settle(Settlement(unparked=what))

    # -- what a crash, or a lost answer, left open ---------------------------------------------------------------

    async def _recover(self) -> None:
        for intent in list(self.unit.intents):
            if intent.kind == "create":
                await self._recover_create(intent)
            else:
                await self._recover_write(intent)
            self.unit.intents.remove(intent)

    async def _recover_create(self, intent: Intent) -> None:
        target = Side(intent.side)
        if self.unit.id(target) is None:
            await self._look_for_copy(intent, target)
        if self.unit.id(target) is None:
            await self._settle(Settlement(done=[intent]))
            return
        if target not in self.whole:
            await self._read_whole(target)
        await self._settle_create(intent, self.now[target], adopted=True)

    async def _look_for_copy(self, intent: Intent, target: Side) -> None:
        account = self.bench.accounts[target]
        found = await account.find(intent.key)
        if found:
            if len(found) > 1:
                others = [ticket.id for ticket in found[1:]]
                log.warning("several tickets carry one marker; the oldest is kept", marker=intent.key, others=others)
            self._set_id(target, found[0].id)
            self.now.pop(target, None)
            return
        wait = intent.sent_at + timedelta(seconds=account.capabilities.index_lag) - self.bench.now()
        if wait > timedelta():
            raise Postponed("a create's answer was lost; its ticket may not be searchable yet", wait.total_seconds())

    async def _recover_write(self, intent: Intent) -> None:
        """What of a stored write the destination shows has landed; the rest is planned afresh."""
        target = Side(intent.side)
        if target not in self.now:
            await self._settle(Settlement(done=[intent]))
            return
        shown, payload = values(self.now[target]), intent.payload
        settlement = Settlement(done=[intent])
        for write in payload.get("fields", []):
            if blank(shown.get(write["name"])) == blank(write["value"]):
                self._advance(target, write["name"], shown[write["name"]], write["source"], write["seen"])
        for write in payload.get("tags", []):
            if (write["tag"] in self.now[target].tags) == (write["kind"] == "add"):
                self._advance_tag(target, write["tag"], write["source"], write["kind"])
        await self._settle(settlement)

    # -- plan ----------------------------------------------------------------------------------------------------

    async def _round(self) -> bool:
        """Plan and write once; False when nothing was left to write."""
        if len(self.now) < 2:
            await self._create()
            return True
        todo = plan(self._state(), self.bench.rules)
        if todo.needs:
            for side in sorted(todo.needs):
                await self._read_whole(side)
            todo = plan(self._state(), self.bench.rules)
        if todo.clashes:
            todo = plan(await self._with_times(self._state()), self.bench.rules)
        if not todo.writes:
            await self._rest(todo)
            return False
        await self._apply(todo)
        return True

    def _state(self) -> State:
        parked = frozenset(row.what for row in self.unit.parked)
        pairs = tuple(
            Pair(c.gorgias_id, c.remote_id, c.gorgias_digest, c.remote_digest, c.private) for c in self.unit.children
        )
        return State(dict(self.now), {side: base(self.unit.snapshots.get(side)) for side in Side}, pairs, parked)

    async def _with_times(self, state: State) -> State:
        now = {}
        for side, ticket in state.now.items():
            now[side] = replace(ticket, times=await self.bench.accounts[side].field_times(ticket))
        return replace(state, now=now)

    async def _rest(self, todo: Plan) -> None:
        """Nothing is left to write: what agrees is the new base, and the notices are done with."""
        settlement = Settlement(clean=self.unit.dirty)
        self._agree(todo, settlement)
        await self._settle(settlement, looked=True)

    def _agree(self, todo: Plan, settlement: Settlement) -> None:
        shown = {side: values(self.now[side]) for side in Side}
        for gorgias, remote in todo.agreed:
            self._snapshot(G).fields[gorgias] = shown[G][gorgias]
            self._snapshot(R).fields[remote] = shown[R][remote]
        if todo.tags_agree:
            for side in Side:
                self._snapshot(side).tags = sorted(self.now[side].tags)
        settlement.children += [self._child(pair) for pair in todo.adopted]
        for side, name, _ in todo.unmapped:
            log.info("a value has no word on the other side", side=side, field=name)

    # -- create --------------------------------------------------------------------------------------------------

    async def _create(self) -> None:
        source = next(iter(self.now))
        if source not in self.whole:
            await self._read_whole(source)
        target, original = source.other, self.now[source]
        await self._ensure_link(source)
        if any(row.what == f"{target}:create" for row in self.unit.parked):
            raise Postponed(f"its copy could not be made: {self.unit.parked[0].reason}", 3600)
        copy, payload = self._copy(source, original)
        marker = str(Marker(self.bench.workspace, source, original.id))
        intent = Intent(
            workspace=self.bench.workspace, link_id=0, side=target, kind="create", key=marker, payload=payload,
            sent_at=self.bench.now(),
        )  # fmt: skip
        async with AsyncExitStack() as stack:
            carried = [
                await stack.enter_async_context(files.carried(self.bench, target, c)) for c in copy.comments or ()
            ]
            copy = replace(copy, comments=tuple(c.comment for c in carried))
            uploads = {c.comment.id: c.uploads for c in carried}
            (intent,) = await self._begin([intent])
            try:
                made = await self.bench.accounts[target].create(copy, marker, uploads)
            except (Refused, Forbidden) as error:
                await self._park(f"{target}:create", error, done=[intent])
                raise Postponed(str(error), 3600) from error
        self.bench.report.writes[target, "create"] += 1
        self._set_id(target, made.id)
        await self._settle_create(intent, made, uploads=[u for group in uploads.values() for u in group])

    def _copy(self, source: Side, original: Ticket) -> tuple[Ticket, dict[str, Any]]:
        """The ticket to make at the other side, and what an intent must know to adopt it later."""
        target = source.other
        fields, writes = self._translated(source, original)
        tags = [(tag, self.bench.translation.tag_across(source, tag)) for tag in sorted(original.tags)]
        limit = self.bench.accounts[target].capabilities.comments_on_create
        comments = [self._copied(source, comment) for comment in (original.comments or ())[:limit]]
        copy = Ticket(
            id="",
            subject=str(fields.pop("subject", None) or ""),
            status=_text(fields.pop("status", None)),
            priority=_text(fields.pop("priority", None)),
            assignee=_text(fields.pop("assignee", None)),
            team=_text(fields.pop("team", None)),
            tags=frozenset(there for _, there in tags),
            fields={name.removeprefix(CUSTOM): value for name, value in fields.items()},
            contact=original.contact or _first_contact(original),
            comments=tuple(comments),
            created_at=original.created_at,
        )
        digests = {comment.id: digest(comment) for comment in original.comments or ()}
        return copy, {"fields": writes, "tags": tags, "comments": digests}

    def _copied(self, source: Side, comment: Comment) -> Comment:
        hidden = comment.private or (source is R and not self.bench.rules.public_to_gorgias)
        marker = str(Marker(self.bench.workspace, source, comment.id))
        return replace(comment, marker=marker, private=hidden, channel=self.bench.accounts[source].name)

    def _translated(self, source: Side, original: Ticket) -> tuple[dict[str, Value], list[dict[str, Any]]]:
        shown = values(original)
        fields: dict[str, Value] = {}
        writes: list[dict[str, Any]] = []
        for names in self.bench.translation.fields:
            mine, theirs = names if source is G else names[::-1]
            if mine not in shown:
                continue
            said = self.bench.translation.across(source, names, shown[mine])
            known = not isinstance(said, Unmapped)
            value: Value = None if isinstance(said, Unmapped) else said
            if value is not None:
                fields[theirs] = value
            writes.append({"name": theirs, "value": value, "source": mine, "seen": shown[mine], "known": known})
        return fields, writes

    async def _settle_create(
        self, intent: Intent, made: Ticket, *, adopted: bool = False, uploads: Sequence[Upload] = ()
    ) -> None:
        """What the copy shows of the payload is agreed; what it does not show is still to be written."""
        target = Side(intent.side)
        shown = values(made)
        ignored = self.bench.accounts[target].capabilities.create_ignores
        for write in intent.payload["fields"]:
            landed = blank(shown.get(write["name"])) == blank(write["value"]) or not write["known"]
            if landed or write["name"] not in shown:
                self._advance(target, write["name"], shown.get(write["name"]), write["source"], write["seen"])
            elif adopted and write["name"] not in ignored:
                self._advance(target, write["name"], write["value"], write["source"], write["seen"])
            else:
                self._snapshot(target).fields[write["name"]] = shown[write["name"]]
        landed_tags = [(mine, there) for mine, there in intent.payload["tags"] if there in made.tags or adopted]
        self._snapshot(target).tags = sorted({there for _, there in landed_tags})
        self._snapshot(target.other).tags = sorted({mine for mine, _ in landed_tags})
        self.now[target] = made
        if made.comments is not None:
            self.whole.add(target)
        settlement = Settlement(done=[intent], audit=[self._audit(target, "create", {"marker": intent.key})])
        settlement.children = self._made_children(target, made.comments or (), intent.payload["comments"])
        settlement.files = _files(self.bench, target, uploads, made.comments or ())
        await self._settle(settlement, looked=True)

    def _made_children(self, target: Side, comments: Sequence[Comment], digests: Mapping[str, str]) -> list[Child]:
        children = []
        for comment in comments:
            marker = Marker.parse(comment.marker)
            if marker is None or marker.id not in digests or self._known_child(target, comment.id):
                continue
            ids = {target: comment.id, target.other: marker.id}
            texts = {target: digest(comment), target.other: digests[marker.id]}
            children.append(self._child(Pair(ids[G], ids[R], texts[G], texts[R], comment.private)))
        return children

    # -- apply ---------------------------------------------------------------------------------------------------

    async def _apply(self, todo: Plan) -> None:
        """Store every write as an intent, then do them one by one and record each."""
        settlement = Settlement()
        settlement.conflicts = [self._conflict(clash) for clash in todo.clashes]
        self.bench.report.conflicts += len(todo.clashes)
        if todo.adopted or todo.clashes:
            settlement.children = [self._child(pair) for pair in todo.adopted]
            await self._settle(settlement)
        steps = self._steps(todo)
        intents = await self._begin([intent for intent, _, _ in steps])
        left = list(intents)
        for intent, (_, write, what) in zip(intents, steps, strict=True):
            left.remove(intent)
            try:
                await write(intent, what)
            except BaseException as error:
                # This one may have landed, wholly or in part: its intent stays. Those after it were never sent.
                await self._settle(Settlement(done=left))
                if isinstance(error, VersionConflict):
                    raise Postponed(f"it changed while it was written to: {error}") from error
                raise

    def _steps(self, todo: Plan) -> list[tuple[Intent, Any, Any]]:
        steps: list[tuple[Intent, Any, Any]] = []
        for side in Side:
            fields = [write for write in todo.fields if write.side is side and self._may_write(write)]
            tags = [write for write in todo.tags if write.side is side]
            if fields or tags:
                payload = {"fields": [_row(write) for write in fields], "tags": [_row(write) for write in tags]}
                intent = self._intent(side, "update", f"update:{self.link.id}", payload)
                steps.append((intent, self._update, (fields, tags)))
        for comment in todo.comments:
            intent = self._intent(comment.side, "comment", comment.comment.marker or "", {"source": comment.source})
            steps.append((intent, self._comment, comment))
        for edit in todo.edits:
            key = f"edit:{self.link.id}:{edit.comment.id}"
            steps.append((self._intent(edit.side, "edit", key, {"source": edit.source}), self._edit, edit))
        return steps

    def _may_write(self, write: FieldWrite) -> bool:
        return self.bench.loops.allows(self.link.id or 0, f"{write.side}:{write.name}")

    async def _update(self, intent: Intent, what: tuple[list[FieldWrite], list[TagWrite]]) -> None:
        fields, tags = what
        side = Side(intent.side)
        before = self.now[side]
        try:
            after = await self.bench.accounts[side].update(before, _changes(fields, tags))
        except Gone as error:
            raise Postponed("it is gone; it is read again") from error
        except (Refused, Forbidden) as error:
            await self._one_by_one(intent, fields, tags, error)
            return
        self._keep(side, after)
        settlement = Settlement(done=[intent])
        self._landed(side, fields, tags, before, settlement)
        self.bench.report.writes[side, "update"] += 1
        await self._settle(settlement)

    async def _one_by_one(
        self, intent: Intent, fields: list[FieldWrite], tags: list[TagWrite], error: AccountError
    ) -> None:
        """Something in it is not taken: each field stands for itself, and what is refused is parked."""
        side = Side(intent.side)
        parts: list[tuple[str, list[FieldWrite], list[TagWrite]]] = [(f"{side}:{w.name}", [w], []) for w in fields]
        parts += [(f"{side}:tags", [], tags)] if tags else []
        settlement = Settlement(done=[intent])
        for what, some_fields, some_tags in parts:
            before = self.now[side]
            try:
                if len(parts) > 1:
                    self._keep(side, await self.bench.accounts[side].update(before, _changes(some_fields, some_tags)))
                    self._landed(side, some_fields, some_tags, before, settlement)
                    continue
            except (Refused, Forbidden) as own:
                error = own
            settlement.parked.append(self._parked(what, error))
        await self._settle(settlement)

    def _landed(
        self, side: Side, fields: list[FieldWrite], tags: list[TagWrite], before: Ticket, settlement: Settlement
    ) -> None:
        """Advance the base by what the read-back shows; what was silently not taken is parked."""
        shown, was = values(self.now[side]), values(before)
        for write in fields:
            self._advance(side, write.name, shown.get(write.name), write.source, write.seen)
            if blank(shown.get(write.name)) != blank(write.value) and blank(shown.get(write.name)) == blank(
                was.get(write.name)
            ):
                reason = (
                    f"{self.bench.accounts[side].name} kept {shown.get(write.name)!r} and did not take {write.value!r}"
                )
                hint = "a workflow, a permission or a read-only field stands in the way"
                settlement.parked.append(self._parked(f"{side}:{write.name}", Refused(reason, hint=hint)))
            settlement.audit.append(
                self._audit(side, "update", {"field": write.name, "before": was.get(write.name), "after": write.value})
            )
        for tag in tags:
            if (tag.tag in self.now[side].tags) == (tag.kind == "add"):
                self._advance_tag(side, tag.tag, tag.source, tag.kind)
            else:
                settlement.parked.append(self._parked(f"{side}:tags", Refused(f"the tag {tag.tag!r} was not taken")))
        if tags:
            changed = {kind: [t.tag for t in tags if t.kind == kind] for kind in ("add", "remove")}
            settlement.audit.append(self._audit(side, "tags", changed))

    async def _comment(self, intent: Intent, write: CommentWrite) -> None:
        side = write.side
        comment = replace(write.comment, channel=self.bench.accounts[side.other].name)
        try:
            async with files.carried(self.bench, side, comment) as carried:
                done = await self.bench.accounts[side].comment(self.now[side].id, carried.comment, carried.uploads)
        except Gone as error:
            raise Postponed("it is gone; it is read again") from error
        except (Refused, Forbidden) as error:
            await self._park(f"{side}:comment:{write.source}", error, done=[intent])
            return
        original = next(c for c in self.now[side.other].comments or () if c.id == write.source)
        ids = {side: done.comment.id, side.other: write.source}
        texts = {side: digest(done.comment), side.other: digest(original)}
        child = self._child(Pair(ids[G], ids[R], texts[G], texts[R], done.comment.private))
        self._keep_comment(side, done.comment, done.ticket)
        self.bench.report.writes[side, "comment"] += 1
        settlement = Settlement(done=[intent], children=[child], unparked=[f"{side}:comment:{write.source}"])
        settlement.audit = [
            self._audit(side, "comment", {"id": done.comment.id, "of": write.source, "private": done.comment.private})
        ]
        settlement.files = _files(self.bench, side, carried.uploads, [done.comment])
        await self._settle(settlement)

    async def _edit(self, intent: Intent, edit: CommentEdit) -> None:
        side = edit.side
        channel = self.bench.accounts[side.other].name
        try:
            done = await self.bench.accounts[side].edit_comment(
                self.now[side].id, replace(edit.comment, channel=channel)
            )
        except (Refused, Forbidden, Gone) as error:
            await self._park(f"{side}:edit:{edit.comment.id}", error, done=[intent])
            return
        original = next(c for c in self.now[side.other].comments or () if c.id == edit.source)
        ids = {side: edit.comment.id, side.other: edit.source}
        texts = {side: digest(done), side.other: digest(original)}
        child = self._child(Pair(ids[G], ids[R], texts[G], texts[R], done.private))
        kept = tuple(done if c.id == done.id else c for c in self.now[side].comments or ())
        self.now[side] = replace(self.now[side], comments=kept)
        self.bench.report.writes[side, "edit"] += 1
        audit = [self._audit(side, "edit", {"id": edit.comment.id, "of": edit.source})]
        await self._settle(Settlement(done=[intent], children=[child], audit=audit))

    # -- what is known now ---------------------------------------------------------------------------------------

    def _keep(self, side: Side, after: Ticket) -> None:
        """What a write read back is the side's state now; a short form leaves the conversation as it was."""
        if after.comments is None:
            before = self.now[side]
            after = replace(after, comments=before.comments, comment_count=after.comment_count or before.comment_count)
        else:
            self.whole.add(side)
        self.now[side] = after

    def _keep_comment(self, side: Side, comment: Comment, ticket: Ticket | None) -> None:
        if ticket is not None:
            self._keep(side, ticket)
            return
        before = self.now[side]
        count = None if before.comment_count is None else before.comment_count + 1
        comments = None if before.comments is None else (*before.comments, comment)
        self.now[side] = replace(before, comments=comments, comment_count=count)

    def _snapshot(self, side: Side) -> Snapshot:
        if side not in self.unit.snapshots:
            self.unit.snapshots[side] = Snapshot(link_id=self.link.id or 0, side=side, fields={})
        return self.unit.snapshots[side]

    def _advance(self, target: Side, name: str, shown: Value, source: str, seen: Value) -> None:
        self._snapshot(target).fields[name] = shown
        self._snapshot(target.other).fields[source] = seen

    def _advance_tag(self, target: Side, tag: str, source: str, kind: str) -> None:
        for side, name in ((target, tag), (target.other, source)):
            tags = set(self._snapshot(side).tags or ())
            tags = tags | {name} if kind == "add" else tags - {name}
            self._snapshot(side).tags = sorted(tags)

    def _known_child(self, side: Side, comment_id: str) -> bool:
        return any((c.gorgias_id if side is G else c.remote_id) == comment_id for c in self.unit.children)

    def _child(self, pair: Pair) -> Child:
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

    def _set_id(self, side: Side, ticket_id: str) -> None:
        if side is G:
            self.link.gorgias_id = ticket_id
        else:
            self.link.remote_id = ticket_id

    async def _ensure_link(self, source: Side) -> None:
        if self.unit.link is None:
            self.unit.link = Link(workspace=self.bench.workspace, created_at=self.bench.now())
            self._set_id(source, self.now[source].id)

    # -- record --------------------------------------------------------------------------------------------------

    def _intent(self, side: Side, kind: str, key: str, payload: dict[str, Any]) -> Intent:
        return Intent(
            workspace=self.bench.workspace, link_id=self.link.id or 0, side=side, kind=kind, key=key, payload=payload,
            sent_at=self.bench.now(),
        )  # fmt: skip

    async def _begin(self, intents: list[Intent]) -> list[Intent]:
        self.unit.link, stored = await self.bench.store.begin(self.bench.lease, self.link, intents)
        return stored

    async def _settle(self, settlement: Settlement, *, looked: bool = False) -> None:
        settlement.link = self.link
        for side in self.now:
            if looked:
                self._looked(side)
        settlement.snapshots = list(self.unit.snapshots.values())
        await self.bench.store.settle(self.bench.lease, settlement)
        done = {id(intent) for intent in settlement.done}
        self.unit.intents = (
            [intent for intent in self.unit.intents if id(intent) not in done] if done else self.unit.intents
        )
        self.unit.parked += settlement.parked
        self.bench.report.parked += len(settlement.parked)

    def _looked(self, side: Side) -> None:
        """How far this side has been looked at: only a reading that showed the conversation counts."""
        ticket, snapshot = self.now[side], self._snapshot(side)
        if side in self.whole:
            snapshot.read_at = self.bench.now()
        if side in self.whole or ticket.comment_count is not None:
            snapshot.updated_at = ticket.updated_at
            snapshot.comment_count = ticket.comment_count

    async def _park(self, what: str, error: AccountError, done: list[Intent]) -> None:
        await self._settle(Settlement(done=done, parked=[self._parked(what, error)]))

    def _parked(self, what: str, error: AccountError) -> Parked:
        log.warning("a write waits for a person", what=what, reason=str(error), hint=error.hint)
        return Parked(
            workspace=self.bench.workspace, link_id=self.link.id or 0, what=what, reason=str(error.args[0]),
            hint=error.hint, since=self.bench.now(),
        )  # fmt: skip

    def _conflict(self, clash: Any) -> Conflict:
        log.info("both sides changed one field", field=clash.name, winner=clash.winner, why=clash.why)
        return Conflict(
            workspace=self.bench.workspace, link_id=self.link.id or 0, field=clash.name, gorgias_value=clash.gorgias,
            remote_value=clash.remote, winner=clash.winner, why=clash.why, at=self.bench.now(),
        )  # fmt: skip

    def _audit(self, side: Side, kind: str, what: dict[str, Any]) -> Audit:
        return Audit(
            workspace=self.bench.workspace,
            link_id=self.link.id or 0,
            side=side,
            kind=kind,
            what=what,
            at=self.bench.now(),
        )


def _text(value: Value) -> str | None:
    return None if value is None else str(value)


def _row(write: FieldWrite | TagWrite) -> dict[str, Any]:
    if isinstance(write, FieldWrite):
        return {"name": write.name, "value": write.value, "source": write.source, "seen": write.seen}
    return {"tag": write.tag, "source": write.source, "kind": write.kind}


def _changes(fields: Sequence[FieldWrite], tags: Sequence[TagWrite]) -> Changes:
    return Changes(
        {write.name: write.value for write in fields},
        frozenset(write.tag for write in tags if write.kind == "add"),
        frozenset(write.tag for write in tags if write.kind == "remove"),
    )


def _first_contact(ticket: Ticket) -> Person | None:
    """Who asked, where the product has no customers of its own: whoever opened the conversation, if not an agent."""
    opener = next((c.author for c in ticket.comments or () if c.author), None)
    return opener if opener and opener.email else None


def _files(bench: Bench, side: Side, uploads: Sequence[Upload], comments: Sequence[Comment]) -> list[File]:
    if not bench.accounts[side].capabilities.reuses_uploads:
        return []
    urls = {a.file_name: a.url for comment in comments for a in comment.attachments if a.url}
    return [
        File(workspace=bench.workspace, side=side, sha256=u.sha256, file_name=u.file_name, url=urls[u.file_name])
        for u in uploads
        if u.file_name in urls
    ]
