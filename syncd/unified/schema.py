"""The shapes of the unified API, from `schema.json`: what is answered, what may be written, what lists filter by."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from syncd.directory import METHODS

Fields = Mapping[str, Mapping[str, Any]]
JsonSchema = dict[str, Any]

MODELS = {"ticketing": "Ticketing", "user-directory": "User directory"}
#: What a caller may write, by resource; all else is the product's own.
WRITABLE: Mapping[str, tuple[str, ...]] = {
    "tickets": (
        "name", "description", "status", "priority", "assignees", "team", "contact", "tags", "custom_fields",
        "created_by", "created_at", "attachments",
    ),
    "comments": (
        "body", "html_body", "author", "is_internal", "is_private", "channel", "created_at", "attachments", "ticket",
    ),
    "attachments": ("ticket_id", "file_name", "content_type"),
    "collections": ("name", "description"),
    "contacts": ("name", "first_name", "last_name", "emails", "phones", "details", "custom_fields"),
    "fields": ("name", "label", "description", "type", "is_required", "is_hidden", "options", "entity_type"),
    "tags": ("name", "color"),
    "teams": ("name", "description"),
    "users": ("name", "first_name", "last_name", "emails", "is_active", "roles"),
    "user-directory/users": (
        "name", "first_name", "last_name", "emails", "status", "roles", "external_id", "language", "timezone",
    ),
}  # fmt: skip
#: What a new object must have. Of comments it is `body` or `html_body`, which a schema says less plainly.
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "tickets": ("name",), "attachments": ("ticket_id", "file_name", "data"), "collections": ("name",),
    "fields": ("label", "type", "entity_type"), "tags": ("name",), "teams": ("name",), "users": ("emails",),
    "user-directory/users": ("emails",),
}  # fmt: skip
#: What is said once, when the object is made.
ONLY_NEW: Mapping[str, frozenset[str]] = {
    "tickets": frozenset({"description", "created_by", "created_at", "attachments"}),
    "comments": frozenset({"author", "channel", "created_at", "attachments", "ticket"}),
    "fields": frozenset({"entity_type", "name"}),
}
#: Fields whose value is the product's own where none of the enum fits.
OPEN_ENUMS = frozenset({("tags", "status"), ("fields", "type"), ("users", "status")})
#: What an entry of these must have.
ITEMS = {"emails": ("email",), "phones": ("number",)}
FILTERS: Mapping[str, tuple[str, ...]] = {
    "tickets": (
        "ids", "name", "contact[id]", "collections[id]", "status[name]", "assignees[id]", "team[id]", "tags[id]",
        "tags[name]", "priority[name]", "created_at", "updated_at",
    ),
    "comments": ("ticket[id]", "created_at", "updated_at", "is_internal", "is_private", "author[id]"),
    "attachments": ("ticket[id]", "created_at", "file_name", "content_type"),
    "collections": ("name", "type", "created_at", "updated_at", "parent_collection_id"),
    "contacts": ("emails", "phones", "name", "first_name", "last_name", "created_at", "updated_at"),
    "fields": ("entity_type", "name", "label", "type"),
    "tags": ("name", "status", "created_at"),
    "teams": ("name", "created_at"),
    "users": ("emails", "name", "username", "team_ids", "is_active", "created_at", "updated_at"),
    "user-directory/users": ("emails", "name", "username", "roles", "status", "created_at", "updated_at"),
}  # fmt: skip
SORTS: Mapping[str, tuple[str, ...]] = {
    "tickets": ("created_at", "updated_at"),
    "comments": ("created_at", "updated_at"),
    "attachments": ("created_at",),
    "collections": ("created_at", "name", "updated_at"),
    "contacts": ("created_at", "first_name", "last_name", "updated_at"),
    "fields": ("name", "label"),
    "tags": ("name", "created_at"),
    "teams": ("name", "created_at"),
    "users": ("created_at", "emails", "first_name", "last_name", "name", "updated_at"),
    "user-directory/users": ("created_at", "name", "first_name", "last_name", "updated_at"),
}
DATE_TIME = {"type": "string", "format": "date-time"}
#: What a file is called, and what it is: both go into headers.
FILE: Mapping[str, JsonSchema] = {
    "file_name": {"type": "string", "maxLength": 255, "pattern": r"^[^\u0000-\u001f\u007f]+$"},
    "content_type": {"type": "string", "maxLength": 255, "pattern": r"^[!-~]+/[ -~]+$"},
}
DATA: JsonSchema = {"type": "string", "format": "base64", "description": "The file's content in Base64."}


def methods(key: str) -> tuple[str, ...]:
    """What the unified API knows to do with a resource."""
    return METHODS if key == "attachments" else METHODS[:-1]


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of a model: `key` is its name, with the model's where that is not ticketing."""

    model: str
    name: str
    fields: Fields

    @property
    def key(self) -> str:
        """As shelves and tables are called."""
        return self.name if self.model == "ticketing" else f"{self.model}/{self.name}"

    @property
    def path(self) -> str:
        """Its place in the API."""
        return f"/unified/{self.model}/{self.name}"

    @property
    def schema_name(self) -> str:
        """Its name among the schemas of an OpenAPI document."""
        return "Unified" + "".join(part.title() for part in f"{self.model}/{self.name}".replace("-", "/").split("/"))


@cache
def every() -> Mapping[tuple[str, str], Resource]:
    """All resources by model and name."""
    text = resources.files("syncd.unified").joinpath("schema.json").read_text("utf-8")
    return {
        (model, name): Resource(model, name, given["fields"])
        for model, named in json.loads(text).items()
        for name, given in named.items()
    }


def filled(fields: Fields, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with every field of its schema, in the schema's order: null, or [] for an array, where it has none."""
    return {name: _filled(schema, row.get(name)) for name, schema in fields.items()}


def _filled(schema: Mapping[str, Any], value: Any) -> Any:
    if schema["type"] == "array":
        inner = schema.get("items", {}).get("fields")
        return [filled(inner, item) if inner else item for item in value or ()]
    if value is not None and schema.get("fields"):
        return filled(schema["fields"], value)
    return value


# -- JSON schemas --------------------------------------------------------------------------------------------------


def answer_schema(resource: Resource) -> JsonSchema:
    """The JSON schema of an object as it is answered: every field is there, `remote_data` unless it was dropped."""
    must = [name for name in resource.fields if name != "remote_data"]
    properties = {name: _shown(resource.name, name, field) for name, field in resource.fields.items()}
    return {"type": "object", "properties": properties, "required": must, "additionalProperties": False}


def _shown(resource: str, name: str, field: Mapping[str, Any]) -> JsonSchema:
    schema = _plain(field, lambda inner: _shown("", "", inner))
    if schema["type"] == "object" and "properties" in schema:
        schema["required"] = list(schema["properties"])
        schema["additionalProperties"] = False
    if (resource, name) in OPEN_ENUMS:
        schema.pop("enum")
    if name == "remote_data":
        return {"description": "The product's own record."}
    return schema if field.get("required") or field["type"] == "array" else _nullable(schema)


def _plain(field: Mapping[str, Any], inner: Any) -> JsonSchema:
    schema: JsonSchema = {"type": field["type"]}
    schema |= {name: field[name] for name in ("enum", "format") if name in field}
    if "fields" in field:
        schema["properties"] = {name: inner(below) for name, below in field["fields"].items()}
    if "items" in field:
        schema["items"] = _plain(field["items"], inner)
        if "properties" in schema["items"]:
            schema["items"] |= {"required": list(schema["items"]["properties"]), "additionalProperties": False}
    return schema


def _nullable(schema: JsonSchema) -> JsonSchema:
    enum = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **enum}


def body_schema(resource: Resource, method: str) -> JsonSchema:
    """The JSON schema of a body for `create` or `update`."""
    key = resource.key
    new = method == "create"
    names = [name for name in WRITABLE[key] if new or name not in ONLY_NEW.get(key, ())]
    properties = {name: _written(resource.fields[name], (resource.name, name)) for name in names}
    if key in {"comments", "tickets"} and new:
        properties["attachments"] = {"type": "array", "items": _file_schema(), "maxItems": 20}
    if key == "attachments":
        properties |= {**FILE, "data": DATA, "is_internal": {"type": "boolean"}}
    properties["remote_data"] = {"type": "object", "description": "Merged into what the product gets, as it is."}
    schema: JsonSchema = {"type": "object", "properties": properties, "additionalProperties": False}
    required = list(REQUIRED.get(key, ())) if new else []
    properties |= {name: _demanded(properties[name]) for name in required}
    return {**schema, "required": required} if required else {**schema, "minProperties": 1}


def _demanded(written: JsonSchema) -> JsonSchema:
    """Neither null nor empty."""
    if written["type"] == "array":
        return {**written, "minItems": 1}
    enum = {"enum": [one for one in written["enum"] if one is not None]} if "enum" in written else {}
    return {**written, "type": "string", "minLength": 1, **enum}


def _file_schema() -> JsonSchema:
    return {
        "type": "object",
        "properties": {**FILE, "data": DATA},
        "required": ["file_name", "data"],
        "additionalProperties": False,
    }


def _written(field: Mapping[str, Any], place: tuple[str, str]) -> JsonSchema:
    schema = _plain(field, lambda inner: _written(inner, ("", "")))
    inner = schema.get("items", schema)
    if "properties" in inner:
        inner.pop("required", None)
        inner["additionalProperties"] = False
        must = [name for name, below in _below(field) if below.get("required") and place != ("comments", "author")]
        must += [name for name in ITEMS.get(place[1], ()) if name not in must]
        inner |= {"required": must} if must else {}
        inner["properties"] |= {name: _demanded(inner["properties"][name]) for name in must}
    if place in OPEN_ENUMS:
        schema.pop("enum", None)
    return schema if schema["type"] == "array" else _nullable(schema)


def _below(field: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from (field.get("fields") or field.get("items", {}).get("fields") or {}).items()


def list_schema(resource: Resource) -> JsonSchema:
    """The JSON schema of a list's envelope."""
    cursor = {"type": ["string", "null"]}
    row = {"$ref": f"#/components/schemas/{resource.schema_name}"}
    properties = {
        "result": {"anyOf": [{"type": "array", "items": row}, {"type": "object", "additionalProperties": row}]},
        "next_cursor": cursor,
        "prev_cursor": cursor,
        "result_count": {"type": "integer", "minimum": 0},
        "is_partial_response": {"type": "boolean"},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
