"""A query string, read: the options that are the proxy's own, and the parameters and body fields of the operation.

Objects are written with brackets (`filters[period][start_datetime]=…`), arrays with repeated keys, `[]` or `[0]`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from syncd.operations import Operation
from syncd.web.accounts import ACCOUNT

Pairs = list[tuple[str, str]]
FORMATS = ("normalized", "raw", "stream")
#: The proxy's own options; each may be called `truto_…` too.
OPTIONS = frozenset(
    {"response_format", "key_by", "ignore_limit", "exclude_fields", "ignore_remote_data", "body_passthrough"}
)
PREFIX = "truto_"
PAGE = "next_cursor"
REMOTE = "remote_query"
_INDEX = re.compile(r"\[\d*\]$")
_PART = re.compile(r"\[([^\[\]]*)\]")
TRUE, FALSE = frozenset({"true", "1", ""}), frozenset({"false", "0"})


@dataclass(slots=True)
class Asked:
    """A query string in its parts, and everything wrong with it."""

    format: str = "normalized"
    key_by: str | None = None
    exclude: frozenset[str] = frozenset()
    passthrough: bool = False
    ignore_limit: bool = False
    cursor: str | None = None
    texts: dict[str, str | list[str]] = field(default_factory=dict)
    extra: Pairs = field(default_factory=list)
    body: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read(pairs: Iterable[tuple[str, str]], operation: Operation, *, body_fields: bool) -> Asked:
    """The query of a call of this operation; with `body_fields` it may hold what the body does not."""
    asked = Asked()
    for name, value in pairs:
        plain = _INDEX.sub("", name)
        option = plain.removeprefix(PREFIX)
        if name == ACCOUNT:
            continue
        if option in OPTIONS:
            _option(asked, option, value)
        elif name == PAGE:
            asked.cursor = value
        elif name.startswith(f"{REMOTE}["):
            _untouched(asked, name, value)
        else:
            _own(asked, operation, name, value, body_fields)
    if asked.ignore_limit:
        asked.texts.pop("limit", None)
    return asked


def _option(asked: Asked, option: str, value: str) -> None:
    if option == "response_format":
        asked.format = value
        if value not in FORMATS:
            asked.problems.append(f"{option}: must be one of {', '.join(FORMATS)}, not {value!r}")
    elif option == "key_by":
        asked.key_by = value
    elif option == "exclude_fields":
        asked.exclude |= {name.strip() for name in value.split(",") if name.strip()}
    elif value.lower() not in TRUE | FALSE:
        asked.problems.append(f"{option}: must be true or false, not {value!r}")
    elif option == "body_passthrough":
        asked.passthrough = value.lower() in TRUE
    elif option == "ignore_limit":
        asked.ignore_limit = value.lower() in TRUE


def _untouched(asked: Asked, name: str, value: str) -> None:
    """`remote_query[a][b]` is `a[b]` to the product."""
    first, *rest = _PART.findall(name) or [""]
    if first:
        asked.extra.append((first + "".join(f"[{part}]" for part in rest), value))
    else:
        asked.problems.append(f"{name}: must be {REMOTE}[NAME]")


def _own(asked: Asked, operation: Operation, name: str, value: str, body_fields: bool) -> None:
    params = {param.name: param for param in operation.params}
    plain = name if name in params else _INDEX.sub("", name)
    if plain not in params:
        fields = (operation.body or {}).get("properties", {}) if body_fields else {}
        top = name.partition("[")[0]
        if top in fields:
            _put(asked.body, [top, *_PART.findall(name)], value, fields[top])
            return
    if plain in asked.texts and params.get(plain) and params[plain].schema().get("type") != "array":
        asked.problems.append(f"{plain}: is given more than once")
    known = asked.texts.get(plain)
    if known is None:
        asked.texts[plain] = value
    else:
        asked.texts[plain] = [*(known if isinstance(known, list) else [known]), value]


def _put(target: dict[str, Any], path: list[str], text: str, schema: Mapping[str, Any]) -> None:
    """Set a value inside a body; what does not fit the schema stays text, and is refused with the rest."""
    name, rest = path[0], path[1:]
    if schema.get("type") == "array":
        target.setdefault(name, []).append(_value(text, schema.get("items", {})))
    elif not rest:
        target[name] = _value(text, schema)
    else:
        inner = target.setdefault(name, {})
        if isinstance(inner, dict):
            _put(inner, rest, text, schema.get("properties", {}).get(rest[0], {}))


def _value(text: str, schema: Mapping[str, Any]) -> Any:
    kinds = schema.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    if "integer" in kinds and re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
        return int(text)
    if "boolean" in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text
