"""Custom field values of tickets and customers. Setting one logs nothing and moves no updated_datetime (live)."""

from typing import Any

from connectors.gorgias.sandbox import render
from connectors.gorgias.sandbox.pages import Call
from connectors.gorgias.sandbox.table import Row
from connectors.gorgias.sandbox.world import Doc, World, wrong

OWNERS = {"Ticket": "tickets", "Customer": "customers"}


def put(world: World, row: Row, object_type: str, values: list[Doc], *, replace: bool = False) -> None:
    """Store these values, in silence; a null takes one away."""
    for item in values:
        _check(world, object_type, item["id"], item["value"])
    if not values:
        return
    kept = {} if replace else dict(row.get("custom_fields", {}))
    kept |= {str(item["id"]): item["value"] for item in values}
    kept = {key: value for key, value in kept.items() if value is not None}
    world[OWNERS[object_type]].change(row, {"custom_fields": kept or None})


def check_all(world: World, object_type: str, values: list[Doc]) -> None:
    """Refuse before anything is written."""
    for item in values:
        _check(world, object_type, item["id"], item["value"])


def _check(world: World, object_type: str, field_id: int, value: Any) -> None:
    field = world["custom_fields"].get(field_id)
    if field is None or field["object_type"] != object_type:
        raise wrong("id", f"Custom field {field_id} does not exist.")
    if value is not None and not _fits(field["definition"], value):
        raise wrong("value", f"{value!r} is not a value of custom field {field_id}.")


def _fits(definition: Doc, value: Any) -> bool:
    """Inferred: the API's own rules are not documented, only the definition's words."""
    settings = definition["input_settings"]
    kind = definition["data_type"]
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "number":
        low, high = settings.get("min", float("-inf")), settings.get("max", float("inf"))
        return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    choices = settings.get("choices") if settings["input_type"] == "dropdown" else None
    return isinstance(value, str) and (choices is None or value in choices)


def _values(world: World, row: Row) -> Doc:
    stored = row.get("custom_fields", {})
    return {"data": [render.field_value(world, int(key), value) for key, value in stored.items()]}


def _put_many(world: World, call: Call) -> Doc:
    row = world.row("tickets", call.path["ticket_id"])
    put(world, row, "Ticket", call.body, replace=world.options.bulk_fields_replace)
    return _values(world, row)


def _put_one(world: World, call: Call) -> Doc:
    row = world.row("tickets", call.path["ticket_id"])
    field_id = call.path["id"]
    # The web app sends the bare value, one client {id, value}: both are taken.
    value = call.body.get("value") if isinstance(call.body, dict) else call.body
    put(world, row, "Ticket", [{"id": field_id, "value": value}])
    return render.field_value(world, field_id, value)


def _put_customer(world: World, call: Call) -> Doc:
    row = world.row("customers", call.path["customer_id"])
    put(world, row, "Customer", call.body, replace=True)  # third-party: every value is replaced
    return _values(world, row)


HANDLERS = {
    "GET /api/tickets/{ticket_id}/custom-fields": lambda world, call: _values(
        world, world.row("tickets", call.path["ticket_id"])
    ),
    "PUT /api/tickets/{ticket_id}/custom-fields": _put_many,
    "PUT /api/tickets/{ticket_id}/custom-fields/{id}": _put_one,
    "PUT /api/customers/{customer_id}/custom-fields": _put_customer,
}
