"""Stored rows as the API shows them: every documented key, null where nothing is stored."""

import re
from importlib import resources
from typing import Any

import orjson

from connectors.gorgias.sandbox.table import Row
from connectors.gorgias.sandbox.world import Doc, World

#: The documented keys of every kind of object, with what they show where nothing is stored.
SHAPES: dict[str, Doc] = orjson.loads(
    resources.files("connectors.gorgias.sandbox").joinpath("shapes.json").read_bytes()
)
TICKET, MESSAGE, CUSTOMER = SHAPES["Ticket"], SHAPES["TicketMessage"], SHAPES["Customer"]
NOT_IN_ROWS = (
    "messages",
    "events",
    "reply_options",
    "requester",
    "satisfaction_survey",
    "assignee_user_id",
    "assignee_team_id",
)
ROW = {key: value for key, value in TICKET.items() if key not in NOT_IN_ROWS} | {
    "excerpt": None,
    "integrations": [],
    "messages_count": 0,
    "last_sent_message_not_delivered": False,
}
HOOK = {key: value for key, value in TICKET.items() if key not in (*NOT_IN_ROWS[:5], "assignee_user", "assignee_team")}
#: A picture inside a message that is a file of ours; stored, like all of them, without the host.
INLINE = 'src="/api/'
NOT_IN_TICKET = ("headers", "macros", "deleted_datetime")
SHORT = ("id", "email", "name", "firstname", "lastname", "meta")


def ticket(world: World, row: Row) -> Doc:
    """A ticket as GET, POST and PUT answer it."""
    customer_row = world.customers.get(row.get("customer_id"))
    return {
        **TICKET,
        **_shared(world, row),
        "customer": customer(world, customer_row) if customer_row else None,
        "requester": customer(world, customer_row) if customer_row else None,
        "assignee_user": user_short(world, row.get("assignee_user_id"), bio=True),
        "assignee_user_id": row.get("assignee_user_id"),
        "assignee_team_id": row.get("assignee_team_id"),
        "messages": [inner_message(world, message_row) for message_row in messages_of(world, row["id"])],
        "satisfaction_survey": next((show for show in world["surveys"] if show["ticket_id"] == row["id"]), None),
    }


def ticket_row(world: World, row: Row) -> Doc:
    """A ticket as lists show it."""
    messages = messages_of(world, row["id"])
    seen = _shared(world, row)
    return {
        **ROW,
        **{key: seen[key] for key in seen if key in ROW},
        "customer": customer_short(world.customers.get(row.get("customer_id"))),
        "assignee_user": user_short(world, row.get("assignee_user_id"), bio=True),
        "excerpt": excerpt(messages),
        "integrations": [
            {"name": found.get("name"), "address": found.get("meta", {}).get("address"), "type": found["type"]}
            for found in map(world["integrations"].get, dict.fromkeys(m.get("integration_id") for m in messages))
            if found is not None
        ],
        "messages_count": len(messages),
        "last_sent_message_not_delivered": _undelivered(messages),
    }


def view_row(world: World, row: Row) -> Doc:
    """A ticket as the items of a view show it: without custom fields and summary."""
    out = ticket_row(world, row)
    del out["custom_fields"], out["summary"]
    return out


def hook_ticket(world: World, row: Row) -> Doc:
    """A ticket as a webhook's templates see it."""
    customer_row = world.customers.get(row.get("customer_id"))
    seen = _shared(world, row)
    return {
        **HOOK,
        **{key: seen[key] for key in seen if key in HOOK},
        "customer": customer(world, customer_row) if customer_row else None,
        "customer_id": row.get("customer_id"),
        "assignee_user_id": row.get("assignee_user_id"),
        "assignee_team_id": row.get("assignee_team_id"),
    }


def _shared(world: World, row: Row) -> Doc:
    out = {key: value for key, value in row.items() if key in TICKET}
    out["uri"] = f"/api/tickets/{row['id']}/"
    out["tags"] = [tag_short(world.tags[tag_id]) for tag_id in row.get("tags", ())]
    out["custom_fields"] = {
        key: {"id": int(key), "value": value} for key, value in row.get("custom_fields", {}).items()
    }
    out["assignee_team"] = team_short(world["teams"].get(row.get("assignee_team_id")))
    return out


def messages_of(world: World, ticket_id: int) -> list[Row]:
    """A ticket's messages, oldest first."""
    rows = world.messages.where("ticket_id", ticket_id)
    rows.sort(key=lambda row: (row["created_datetime"], row["id"]))
    return rows


def excerpt(messages: list[Row]) -> str | None:
    """About 200 characters of the last message (live: a string or null)."""
    text = next(
        (found for row in reversed(messages) if (found := row.get("stripped_text") or row.get("body_text"))), ""
    )
    return re.sub(r"\s+", " ", text)[:200].strip() or None


def _undelivered(messages: list[Row]) -> bool:
    sent = [row for row in messages if row["from_agent"] and row["channel"] != "internal-note"]
    return bool(sent) and "failed_datetime" in sent[-1]


def message(world: World, row: Row) -> Doc:
    """A message as its own endpoints show it."""
    user_is_sender = row["from_agent"]
    out = {**MESSAGE, **row, "uri": f"/api/tickets/{row['ticket_id']}/messages/{row['id']}/"}
    sender, receiver = row.get("sender_id"), row.get("receiver_id")
    out["sender"] = user_short(world, sender) if user_is_sender else customer_short(world.customers.get(sender))
    out["receiver"] = customer_short(world.customers.get(receiver)) if user_is_sender else user_short(world, receiver)
    out.pop("sender_id", None)
    out.pop("receiver_id", None)
    if row.get("attachments"):
        out["attachments"] = [attachment(world, kept) for kept in row["attachments"]]
    if INLINE in (row.get("body_html") or ""):
        out["body_html"] = row["body_html"].replace(INLINE, INLINE.replace("/", f"{world.base_url}/", 1))
    return out


def inner_message(world: World, row: Row) -> Doc:
    """A message as its ticket shows it (live: three keys fewer)."""
    out = message(world, row)
    for key in NOT_IN_TICKET:
        del out[key]
    return out


def attachment(world: World, kept: Doc) -> Doc:
    """An attachment; our own files are stored without the host, which changes with every start."""
    url = world.base_url + kept["url"] if kept["url"].startswith("/") else kept["url"]
    return {"size": None, "public": True, "extra": None, **kept, "url": url}


def customer(world: World, row: Row) -> Doc:
    """A customer as GET, POST and PUT answer it, and as a ticket embeds it."""
    who = {"id": row["id"], "name": row.get("name")}
    return {
        **customer_row(world, row),
        "channels": [
            {**channel, "deleted_datetime": None, "user": who, "customer": who} for channel in row["channels"]
        ],
        "integrations": row.get("integrations", {}),
        "external_data": row.get("external_data", {}),
        "ecommerce_data": {},
    }


def customer_row(_world: World, row: Row) -> Doc:
    """A customer as lists show it: no channels, no integrations."""
    out = {**CUSTOMER, **{key: value for key, value in row.items() if key in CUSTOMER}}
    out["custom_fields"] = {
        key: {"id": int(key), "value": value} for key, value in row.get("custom_fields", {}).items()
    }
    return out


def customer_short(row: Row | None) -> Doc | None:
    """A customer as a list's ticket or a message names it."""
    return _short(row) | {"firstname": row.get("firstname", ""), "lastname": row.get("lastname", "")} if row else None


def user_short(world: World, user_id: int | None, *, bio: bool = False) -> Doc | None:
    """A user as a ticket or a message names it; None when deleted."""
    row = world.users.get(user_id)
    if row is None:
        return None
    return _short(row) | ({"bio": row.get("bio")} if bio else {})


def _short(row: Row) -> Doc:
    return {key: row.get(key) for key in SHORT}


def tag_short(row: Row) -> Doc:
    """A tag as a ticket names it."""
    return {"id": row["id"], "name": row["name"], "decoration": row.get("decoration")}


def team_short(row: Row | None) -> Doc | None:
    """A team as a ticket names it."""
    return {"id": row["id"], "name": row["name"], "decoration": row.get("decoration")} if row else None


def field_value(world: World, field_id: int, value: Any) -> Doc:
    """A custom field's value as the field endpoints show it."""
    return {"field": {**SHAPES["CustomField"], **world["custom_fields"][field_id]}, "value": value, "prediction": None}
