"""`/docs`: the OpenAPI description as a page to read, without scripts and without anything from elsewhere."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from syncd.web.html import Child, document, policy, table, tag

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; } details { border-bottom: 1px solid #8886; padding: .3rem 0; }
summary { cursor: pointer; } summary code { font-weight: 600; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .2rem .6rem; vertical-align: top; }
pre { overflow-x: auto; background: #8882; padding: .6rem; font-size: .85rem; }
.note { opacity: .75; }
"""
POLICY = policy(STYLE)
Json = Mapping[str, Any]


def render(described: Json) -> str:
    """The page for an OpenAPI document."""
    groups: dict[str, list[ET.Element]] = defaultdict(list)
    for path, verbs in described["paths"].items():
        for verb, operation in verbs.items():
            groups[operation["tags"][0]].append(_operation(verb, path, operation, described["components"]["schemas"]))
    info = described["info"]
    title = f"{info['title']} {info['version']}: the API"
    lead = [tag("h1", title), tag("p", info["description"]), _contents(groups)]
    parts = [part for name, found in groups.items() for part in (tag("h2", name, id=_anchor(name)), *found)]
    return document(title, STYLE, tag("body", *lead, *parts))


def _contents(groups: Iterable[str]) -> ET.Element:
    links: list[Child] = [tag("a", "openapi.json", href="openapi.json")]
    for name in groups:
        links += [" · ", tag("a", name, href=f"#{_anchor(name)}")]
    return tag("p", *links, **{"class": "note"})


def _anchor(name: str) -> str:
    return name.replace(": ", "-").replace(" ", "-")


def _operation(verb: str, path: str, operation: Json, schemas: Json) -> ET.Element:
    parts: list[Child] = [tag("summary", tag("code", f"{verb.upper()} {path}"), f"  {operation['summary']}")]
    if operation.get("description"):
        parts.append(tag("p", operation["description"], **{"class": "note"}))
    if operation.get("parameters"):
        rows = [_parameter(param) for param in operation["parameters"]]
        parts.append(table(("parameter", "in", "kind", "what it is"), rows))
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        parts += [tag("p", f"Body, {kind}:"), _schema(content["schema"], schemas)]
    return tag("details", *parts)


def _parameter(param: Json) -> list[Child]:
    name: Child = tag("strong", param["name"]) if param.get("required") else param["name"]
    return [name, param["in"], _kind(param["schema"]), param.get("description", "")]


def _kind(schema: Json) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("format", schema.get("type", "anything")))


def _schema(schema: Json, schemas: Json) -> ET.Element:
    named = schemas.get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    return tag("pre", json.dumps(named, indent=2, ensure_ascii=False))
