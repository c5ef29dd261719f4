"""Why one ticket is as it is: what is linked, both sides, the last agreement, what would be done, what waits."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from state.store import Store, Unit
from state.tables import Conflict, Lease
from syncd import log, wording
from syncd.bench import Bench, LoopBreaker, base
from syncd.connector import Connector, Vocabulary
from syncd.errors import AccountError, Gone, Moved
from syncd.model import Side, Ticket, Value, values
from syncd.plan import Pair, Plan, Rules, State, Unmapped, agree, plan
from syncd.reports import named
from syncd.runner import account, utc_now
from syncd.settings import Settings, Workspace
from syncd.stores import looked_at
from syncd.translate import Translation

G, R = Side.GORGIAS, Side.REMOTE
#: What was sent, for people.
SENT = {"create": "its copy", "comment": "a comment", "edit": "a comment's new text", "delete": "its end"}


@dataclass(slots=True)
class Explanation:
    """What is to be said about a ticket: sentences, a line for each field, what would be done, and what waits."""

    workspace: str
    ticket: str
    sentences: list[str] = field(default_factory=list)
    fields: list[dict[str, Any]] = field(default_factory=list)
    would: list[str] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)


async def explain(settings: Settings, ticket: str) -> list[Explanation]:
    """The ticket in each workspace; `ticket` is a Gorgias id, or `remote:` and the remote's id. Raises StoreError."""
    asked, ticket_id = named(ticket)
    said = []
    async with looked_at(settings) as store:
        for workspace in settings.workspaces:
            async with AsyncExitStack() as stack:
                accounts = {side: await stack.enter_async_context(account(workspace, side)) for side in Side}
                said.append(await told(store, workspace, accounts, asked, ticket_id))
    return said


async def told(
    store: Store, workspace: Workspace, accounts: Mapping[Side, Connector], side: Side, ticket_id: str
) -> Explanation:
    """Everything that can be found out; what cannot be read is said, and the rest goes on. Raises StoreError."""
    return await _Story(store, workspace, side, ticket_id).told(accounts)


class _Story:
    """One ticket in one workspace."""

    def __init__(self, store: Store, workspace: Workspace, side: Side, ticket_id: str) -> None:
        self.store, self.workspace, self.side, self.ticket_id = store, workspace, side, ticket_id
        self.names = wording.products(workspace)
        self.said = Explanation(workspace.name, wording.ticket(self.names, side, ticket_id))
        self.merged = False

    async def told(self, accounts: Mapping[Side, Connector]) -> Explanation:
        unit = await self.store.unit(self.workspace.name, self.side, self.ticket_id)
        self._link(unit)
        now = {s: t for s in Side if (t := await self._read(accounts[s], s, unit.id(s)))}
        await self._both(unit, accounts, now)
        if self.side not in now and not self.merged:
            await self._nowhere(unit)
        self._waits(unit)
        await self._conflicts(unit)
        self.said.waits = [log.masked(line) for line in self.said.waits]
        return self.said

    async def _nowhere(self, unit: Unit) -> None:
        if await self.store.tombstones(self.workspace.name, self.side, [self.ticket_id]):
            self.said.sentences.append("It is known to be deleted, and a deleted ticket is never made again.")
        elif unit.link is None:
            self.said.sentences.append("It never had a copy: is the number right, and the product?")

    async def _both(self, unit: Unit, accounts: Mapping[Side, Connector], now: dict[Side, Ticket]) -> None:
        linked = unit.link is not None and unit.link.state == "linked"
        if len(now) == 2 and linked:
            try:
                await self._plan(unit, accounts, now)
            except AccountError as error:
                self.said.sentences.append(f"What would be done is not known: {log.masked(str(error))}")
        elif unit.link is None and self.side in now:
            self._why_no_copy(unit, now[self.side])

    # -- what is linked -----------------------------------------------------------------------------------------------

    def _link(self, unit: Unit) -> None:
        link = unit.link
        if link is None:
            return
        if not (link.gorgias_id and link.remote_id):
            other = self.names[G if link.remote_id else R]
            sent = any(intent.kind == "create" for intent in unit.intents)
            known = f"It is not known yet whether its copy in {other} was made."
            self.said.sentences.append(known if sent else f"Its copy in {other} is not made yet.")
            return
        self.said.sentences.append(
            f"{wording.pair(self.names, link)}: kept the same since {link.created_at:%Y-%m-%d %H:%M} UTC."
        )
        if link.state == "deleted":
            self.said.sentences.append("One of the two was deleted: changes are not carried over any more.")
        elif link.state != "linked":
            self.said.sentences.append("The two were separated: changes are not carried over any more.")

    async def _read(self, connector: Connector, side: Side, ticket_id: str | None) -> Ticket | None:
        if ticket_id is None:
            return None
        name = wording.ticket(self.names, side, ticket_id)
        try:
            return await connector.get(ticket_id)
        except Moved as error:
            self.merged = True
            into = wording.ticket(self.names, side, error.to) if error.to else "another one"
            self.said.sentences.append(f"{name} was merged into {into}: ask about that one.")
        except Gone:
            self.said.sentences.append(f"{name} does not exist, or not any more.")
        except AccountError as error:
            self.said.sentences.append(f"{name} cannot be read now: {log.masked(str(error))}")
        return None

    def _why_no_copy(self, unit: Unit, ticket: Ticket) -> None:
        sync, other = self.workspace.sync, self.names[self.side.other]
        to = {"to_remote": R, "to_gorgias": G}.get(sync.direction, self.side.other)
        if to is self.side:
            why = f"[sync] direction is {sync.direction}, so nothing is made in {other}"
        elif ticket.trashed:
            why = "it is in the trash, and such tickets get none"
        elif ticket.hidden:
            why = "it is spam or outside of the configured views, and such tickets get none"
        elif self.side is G and sync.tags and not ticket.tags & set(sync.tags):
            why = f"it carries none of the tags that [sync] tags asks for ({', '.join(sync.tags)})"
        elif any(row.error for row in unit.dirty):
            why = "the last try failed, see below"
        else:
            why = "the next pass makes it"
        self.said.sentences.append(f"It has no copy in {other}: {why}.")

    # -- what would be done -------------------------------------------------------------------------------------------

    async def _plan(self, unit: Unit, accounts: Mapping[Side, Connector], now: dict[Side, Ticket]) -> None:
        words = {side: await accounts[side].vocabulary() for side in Side}
        sync = self.workspace.sync
        translation = Translation(sync, accounts, words)
        # Only the bench's rules are asked for: nothing is written, so the lease is nobody's.
        lease = Lease(workspace=self.workspace.name, holder="", epoch=0, expires_at=utc_now())
        loops = LoopBreaker(sync.loop_limit, sync.loop_window)
        folder = self.workspace.file.parent
        bench = Bench(self.workspace.name, sync, self.store, lease, accounts, translation, utc_now, folder, loops)
        bases = {side: base(unit.snapshots.get(side)) for side in Side}
        pairs = tuple(
            Pair(c.gorgias_id, c.remote_id, c.gorgias_digest, c.remote_digest, c.private) for c in unit.children
        )
        state = State(now, bases, pairs, frozenset(row.what for row in unit.parked))
        self._fields(state, translation)
        todo = plan(state, bench.rules)
        if todo.clashes:
            timed = {side: replace(t, times=await accounts[side].field_times(t)) for side, t in now.items()}
            todo = plan(replace(state, now=timed), bench.rules)
        self._would(todo)
        self._no_words(state, translation, words)
        self._stays(state, bench.rules, todo)
        self._too_large(now)

    def _fields(self, state: State, translation: Translation) -> None:
        shown = {side: values(state.now[side]) for side in Side}
        for gorgias, remote in translation.fields:
            if gorgias in shown[G] and remote in shown[R]:
                line = {
                    "field": gorgias,
                    "gorgias": shown[G][gorgias],
                    "gorgias_agreed": state.base[G].values.get(gorgias),
                    "remote": shown[R][remote],
                    "remote_agreed": state.base[R].values.get(remote),
                }
                self.said.fields.append(line)

    def _would(self, todo: Plan) -> None:
        names, would = self.names, self.said.would
        for write in todo.fields:
            source = names[write.side.other]
            would.append(
                f"set {wording.field(write.name)!r} in {names[write.side]} to {write.value!r}: "
                f"{source} has {write.seen!r}"
            )
        for tag in todo.tags:
            verb, where = ("add", "to") if tag.kind == "add" else ("remove", "from")
            would.append(f"{verb} the tag {tag.tag!r} {where} {names[tag.side]}")
        for comment in todo.comments:
            how = " as an internal note" if comment.comment.private else ""
            would.append(f"copy comment {comment.source} of {names[comment.side.other]} to {names[comment.side]}{how}")
        for edit in todo.edits:
            would.append(f"carry the new text of comment {edit.source} of {names[edit.side.other]} over")
        for clash in todo.clashes:
            would.append(
                f"decide the conflict about {wording.field(clash.name)!r} for {names[clash.winner]}: {clash.why}"
            )

    def _stays(self, state: State, rules: Rules, todo: Plan) -> None:
        """That nothing would be written, and what differs all the same."""
        shown = {side: values(state.now[side]) for side in Side}
        both = [names for names in rules.translator.fields if names[0] in shown[G] and names[1] in shown[R]]
        apart = [names[0] for names in both if not agree(rules, names, shown[G][names[0]], shown[R][names[1]])]
        if todo.writes:
            return
        if not apart:
            self.said.sentences.append("Both are in step: nothing would be written.")
            return
        which = ", ".join(map(wording.field, apart))
        if len(rules.to) == 1:
            (target,) = rules.to
            why = f"[sync] direction is {self.workspace.sync.direction}, so changes in {self.names[target]} stay there"
        else:
            why = "see what waits"
        self.said.sentences.append(f"The two differ ({which}), and nothing would be written: {why}.")

    def _too_large(self, now: Mapping[Side, Ticket]) -> None:
        limit = self.workspace.sync.max_attachment
        for side, ticket in now.items():
            for file in (file for comment in ticket.comments or () for file in comment.attachments):
                if file.size and file.size > limit:
                    self.said.sentences.append(
                        f"The file {file.file_name!r} in {self.names[side]} ({file.size} bytes) is larger than [sync] "
                        f"max_attachment ({limit}): it stays there, and the copied comment says where it is."
                    )

    def _no_words(self, state: State, translation: Translation, words: Mapping[Side, Vocabulary]) -> None:
        """Values that stay on one side, because the other has no word for them."""
        for names in translation.fields:
            for side, name in ((G, names[0]), (R, names[1])):
                value = values(state.now[side]).get(name)
                if value not in (None, "") and isinstance(translation.across(side, names, value), Unmapped):
                    self.said.waits.append(self._no_word(side, name, value, words))

    def _no_word(self, side: Side, name: str, value: Value, words: Mapping[Side, Vocabulary]) -> str:
        here, there = self.names[side], self.names[side.other]
        if name == "assignee":
            who = next((user.name for user in words[side].users if user.id == value), value)
            return (
                f"it is assigned to {who} in {here}, and {there} has nobody of that e-mail address: add them there, or "
                "name their counterpart under [sync.users]"
            )
        return (
            f"{wording.field(name)!r} is {value!r} in {here}, for which {there} has no word: give it one there, or "
            "name one under [sync]"
        )

    # -- what waits ---------------------------------------------------------------------------------------------------

    def _waits(self, unit: Unit) -> None:
        waits = self.said.waits
        for row in unit.parked:
            waits.append(
                f"a person must act before syncd can {wording.parked(row.what, self.names)}: "
                f"{row.reason} {row.hint}".strip()
            )
        for intent in unit.intents:
            waits.append(
                f"{SENT.get(intent.kind, 'a change')} was sent to {self.names[Side(intent.side)]} at "
                f"{intent.sent_at:%Y-%m-%d %H:%M:%S} UTC and no answer came: the next pass looks whether it arrived, "
                "and does not send it twice"
            )
        for dirty in unit.dirty:
            if dirty.error:
                waits.append(f"the next try is at {dirty.not_before:%Y-%m-%d %H:%M:%S} UTC: {dirty.error}")

    async def _conflicts(self, unit: Unit) -> None:
        if unit.link is None:
            return
        rows = [row for row in await self.store.rows(Conflict, self.workspace.name) if row.link_id == unit.link.id]
        if rows:
            names = ", ".join(dict.fromkeys(wording.field(row.field) for row in rows))
            self.said.sentences.append(f"Both sides once changed the same fields ({names}): see `syncd conflicts`.")
