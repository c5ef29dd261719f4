"""What people do in the helpdesk, for tests and demos: the same changes and events as clicks there make.

Nothing here goes to the outbox, which holds only what API requests would have sent.
"""

from collections.abc import Iterable
from typing import Any

from connectors.gorgias.sandbox import fields, files, messages, persons, render, tags, tickets
from connectors.gorgias.sandbox.table import Row
from connectors.gorgias.sandbox.world import Act, Doc, World

Who = int | str | None


class People(World):
    """A world with hands: each method is one thing a person does, and returns the id of what it made, if anything."""

    def agent(self, who: Who = None) -> int:
        """The id of a user, by id or e-mail; of nobody in particular, the first who is not the API's own."""
        if isinstance(who, int):
            return who
        if who is not None:
            return int(self.users.where("email", who.lower())[0]["id"])
        others = [row["id"] for row in self.users if row["email"] != self.options.email.lower()]
        return int(others[0] if others else next(iter(self.users))["id"])

    def customer(self, email: str, name: str = "") -> int:
        """The id of a customer, made where there is none of this e-mail."""
        found = self.customers.where("email", email.lower())
        if found:
            return int(found[0]["id"])
        person = {"email": email, "name": name or email.partition("@")[0].title()}
        return int(persons.create(self, Act(None), person)["id"])

    def create_ticket(
        self,
        subject: str,
        text: str,
        *,
        customer: str = "ann@customer.example",
        by: Who = None,
        message: Doc | None = None,
        ticket: Doc | None = None,
    ) -> int:
        """A customer writes in by e-mail; with `by`, an agent opens the ticket and writes first."""
        customer_id = self.customer(customer)
        first = self._incoming(text, customer_id) if by is None else self._outgoing(text, customer_id, self.agent(by))
        body = {"subject": subject, "customer": {"id": customer_id}, "messages": [{**first, **(message or {})}]}
        act = Act(None if by is None else self.agent(by))
        return int(tickets.create(self, act, {**body, "channel": "email", "via": "email", **(ticket or {})})["id"])

    def reply(self, ticket_id: int, text: str, *, by: Who = None, **message: Any) -> int:
        """An agent answers the customer."""
        agent_id = self.agent(by)
        body = self._outgoing(text, self.tickets[ticket_id].get("customer_id"), agent_id)
        return self._add(Act(agent_id), ticket_id, {**body, **message})

    def customer_reply(self, ticket_id: int, text: str, **message: Any) -> int:
        """The customer writes again."""
        body = self._incoming(text, self.tickets[ticket_id].get("customer_id"))
        return self._add(Act(None), ticket_id, {**body, **message})

    def note(self, ticket_id: int, text: str, *, by: Who = None, **message: Any) -> int:
        """An agent writes an internal note."""
        agent_id = self.agent(by)
        body = {
            "channel": messages.NOTE,
            "via": messages.NOTE,
            "from_agent": True,
            "public": False,
            "body_text": text,
            "source": {"type": messages.NOTE},
            "sender": {"id": agent_id},
        }
        return self._add(Act(agent_id), ticket_id, {**body, **message})

    def update_ticket(self, ticket_id: int, changes: Doc, *, by: Who = None) -> None:
        """An agent changes a ticket, in the words of PUT /api/tickets/{id}."""
        tickets.update(self, Act(self.agent(by)), self.tickets[ticket_id], changes)

    def set_status(self, ticket_id: int, status: str, *, by: Who = None) -> None:
        """Close or reopen."""
        self.update_ticket(ticket_id, {"status": status}, by=by)

    def set_priority(self, ticket_id: int, priority: str, *, by: Who = None) -> None:
        """Set the priority."""
        self.update_ticket(ticket_id, {"priority": priority}, by=by)

    def set_subject(self, ticket_id: int, subject: str, *, by: Who = None) -> None:
        """Rename a ticket."""
        self.update_ticket(ticket_id, {"subject": subject}, by=by)

    def assign(self, ticket_id: int, who: Who, *, by: Who = None) -> None:
        """Give a ticket to an agent, or with None to nobody."""
        self.update_ticket(ticket_id, {"assignee_user": {"id": None if who is None else self.agent(who)}}, by=by)

    def assign_team(self, ticket_id: int, team_id: int | None, *, by: Who = None) -> None:
        """Give a ticket to a team, or with None to none."""
        self.update_ticket(ticket_id, {"assignee_team": {"id": team_id}}, by=by)

    def trash(self, ticket_id: int, *, by: Who = None) -> None:
        """Put a ticket into the trash."""
        self.update_ticket(ticket_id, {"trashed_datetime": self.stamp()}, by=by)

    def untrash(self, ticket_id: int, *, by: Who = None) -> None:
        """Take a ticket out of the trash."""
        self.update_ticket(ticket_id, {"trashed_datetime": None}, by=by)

    def mark_spam(self, ticket_id: int, spam: bool = True, *, by: Who = None) -> None:
        """Call a ticket spam, or no spam."""
        self.update_ticket(ticket_id, {"spam": spam}, by=by)

    def snooze(self, ticket_id: int, until: str | None, *, by: Who = None) -> None:
        """Snooze until a moment, or with None wake."""
        self.update_ticket(ticket_id, {"snooze_datetime": until}, by=by)

    def wake(self, ticket_id: int) -> None:
        """A snoozed ticket's alarm goes off, by nobody (its event is documented, the rest inferred)."""
        changes = {"snooze_datetime": None, "status": "open", "updated_datetime": self.stamp()}
        self.tickets.change(self.tickets[ticket_id], changes)
        self.log(Act(None), "ticket-self-unsnoozed", "Ticket", ticket_id)

    def add_tags(self, ticket_id: int, *names: str, by: Who = None) -> None:
        """Add tags, made where they are new."""
        act, ticket = Act(self.agent(by)), self.tickets[ticket_id]
        ids = tags.ids_of(self, act, [{"name": name} for name in names])
        tags.set_on(self, act, ticket, list(dict.fromkeys([*ticket.get("tags", ()), *ids])))

    def remove_tags(self, ticket_id: int, *names: str, by: Who = None) -> None:
        """Remove tags."""
        ticket = self.tickets[ticket_id]
        kept = [tag_id for tag_id in ticket.get("tags", ()) if self.tags[tag_id]["name"] not in names]
        tags.set_on(self, Act(self.agent(by)), ticket, kept)

    def set_field(self, ticket_id: int, field_id: int, value: Any) -> None:
        """Set a custom field, in silence."""
        fields.put(self, self.tickets[ticket_id], "Ticket", [{"id": field_id, "value": value}])

    def edit_message(self, message_id: int, text: str, *, by: Who = None, **changes: Any) -> None:
        """Change the text of a message."""
        row = self.messages[message_id]
        kept = {"channel": row["channel"], "from_agent": row["from_agent"]}
        messages.edit(self, Act(self.agent(by)), row, {**kept, "body_text": text, **changes})

    def delete_message(self, message_id: int, *, by: Who = None) -> None:
        """Delete a message."""
        messages.delete(self, Act(self.agent(by)), self.messages[message_id])

    def delete_ticket(self, ticket_id: int, *, by: Who = None) -> None:
        """Delete a ticket for good."""
        tickets.delete(self, Act(self.agent(by)), self.tickets[ticket_id])

    def merge(self, target_id: int, source_id: int, *, by: Who = None) -> None:
        """Merge a ticket into another; the source's id answers 301."""
        tickets.merge(self, Act(self.agent(by)), self.tickets[target_id], self.tickets[source_id])

    def attach(self, name: str, content_type: str, content: bytes) -> Doc:
        """A stored file, as an item of a message's `attachments`."""
        return files.store(self, name, content_type, content)

    def ticket(self, ticket_id: int) -> Doc:
        """A ticket as the API shows it."""
        return render.ticket(self, self.tickets[ticket_id])

    def events_of(self, ticket_id: int) -> list[str]:
        """The types of a ticket's own events, oldest first."""
        rows: Iterable[Row] = self.events.where("object_id", ticket_id)
        return [row["type"] for row in rows if row["object_type"] == "Ticket"]

    def _add(self, act: Act, ticket_id: int, body: Doc) -> int:
        return int(messages.add(self, act, self.tickets[ticket_id], body)["id"])

    def _address(self) -> Doc:
        for row in self["integrations"]:
            if row["type"] == "email":
                return {"name": row["name"], "address": row["meta"]["address"]}
        return {"name": "Support", "address": self.options.email}

    def _end(self, customer_id: int | None) -> Doc:
        row = self.customers.get(customer_id) or {}
        return {"name": row.get("name"), "address": row.get("email") or "nobody@customer.example"}

    def _incoming(self, text: str, customer_id: int | None) -> Doc:
        source = {"type": "email", "from": self._end(customer_id), "to": [self._address()], "cc": [], "bcc": []}
        body = {"channel": "email", "via": "email", "from_agent": False, "body_text": text, "source": source}
        return body | ({"sender": {"id": customer_id}} if customer_id else {})

    def _outgoing(self, text: str, customer_id: int | None, agent_id: int) -> Doc:
        source = {"type": "email", "from": self._address(), "to": [self._end(customer_id)], "cc": [], "bcc": []}
        body = {"channel": "email", "via": "helpdesk", "from_agent": True, "body_text": text, "source": source}
        return body | {"sender": {"id": agent_id}, "sent_datetime": self.stamp()}
