"""Views: saved filters over tickets, and the pages of their items."""

import re
from collections.abc import Callable
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from connectors.gorgias.sandbox import filters, render
from connectors.gorgias.sandbox.pages import Call
from connectors.gorgias.sandbox.table import PRIORITIES, Row, sort_value
from connectors.gorgias.sandbox.world import Act, Doc, Fault, World, not_found, wrong

VIEW = render.SHAPES["View"]
#: Third-party, and partial by its own account; tags are added because views on tags are common (inferred).
ALLOWED = (
    "assignee_team.id",
    "assignee_user.id",
    "customer.id",
    "messages.integration_id",
    "channel",
    "language",
    "status",
    "priority",
    "store_id",
    "tags.name",
    "tags.id",
    "custom_fields",
    "customer.custom_fields",
)
#: The views of a new account (live), and what they show (live for the filters that are quoted in the reference).
SYSTEM = (
    ("Inbox", 'eq(ticket.status, "open") && isEmpty(ticket.snooze_datetime)'),
    ("Unassigned", 'eq(ticket.status, "open") && isEmpty(ticket.assignee_user.id)'),
    ("All", ""),
    ("Snoozed", "isNotEmpty(ticket.snooze_datetime)"),
    ("Closed", 'eq(ticket.status, "closed")'),
    ("Trash", "isNotEmpty(ticket.trashed_datetime)"),
    ("Spam", "eq(ticket.spam, true)"),
    ("All customers", ""),
)
PATHS = {
    "assignee_user.id": "assignee_user_id",
    "assignee_team.id": "assignee_team_id",
    "customer.id": "customer_id",
}
FIELD = re.compile(r"(customer\.)?custom_fields(?:\.|\[)(\d+)\]?(?:\.value)?")


def show(_world: World, row: Row) -> Doc:
    """A view as the API answers it."""
    ast = {"type": "Program", "body": [], "sourceType": "script"}
    return {**VIEW, "filters_ast": ast, **row, "uri": f"/api/views/{row['id']}/"}


def check(_world: World, body: Doc) -> None:
    """Filters must be readable and may use only some paths (a 400 that lists them)."""
    for compare in filters.compares(_parsed(body.get("filters") or "")):
        path = compare.path.removeprefix("ticket.")
        if not path.startswith(("custom_fields", "customer.custom_fields")) and path not in ALLOWED:
            raise wrong("filters", f"{path} is not allowed. Allowed: {', '.join(ALLOWED)}.")


def _parsed(text: str) -> filters.Node:
    try:
        return filters.parse(text)
    except filters.FilterError as broken:
        raise wrong("filters", f"Invalid filters: {broken}.") from broken


def predicate_of(world: World, call: Call, view: Doc) -> Callable[[Row], bool]:
    """Whether a ticket is in a view; {{current_user.id}} is the caller."""
    text = re.sub(r"\{\{\s*current_user\.id\s*\}\}", str(call.caller["id"]), view.get("filters") or "")
    node = _parsed(text)
    now = world.now()
    used = {compare.path.removeprefix("ticket.") for compare in filters.compares(node)}
    # Inferred from the Spam and Trash views: the others hide what these two show.
    hidden = [key for key in ("spam", "trashed_datetime") if key not in used]
    words = (view.get("search") or "").lower()

    def fits(row: Row) -> bool:
        if any(row.get(key) for key in hidden) or (words and not _mentions(world, row, words)):
            return False
        return filters.matches(node, lambda path: _look(world, row, path.removeprefix("ticket.")), now)

    return fits


def _look(world: World, row: Row, path: str) -> Any:
    """What a filter's path reads of a ticket; unknown paths read nothing."""
    if field := FIELD.fullmatch(path):
        owner = world.customers.get(row.get("customer_id")) or {} if field[1] else row
        return owner.get("custom_fields", {}).get(field[2])
    if path.startswith("tags."):
        return [world.tags[tag_id].get(path[5:]) for tag_id in row.get("tags", ())]
    if path.startswith("messages."):
        return [message.get(path[9:]) for message in world.messages.where("ticket_id", row["id"])]
    if path.startswith("customer.") and path != "customer.id":
        return (world.customers.get(row.get("customer_id")) or {}).get(path[9:])
    key = PATHS.get(path, path)
    return row.get(key, render.TICKET.get(key))


def _mentions(world: World, row: Row, words: str) -> bool:
    texts = [row.get("subject"), _look(world, row, "customer.name"), _look(world, row, "customer.email")]
    texts += [message.get("body_text") for message in world.messages.where("ticket_id", row["id"])]
    return any(words in text.lower() for text in texts if text)


def deactivate_using(world: World, act: Act, path: str, value: Any) -> None:
    """Documented: deleting a tag, user or integration switches off the views that use it."""
    for view in world["views"]:
        if "deactivated_datetime" not in view and _uses(view, path, value):
            world["views"].change(view, {"deactivated_datetime": world.stamp()})
            world.log(act, "view-deactivated", "View", view["id"])


def _uses(view: Row, path: str, value: Any) -> bool:
    for compare in filters.compares(filters.parse(view.get("filters") or "")):
        values = compare.value if isinstance(compare.value, list) else [compare.value]
        if compare.path.startswith(path) and str(value) in map(str, values):
            return True
    return False


def furnish(world: World) -> None:
    """The system views of a new account."""
    for name, text in SYSTEM:
        kind = "customer-list" if name == "All customers" else "ticket-list"
        slug = name.lower().replace(" ", "-")
        world["views"].add(
            {
                "name": name,
                "slug": slug,
                "filters": text,
                "type": kind,
                "category": "system",
                "created_datetime": world.stamp(),
            }
        )


def must_be_own(_world: World, row: Row) -> None:
    """Documented: system views cannot be deleted."""
    if row.get("category") == "system":
        raise Fault(403, "You do not have enough permissions to perform this action.")


def _items(world: World, call: Call) -> Doc:
    """A page of a view; PUT brings a view of its own, over the stored one, and id 0 means none is stored."""
    view_id = call.path["view_id"]
    given = (call.body or {}).get("view") or {}
    if view_id == 0 and call.operation.method == "GET":
        raise not_found()
    stored = show(world, world.row("views", view_id)) if view_id else VIEW
    view = {**stored, **given}
    field, descending = _order(call, view)
    backward = call.query.get("direction") == "prev"
    customers = view["type"] == "customer-list"
    table, draw = (world.customers, render.customer_row) if customers else (world.tickets, render.view_row)
    fits = None if customers else predicate_of(world, call, view)
    key = _key(call, field)
    limit = call.query.get("limit", 30)
    rows = table.scan((field,), descending=descending != backward, after=key)
    found = list(islice(filter(fits, rows), limit + 1))
    more, found = len(found) > limit, found[:limit]
    if backward:
        found.reverse()
    behind = found and (more or backward)
    before = found and (more if backward else key is not None)
    meta = {
        "next_items": _link(call, "next", found[-1], field) if behind else None,
        "prev_items": _link(call, "prev", found[0], field) if before else None,
        "current_cursor": sort_value(found[0], (field,)) if found else None,
    }
    return {"data": [draw(world, row) for row in found], "meta": meta}


def _order(call: Call, view: Doc) -> tuple[str, bool]:
    field, _, direction = call.query.get("order_by", f"{view['order_by']}:{view['order_dir']}").partition(":")
    return field, direction == "desc"


def _key(call: Call, field: str) -> tuple[Any, int] | None:
    """Inferred: the two parts of a page's place are the sort value and, in ignored_item, the id of its last row."""
    value: Any = call.query.get("cursor")
    if value is None:
        return None
    if field == "priority":
        if value not in map(str, PRIORITIES.values()):
            raise wrong("cursor", "Invalid cursor.")
        value = int(value)
    return value, call.query.get("ignored_item", 0)


def _link(call: Call, direction: str, row: Row, field: str) -> str:
    kept = {key: call.query[key] for key in ("limit", "order_by") if key in call.query}
    place = {"direction": direction, "ignored_item": row["id"], "cursor": sort_value(row, (field,))}
    return f"/api/views/{call.path['view_id']}/items/?{urlencode(place | kept)}"


HANDLERS = {
    "GET /api/views/{view_id}/items": _items,
    "PUT /api/views/{view_id}/items": _items,
}
