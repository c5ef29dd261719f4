"""The operations of the Gorgias REST API as data, and the check of a call before it is sent.

`operations.json` holds everything: paths, parameters, body schemas, answers. Nothing here knows a single operation. The
client, the command line, the proxy, the MCP server and the sandbox all read that one file through this module.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from importlib import import_module, resources
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from syncd.errors import BadRequest

Kind = Literal["list", "view-items", "data", "object", "array", "empty", "binary", "text"]
Effect = Literal["read", "write", "delete"]
ProblemKind = Literal["missing", "unknown", "invalid"]

#: RFC 3339, and the two legacy spellings the API accepts: a space for the T, and no offset (read as UTC).
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)?")
#: A mistake in one item of a long array is a mistake in all of them: a few say it.
MAX_PROBLEMS = 50


@dataclass(frozen=True, slots=True)
class Param:
    """One path or query parameter."""

    name: str
    type: str
    required: bool = False
    enum: tuple[Any, ...] = ()
    default: Any = None
    min: int | None = None
    max: int | None = None
    description: str = ""
    pattern: str = ""
    slashes: bool = False

    @property
    def is_array(self) -> bool:
        """Whether the key is repeated once for each value."""
        return self.type.startswith("array[")

    @property
    def item_type(self) -> str:
        """The type of one value."""
        return self.type[6:-1] if self.is_array else self.type

    def schema(self) -> dict[str, Any]:
        """The parameter as a JSON schema, for those who describe the operation elsewhere."""
        kind = {"datetime": "string"}.get(self.item_type, self.item_type)
        item: dict[str, Any] = {"type": kind}
        if self.item_type == "datetime":
            item["format"] = "date-time"
        if self.enum:
            item["enum"] = list(self.enum)
        low, high = ("minItems", "maxItems") if self.is_array else ("minimum", "maximum")
        bounds = {low: self.min, high: self.max, "default": self.default, "description": self.description or None}
        whole = {"type": "array", "items": item} if self.is_array else item
        return whole | {key: value for key, value in bounds.items() if value is not None}


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation of the API; `sends` marks those that can make Gorgias mail a customer."""

    name: str
    resource: str
    summary: str
    method: str
    path: str
    status: int
    effect: Effect
    sends: bool
    path_params: tuple[Param, ...]
    query: tuple[Param, ...]
    body: Mapping[str, Any] | None
    kind: Kind
    response: str
    object: str
    notes: str
    confidence: str

    @property
    def multipart(self) -> bool:
        """Whether the body is a form of files, and not JSON."""
        return self.body is not None and self.body.get("contentType") == "multipart/form-data"

    @property
    def params(self) -> tuple[Param, ...]:
        """The path's parameters, then the query's."""
        return self.path_params + self.query


@dataclass(frozen=True, slots=True)
class Request:
    """A call that fits its schema: what goes on the wire."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Any = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a call; `where` is a dotted path, of the body unless `part` says otherwise."""

    part: Literal["path", "query", "body"]
    where: str
    kind: ProblemKind
    text: str

    def __str__(self) -> str:
        place = f"{self.part}.{self.where}" if self.part == "body" and self.where else self.where or self.part
        return f"{place}: {self.text}"


def parse(raw: Iterable[Mapping[str, Any]]) -> dict[str, Operation]:
    """Operations by name, from the entries of a file like `operations.json`."""
    return {entry["tool"]: _operation(entry) for entry in raw}


def _operation(entry: Mapping[str, Any]) -> Operation:
    same = ("resource", "summary", "method", "path", "status", "effect", "sends", "body", "kind", "response", "object")
    return Operation(
        name=entry["tool"],
        path_params=tuple(_param(raw, required=True) for raw in entry["path_params"]),
        query=tuple(_param(raw) for raw in entry["query"]),
        notes=entry["notes"],
        confidence=entry["confidence"],
        **{key: entry[key] for key in same},
    )


def _param(raw: Mapping[str, Any], **extra: Any) -> Param:
    given = {key: value for key, value in raw.items() if value is not None}
    return Param(**given | {"enum": tuple(raw.get("enum") or ())} | extra)


OPERATIONS: Mapping[str, Operation] = parse(
    json.loads(resources.files("connectors.gorgias").joinpath("operations.json").read_text("utf-8"))
)


def find(name: str) -> Operation:
    """The operation of this name; an unknown one is a BadRequest that names the nearest."""
    if name in OPERATIONS:
        return OPERATIONS[name]
    near = difflib.get_close_matches(name, OPERATIONS, n=3, cutoff=0.5)
    raise BadRequest(f"there is no operation {name!r}", [f"did you mean {other}?" for other in near])


def check(operation: Operation, params: Mapping[str, Any] | None = None, body: Any = None) -> Request:
    """The request of a valid call; a BadRequest with every problem otherwise, before anything is sent."""
    params = params or {}
    found = problems(operation, params, body)
    if found:
        raise BadRequest(f"{operation.name} cannot be called like this", map(str, found))
    path = operation.path
    for param in operation.path_params:
        path = path.replace(f"{{{param.name}}}", quote(_text(params[param.name]), safe="/%" if param.slashes else ""))
    return Request(operation.method, path, tuple(_query(operation, params)), body)


def problems(operation: Operation, params: Mapping[str, Any], body: Any) -> list[Problem]:
    """Everything wrong with a call; empty when it is right."""
    found = [problem for param in operation.path_params for problem in _of_param("path", param, params)]
    found += [problem for param in operation.query for problem in _of_param("query", param, params)]
    known = [param.name for param in operation.params]
    found += [
        Problem("query", name, "unknown", "unknown parameter" + _nearest(name, known))
        for name in params
        if name not in known
    ]
    return (found + _of_body(operation, body))[:MAX_PROBLEMS]


def coerce(operation: Operation, texts: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
    """Parameters from text (a query string, a command line); what does not convert stays as it is, for `check`."""
    by_name = {param.name: param for param in operation.params}
    return {name: _from_text(by_name.get(name), given) for name, given in texts.items()}


def _from_text(param: Param | None, given: str | Sequence[str]) -> Any:
    if param is None:
        return given
    if not param.is_array:
        return _one_from_text(param.item_type, given) if isinstance(given, str) else given
    return [_one_from_text(param.item_type, text) for text in ([given] if isinstance(given, str) else given)]


def _one_from_text(kind: str, text: str) -> Any:
    if kind == "integer" and re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
        return int(text)
    if kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text


def _query(operation: Operation, params: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for param in operation.query:
        given = params.get(param.name)
        if given is not None:
            yield from ((param.name, _text(value)) for value in (given if param.is_array else [given]))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _of_param(part: Literal["path", "query"], param: Param, params: Mapping[str, Any]) -> Iterable[Problem]:
    value = params.get(param.name)
    if value is None:
        if param.required:
            yield Problem(part, param.name, "missing", "required parameter is missing")
        return
    if not param.is_array:
        wrong = _wrong_value(param, value) or _out_of_bounds(param, value)
    elif isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        wrong = f"must be a list of {param.item_type} values"
    else:
        wrong = next((text for item in value if (text := _wrong_value(param, item))), "") or _too_many(param, value)
    if wrong:
        yield Problem(part, param.name, "invalid", wrong)


def _wrong_value(param: Param, value: Any) -> str:
    if not _IS[param.item_type](value):
        return f"must be {_A[param.item_type]}, not {value!r}"
    if param.enum and value not in param.enum:
        return f"must be one of {', '.join(map(str, param.enum))}, not {value!r}"
    if param.pattern and not re.fullmatch(param.pattern, value):
        return f"must not be {value!r}"
    return ""


def _out_of_bounds(param: Param, value: Any) -> str:
    size, unit = (len(value), " characters long") if isinstance(value, str) else (value, "")
    if param.min is not None and size < param.min:
        return f"must be at least {param.min}{unit}"
    if param.max is not None and size > param.max:
        return f"must be at most {param.max}{unit}"
    return ""


def _too_many(param: Param, values: Sequence[Any]) -> str:
    return f"takes at most {param.max} values" if param.max is not None and len(values) > param.max else ""


def _is_date_time(value: Any) -> bool:
    if not isinstance(value, str):
        return isinstance(value, datetime)
    if not DATE_TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value.upper())
    except ValueError:
        return False
    return True


def _is_uri(value: Any) -> bool:
    if not isinstance(value, str):
        return True
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) and not re.search(r"\s", value)


def _is_email(value: Any) -> bool:
    return not isinstance(value, str) or re.fullmatch(r"[^@\s]+@[^@\s]+", value) is not None


_IS = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "datetime": _is_date_time,
}
_A = {
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
    "datetime": "a date and time (ISO 8601)",
}
_FORMATS = {
    "date-time": lambda value: not isinstance(value, str) or _is_date_time(value),
    "uri": _is_uri,
    "email": _is_email,
}


def _of_body(operation: Operation, body: Any) -> list[Problem]:
    if operation.body is None:
        return [] if body is None else [Problem("body", "", "unknown", "this operation takes no body")]
    if operation.multipart:
        files = isinstance(body, Mapping) and body and all(isinstance(name, str) and name for name in body)
        return [] if files else [Problem("body", "", "missing", "at least one named file is required")]
    if body is None and not _takes_null(operation.body):
        return [Problem("body", "", "missing", "a JSON body is required")]
    errors = _validator(operation).iter_errors(body)
    return [problem for error in errors for problem in _of_error(error)]


def _takes_null(schema: Mapping[str, Any]) -> bool:
    return "null" in schema.get("type", ())


@cache
def _validator(operation: Operation) -> Any:
    # Loaded on the first body, because importing it takes far longer than all the rest of this module.
    jsonschema = import_module("jsonschema")
    formats = jsonschema.FormatChecker(formats=())
    for name, test in _FORMATS.items():
        formats.checks(name)(test)
    return jsonschema.Draft202012Validator(strict(operation.body), format_checker=formats)


def strict(schema: Any) -> Any:
    """The schema with unknown keys refused wherever it lists properties: Gorgias answers 400 to them."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    out = {key: strict(value) for key, value in schema.items()}
    if isinstance(out.get("properties"), dict) and "type" in out:
        out.setdefault("additionalProperties", False)
    return out


def _of_error(error: Any, above: str = "") -> list[Problem]:
    """One jsonschema error in our words; of alternatives, the one that was most likely meant."""
    where = ".".join(filter(None, [above, *map(str, error.path)]))
    if error.validator in ("oneOf", "anyOf") and error.context:
        return [problem for inner in _meant(error.context) for problem in _of_error(inner, where)]
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        extra = [name for name in error.instance if name not in known]
        return [Problem("body", _join(where, key), "unknown", "unknown key" + _nearest(key, known)) for key in extra]
    if error.validator == "required":
        lacking = [key for key in error.validator_value if key not in error.instance and f"'{key}'" in error.message]
        return [Problem("body", _join(where, key), "missing", "required key is missing") for key in lacking]
    return [Problem("body", where, "invalid", _shortened(error.message))]


def _meant(context: Iterable[Any]) -> list[Any]:
    branches: dict[Any, list[Any]] = {}
    for error in context:
        branches.setdefault(error.schema_path[0], []).append(error)
    chosen = [error for error in context if error.validator == "const"]
    fit = [errors for errors in branches.values() if not any(error in chosen for error in errors)]
    return min(fit or branches.values(), key=len)


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else str(key)


def _shortened(message: str, limit: int = 300) -> str:
    return message if len(message) <= limit else f"{message[: limit // 2]} … {message[-limit // 2 :]}"
