"""Messages: adding, sending, editing and deleting them, with the events and times that follow."""

from typing import Any

from connectors.gorgias.sandbox import persons, render
from connectors.gorgias.sandbox.pages import Call, listing, uri
from connectors.gorgias.sandbox.table import Row
from connectors.gorgias.sandbox.world import Act, Doc, Fault, Mail, World, normal, not_found, only_given, wrong

NOTE = "internal-note"
#: Channels on which an agent's message leaves for the customer. Inferred from the channel names: `api`, `phone`,
#: `aircall`, `help-center` and own slugs have no way out that the reference names.
SENDABLE = frozenset(
    {
        "email",
        "chat",
        "contact_form",
        "facebook",
        "facebook-mention",
        "facebook-messenger",
        "facebook-recommendations",
        "instagram-ad-comment",
        "instagram-comment",
        "instagram-direct-message",
        "instagram-mention",
        "sms",
        "twitter",
        "twitter-direct-message",
        "whatsapp",
        "yotpo-review",
    }
)
COPIED = (
    "channel",
    "from_agent",
    "body_html",
    "body_text",
    "stripped_html",
    "stripped_text",
    "stripped_signature",
    "subject",
    "public",
    "source",
    "integration_id",
    "message_id",
    "external_id",
    "headers",
    "meta",
    "imported",
    "actions",
    "macros",
    "last_sending_error",
    "attachments",
)
TIMES = ("created_datetime", "sent_datetime", "failed_datetime", "opened_datetime", "deleted_datetime")
NO_INTEGRATION = "No integration was found to send this email."
QUOTA = "You do not have enough permissions to perform this action. Messaging quota exceeded."


def check(world: World, body: Doc) -> None:
    """Refuse before anything is written."""
    if body["channel"] == "email" and not ((body.get("source") or {}).get("from") or {}).get("address"):
        raise wrong("source", "From field is missing or empty", "Failed to create message")
    if (
        world.options.messaging_quota is not None
        and _will_send(body)
        and len(world.outbox) >= (world.options.messaging_quota)
    ):
        raise Fault(403, QUOTA)


def _will_send(body: Doc) -> bool:
    """Documented: an agent's message on a sendable channel without sent_datetime is sent for real."""
    never = body.get("sent_datetime") or body.get("failed_datetime")
    return bool(body["from_agent"]) and body["channel"] in SENDABLE and not never


def add(world: World, act: Act, ticket: Row, body: Doc, *, opening: bool = False) -> Row:
    """A new message; `opening` ones come with their ticket, whose own events they need no more."""
    check(world, body)
    moment = world.stamp()
    row = world.messages.add(_values(world, act, ticket, body, moment))
    _touch(world, act, ticket, row, moment, opening=opening)
    if _will_send(body):
        send(world, act, row)
    return row


def _values(world: World, act: Act, ticket: Row, body: Doc, moment: str) -> Doc:
    values = {key: body[key] for key in COPIED if key in body} | {
        key: normal(body[key]) for key in TIMES if key in body
    }
    values |= {"ticket_id": ticket["id"], "via": body.get("via", "api")}
    values.setdefault("created_datetime", moment)
    values["created_datetime"] = values["created_datetime"] or moment
    if body["channel"] == NOTE:
        values["public"] = False  # documented of notes; inferred: whatever was asked for
    if not body["from_agent"]:
        # Live: what a customer sent is sent, at the time it was created.
        values["sent_datetime"] = values.get("sent_datetime") or values["created_datetime"]
    values |= _ends(world, act, ticket, body)
    values["attachments"] = [_kept(world, given) for given in body.get("attachments") or ()] or None
    values["integration_id"] = body.get("integration_id") or _integration(world, body)
    return {**values, "stripped_text": body.get("stripped_text", body.get("body_text"))}


def _ends(world: World, act: Act, ticket: Row, body: Doc) -> Doc:
    """Who sent it to whom: agent to customer, or the other way round."""
    sender, receiver = body.get("sender"), body.get("receiver")
    if body["from_agent"]:
        who = persons.user_for(world, sender, "sender")["id"] if sender else act.user_id
        to = persons.customer_for(world, act, receiver, "receiver")["id"] if receiver else ticket.get("customer_id")
        # Documented: notes have no receiver unless one is given.
        return only_given(sender_id=who, receiver_id=to if receiver or body["channel"] != NOTE else None)
    who = persons.customer_for(world, act, sender, "sender")["id"] if sender else ticket.get("customer_id")
    to = persons.user_for(world, receiver, "receiver")["id"] if receiver else None
    return only_given(sender_id=who, receiver_id=to)


def _kept(world: World, given: Doc) -> Doc:
    return {**given, "url": given["url"].removeprefix(world.base_url)}


def _integration(world: World, body: Doc) -> int | None:
    """The e-mail integration that a source's own address names, if there is one."""
    source = body.get("source") or {}
    ends = [source.get("from")] if body["from_agent"] else source.get("to") or []
    addresses = {end["address"].lower() for end in ends if end and end.get("address")}
    for row in world["integrations"]:
        if row.get("meta", {}).get("address", "").lower() in addresses and "deactivated_datetime" not in row:
            return int(row["id"])
    return None


def _touch(world: World, act: Act, ticket: Row, row: Row, moment: str, *, opening: bool) -> None:
    """The ticket's own times and state after a message, and the events (recorded order)."""
    created = row["created_datetime"]
    changes: Doc = {"last_message_datetime": max(created, ticket.get("last_message_datetime", ""))}
    if not row["from_agent"]:
        changes["last_received_message_datetime"] = max(created, ticket.get("last_received_message_datetime", ""))
    # Inferred: unread until an agent writes.
    changes["is_unread"] = not row["from_agent"]
    # Recorded for a message; inferred: not for a note, which no customer sees.
    reopens = not opening and ticket["status"] == "closed" and row["channel"] != NOTE
    if reopens:
        changes |= {"status": "open", "closed_datetime": None}
    if not opening:
        changes["updated_datetime"] = moment
    world.tickets.change(ticket, changes)
    world.log(act, "ticket-message-created", "TicketMessage", row["id"])
    if not opening:
        world.log(act, "ticket-updated", "Ticket", ticket["id"])
    if reopens:
        world.log(act, "ticket-reopened", "Ticket", ticket["id"])


def send(world: World, act: Act, row: Row) -> None:
    """Queue a message: it is on its way, and a moment later sent or failed."""
    deliverable = row["channel"] != "email" or _integration(world, row) is not None
    source = row.get("source") or {}
    to = tuple(end["address"] for key in ("to", "cc", "bcc") for end in source.get(key) or () if end.get("address"))
    if act.api:
        world.outbox.append(
            Mail(
                row["ticket_id"],
                row["id"],
                row["channel"],
                to,
                row.get("subject"),
                row.get("body_text"),
                deliverable,
            )
        )
    world.later(world.options.send_delay, lambda: _sent(world, row["id"], deliverable))


def _sent(world: World, message_id: int, deliverable: bool) -> None:
    row = world.messages.get(message_id)
    if row is None or "sent_datetime" in row:
        return
    if deliverable:
        # Inferred: neither an event nor the ticket's updated_datetime tells.
        world.messages.change(row, {"sent_datetime": world.stamp()})
        return
    world.messages.change(
        row, {"failed_datetime": world.stamp(), "last_sending_error": {"error": NO_INTEGRATION}, "is_retriable": True}
    )
    world.log(Act(None), "ticket-message-failed", "TicketMessage", message_id)


def edit(world: World, act: Act, row: Row, body: Doc) -> None:
    """Change what is sent. Inferred: the ticket's updated_datetime does not move (unknown, and the worse case)."""
    changes = {key: body[key] for key in COPIED if key in body and body[key] != row.get(key, render.MESSAGE[key])}
    changes |= {key: normal(body[key]) for key in TIMES if key in body}
    ticket = world.tickets[row["ticket_id"]]
    if "sender" in body or "receiver" in body:
        changes |= {key: value for key, value in _ends(world, act, ticket, body).items() if key[:-3] in body}
    if "attachments" in changes:
        changes["attachments"] = [_kept(world, given) for given in body["attachments"] or ()] or None
    if "body_text" in changes and "stripped_text" not in body:
        changes["stripped_text"] = changes["body_text"]
    if row["channel"] == NOTE:
        changes.pop("public", None)
    if changes:
        world.messages.change(row, changes)
    if changes and world.options.message_events:
        world.log(act, "ticket-message-updated", "TicketMessage", row["id"])


def delete(world: World, act: Act, row: Row) -> None:
    """Take a message away. Recorded: the ticket's times stay as they are."""
    world.messages.remove(row["id"])
    if world.options.message_events:
        world.log(act, "ticket-message-deleted", "TicketMessage", row["id"])


def _found(world: World, call: Call) -> Row:
    ticket = world.row("tickets", call.path["ticket_id"])
    row = world.messages.get(call.path["id"])
    if row is None or row["ticket_id"] != ticket["id"]:
        raise not_found()
    return row


def _created(world: World, call: Call) -> Doc:
    ticket = world.row("tickets", call.path["ticket_id"])
    return render.message(world, add(world, call.act, ticket, call.body))


def _edited(world: World, call: Call) -> Doc:
    row = _found(world, call)
    edit(world, call.act, row, call.body)
    if call.query.get("action") in ("retry", "force"):
        world.messages.change(row, {"failed_datetime": None, "last_sending_error": None, "is_retriable": None})
        if _will_send(row):
            send(world, call.act, row)
    return render.message(world, row)


def _list(world: World, call: Call) -> Doc:
    ticket_id = call.query.get("ticket_id")
    among = None if ticket_id is None else world.messages.where("ticket_id", ticket_id)
    return listing(world, call, world.messages, render.message, among=among)


def _old_list(world: World, call: Call) -> Doc:
    """The deprecated list: page based, oldest first (live)."""
    rows = render.messages_of(world, world.row("tickets", call.path["ticket_id"])["id"])
    size, number = call.query.get("limit", 30), call.query.get("page", 1)
    pages = max(1, -(-len(rows) // size))
    meta: dict[str, Any] = {
        "page": f"{uri(call).split('?')[0]}?page={number}",
        "per_page": size,
        "current_page": number,
        "item_count": len(rows),
        "nb_pages": pages,
    }
    if number < pages:
        meta["next_page"] = f"{uri(call).split('?')[0]}?page={number + 1}"
    data = [render.message(world, row) for row in rows[(number - 1) * size : number * size]]
    return {"object": "list", "uri": uri(call), "data": data, "meta": meta}


HANDLERS = {
    "GET /api/messages": _list,
    "GET /api/tickets/{ticket_id}/messages": _old_list,
    "POST /api/tickets/{ticket_id}/messages": _created,
    "GET /api/tickets/{ticket_id}/messages/{id}": lambda world, call: render.message(world, _found(world, call)),
    "PUT /api/tickets/{ticket_id}/messages/{id}": _edited,
    "DELETE /api/tickets/{ticket_id}/messages/{id}": lambda world, call: delete(world, call.act, _found(world, call)),
}
