"""Tags of the account and tags on tickets. A call that changes nothing is silent (live)."""

from collections.abc import Iterable

from connectors.gorgias.sandbox import render
from connectors.gorgias.sandbox.pages import Call, listing
from connectors.gorgias.sandbox.table import Row
from connectors.gorgias.sandbox.views import deactivate_using
from connectors.gorgias.sandbox.world import Act, Doc, Fault, World, wrong


def show(world: World, row: Row) -> Doc:
    """A tag with how many tickets carry it."""
    return {
        **render.SHAPES["Tag"],
        **row,
        "usage": world.tickets.count("tags", row["id"]),
        "uri": f"/api/tags/{row['id']}/",
    }


def create(world: World, act: Act, body: Doc) -> Row:
    """A new tag; by the general rule a taken name conflicts (inferred)."""
    if world.tags.where("name", body["name"]):
        raise Fault(409, "The resource already exists.")
    row = world.tags.add(body | {"created_datetime": world.stamp()})
    world.log(act, "tag-created", "Tag", row["id"])
    return row


def ids_of(world: World, act: Act, given: Iterable[Doc]) -> list[int]:
    """Tags named by id or by name. Third-party: an unknown name is made; inferred: an unknown id is a 400."""
    found: dict[int, None] = {}
    for item in given:
        found[_id_of(world, act, item)] = None
    return list(found)


def _id_of(world: World, act: Act, item: Doc) -> int:
    if item.get("id") is not None:
        if item["id"] not in world.tags:
            raise wrong("tags", f"Tag {item['id']} does not exist.")
        return int(item["id"])
    if "name" not in item:
        raise wrong("tags", "A tag needs an id or a name.")
    known = world.tags.where("name", item["name"])
    return int((known[0] if known else create(world, act, {"name": item["name"]}))["id"])


def _named(world: World, act: Act, body: Doc) -> list[int]:
    ids: list[Doc] = [{"id": tag_id} for tag_id in body.get("ids", ())]
    return ids_of(world, act, ids + [{"name": name} for name in body.get("names", ())])


def set_on(world: World, act: Act, ticket: Row, wanted: list[int]) -> None:
    """Give a ticket exactly these tags; ticket-updated comes first (live)."""
    present = ticket.get("tags", [])
    added = [tag_id for tag_id in wanted if tag_id not in present]
    removed = [tag_id for tag_id in present if tag_id not in wanted]
    if not added and not removed:
        return
    kept = [tag_id for tag_id in present if tag_id in wanted] + added
    world.tickets.change(ticket, {"tags": kept or None, "updated_datetime": world.stamp()})
    world.log(act, "ticket-updated", "Ticket", ticket["id"])
    log_tags(world, act, ticket["id"], added, removed)


def log_tags(world: World, act: Act, ticket_id: int, added: list[int], removed: list[int]) -> None:
    """The typed events of a change of tags."""
    if added:
        world.log(act, "ticket-tags-added", "Ticket", ticket_id, {"tags_added": added})
    if removed:
        world.log(act, "ticket-tags-removed", "Ticket", ticket_id, {"tags_removed": removed})


def _change(world: World, call: Call, mode: str) -> None:
    ticket = world.row("tickets", call.path["ticket_id"])
    body = call.body or {}
    if mode != "set" and not body.get("ids") and not body.get("names"):
        raise wrong("ids", "Either ids or names are required.")
    present = ticket.get("tags", [])
    if mode == "remove":
        gone = {row["id"] for name in body.get("names", ()) for row in world.tags.where("name", name)}
        gone |= set(body.get("ids", ()))
        set_on(world, call.act, ticket, [tag_id for tag_id in present if tag_id not in gone])
        return
    named = _named(world, call.act, body)
    set_on(world, call.act, ticket, named if mode == "set" else list(dict.fromkeys(present + named)))


def _edited(world: World, call: Call) -> Doc:
    """Documented: a new name logs tag-renamed as well; no ticket moves (live)."""
    row = world.row("tags", call.path["id"])
    changes = {key: value for key, value in call.body.items() if value != row.get(key)}
    if any(other is not row for other in world.tags.where("name", changes.get("name"))):
        raise Fault(409, "The resource already exists.")
    if changes:
        world.tags.change(row, changes)
        world.log(call.act, "tag-updated", "Tag", row["id"])
    if "name" in changes:
        world.log(call.act, "tag-renamed", "Tag", row["id"])
    return show(world, row)


def delete(world: World, act: Act, row: Row) -> None:
    """Refused while a macro or a rule uses it; views that do are deactivated (documented)."""
    quoted = f'"{row["name"]}"'
    in_macro = any(
        row["name"] in [name.strip() for name in str(action.get("arguments", {}).get("tags", "")).split(",")]
        for macro in world["macros"]
        for action in macro.get("actions", ())
    )
    if in_macro or any(quoted in rule["code"] for rule in world["rules"]):
        raise Fault(409, "The tag is used by a macro or a rule.")
    for ticket in world.tickets.where("tags", row["id"]):
        world.tickets.change(ticket, {"tags": [other for other in ticket["tags"] if other != row["id"]] or None})
    world.tags.remove(row["id"])
    world.log(act, "tag-deleted", "Tag", row["id"])
    deactivate_using(world, act, "ticket.tags", row["name"])


def _delete_many(world: World, call: Call) -> None:
    for tag_id in call.body["ids"]:
        delete(world, call.act, world.row("tags", tag_id))


def _merged(world: World, call: Call) -> Doc:
    """Sources are deleted; tag-merged is logged on each; no ticket event was seen (live)."""
    target = world.row("tags", call.path["destination_tag_id"])
    sources = [world.row("tags", tag_id) for tag_id in call.body["source_tags_ids"]]
    if target in sources:
        raise wrong("source_tags_ids", "A tag cannot be merged into itself.")
    for source in sources:
        for ticket in world.tickets.where("tags", source["id"]):
            kept = [target["id"] if tag_id == source["id"] else tag_id for tag_id in ticket["tags"]]
            world.tickets.change(ticket, {"tags": list(dict.fromkeys(kept))})
        world.tags.remove(source["id"])
        world.log(call.act, "tag-merged", "Tag", source["id"])
    return show(world, target)


def _list(world: World, call: Call) -> Doc:
    text = call.query.get("search", "").lower()
    if call.query.get("order_by", "").startswith("usage"):
        for row in world.tags:
            row["usage"] = world.tickets.count("tags", row["id"])
    return listing(world, call, world.tags, show, lambda row: text in row["name"].lower())


def _on_ticket(world: World, call: Call) -> Doc:
    ticket = world.row("tickets", call.path["ticket_id"])
    return {"data": [show(world, world.tags[tag_id]) for tag_id in ticket.get("tags", ())]}


HANDLERS = {
    "GET /api/tags": _list,
    "POST /api/tags": lambda world, call: show(world, create(world, call.act, call.body)),
    "DELETE /api/tags": _delete_many,
    "GET /api/tags/{id}": lambda world, call: show(world, world.row("tags", call.path["id"])),
    "PUT /api/tags/{id}": _edited,
    "DELETE /api/tags/{id}": lambda world, call: delete(world, call.act, world.row("tags", call.path["id"])),
    "PUT /api/tags/{destination_tag_id}/merge": _merged,
    "GET /api/tickets/{ticket_id}/tags": _on_ticket,
    "POST /api/tickets/{ticket_id}/tags": lambda world, call: _change(world, call, "add"),
    "PUT /api/tickets/{ticket_id}/tags": lambda world, call: _change(world, call, "set"),
    "DELETE /api/tickets/{ticket_id}/tags": lambda world, call: _change(world, call, "remove"),
}
