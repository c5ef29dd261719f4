"""Filters and sorting of lists: read from a query string, and applied to rows. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from syncd.directory import DEFAULT_LIMIT, MAX_LIMIT, Filter, Query, Record
from syncd.model import utc
from syncd.problems import near
from syncd.unified.schema import FILTERS, SORTS

OPS = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "like")
RANGES = frozenset({"gt", "gte", "lt", "lte"})
#: Short forms, and what they stand for.
ALIASES = {
    "ticket_id": "ticket[id]", "ticket": "ticket[id]", "contact_id": "contact[id]", "contact": "contact[id]",
    "status": "status[name]", "priority": "priority[name]", "assignees": "assignees[id]", "team": "team[id]",
    "tags": "tags[name]", "collections": "collections[id]", "id": "ids", "author": "author[id]",
}  # fmt: skip
#: Where the value itself is a level further down.
DEEPER = {"emails": "email", "phones": "number", "roles": "name"}
_PART = re.compile(r"\[([^\[\]]*)\]")
Texts = Mapping[str, str | Sequence[str]]
Pairs = tuple[tuple[str, str], ...]


def read(key: str, texts: Texts, cursor: str | None, extra: Pairs, problems: list[str]) -> Query:
    """The query of a list; what is wrong with it is added to `problems`."""
    filters: list[Filter] = []
    sort: tuple[str, bool] | None = None
    limit = DEFAULT_LIMIT
    for name, given in texts.items():
        values = (given,) if isinstance(given, str) else tuple(given)
        if name == "limit":
            limit = _limit(values, problems)
        elif name.startswith("sort_by"):
            sort = _sort(key, name, values, problems)
        elif (found := _filter(key, name, values, problems)) is not None:
            filters.append(found)
    return Query(tuple(filters), sort, limit, cursor, extra)


def _limit(values: Sequence[str], problems: list[str]) -> int:
    text = values[-1]
    if len(values) == 1 and re.fullmatch(r"\d{1,6}", text, re.ASCII) and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    problems.append(f"limit: must be a number from 1 to {MAX_LIMIT}, not {text!r}")
    return DEFAULT_LIMIT


def _sort(key: str, name: str, values: Sequence[str], problems: list[str]) -> tuple[str, bool] | None:
    parts = _PART.findall(name)
    by, direction = (parts[0], values[-1]) if parts else (values[-1], "asc")
    if by not in SORTS[key]:
        problems.append(f"sort_by: {by!r} is none of {', '.join(SORTS[key])}")
    elif direction not in {"asc", "desc"}:
        problems.append(f"sort_by[{by}]: must be asc or desc, not {direction!r}")
    else:
        return by, direction == "desc"
    return None


def _filter(key: str, name: str, values: tuple[str, ...], problems: list[str]) -> Filter | None:
    top, parts = name.partition("[")[0], _PART.findall(name)
    op = parts.pop() if parts and parts[-1] in OPS else ""
    plain = top + "".join(f"[{part}]" for part in parts)
    plain = ALIASES.get(plain, plain)
    if plain not in FILTERS[key]:
        problems.append(f"{name}: there is no such filter{near(plain, FILTERS[key])}; there are {_listed(key)}")
        return None
    values = _values("in" if plain == "ids" and not op else op, values)
    path = (plain.partition("[")[0], *_PART.findall(plain))
    found = Filter(path, op or ("in" if len(values) > 1 else "eq"), values)
    if plain == "ids" and len(values) > MAX_LIMIT:
        problems.append(f"ids: at most {MAX_LIMIT} at once")
    problems += [f"{name}: {problem}" for value in values if (problem := _problem(found, value))]
    return found


def _listed(key: str) -> str:
    return ", ".join(FILTERS[key])


def _values(op: str, values: tuple[str, ...]) -> tuple[str, ...]:
    if op in {"in", "nin"}:
        return tuple(part.strip() for value in values for part in value.split(","))
    return values


def _problem(condition: Filter, value: str) -> str:
    name = condition.path[-1]
    if name.endswith("_at") and _moment(value) is None:
        return f"must be a time such as 2026-11-25T10:00:00Z, not {value!r}"
    if name.startswith("is_") and value.lower() not in {"true", "false"}:
        return f"must be true or false, not {value!r}"
    return ""


def _moment(value: Any) -> datetime | None:
    try:
        return utc(datetime.fromisoformat(str(value)))
    except (ValueError, OverflowError):
        return None


# -- applying them -------------------------------------------------------------------------------------------------


def matches(row: Mapping[str, Any], filters: Sequence[Filter]) -> bool:
    """Whether a row fulfils every condition."""
    return all(_fulfils(row, one) for one in filters)


def _fulfils(row: Mapping[str, Any], one: Filter) -> bool:
    path = {("ids",): ("id",), ("ticket", "id"): _ticket_path(row)}.get(one.path, one.path)
    held = [value for value in _at(row, path) if value is not None]
    if one.op in {"ne", "nin"}:
        return not any(_is(path[-1], value, wanted) for value in held for wanted in one.values)
    if one.op in RANGES:
        return any(compared(one.op, path[-1], value, one.values[0]) for value in held)
    test = _like if one.op == "like" else _is
    return any(test(path[-1], value, wanted) for value in held for wanted in one.values)


def _ticket_path(row: Mapping[str, Any]) -> tuple[str, ...]:
    return ("ticket_id",) if "ticket_id" in row else ("ticket", "id")


def _at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """Everything that a path leads to; it leads through arrays."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _at(item, path)
    elif path and isinstance(value, Mapping):
        yield from _at(value.get(path[0]), path[1:])
    elif isinstance(value, Mapping):
        yield from (value[name] for name in DEEPER.values() if name in value)
    else:
        yield value


def _is(name: str, value: Any, wanted: str) -> bool:
    if name.endswith("_at"):
        return _moment(value) == _moment(wanted)
    if isinstance(value, bool):
        return str(value).lower() == wanted.lower()
    return str(value).casefold() == wanted.casefold()


def _like(_name: str, value: Any, wanted: str) -> bool:
    """SQL's LIKE, or a part of the text where there is no `%`."""
    pattern = ".*".join(map(re.escape, (wanted if "%" in wanted else f"%{wanted}%").split("%")))
    return re.fullmatch(pattern, str(value), re.IGNORECASE | re.DOTALL) is not None


def compared(op: str, name: str, value: Any, bound: str) -> bool:
    """Whether a value lies on this side of a bound; what cannot be compared lies on neither."""
    mine, theirs = _comparable(name, value), _comparable(name, bound)
    if mine is None or theirs is None or isinstance(value, bool):
        return False
    if op in {"gt", "gte"}:
        return bool(mine > theirs or (op == "gte" and mine == theirs))
    return bool(mine < theirs or (op == "lte" and mine == theirs))


def _comparable(name: str, value: Any) -> Any:
    if name.endswith("_at"):
        return _moment(value)
    return str(value).casefold()


def past_the_end(row: Mapping[str, Any], filters: Sequence[Filter], order: tuple[str, bool] | None) -> bool:
    """Whether no later row can fulfil the filters, because rows come in an order that has left their range."""
    if order is None or row.get(order[0]) is None:
        return False
    name, downwards = order
    closing = {"gt", "gte"} if downwards else {"lt", "lte"}
    return any(
        one.path == (name,) and one.op in closing and not compared(one.op, name, row[name], one.values[0])
        for one in filters
    )


def in_order(records: Sequence[Record], by: str, downwards: bool) -> list[Record]:
    """Records by a field; those without it come last."""
    keyed = [(_key(by, next(iter(_at(one.fields.get(by), ())), None)), one) for one in records]
    known = sorted((pair for pair in keyed if pair[0] is not None), key=lambda pair: str(pair[0]), reverse=downwards)
    return [one for _, one in known] + [one for key, one in keyed if key is None]


def _key(name: str, value: Any) -> str | None:
    when = _moment(value) if name.endswith("_at") else None
    return when.isoformat(timespec="microseconds") if when else None if value is None else str(value).casefold()
