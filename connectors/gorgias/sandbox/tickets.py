"""Tickets: creating, changing, merging and deleting them, with the events and times that follow."""

from collections.abc import Callable
from typing import Any

from connectors.gorgias.sandbox import fields, messages, persons, render, tags
from connectors.gorgias.sandbox.pages import Call, listing
from connectors.gorgias.sandbox.table import Row
from connectors.gorgias.sandbox.views import predicate_of
from connectors.gorgias.sandbox.world import Act, Doc, World, normal, only_given, wrong

SCALARS = (
    "channel",
    "via",
    "external_id",
    "from_agent",
    "language",
    "meta",
    "priority",
    "spam",
    "status",
    "subject",
    "imported",
    "is_unread",
)
TIMES = (
    "closed_datetime",
    "opened_datetime",
    "snooze_datetime",
    "trashed_datetime",
    "updated_datetime",
    "last_message_datetime",
    "last_received_message_datetime",
)
#: Changes of these alone log nothing. is_unread: unknown, assumed silent; updated_datetime is the clock itself.
SILENT = frozenset({"is_unread", "updated_datetime"})
#: Why no survey is sent when a ticket closes: the reasons themselves are not documented.
NO_SURVEY = {"reasons": ["survey-not-enabled"]}
Typed = tuple[str, Doc | None]


def create(world: World, act: Act, body: Doc) -> Row:
    """A new ticket with its messages: ticket-created, then ticket-message-created (recorded)."""
    _check_references(world, body)
    for message in body["messages"]:
        messages.check(world, message)
    first = body["messages"][0]
    moment = world.stamp()
    values: Doc = {"status": "open", "priority": "normal", "spam": False}
    values |= {"channel": first["channel"], "via": first.get("via", "api"), "from_agent": first["from_agent"]}
    values |= {key: body[key] for key in SCALARS if body.get(key) is not None}
    values |= {key: normal(body[key]) for key in TIMES if key in body}
    values["created_datetime"] = normal(body.get("created_datetime")) or moment
    values["updated_datetime"] = values.get("updated_datetime") or moment
    values["subject"] = body.get("subject") or first.get("subject")
    if values["status"] == "closed":
        values["closed_datetime"] = values.get("closed_datetime") or moment
    values |= only_given(
        customer_id=_customer(world, act, body),
        assignee_user_id=(body.get("assignee_user") or {}).get("id"),
        assignee_team_id=(body.get("assignee_team") or {}).get("id"),
        tags=tags.ids_of(world, act, body.get("tags") or ()) or None,
    )
    row = world.tickets.add(values)
    fields.put(world, row, "Ticket", body.get("custom_fields") or [])
    world.log(act, "ticket-created", "Ticket", row["id"])
    for message in body["messages"]:
        messages.add(world, act, row, message, opening=True)
    if world.options.enrich_after is not None:
        world.later(world.options.enrich_after, lambda: _enriched(world, row["id"]))
    return row


def _check_references(world: World, body: Doc) -> None:
    for key, table in (("assignee_user", "users"), ("assignee_team", "teams")):
        wanted = (body.get(key) or {}).get("id")
        if wanted is not None and wanted not in world[table]:
            raise wrong(key, f"{wanted} does not exist.")
    for tag in body.get("tags") or ():
        if tag.get("id") is not None and tag["id"] not in world.tags:
            raise wrong("tags", f"Tag {tag['id']} does not exist.")
    fields.check_all(world, "Ticket", body.get("custom_fields") or [])


def _customer(world: World, act: Act, body: Doc) -> int | None:
    """The ticket's customer: given, or the other end of its first message."""
    first = body["messages"][0]
    person = body.get("customer") or first.get("receiver" if first["from_agent"] else "sender")
    return int(persons.customer_for(world, act, person, "customer")["id"]) if person else None


def _enriched(world: World, ticket_id: int) -> None:
    """Recorded: seconds after its creation a ticket moves once more, by nobody and in a new context."""
    row = world.tickets.get(ticket_id)
    if row is not None:
        language = row.get("language", "en")
        world.tickets.change(row, {"language": language, "updated_datetime": world.stamp()})
        world.log(Act(None), "ticket-updated", "Ticket", ticket_id)


def update(world: World, act: Act, row: Row, body: Doc) -> None:
    """Change what differs: ticket-updated, then the typed events. Inferred: no difference, no event."""
    _check_references(world, body)
    changes = _changes(world, act, row, body)
    fields.put(world, row, "Ticket", body.get("custom_fields") or [])
    before = {key: row.get(key) for key in changes}
    loud = changes.keys() - SILENT
    if loud:
        changes.setdefault("updated_datetime", world.stamp())
    if changes:
        world.tickets.change(row, changes)
    if loud:
        world.log(act, "ticket-updated", "Ticket", row["id"])
        for kind, data in _typed(world, before, changes):
            world.log(act, kind, "Ticket", row["id"], data)
        _log_tags(world, act, row["id"], before, changes)


def _changes(world: World, act: Act, row: Row, body: Doc) -> Doc:
    wanted: Doc = {key: body[key] for key in SCALARS if key in body}
    wanted |= {key: normal(body[key]) for key in TIMES if key in body}
    for key in ("assignee_user", "assignee_team"):
        if key in body:
            wanted[f"{key}_id"] = (body[key] or {}).get("id")
    if body.get("customer"):
        wanted["customer_id"] = persons.customer_for(world, act, body["customer"], "customer")["id"]
    if "tags" in body:
        wanted["tags"] = tags.ids_of(world, act, body["tags"] or ()) or None
        if set(wanted["tags"] or ()) == set(row.get("tags", ())):
            del wanted["tags"]
    if wanted.get("status") == "closed" and row["status"] == "open":
        wanted.setdefault("closed_datetime", world.stamp())
    elif wanted.get("status") == "closed":
        wanted.pop("closed_datetime", None)  # live: a closed ticket keeps its first closed_datetime
    elif wanted.get("status") == "open":
        wanted.setdefault("closed_datetime", None)
    return {key: value for key, value in wanted.items() if value != row.get(key, render.TICKET.get(key))}


def _status(_world: World, _before: Any, after: Any) -> list[Typed]:
    if after == "open":
        return [("ticket-reopened", None)]
    return [("ticket-closed", None), ("ticket-satisfaction-survey-skipped", NO_SURVEY)]


def _subject(_world: World, before: Any, after: Any) -> list[Typed]:
    # Live: the old one is left out where it was null.
    return [("ticket-subject-updated", {"new_subject": after} | only_given(old_subject=before))]


def _assignee(_world: World, _before: Any, after: Any) -> list[Typed]:
    return [("ticket-assigned", {"assignee_user_id": after}) if after else ("ticket-unassigned", None)]


def _team(_world: World, _before: Any, after: Any) -> list[Typed]:
    data = {"assignee_team_id": after, "auto_assigned": False}
    return [("ticket-team-assigned", data) if after else ("ticket-team-unassigned", None)]


def _new_customer(world: World, before: Any, after: Any) -> list[Typed]:
    old, new = world.customers.get(before), world.customers.get(after)
    names = [{"id": found["id"], "name": found.get("name")} if found else None for found in (old, new)]
    return [("ticket-customer-updated", {"old_customer": names[0], "new_customer": names[1]})]


def _spam(_world: World, _before: Any, after: Any) -> list[Typed]:
    return [("ticket-marked-spam" if after else "ticket-unmarked-spam", None)]


def _trash(_world: World, _before: Any, after: Any) -> list[Typed]:
    return [("ticket-trashed" if after else "ticket-untrashed", None)]


def _snooze(_world: World, _before: Any, after: Any) -> list[Typed]:
    # Inferred: ticket-self-unsnoozed is the alarm going off, not a person's taking it off.
    return [("ticket-snoozed", None)] if after else []


#: The typed events in the order they are written: status, survey, subject as recorded, the rest inferred.
TYPED: dict[str, Callable[[World, Any, Any], list[Typed]]] = {
    "status": _status,
    "subject": _subject,
    "assignee_user_id": _assignee,
    "assignee_team_id": _team,
    "customer_id": _new_customer,
    "spam": _spam,
    "trashed_datetime": _trash,
    "snooze_datetime": _snooze,
}


def _typed(world: World, before: Doc, changes: Doc) -> list[Typed]:
    fired = [events(world, before[key], changes[key]) for key, events in TYPED.items() if key in changes]
    return [event for some in fired for event in some]


def _log_tags(world: World, act: Act, ticket_id: int, before: Doc, changes: Doc) -> None:
    if "tags" in changes:
        old, new = before["tags"] or [], changes["tags"] or []
        added, removed = [tag for tag in new if tag not in old], [tag for tag in old if tag not in new]
        tags.log_tags(world, act, ticket_id, added, removed)


def delete(world: World, act: Act, row: Row) -> None:
    """Final: 404 from now on."""
    _drop(world, row)
    world.log(act, "ticket-deleted", "Ticket", row["id"])


def _drop(world: World, row: Row) -> None:
    for message in world.messages.where("ticket_id", row["id"]):
        world.messages.remove(message["id"])
    for survey in [found for found in world["surveys"] if found["ticket_id"] == row["id"]]:
        world["surveys"].remove(survey["id"])
    world.tickets.remove(row["id"])


def merge(world: World, act: Act, target: Row, source: Row) -> None:
    """Messages and tags move to the target; the source answers 301 (third-party), and ticket-merged is logged."""
    if target is source:
        raise wrong("source", "A ticket cannot be merged into itself.")
    for message in world.messages.where("ticket_id", source["id"]):
        world.messages.change(message, {"ticket_id": target["id"]})
    both = list(dict.fromkeys([*target.get("tags", ()), *source.get("tags", ())]))
    times = [row["last_message_datetime"] for row in (target, source) if "last_message_datetime" in row]
    _drop(world, source)
    world.moved.add({"old": f"tickets/{source['id']}", "new": target["id"]})
    world.tickets.change(
        target,
        {"tags": both or None, "last_message_datetime": max(times, default=None), "updated_datetime": world.stamp()},
    )
    world.log(act, "ticket-merged", "Ticket", source["id"])
    # Inferred: the survivor, which now shows more messages, is updated too.
    world.log(act, "ticket-updated", "Ticket", target["id"])


def _list(world: World, call: Call) -> Doc:
    query = call.query
    among = None
    for field in ("customer_id", "external_id"):
        if field in query:
            among = world.tickets.where(field, query[field])
    if "ticket_ids" in query:
        among = [found for ticket_id in dict.fromkeys(query["ticket_ids"]) if (found := world.tickets.get(ticket_id))]
    in_view = predicate_of(world, call, world.row("views", query["view_id"])) if "view_id" in query else None

    def fits(row: Row) -> bool:
        # Documented: trashed tickets are in the list unless trashed=false.
        if query.get("trashed") is False and "trashed_datetime" in row:
            return False
        same = all(row.get(key) == query[key] for key in ("customer_id", "external_id") if key in query)
        # No rule has run here, so a rule_id finds nothing.
        return same and "rule_id" not in query and (in_view is None or in_view(row))

    return listing(world, call, world.tickets, render.ticket_row, fits, among)


def _created(world: World, call: Call) -> Doc:
    return render.ticket(world, create(world, call.act, call.body))


def _updated(world: World, call: Call) -> Doc:
    row = world.row("tickets", call.path["id"])
    update(world, call.act, row, call.body)
    return render.ticket(world, row)


HANDLERS = {
    "GET /api/tickets": _list,
    "POST /api/tickets": _created,
    "GET /api/tickets/{id}": lambda world, call: render.ticket(world, world.row("tickets", call.path["id"])),
    "PUT /api/tickets/{id}": _updated,
    "DELETE /api/tickets/{id}": lambda world, call: delete(world, call.act, world.row("tickets", call.path["id"])),
}
