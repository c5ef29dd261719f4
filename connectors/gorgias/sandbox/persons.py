"""Customers: found or made by reference, edited, merged; and users found by reference."""

from collections.abc import Mapping
from typing import Any

from connectors.gorgias.sandbox import fields, render
from connectors.gorgias.sandbox.pages import Call, listing
from connectors.gorgias.sandbox.table import Row
from connectors.gorgias.sandbox.world import Act, Doc, Fault, World, normal, not_found, wrong

EDITABLE = ("name", "firstname", "lastname", "external_id", "language", "timezone", "note", "meta", "data", "email")
EXACT = ("name", "language", "timezone", "external_id")


def customer_for(world: World, act: Act, person: Doc, where: str) -> Row:
    """The customer a nested person means: an id refers, an e-mail finds or creates, other keys edit (documented)."""
    if person.get("id") is not None:
        found = world.customers.get(person["id"])
        if found is None:
            raise wrong(where, f"Customer {person['id']} does not exist.")
    else:
        found = _by_identity(world, person)
        if found is None:
            return create(world, act, person)
    edit(world, act, found, {key: value for key, value in person.items() if key in EDITABLE and key != "email"})
    return found


def _by_identity(world: World, person: Doc) -> Row | None:
    if person.get("email"):
        return next(iter(world.customers.where("email", person["email"].lower())), None)
    if person.get("external_id"):
        return next(iter(world.customers.where("external_id", person["external_id"])), None)
    return None


def user_for(world: World, person: Doc, where: str) -> Row:
    """The user a nested person means. Inferred: a message never makes a user, so an unknown one is a 400."""
    if person.get("id") is not None:
        found = world.users.get(person["id"])
    else:
        found = next(iter(world.users.where("email", (person.get("email") or "").lower())), None)
    if found is None:
        raise wrong(where, "User does not exist.")
    return found


def create(world: World, act: Act, body: Doc) -> Row:
    """A new customer; some identifier must be there, and an e-mail must be free."""
    if not any(body.get(key) for key in ("email", "external_id", "name", "channels")):
        raise wrong("channels", "Missing data for required field.", "Failed to create customer")
    email = _email(body)
    _must_be_free(world, email)
    moment = world.stamp()
    values = {key: body[key] for key in EDITABLE if key in body} | {
        "email": email,
        "channels": _channels(world, body, moment),
        "created_datetime": moment,
        "updated_datetime": moment,
    }
    row = world.customers.add(_named(values))
    fields.put(world, row, "Customer", body.get("custom_fields") or [])
    world.log(act, "customer-created", "Customer", row["id"])
    return row


def edit(world: World, act: Act, row: Row, body: Doc) -> None:
    """Change what differs; channels replace the set (documented)."""
    changes = {key: body[key] for key in EDITABLE if key in body and body[key] != row.get(key)}
    if "email" in body:
        changes["email"] = _email(body)
        _must_be_free(world, changes["email"], row["id"])
    if "channels" in body:
        changes["channels"] = _channels(world, body, world.stamp())
    changes = {key: value for key, value in changes.items() if value != row.get(key)}
    fields.put(world, row, "Customer", body.get("custom_fields") or [])
    if changes:
        world.customers.change(row, changes | {"updated_datetime": world.stamp()})
        world.log(act, "customer-updated", "Customer", row["id"])


def _named(values: Doc) -> Doc:
    name = values.get("name") or ""
    first, _, last = name.partition(" ")
    return {"firstname": first, "lastname": last} | values


def _email(body: Doc) -> str | None:
    """The customer's e-mail, lowered (live); the first e-mail channel's where none is given."""
    channels = body.get("channels") or ()
    given = body.get("email") or next((c.get("address") for c in channels if c.get("type") == "email"), None)
    return given.lower() if given else None


def _must_be_free(world: World, email: str | None, but: int = 0) -> None:
    if email and any(row["id"] != but for row in world.customers.where("email", email)):
        raise Fault(409, "The resource already exists.")


def _channels(world: World, body: Doc, moment: str) -> list[Doc]:
    """The channels of a customer, addresses as typed (live); an e-mail alone makes one."""
    given = list(body.get("channels") or ())
    email = body.get("email")
    if email and not any((c.get("address") or "").lower() == email.lower() for c in given):
        given.insert(0, {"type": "email", "address": email, "preferred": True})
    return [_channel(world, channel, moment) for channel in given]


def _channel(world: World, channel: Doc, moment: str) -> Doc:
    world.channel_ids += 1
    return {
        "id": world.channel_ids,
        "type": channel.get("type", "email"),
        "address": channel.get("address"),
        "preferred": channel.get("preferred", False),
        "created_datetime": moment,
        "updated_datetime": moment,
    }


def merge(world: World, act: Act, target: Row, source: Row) -> Row:
    """Move everything of the source to the target; the source's id answers 301 from now on."""
    if target is source:
        raise wrong("source_id", "A customer cannot be merged into itself.")
    if set(source.get("integrations", {})) & set(target.get("integrations", {})):
        raise Fault(409, "Both customers have data for the same integration.")
    for ticket in world.tickets.where("customer_id", source["id"]):
        world.tickets.change(ticket, {"customer_id": target["id"]})
    for message in list(world.messages):
        moved = {key: target["id"] for key in _customer_keys(message) if message.get(key) == source["id"]}
        if moved:
            world.messages.change(message, moved)
    world.customers.remove(source["id"])
    world.moved.add({"old": f"customers/{source['id']}", "new": target["id"]})
    known = {(c["type"], c["address"]) for c in target["channels"]}
    more = [c for c in source["channels"] if (c["type"], c["address"]) not in known]
    world.customers.change(target, {"channels": target["channels"] + more, "updated_datetime": world.stamp()})
    world.log(act, "customer-merged", "Customer", target["id"])
    return target


def _customer_keys(message: Row) -> tuple[str, ...]:
    return ("receiver_id",) if message["from_agent"] else ("sender_id",)


def delete(world: World, act: Act, row: Row) -> None:
    """Irreversible. Inferred: tickets stay, without their customer."""
    for ticket in world.tickets.where("customer_id", row["id"]):
        world.tickets.change(ticket, {"customer_id": None})
    world.customers.remove(row["id"])
    world.log(act, "customer-deleted", "Customer", row["id"])


def _list(world: World, call: Call) -> Doc:
    query = call.query
    among = None
    for field in ("email", "external_id"):
        if field in query:
            wanted = query[field].lower() if field == "email" else query[field]
            among = world.customers.where(field, wanted)

    def fits(row: Row) -> bool:
        same = all(row.get(key) == query[key] for key in EXACT if key in query)
        return same and _has_channel(row, query)

    return listing(world, call, world.customers, render.customer_row, fits, among)


def _has_channel(row: Row, query: Mapping[str, Any]) -> bool:
    wanted = {"type": query.get("channel_type"), "address": query.get("channel_address")}
    asked = {key: value for key, value in wanted.items() if value is not None}
    return not asked or any(all(c[key] == value for key, value in asked.items()) for c in row["channels"])


def _set_data(world: World, call: Call) -> None:
    row = world.row("customers", call.path["customer_id"])
    app = "api"  # inferred: the calling app's id, which an API key does not have
    stored = row.get("external_data", {})
    version = normal(call.body.get("version")) or world.stamp()
    if version < stored.get(app, {}).get("__version__", ""):
        return  # documented: an older version is silently ignored
    data = call.body["data"] if isinstance(call.body["data"], dict) else {"value": call.body["data"]}
    kept = {**data, "__app_name__": "api", "__version__": version}
    world.customers.change(row, {"external_data": stored | {app: kept}})


def _delete_many(world: World, call: Call) -> None:
    for customer_id in call.body["ids"]:
        delete(world, call.act, world.row("customers", customer_id))


def _created(world: World, call: Call) -> Any:
    return render.customer(world, create(world, call.act, call.body))


def _edited(world: World, call: Call) -> Any:
    row = world.row("customers", call.path["id"])
    edit(world, call.act, row, call.body)
    return render.customer(world, row)


def _merged(world: World, call: Call) -> Any:
    target = world.customers.get(call.query["target_id"])
    source = world.customers.get(call.query["source_id"])
    if target is None or source is None:
        raise not_found()
    return render.customer(world, merge(world, call.act, target, source))


HANDLERS = {
    "GET /api/customers": _list,
    "POST /api/customers": _created,
    "DELETE /api/customers": _delete_many,
    "PUT /api/customers/merge": _merged,
    "GET /api/customers/{id}": lambda world, call: render.customer(world, world.row("customers", call.path["id"])),
    "PUT /api/customers/{id}": _edited,
    "DELETE /api/customers/{id}": lambda world, call: delete(world, call.act, world.row("customers", call.path["id"])),
    "PUT /api/customers/{customer_id}/data": _set_data,
}
