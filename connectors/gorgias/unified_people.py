"""Customers, agents, teams, tags, views and custom fields in the shapes of the unified API. Pure, and forgiving."""

from collections.abc import Sequence
from typing import Any

from connectors.gorgias.unified import Doc, emails, ident, moment, part, person_names, phones, said, values
from syncd.unified.shapes import Row

ENTITIES = {"Ticket": "ticket", "Customer": "contact"}


def contact(doc: Doc) -> Row:
    """A customer; a list's row has no channels, so that phones and further addresses need a get."""
    return {
        "id": ident(doc.get("id")),
        **person_names(doc),
        "emails": emails(doc),
        "phones": phones(doc),
        "details": said(doc.get("note")),
        "created_at": moment(doc.get("created_datetime")),
        "updated_at": moment(doc.get("updated_datetime")),
        "custom_fields": values(doc),
        "is_active": doc["active"] if isinstance(doc.get("active"), bool) else True,
        "avatar": said(part(doc, "meta").get("profile_picture_url")),
    }


def user(doc: Doc, team_ids: Sequence[str] = ()) -> Row:
    """An agent."""
    role = said(part(doc, "role").get("name"))
    whole = person_names(doc)
    return {
        "id": ident(doc.get("id")),
        **whole,
        "name": whole["name"] or said(doc.get("email")) or ident(doc.get("id")),
        "emails": emails(doc),
        "is_active": doc.get("active") is not False and not doc.get("deactivated_datetime"),
        "team_ids": list(team_ids),
        "avatar": said(part(doc, "meta").get("profile_picture_url")),
        "roles": [{"id": role, "name": role}] if role else [],
        "created_at": moment(doc.get("created_datetime")),
        "updated_at": moment(doc.get("updated_datetime")),
    }


def directory_user(doc: Doc) -> Row:
    """An agent as the user directory shows them."""
    row = user(doc)
    factor = doc.get("has_2fa_enabled")
    kept = ("id", "first_name", "last_name", "name", "avatar", "roles", "created_at", "updated_at")
    return {
        **{name: row[name] for name in kept},
        "external_id": ident(doc.get("external_id")),
        "emails": [{**one, "is_primary": one["type"] == "primary"} for one in row["emails"]],
        "status": "active" if row["is_active"] else "inactive",
        "is_2fa_enabled": factor if isinstance(factor, bool) else None,
        "language": said(doc.get("language")),
        "timezone": said(doc.get("timezone")),
    }


def tag(doc: Doc) -> Row:
    """A tag."""
    return {
        "id": ident(doc.get("id")),
        "name": said(doc.get("name")),
        "color": said(part(doc, "decoration").get("color")),
        "created_at": moment(doc.get("created_datetime")),
        "status": "inactive" if doc.get("deleted_datetime") else "active",
    }


def team(doc: Doc) -> Row:
    """A group of agents."""
    return {
        "id": ident(doc.get("id")),
        "name": said(doc.get("name")),
        "description": said(doc.get("description")),
        "created_at": moment(doc.get("created_datetime")),
    }


def collection(doc: Doc, base: str) -> Row:
    """A view: which of Gorgias's objects a collection is, is inferred."""
    number = ident(doc.get("id"))
    return {
        "id": number,
        "name": said(doc.get("name")),
        "type": "view",
        "urls": [{"url": f"{base}/app/views/{number}"}] if number else [],
        "created_at": moment(doc.get("created_datetime")),
        "entity_type": "contact" if doc.get("type") == "customer-list" else "ticket",
    }


def field(doc: Doc) -> Row:
    """A custom field's definition; its id is its key in `custom_fields`."""
    settings = part(part(doc, "definition"), "input_settings")
    choices = settings.get("choices")
    options = choices if isinstance(choices, list) else []
    return {
        "id": ident(doc.get("id")),
        "name": ident(doc.get("id")),
        "label": said(doc.get("label")),
        "description": said(doc.get("description")),
        "type": _field_type(part(doc, "definition"), settings),
        "format": said(settings.get("input_type")),
        "is_hidden": bool(doc.get("deactivated_datetime")),
        "is_unique": False,
        "is_required": bool(doc.get("required")),
        "options": [{"label": _choice(one), "value": _choice(one), "is_hidden": False} for one in options],
        "is_user_defined": doc.get("managed_type") is None,
        "entity_type": ENTITIES.get(said(doc.get("object_type")) or ""),
        "created_at": moment(doc.get("created_datetime")),
        "updated_at": moment(doc.get("updated_datetime")),
    }


def _choice(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _field_type(definition: Doc, settings: Doc) -> str | None:
    kind = said(definition.get("data_type"))
    if kind == "text":
        return "enum" if settings.get("input_type") == "dropdown" else "string"
    return kind
