"""What `syncd gorgias` says about the operations: all of it is made from their data. Pure."""

import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from connectors.gorgias.operations import OPERATIONS, Operation, Param

#: How deep a body's shape is written out, and how many values of an enumeration are shown.
DEPTH = 3
SHOWN = 12
EXAMPLES = {"integer": 1, "number": 1, "boolean": True, "datetime": "2026-11-25T10:00:00Z", "string": "TEXT"}

Schema = Mapping[str, Any]


def by_resource() -> Iterable[tuple[str, list[Operation]]]:
    """The operations of each resource, in alphabetical order."""
    ordered = sorted(OPERATIONS.values(), key=lambda operation: (operation.resource, operation.name))
    for resource, operations in groupby(ordered, key=lambda operation: operation.resource):
        yield resource.replace("-", " ").capitalize(), list(operations)


def placeholder(param: Param) -> str:
    """What stands for a parameter's value."""
    return "value" if param.enum else param.item_type


def described(param: Param) -> str:
    """A parameter in one paragraph."""
    parts = [param.description, "Required." if param.required else ""]
    parts += ["One of " + ", ".join(map(str, param.enum)) + "."] if param.enum else []
    unit = " values" if param.is_array else ""
    parts += [f"At least {param.min}{unit}."] if param.min else []
    parts += [f"At most {param.max}{unit}."] if param.max is not None else []
    parts += [f"Without it: {json.dumps(param.default)}."] if param.default is not None else []
    parts += ["Repeatable."] if param.is_array else []
    return " ".join(part for part in parts if part)


def describe(operation: Operation) -> str:
    """The whole description, in click's paragraphs: those after a \\b keep their lines."""
    paragraphs = [operation.summary, f"{operation.method} {operation.path}, {_effect(operation)}."]
    paragraphs += [operation.notes] if operation.notes else []
    if operation.confidence != "documented":
        paragraphs.append(f"How well this is known: {operation.confidence}.")
    if operation.body is not None and not operation.multipart:
        paragraphs.append("\b\nBody:\n" + "\n".join(_lines(operation.body, 1)))
    paragraphs.append("\b\nExample:\n  " + example(operation))
    return "\n\n".join(paragraphs)


def _effect(operation: Operation) -> str:
    what = {"read": "which reads", "write": "which writes", "delete": "which deletes"}[operation.effect]
    return f"{what}; it CAN MAIL A CUSTOMER" if operation.sends else what


def example(operation: Operation) -> str:
    """A call that fits the schema's required parts."""
    words = ["syncd", "gorgias", operation.name]
    for param in (param for param in operation.params if param.required):
        words += [f"--{param.name}", str(param.enum[0] if param.enum else EXAMPLES[param.item_type])]
    if operation.multipart:
        words += ["--file", "photo.png=@photo.png"]
    elif operation.body is not None:
        words += ["--body", f"'{json.dumps(_sample(operation.body), ensure_ascii=False)}'"]
    if operation.kind == "binary":
        words += ["--output", "FILE"]
    elif any(param.name == "limit" for param in operation.query):
        words += ["--limit", "3"]
    return " ".join(words)


def _sample(schema: Schema, depth: int = 0) -> Any:
    """The least value that fits: required keys, else the first one."""
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    branch = next((schema[key][0] for key in ("oneOf", "anyOf") if schema.get(key)), None)
    if branch is not None:
        return _sample({**{k: v for k, v in schema.items() if k not in ("oneOf", "anyOf")}, **branch}, depth)
    kind = _kinds(schema)[0]
    if kind == "object":
        keys = schema.get("required") or (list(schema.get("properties", {}))[:1] if depth == 0 else [])
        properties = schema.get("properties", {})
        return {key: _sample(properties.get(key, {}), depth + 1) for key in keys}
    if kind == "array":
        return [_sample(schema.get("items", {}), depth + 1)]
    return (schema.get("examples") or [_scalar(kind, schema)])[0]


def _scalar(kind: str, schema: Schema) -> Any:
    formats = {"date-time": EXAMPLES["datetime"], "uri": "https://acme.example/", "email": "ann@customer.example"}
    return formats.get(schema.get("format", "")) or max(EXAMPLES.get(kind, "TEXT"), schema.get("minimum", 0), key=str)


def _kinds(schema: Schema) -> list[str]:
    kinds = schema.get("type", "object" if "properties" in schema else "any")
    return [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"] or ["null"]


def _lines(schema: Schema, depth: int) -> Iterable[str]:
    """The keys of an object, or of an array's items, each on a line of its own."""
    properties = _properties(schema)
    if not properties:
        yield "  " * depth + _type(schema)
    required = (schema if "properties" in schema else schema.get("items", {})).get("required", ())
    for key, inner in properties.items():
        note = f"  {inner['description']}" if inner.get("description") else ""
        star = " (required)" if key in required else ""
        yield f"{'  ' * depth}{key}: {_type(inner)}{star}{note}"
        if depth < DEPTH and _properties(inner):
            yield from _lines(inner, depth + 1)


def _properties(schema: Schema) -> Mapping[str, Schema]:
    items = schema.get("items")
    found = schema.get("properties") or (items.get("properties") if isinstance(items, Mapping) else None)
    return found or {}


def _type(schema: Schema) -> str:
    if "enum" in schema:
        values = [str(value) for value in schema["enum"] if value is not None]
        return " | ".join(values[:SHOWN]) + (" | …" if len(values) > SHOWN else "")
    for key in ("oneOf", "anyOf"):
        if schema.get(key):
            return " or ".join(dict.fromkeys(_type(branch) for branch in schema[key]))
    kinds = _kinds(schema)
    if kinds == ["array"]:
        return f"list of {_type(schema.get('items', {}))}"
    return " or ".join(kinds)
