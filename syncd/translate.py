"""Name tables: each value of one side in the other side's words. Pure; built from the configuration and both accounts.

The tables of the configuration come first; what they leave open follows from equal names, from whether a status counts
as closed, and from the order of priorities.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress

from syncd.connector import Connector, Vocabulary
from syncd.model import BUILT_IN, CUSTOM, Field, Side, Status, User, Value
from syncd.plan import UNMAPPED, Unmapped
from syncd.settings import NameTable, SyncSettings

Table = Mapping[str, str]
#: A tracker may leave these open; Gorgias always has one, and no word for none.
ALWAYS_SET = frozenset({"status", "priority"})
TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})


class Translation:
    """The workspace's `Translator`: which fields are kept the same, and each value in the other side's words."""

    def __init__(
        self, sync: SyncSettings, accounts: Mapping[Side, Connector], words: Mapping[Side, Vocabulary]
    ) -> None:
        self._accounts = accounts
        gorgias, remote = words[Side.GORGIAS], words[Side.REMOTE]
        self._fields = {side: {field.name: field for field in words[side].fields} for side in Side}
        self._tables = {
            "status": _two_way(*_statuses(sync.status, gorgias.statuses, remote.statuses)),
            "priority": _two_way(*_priorities(sync.priority, gorgias.priorities, remote.priorities)),
            "assignee": _two_way(*_users(sync.users, gorgias.users, remote.users)),
            "team": _two_way(*_named(sync.teams, [t.name for t in gorgias.teams], [t.name for t in remote.teams])),
        }
        self._closed = {side: [status.name for status in words[side].statuses if status.closed] for side in Side}
        has_team = all(accounts[side].capabilities.team for side in Side)
        built_in = [name for name in BUILT_IN if name != "team" or has_team]
        custom = _field_pairs(sync, gorgias.fields, remote.fields)
        self.fields = (*((name, name) for name in built_in), *((CUSTOM + a, CUSTOM + b) for a, b in custom))

    def closed(self, side: Side) -> str | None:
        """A status of `side` in which a ticket counts as closed, the one that is written for the other side's."""
        return next(iter(self._closed[side]), None)

    def across(self, source: Side, names: tuple[str, str], value: Value) -> Value | Unmapped:
        """A value of `source` as the other side will show it; UNMAPPED where that side has no word for it."""
        target = source.other
        name = names[0] if target is Side.GORGIAS else names[1]
        if names[0].startswith(CUSTOM):
            said = _convert(value, self._fields[target].get(name.removeprefix(CUSTOM)))
        elif value is None and names[0] in ALWAYS_SET:
            said = UNMAPPED
        elif names[0] in self._tables:
            said = None if value is None else self._tables[names[0]][source].get(str(value), UNMAPPED)
        else:
            said = value
        return said if isinstance(said, Unmapped) else self._accounts[target].canonical(name, said)

    def tag_across(self, source: Side, tag: str) -> str:
        """A tag of `source` in the other side's spelling."""
        return self._accounts[source.other].canonical_tag(tag)


def _two_way(there: Table, back: Table) -> dict[Side, Table]:
    return {Side.GORGIAS: there, Side.REMOTE: back}


def _leading_back(there: Table, back: Table, configured: Collection[str]) -> tuple[Table, Table]:
    """Both directions, so that across, back and across again is across.

    Equal names and the rule for the rest can disagree: `pending` is the tracker's first open status, which at Gorgias
    is `open`, for which the tracker has a status of its own. Such a word takes what its way back leads to.
    """
    there = {word: there.get(back.get(said, word), said) for word, said in there.items()}
    led = {word: back.get(there.get(said, word), said) for word, said in back.items()}
    return there, {word: back[word] if word in configured else said for word, said in led.items()}


def _configured(
    table: Mapping[str, Sequence[str]], find: Callable[[str], str | None] = lambda word: word
) -> tuple[dict[str, str], dict[str, str]]:
    there: dict[str, str] = {}
    back: dict[str, str] = {}
    known = {
        gorgias: [found for word in words if (found := find(word)) is not None] for gorgias, words in table.items()
    }
    for gorgias, words in known.items():
        if words:
            there[gorgias] = words[0]
            back.setdefault(words[0], gorgias)
    # A word that is written for one may be read for another, too: the one that it is written for comes first.
    for gorgias, words in known.items():
        for word in words:
            back.setdefault(word, gorgias)
    return there, back


def _statuses(table: NameTable, gorgias: Sequence[Status], remote: Sequence[Status]) -> tuple[Table, Table]:
    names = {status.name.casefold(): status.name for status in remote}
    there, back = _configured(table, lambda word: names.get(word.casefold(), word))
    configured = frozenset(back)
    for status in remote:
        back.setdefault(status.name, _like(status, gorgias))
    for status in gorgias:
        there.setdefault(status.name, _like(status, remote))
    return _leading_back(there, back, configured)


def _like(status: Status, among: Sequence[Status]) -> str:
    """The status that says the same: equal name, else the first that is open or closed alike."""
    same = [other.name for other in among if other.name.casefold() == status.name.casefold()]
    alike = [other.name for other in among if other.closed == status.closed]
    return next(iter([*same, *alike, *(other.name for other in among)]), status.name)


def _priorities(table: NameTable, gorgias: Sequence[str], remote: Sequence[str]) -> tuple[Table, Table]:
    names = {name.casefold(): name for name in remote}
    there, back = _configured(table, lambda word: names.get(word.casefold(), word))
    configured = frozenset(back)
    if not gorgias or not remote:
        return there, back
    for name in gorgias:
        if name.casefold() in names:
            there.setdefault(name, names[name.casefold()])
    for place, name in enumerate(gorgias):
        there.setdefault(name, remote[_place(place, gorgias, remote, there)])
    for place, name in enumerate(remote):
        below = [g for g in gorgias if there[g] in remote and remote.index(there[g]) <= place]
        back.setdefault(name, max(below, key=lambda g: remote.index(there[g])) if below else gorgias[0])
    return _leading_back(there, back, configured)


def _place(place: int, gorgias: Sequence[str], remote: Sequence[str], there: Table) -> int:
    """Just above the nearest lower priority that has a place already; without one, in proportion."""
    lower = [remote.index(there[g]) for g in gorgias[:place] if there.get(g) in remote]
    if lower:
        return min(max(lower) + 1, len(remote) - 1)
    return round(place * (len(remote) - 1) / max(1, len(gorgias) - 1))


def _users(table: NameTable, gorgias: Sequence[User], remote: Sequence[User]) -> tuple[Table, Table]:
    """Ids of agents by e-mail, then by a name that only one on each side bears; the configuration comes first."""
    ids = {
        user.id: [found.id for word in words if (found := _user(remote, word))]
        for name, words in table.items()
        if (user := _user(gorgias, name))
    }
    there, back = _configured(ids)
    by_mail = {user.email.casefold(): user for user in remote if user.email}
    by_name = _unique({user.name.casefold(): user for user in remote if not user.email}, [u.name for u in remote])
    ours = _unique({user.name.casefold(): user for user in gorgias}, [u.name for u in gorgias])
    for user in gorgias:
        name = user.name.casefold()
        other = by_mail.get((user.email or "").casefold()) or (by_name.get(name) if name in ours else None)
        if other is not None and back.setdefault(other.id, user.id) == user.id:
            there.setdefault(user.id, other.id)
    return there, back


def _user(users: Sequence[User], word: str) -> User | None:
    wanted = word.casefold()
    names = ((user, {user.id, *(n.casefold() for n in (user.email, user.login, user.name) if n)}) for user in users)
    return next((user for user, known in names if wanted in known), None)


def _unique(by_name: dict[str, User], names: Iterable[str]) -> dict[str, User]:
    folded = [name.casefold() for name in names]
    return {name: user for name, user in by_name.items() if folded.count(name) == 1}


def _named(table: NameTable, gorgias: Iterable[str], remote: Iterable[str]) -> tuple[Table, Table]:
    there, back = _configured(table)
    names = {name.casefold(): name for name in remote}
    for name in gorgias:
        if name.casefold() in names:
            there.setdefault(name, names[name.casefold()])
            back.setdefault(names[name.casefold()], name)
    return there, back


def _field_pairs(sync: SyncSettings, gorgias: Iterable[Field], remote: Iterable[Field]) -> list[tuple[str, str]]:
    theirs = {field.name.casefold(): field.name for field in remote}
    ours = {field.name.casefold(): field.name for field in gorgias}
    pairs = {ours.get(g.casefold(), g): theirs.get(r.casefold(), r) for g, r in sync.fields.items()}
    if sync.auto_fields:
        taken = set(pairs.values())
        for folded, name in ours.items():
            if folded in theirs and name not in pairs and theirs[folded] not in taken:
                pairs[name] = theirs[folded]
    return list(pairs.items())


def _convert(value: Value, field: Field | None) -> Value | Unmapped:
    """A custom field's value in the type of the field that takes it; UNMAPPED where it cannot be said."""
    if value is None or value == "" or field is None:
        return value if field is not None else UNMAPPED
    if field.type == "boolean":
        word = str(value).strip().casefold()
        return True if word in TRUE else False if word in FALSE else UNMAPPED
    if field.type == "number":
        return _number(value)
    text = ("true" if value else "false") if isinstance(value, bool) else _plain_number(value)
    if field.options:
        options = {option.casefold(): option for option in field.options}
        return options.get(text.casefold(), UNMAPPED)
    return text


def _number(value: Value) -> Value | Unmapped:
    for kind in (int, float):  # an order's number may have more digits than a float can tell apart
        with suppress(TypeError, ValueError, OverflowError):
            number: int | float = kind(value if isinstance(value, int) else str(value))
            if math.isfinite(number):
                return int(number) if number == int(number) else number
    return UNMAPPED  # a word where the other side counts


def _plain_number(value: Value) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
