"""The three-way merge: what each side was and what it is now, to the writes that make both the same.

Pure: no I/O, no clock, no randomness. The same input gives the same plan, so that a replay after a crash decides alike.
Each side is compared with its own snapshot, in its own words; `Rules.across` translates between them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from syncd.model import Comment, Marker, Side, Ticket, Value, values

G, R = Side.GORGIAS, Side.REMOTE


class Unmapped:
    """The type of UNMAPPED."""

    def __repr__(self) -> str:
        return "UNMAPPED"


#: The other side has no word for this value: nothing is written, nothing is cleared.
UNMAPPED: Final = Unmapped()


class Translator(Protocol):
    """What the planner must know of the two accounts' words; pure."""

    @property
    def fields(self) -> Iterable[tuple[str, str]]:
        """The pairs of field names (at Gorgias, at the remote) that are kept the same."""

    def across(self, source: Side, names: tuple[str, str], value: Value) -> Value | Unmapped:
        """A value of `source` in the other side's words, as it will be read back there."""

    def tag_across(self, source: Side, tag: str) -> str:
        """A tag of `source` in the other side's spelling."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The workspace's policy: who may write where, who wins a tie, what is not tried again."""

    workspace: str
    translator: Translator
    digest: Callable[[Comment], str]
    to: frozenset[Side] = frozenset(Side)
    tags: bool = True
    edits: frozenset[Side] = frozenset(Side)
    public_to_gorgias: bool = False
    resolution: timedelta = timedelta(seconds=1)
    skew: Mapping[Side, timedelta] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Base:
    """A side at the last agreement: field values by that side's names, and tags; None when nothing is known."""

    values: Mapping[str, Value] = field(default_factory=dict)
    tags: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A comment's two ids and what each side's text was at the last agreement; an id is None where it has no copy."""

    gorgias: str | None
    remote: str | None
    gorgias_digest: str | None = None
    remote_digest: str | None = None
    private: bool = False

    def id(self, side: Side) -> str | None:
        """The comment's id on a side."""
        return self.gorgias if side is G else self.remote

    def digest(self, side: Side) -> str | None:
        """The text's digest on a side at the last agreement."""
        return self.gorgias_digest if side is G else self.remote_digest


@dataclass(frozen=True, slots=True)
class State:
    """Everything a plan depends on: both sides now, their bases, the known comments, and what is parked."""

    now: Mapping[Side, Ticket]
    base: Mapping[Side, Base]
    pairs: tuple[Pair, ...] = ()
    parked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FieldWrite:
    """Write `value` to the field `name` of `side`; `seen` is what the source field `source` held."""

    side: Side
    name: str
    value: Value
    source: str
    seen: Value


@dataclass(frozen=True, slots=True)
class TagWrite:
    """Add or remove `tag` at `side`, because `source` was added or removed on the other."""

    side: Side
    tag: str
    source: str
    kind: Literal["add", "remove"]


@dataclass(frozen=True, slots=True)
class CommentWrite:
    """Add `comment` (a comment of the other side, with its marker and its privacy) at `side`."""

    side: Side
    comment: Comment
    source: str


@dataclass(frozen=True, slots=True)
class CommentEdit:
    """Give the comment `comment.id` of `side` this body and privacy, as `source` has it on the other side."""

    side: Side
    comment: Comment
    source: str


@dataclass(frozen=True, slots=True)
class Clash:
    """Both sides changed one field: what each holds, who wins, and why."""

    name: str
    gorgias: Value
    remote: Value
    winner: Side
    why: str


@dataclass(slots=True)
class Plan:
    """The writes, in order, and what needs no write: agreements, adoptions, clashes, values without a word.

    `needs` names sides whose conversation must be read before the plan can be whole.
    """

    fields: list[FieldWrite] = field(default_factory=list)
    tags: list[TagWrite] = field(default_factory=list)
    comments: list[CommentWrite] = field(default_factory=list)
    edits: list[CommentEdit] = field(default_factory=list)
    agreed: list[tuple[str, str]] = field(default_factory=list)
    tags_agree: bool = False
    adopted: list[Pair] = field(default_factory=list)
    clashes: list[Clash] = field(default_factory=list)
    unmapped: list[tuple[Side, str, Value]] = field(default_factory=list)
    needs: set[Side] = field(default_factory=set)

    @property
    def writes(self) -> bool:
        """Whether anything must be written to an account."""
        return bool(self.fields or self.tags or self.comments or self.edits)


def plan(state: State, rules: Rules) -> Plan:
    """What makes both sides the same: a pure function of its arguments."""
    result = Plan()
    for names in rules.translator.fields:
        _plan_field(state, rules, names, result)
    if rules.tags:
        _plan_tags(state, rules, result)
    _plan_comments(state, rules, result)
    return result


# -- fields -----------------------------------------------------------------------------------------------------


def blank(value: Value) -> Value:
    """Products differ in whether an empty text is a text: an empty one is no value."""
    return None if value == "" else value


def agree(rules: Rules, names: tuple[str, str], gorgias: Value, remote: Value) -> bool:
    """Whether two values say the same: either one, translated, is the other."""
    there = rules.translator.across(G, names, gorgias)
    if not isinstance(there, Unmapped) and blank(there) == blank(remote):
        return True
    back = rules.translator.across(R, names, remote)
    return not isinstance(back, Unmapped) and blank(back) == blank(gorgias)


def _plan_field(state: State, rules: Rules, names: tuple[str, str], result: Plan) -> None:
    name = {G: names[0], R: names[1]}
    current = {side: values(state.now[side]) for side in Side}
    if any(name[side] not in current[side] for side in Side):
        return  # one side does not have the field, or its short form leaves it out
    now = {side: blank(current[side][name[side]]) for side in Side}
    changed = [side for side in Side if _changed(state.base[side], name[side], now[side])]
    if not changed:
        return
    if agree(rules, names, now[G], now[R]):
        result.agreed.append(names)
        return
    source = changed[0] if len(changed) == 1 else _winner(state, rules, name, now, result)
    if not _write_field(state, rules, names, source, result):
        # Neither value is overwritten: there is nothing that a log of conflicts must keep.
        result.clashes[:] = [clash for clash in result.clashes if clash.name != names[0]]


def _changed(base: Base, name: str, now: Value) -> bool:
    return name not in base.values or blank(base.values[name]) != now


def _write_field(state: State, rules: Rules, names: tuple[str, str], source: Side, result: Plan) -> bool:
    """Plan the write of one field, if there is one."""
    name = {G: names[0], R: names[1]}
    seen = values(state.now[source])[name[source]]
    target = source.other
    if target not in rules.to or f"{target}:{name[target]}" in state.parked:
        return False
    value = rules.translator.across(source, names, seen)
    if isinstance(value, Unmapped):
        result.unmapped.append((source, name[source], seen))
        return False
    if seen is None and name[source] == "assignee" and _was_unknown(state, rules, names, source):
        result.agreed.append(names)
        return False
    result.fields.append(FieldWrite(target, name[target], value, name[source], seen))
    return True


def _was_unknown(state: State, rules: Rules, names: tuple[str, str], source: Side) -> bool:
    """A user whom the other side never had is gone: that says nothing about whom the other side chose."""
    before = state.base[source].values.get("assignee")
    return before is not None and isinstance(rules.translator.across(source, names, before), Unmapped)


def _winner(state: State, rules: Rules, name: Mapping[Side, str], now: Mapping[Side, Value], result: Plan) -> Side:
    """The side whose field changed last; Gorgias within the stamps' resolution."""
    pending = [side for side in Side if name[side] not in state.base[side].values]
    if len(rules.to) == 1:
        winner, why = next(iter(rules.to)).other, "one-way sync: only this side's changes are carried over"
    elif len(pending) == 1:
        winner, why = pending[0], "it was still to be written when the other side changed it"
    else:
        winner, why = _later({side: _time(state.now[side], name[side], rules, side) for side in Side}, rules)
    result.clashes.append(Clash(name[G], now[G], now[R], winner, why))
    return winner


def _later(times: Mapping[Side, datetime | None], rules: Rules) -> tuple[Side, str]:
    """By the field's own times, never the record's where those are known: our own writes move the record's."""
    gorgias, remote = times[G], times[R]
    if gorgias is None or remote is None or abs(gorgias - remote) <= rules.resolution:
        return G, "both changed at the same time: Gorgias wins a tie"
    if remote > gorgias:
        return R, f"the remote changed it last ({remote:%Y-%m-%d %H:%M:%S} after {gorgias:%H:%M:%S} UTC)"
    return G, f"Gorgias changed it last ({gorgias:%Y-%m-%d %H:%M:%S} after {remote:%H:%M:%S} UTC)"


def _time(ticket: Ticket, name: str, rules: Rules, side: Side) -> datetime | None:
    moment = ticket.times.get(name, ticket.updated_at)
    return moment - rules.skew.get(side, timedelta()) if moment else None


# -- tags: per element, never the whole set -----------------------------------------------------------------------


def _plan_tags(state: State, rules: Rules, result: Plan) -> None:
    for source in Side:
        if source.other in rules.to and f"{source.other}:tags" not in state.parked:
            result.tags += _tag_writes(state, rules, source)
    if not result.tags and any(state.base[side].tags != state.now[side].tags for side in Side):
        result.tags_agree = True


def _tag_writes(state: State, rules: Rules, source: Side) -> list[TagWrite]:
    """What was added and removed at `source` since its base and must be so on the other side too."""
    target = source.other
    mine, theirs = state.now[source].tags, state.now[target].tags
    before = state.base[source].tags or frozenset()
    across = rules.translator.tag_across
    kept = {across(source, tag) for tag in mine}
    back = {across(target, tag) for tag in theirs}
    writes = []
    for tag in sorted(mine - before):
        there = across(source, tag)
        if there not in theirs and tag not in back:
            writes.append(TagWrite(target, there, tag, "add"))
    for tag in sorted(before - mine):
        copies = (_copies(rules, source, tag, theirs) - kept) & (state.base[target].tags or frozenset())
        writes += [TagWrite(target, there, tag, "remove") for there in sorted(copies)]
    return writes


def _copies(rules: Rules, source: Side, tag: str, theirs: frozenset[str]) -> frozenset[str]:
    across = rules.translator.tag_across
    there = across(source, tag)
    return frozenset(t for t in theirs if t == there or across(source.other, t) == tag)


# -- comments: append-only by id ------------------------------------------------------------------------------------


def _plan_comments(state: State, rules: Rules, result: Plan) -> None:
    pairs = list(state.pairs)
    for side in Side:
        _adopt(state, rules, side, pairs, result)
    for side in Side:
        known = {pair.id(side) for pair in pairs}
        for comment in state.now[side].comments or ():
            if comment.id not in known and side.other in rules.to:
                _add(state, rules, side, comment, result)
    for pair in pairs:
        _plan_edit(state, rules, pair, result)


def _adopt(state: State, rules: Rules, side: Side, pairs: list[Pair], result: Plan) -> None:
    """A comment that carries our marker is a copy: it joins its original, and never becomes news."""
    for comment in state.now[side].comments or ():
        marker = Marker.parse(comment.marker)
        if marker is None or marker.side is side or marker.workspace != rules.workspace:
            continue
        if any(pair.id(side) == comment.id for pair in pairs):
            continue
        pair = _pair_for(state, rules, side, comment, marker, pairs)
        pairs.append(pair)
        result.adopted.append(pair)


def _pair_for(state: State, rules: Rules, side: Side, comment: Comment, marker: Marker, pairs: list[Pair]) -> Pair:
    taken = any(pair.id(side.other) == marker.id and pair.id(side) is not None for pair in pairs)
    original = next((c for c in state.now[side.other].comments or () if c.id == marker.id), None)
    source = None if taken else marker.id
    digests = {side: rules.digest(comment), side.other: rules.digest(original) if original and not taken else None}
    ids = {side: comment.id, side.other: source}
    pairs[:] = [pair for pair in pairs if taken or pair.id(side.other) != marker.id]
    return Pair(ids[G], ids[R], digests[G], digests[R], comment.private)


def _add(state: State, rules: Rules, side: Side, comment: Comment, result: Plan) -> None:
    if f"{side.other}:comment:{comment.id}" in state.parked:
        return
    marker = str(Marker(rules.workspace, side, comment.id))
    copy = replace(comment, marker=marker, private=_private_there(rules, side, comment))
    result.comments.append(CommentWrite(side.other, copy, comment.id))


def _private_there(rules: Rules, source: Side, comment: Comment) -> bool:
    """Privacy is kept or tightened: what the remote says is for agents, unless it is mapped public."""
    return comment.private or (source is R and not rules.public_to_gorgias)


def _plan_edit(state: State, rules: Rules, pair: Pair, result: Plan) -> None:
    gorgias, remote = _find(state.now[G], pair.gorgias), _find(state.now[R], pair.remote)
    if gorgias is None or remote is None:
        _ask_for(state, rules, pair, {G: gorgias, R: remote}, result)
        return
    found = {G: gorgias, R: remote}
    now = {side: rules.digest(comment) for side, comment in found.items()}
    changed = [side for side in Side if pair.digest(side) is not None and now[side] != pair.digest(side)]
    if len(changed) == 2 and now[G] == now[R]:
        result.adopted.append(replace(pair, gorgias_digest=now[G], remote_digest=now[R]))
        return
    if changed:
        target = R if G in changed else G
    elif gorgias.private and not remote.private and _is_copy(rules, remote):
        target = R  # the copy was made when the original was public; the copy of a remote comment is tighter anyway
    else:
        return
    if len(changed) == 2:
        why = "both were edited: Gorgias wins"
        result.clashes.append(Clash(f"comment {pair.gorgias}", gorgias.body.text, remote.body.text, G, why))
    _edit(state, rules, target, found, result)


def _ask_for(state: State, rules: Rules, pair: Pair, found: Mapping[Side, Comment | None], result: Plan) -> None:
    """An edit can be carried over only once the copy's side was read whole, too."""
    for side, comment in found.items():
        other = state.now[side.other]
        if comment and pair.id(side.other) and other.comments is None and rules.digest(comment) != pair.digest(side):
            result.needs.add(side.other)


def _edit(state: State, rules: Rules, target: Side, found: Mapping[Side, Comment], result: Plan) -> None:
    original, copy = found[target.other], found[target]
    if target in rules.edits and target in rules.to and f"{target}:edit:{copy.id}" not in state.parked:
        # A copy may be tighter than its original: whoever edits it does not hide what the original shows.
        hidden = copy.private or (original.private and not _is_copy(rules, original))
        edited = replace(original, id=copy.id, private=hidden, marker=copy.marker)
        result.edits.append(CommentEdit(target, edited, original.id))


def _is_copy(rules: Rules, comment: Comment) -> bool:
    marker = Marker.parse(comment.marker)
    return marker is not None and marker.workspace == rules.workspace


def _find(ticket: Ticket, comment_id: str | None) -> Comment | None:
    return next((c for c in ticket.comments or () if c.id == comment_id), None) if comment_id else None
