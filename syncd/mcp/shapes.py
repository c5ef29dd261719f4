"""An operation's parameters and body as one flat object: what a tool shows, and how its arguments are parted again.

Pure. What is shown is made to be read by a model, and short: a nested object that is no help when it is spelled out
stands there as one line, such as `{id*, email, channels: [{type*, address*}]}` (a star marks what is required). The
check of a call knows the whole schema.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from syncd.operations import Operation

#: What a tool's arguments may be named: stricter than JSON Schema, because some model APIs are.
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")
#: An enumeration is shown while its values are this long together, else only the first ones are, as examples.
ENUM_LIMIT = 90
EXAMPLES = 5
#: An object of no more keys than this is spelled out; a bigger one is a line of text.
SPELLED_OUT = 2
DEPTH = 3
#: Asks for nulls and long texts, too.
FULL = "full"

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """A tool's input: `shown` is its schema, `places` tells the part of the call that each argument belongs to."""

    shown: dict[str, Any]
    params: dict[str, str]
    body: dict[str, str]
    whole: bool
    takes_body: bool

    def part(self, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """The parameters and the body of a call; what is unknown goes where it is refused by its name."""
        params = {self.params[name]: value for name, value in arguments.items() if name in self.params}
        rest = {name: value for name, value in arguments.items() if name not in self.params}
        if self.whole:
            body = rest.pop(BODY, None)
            return {**params, **rest}, body
        if not self.takes_body:
            return {**params, **rest}, None
        return params, {self.body.get(name, name): value for name, value in rest.items()}


#: The argument that is the whole body, where that is no object with keys of its own.
BODY = "body"


def shape(info: Operation, words: Mapping[str, str] | None = None) -> Shape:
    """The flat input of an operation; `words` replace what the schema says about a property of that name."""
    properties = {flat(param.name): _shown(param.schema()) for param in info.params}
    required = [flat(param.name) for param in info.params if param.required]
    params = {name: param.name for param in info.params for name in (param.name, flat(param.name))}
    body: Schema = info.body or {}
    whole = bool(info.body) and not body.get("properties")
    names: dict[str, str] = {}
    if whole:
        properties[BODY] = _shown(body)
        required.append(BODY)
    for key, schema in body.get("properties", {}).items():
        # A parameter comes first: the body's key of the same name is told from it by a prefix.
        name = f"{BODY}_{key}" if key in properties else flat(key)
        names[name] = key
        properties[name] = _shown(schema)
        required += [name] if key in body.get("required", ()) else []
    reworded = {name: _reworded(schema, _word(words or {}, info.name, name)) for name, schema in properties.items()}
    return Shape(schema_of(reworded, required), params, names, whole, info.body is not None)


def _word(words: Mapping[str, str], operation: str, name: str) -> str | None:
    return words.get(f"{operation}.{name}", words.get(name))


def _reworded(schema: dict[str, Any], word: str | None) -> dict[str, Any]:
    if word is None:
        return schema
    bare = {key: value for key, value in schema.items() if key != "description"}
    return {**bare, "description": word} if word else bare


def flat(name: str) -> str:
    """A parameter's name as an argument's: created_datetime[gte] is created_datetime_gte."""
    return _UNFIT.sub("_", name).strip("_")


def schema_of(properties: Mapping[str, Any], required: Iterable[str] = ()) -> dict[str, Any]:
    """The schema of an object with exactly these keys."""
    needed = list(required)
    schema: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    return {**schema, **({"required": needed} if needed else {}), "additionalProperties": False}


def _shown(schema: Schema, depth: int = 0) -> dict[str, Any]:
    """A schema in its short form: what it is for, its kind, its values."""
    kind = _kind(schema)
    shown: dict[str, Any] = {"type": kind} if kind else {}
    says = [_first(schema.get("description", ""))]
    if "enum" in schema:
        values = [value for value in schema["enum"] if value is not None]
        if sum(len(str(value)) + 2 for value in values) <= ENUM_LIMIT:
            shown["enum"] = values
        else:
            says = [f"e.g. {', '.join(map(str, values[:EXAMPLES]))}"]
    elif kind == "array":
        shown |= _items(schema.get("items") or {}, says, depth)
    elif schema.get("properties"):
        shown |= _object(schema, says, depth)
    elif schema.get("oneOf"):
        shown["type"] = "object"
        says.append(" or ".join(line(branch) for branch in schema["oneOf"]))
    elif "examples" in schema:
        says = [f"e.g. {', '.join(map(str, schema['examples'][:EXAMPLES]))}"]
    text = " ".join(said for said in says if said)
    bounds = {key: schema[key] for key in ("maximum",) if key in schema and schema[key] < 10**6}
    return {**shown, **bounds, **({"description": text} if text else {})}


def _items(items: Schema, says: list[str], depth: int) -> dict[str, Any]:
    if items.get("properties"):
        says.append(f"[{line(items)}]")
        return {"items": {"type": "object"}}
    inner = _shown(items, depth + 1)
    return {"items": inner} if inner else {}


def _object(schema: Schema, says: list[str], depth: int) -> dict[str, Any]:
    properties = schema["properties"]
    scalar = all(_kind(inner) not in {"object", "array"} for inner in properties.values())
    if depth == 0 and scalar and len(properties) <= SPELLED_OUT:
        inner = {key: _shown(value, depth + 1) for key, value in properties.items()}
        return {"properties": inner} | ({"required": schema["required"]} if "required" in schema else {})
    says.append(line(schema))
    return {}


def line(schema: Schema, depth: int = 0) -> str:
    """A nested schema as one line of text."""
    kind = _kind(schema)
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema and len(schema["enum"]) <= EXAMPLES:
        return "|".join(str(value) for value in schema["enum"] if value is not None)
    if kind == "array":
        return f"[{line(schema.get('items') or {}, depth)}]"
    if not schema.get("properties"):
        return str(kind)
    if depth >= DEPTH:
        return "{…}"
    required = schema.get("required", ())
    parts = []
    for key, inner in schema["properties"].items():
        star = "*" if key in required else ""
        nested = line(inner, depth + 1) if _is_deep(inner) else ""
        parts.append(f"{key}{star}" + (f": {nested}" if nested else ""))
    return "{" + ", ".join(parts) + "}"


def _is_deep(schema: Schema) -> bool:
    return (
        _kind(schema) in {"object", "array"} or "const" in schema or len(schema.get("enum", ())) in range(1, EXAMPLES)
    )


def _kind(schema: Schema) -> Any:
    kinds = schema.get("type", "object" if "properties" in schema else "")
    if isinstance(kinds, str):
        return kinds
    real = [kind for kind in kinds if kind != "null"]
    return real[0] if len(real) == 1 else ""


def _first(text: str) -> str:
    """The beginning of a description: one sentence, without its full stop."""
    return re.split(r"[.;](?:\s|$)", text, maxsplit=1)[0]
