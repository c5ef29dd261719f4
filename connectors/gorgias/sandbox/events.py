"""The log of events: the only list with a filter on time."""

from connectors.gorgias.sandbox.pages import Call, listing
from connectors.gorgias.sandbox.render import SHAPES
from connectors.gorgias.sandbox.table import Row
from connectors.gorgias.sandbox.world import Doc, World, normal, wrong

FOREVER = "9999"
BOUNDS = {
    "gt": lambda seen, bound: seen > bound,
    "gte": lambda seen, bound: seen >= bound,
    "lt": lambda seen, bound: seen < bound,
    "lte": lambda seen, bound: seen <= bound,
}


def show(_world: World, row: Row) -> Doc:
    """An event as the API answers it."""
    return {**SHAPES["Event"], **row, "uri": f"/api/events/{row['id']}/"}


def _list(world: World, call: Call) -> Doc:
    query = call.query
    if "object_type" in query and "object_id" not in query:
        raise wrong("object_id", "Missing data for required field.")  # recorded as a 400
    bounds = {op: normal(query[f"created_datetime[{op}]"]) or "" for op in BOUNDS if f"created_datetime[{op}]" in query}
    types, users = set(query.get("types", ())), query.get("user_ids")

    among = world.events.where("object_id", query["object_id"]) if "object_id" in query else None

    def fits(row: Row) -> bool:
        if types and row["type"] not in types:
            return False
        same = query.get("object_type", row["object_type"]) == row["object_type"]
        asked = same and (users is None or row.get("user_id") in users)
        return asked and all(BOUNDS[op](row["created_datetime"], bound) for op, bound in bounds.items())

    low = max((bounds[op] for op in ("gt", "gte") if op in bounds), default="")
    high = min((bounds[op] for op in ("lt", "lte") if op in bounds), default=FOREVER)
    return listing(world, call, world.events, show, fits, among, (low, high))


HANDLERS = {
    "GET /api/events": _list,
    "GET /api/events/{id}": lambda world, call: show(world, world.row("events", call.path["id"])),
}
