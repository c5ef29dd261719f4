"""The language of view filters: JS-like calls joined by && and ||, to predicates and to the paths they use."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connectors.gorgias.sandbox.world import Doc

TOKEN = re.compile(
    r"""\s*(?:(?P<op>&&|\|\||!|[()\[\],])|(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<number>-?\d+(?:\.\d+)?)|(?P<word>[A-Za-z_][\w.\[\]-]*[\w]|[A-Za-z_]))"""
)
WORDS = {"true": True, "false": False, "null": None}
DELTA = re.compile(r"(-?\d+)\s*([smhdw])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
Test = Callable[[Doc], bool]


class FilterError(ValueError):
    """The filters cannot be read."""


@dataclass(frozen=True, slots=True)
class Compare:
    """One call: a function of a path and a value."""

    function: str
    path: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class Join:
    """Several parts, of which all or any must hold."""

    every: bool
    parts: tuple["Node", ...]


Node = Compare | Join


def parse(text: str) -> Node:
    """The tree of a filter; an empty one holds for everything."""
    tokens = list(_tokens(text))
    if not tokens:
        return Join(every=True, parts=())
    node = _any(tokens)
    if tokens:
        raise FilterError(f"unexpected {tokens[0][1]!r}")
    return node


def compares(node: Node) -> Iterator[Compare]:
    """Every call in the tree."""
    if isinstance(node, Compare):
        yield node
    else:
        for part in node.parts:
            yield from compares(part)


def matches(node: Node, look: Callable[[str], Any], now: datetime) -> bool:
    """Whether the filter holds for a row, which `look` reads by path."""
    if isinstance(node, Join):
        return (all if node.every else any)(matches(part, look, now) for part in node.parts)
    return FUNCTIONS[node.function](look(node.path), node.value, now)


def _tokens(text: str) -> Iterator[tuple[str, Any]]:
    at, text = 0, text.strip()
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None:
            raise FilterError(f"cannot read {text[at : at + 20]!r}")
        at = found.end()
        kind = str(found.lastgroup)
        yield kind, found[kind]


def _take(tokens: list[tuple[str, Any]], wanted: str | None = None) -> tuple[str, Any]:
    if not tokens or (wanted is not None and tokens[0][1] != wanted):
        raise FilterError(f"expected {wanted or 'more'}, found {tokens[0][1] if tokens else 'the end'!r}")
    return tokens.pop(0)


def _any(tokens: list[tuple[str, Any]]) -> Node:
    return _joined(tokens, "||", _all, every=False)


def _all(tokens: list[tuple[str, Any]]) -> Node:
    return _joined(tokens, "&&", _one, every=True)


def _joined(tokens: list[tuple[str, Any]], op: str, part: Callable[[Any], Node], *, every: bool) -> Node:
    parts = [part(tokens)]
    while tokens and tokens[0] == ("op", op):
        tokens.pop(0)
        parts.append(part(tokens))
    return parts[0] if len(parts) == 1 else Join(every=every, parts=tuple(parts))


def _one(tokens: list[tuple[str, Any]]) -> Node:
    if tokens and tokens[0] == ("op", "("):
        tokens.pop(0)
        node = _any(tokens)
        _take(tokens, ")")
        return node
    kind, name = _take(tokens)
    if kind != "word" or name not in FUNCTIONS:
        raise FilterError(f"unknown function {name!r}")
    _take(tokens, "(")
    kind, path = _take(tokens)
    if kind != "word":
        raise FilterError(f"{name} needs a path, not {path!r}")
    value = None
    if tokens and tokens[0] == ("op", ","):
        tokens.pop(0)
        value = _value(tokens)
    elif name not in ("isEmpty", "isNotEmpty"):
        raise FilterError(f"{name} needs a value")
    _take(tokens, ")")
    return Compare(name, path, value)


def _value(tokens: list[tuple[str, Any]]) -> Any:
    kind, text = _take(tokens)
    if kind == "string":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    if kind == "number":
        return float(text) if "." in text else int(text)
    if kind == "word" and text in WORDS:
        return WORDS[text]
    if text != "[":
        raise FilterError(f"{text!r} is no value")
    values = []
    while tokens and tokens[0] != ("op", "]"):
        values.append(_value(tokens))
        if tokens and tokens[0] == ("op", ","):
            tokens.pop(0)
    _take(tokens, "]")
    return values


def _many(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _same(left: Any, right: Any) -> bool:
    # Ids stand in filters as numbers and as text ("{{current_user.id}}").
    return bool(left == right) or (left is not None and right is not None and str(left) == str(right))


def _eq(seen: Any, value: Any, _now: datetime) -> bool:
    return any(_same(one, value) for one in _many(seen)) if isinstance(seen, list) else _same(seen, value)


def _empty(seen: Any, _value: Any, _now: datetime) -> bool:
    return seen is None or seen in ("", [], {})


def _holds_any(seen: Any, value: Any, _now: datetime) -> bool:
    return any(_holds(seen, wanted) for wanted in _many(value))


def _holds_all(seen: Any, value: Any, _now: datetime) -> bool:
    return all(_holds(seen, wanted) for wanted in _many(value))


def _holds(seen: Any, wanted: Any) -> bool:
    """A list holds its members, a text its parts."""
    if isinstance(seen, list):
        return any(_same(one, wanted) for one in seen)
    text = isinstance(seen, str) and isinstance(wanted, str)
    return wanted.lower() in seen.lower() if text else _same(seen, wanted)


def _at_least(seen: Any, value: Any, _now: datetime) -> bool:
    return seen is not None and type(seen) is type(value) and seen >= value


def _at_most(seen: Any, value: Any, _now: datetime) -> bool:
    return seen is not None and type(seen) is type(value) and seen <= value


def _since(value: Any, now: datetime) -> datetime:
    found = DELTA.fullmatch(str(value))
    if found is None:
        raise FilterError(f"{value!r} is no span of time, such as 3d")
    return now - timedelta(**{UNITS[found[2]]: abs(int(found[1]))})


def _older(seen: Any, value: Any, now: datetime) -> bool:
    return seen is not None and datetime.fromisoformat(seen) <= _since(value, now)


def _newer(seen: Any, value: Any, now: datetime) -> bool:
    return seen is not None and datetime.fromisoformat(seen) >= _since(value, now)


def _not(test: Callable[[Any, Any, datetime], bool]) -> Callable[[Any, Any, datetime], bool]:
    return lambda seen, value, now: not test(seen, value, now)


FUNCTIONS: dict[str, Callable[[Any, Any, datetime], bool]] = {
    "eq": _eq,
    "neq": _not(_eq),
    "isEmpty": _empty,
    "isNotEmpty": _not(_empty),
    "contains": _holds_any,
    "notContains": _not(_holds_any),
    "containsAny": _holds_any,
    "containsAll": _holds_all,
    "notContainsAny": _not(_holds_any),
    "notContainsAll": _not(_holds_all),
    "gte": _at_least,
    "lte": _at_most,
    # Inferred: a span reads back from now, so that gteTimedelta is "this old or older".
    "gteTimedelta": _older,
    "lteTimedelta": _newer,
}
