"""Tickets for the unified API."""

from collections.abc import Mapping
from typing import Any, ClassVar

from connectors.gorgias import mapping, unified
from connectors.gorgias.account import PRIORITIES
from connectors.gorgias.shelves import Doc, Kept, now, number_of, quiet, remote, uploaded
from syncd.directory import Draft, Query, Record
from syncd.errors import BadRequest
from syncd.model import Body, Comment
from syncd.operations import Call
from syncd.unified import drafts
from syncd.unified.drafts import Json
from syncd.unified.shapes import Row
from syncd.unified.words import STATUSES, product_priority


class Tickets(Kept):
    """Tickets. Those in the trash are not listed unless they are asked for."""

    listed = "list_all_gorgias_tickets"
    orders: ClassVar[Mapping[str, str]] = {"created_at": "created_datetime", "updated_at": "updated_datetime"}
    sorts = frozenset(orders)
    takes_remote_data = True

    def shown(self, doc: Doc) -> Row:
        """As the API shows it."""
        return unified.ticket(doc, self.place.base)

    def narrowed(self, query: Query) -> tuple[dict[str, Any], frozenset[str]]:
        """By customer, view, ids and trash; the rest is compared here."""
        params: dict[str, Any] = {}
        if (customer := query.only("contact", "id")) is not None:
            params["customer_id"] = number_of(customer, "contact[id]")
        if (view := query.only("collections", "id")) is not None:
            params["view_id"] = number_of(view, "collections[id]")
        if ids := query.any_of("ids"):
            params["ticket_ids"] = [number_of(value, "ids") for value in ids]
        states = [value for one in query.filters if one.path == ("status", "name") for value in one.values]
        if "ticket_ids" not in params and (states == ["deleted"] or "deleted" not in states):
            params["trashed"] = states == ["deleted"]  # left out, Gorgias lists both
        return params, frozenset({"collections[id]"} if "view_id" in params else ())

    async def get(self, object_id: str, ticket: str | None) -> Record:
        """With its messages. Raises Gone, and Moved for a merged one."""
        return self.record(await self._read(mapping.number(object_id)))

    async def _read(self, number: int) -> Doc:
        params = {"id": number, "relationships": ["custom_fields"]}
        found: Doc = await self.place.client.call("get_single_gorgias_ticket_by_id", params)
        return found

    async def create(self, draft: Draft) -> Record:
        """With one message, which is never sent to anybody."""
        body = {**changes(draft.body, None), **await self._references(draft.body, None)}
        message = await self._opening(draft)
        body |= {"channel": "api", "via": "api", "from_agent": message["from_agent"], "messages": [message]}
        if draft.body.get("created_at"):
            body["created_datetime"] = draft.body["created_at"]
        if "tags" in draft.body:
            body["tags"] = [tag_reference(tag) for tag in draft.body["tags"] or ()]
            await self.place.account.make_tags([tag["name"] for tag in body["tags"] if "name" in tag])
        given = {name: value for name, value in body.items() if value is not None} | remote(draft.body)
        made = await self.place.client.call("create_a_gorgias_ticket", {}, never_sent(given))
        return self.record(made)

    async def _opening(self, draft: Draft) -> Row:
        """The message that every ticket needs: a customer's words, an agent's, or, from nobody, a note."""
        body = draft.body
        creator = body.get("created_by") or {}
        from_contact = creator.get("type") == "contact" or (not creator and bool(body.get("contact")))
        said = body.get("description") or body.get("name") or ""
        message: Row = {**mapping.body_of(Comment("", Body(said)), signed=False)}
        if from_contact or creator:
            how = {"channel": "api", "via": "api", "from_agent": not from_contact, "public": True}
        else:
            how = {"channel": mapping.NOTE, "via": "api", "from_agent": True, "public": False}
        if creator.get("type") == "user" and creator.get("id"):
            message["sender"] = {"id": number_of(creator["id"], "created_by.id")}
        if body.get("created_at"):
            message["created_datetime"] = body["created_at"]
        if draft.files:
            message["attachments"] = await uploaded(self.place, draft)
        return {**how, **message}

    async def _references(self, body: Json, before: Doc | None) -> Row:
        """The people, the team and the fields, of which some must be looked up by name."""
        account = self.place.account
        found: Row = {}
        if "assignees" in body:
            found["assignee_user"] = {"id": await self._agent(body["assignees"])}
        if "team" in body:
            team = body["team"] or {}
            by_id = {"id": number_of(team["id"], "team.id")} if team.get("id") else None
            found["assignee_team"] = by_id or await account.team(team.get("name"))
        if "contact" in body and not body["contact"]:
            raise BadRequest("no contact", ["contact: it can be exchanged for another one, and not be taken off"])
        if body.get("contact"):
            number = body["contact"].get("id")
            person = drafts.contact_of(body)
            found["customer"] = {"id": number_of(number, "contact.id")} if number else await account.customer(person)
        if body.get("custom_fields"):
            found["custom_fields"] = await self._values(body["custom_fields"], before)
        return found

    async def _agent(self, given: Any) -> int | None:
        if not given:
            return None
        if len(given) > 1:
            raise BadRequest("too many", ["assignees: a ticket has one at most"])
        if given[0].get("id"):
            return number_of(given[0]["id"], "assignees.0.id")
        words = await self.place.account.vocabulary()
        return int(drafts.user_id(given[0], words.users, "assignees.0"))

    async def _values(self, given: Json, before: Doc | None) -> list[Row]:
        """Whether a PUT keeps the fields it does not name is disputed: so it names them all."""
        labels = {name: value for name, value in given.items() if not name.isdecimal()}
        named = await self.place.account.field_values(labels) if labels else []
        wanted = {str(one["id"]): one["value"] for one in named}
        wanted |= {name: value for name, value in given.items() if name.isdecimal()}
        held = (unified.values(before) if before else None) or {}
        kept = {name: value for name, value in held.items() if value is not None}
        return [{"id": int(name), "value": value} for name, value in {**kept, **wanted}.items()]

    async def update(self, object_id: str, draft: Draft) -> Record:
        """A partial PUT; tags are added and taken off by calls of their own."""
        number, given = mapping.number(object_id), draft.body
        before = await self._read(number) if given.keys() & {"tags", "custom_fields", "status"} else None
        body = {**changes(given, before), **await self._references(given, before), **remote(given)}
        put = Call("update_a_gorgias_ticket_by_id", {"id": number}, body)
        if body:
            self.place.operations.check_call(put)
        if before is not None and "tags" in given:
            await self._retag(number, unified.items(before, "tags"), given["tags"] or ())
            draft.done.append("the tags were changed")
        if not body:
            return self.record(await self._read(number))
        return self.record(await self.place.client.call(put.name, put.params, put.body))

    async def _retag(self, number: int, held: list[Doc], wanted: Any) -> None:
        references = [tag_reference(tag) for tag in wanted]
        ids = {int(one["id"]) for one in references if "id" in one}
        names = {str(one["name"]) for one in references if "name" in one}
        missing = sorted(names - {tag.get("name") for tag in held})
        added = {"ids": sorted(ids - {tag.get("id") for tag in held}), "names": missing}
        gone = [tag["id"] for tag in held if tag["id"] not in ids and tag.get("name") not in names]
        await self.place.account.make_tags(missing)
        for operation, tags in (
            ("create_a_gorgias_ticket_tag", {key: value for key, value in added.items() if value}),
            ("delete_a_gorgias_ticket_tag_by_id", {"ids": gone} if gone else {}),
        ):
            if tags:
                await self.place.client.call(operation, {"ticket_id": number}, tags, safe=True)

    async def delete(self, object_id: str, ticket: str | None) -> None:
        """For good; the status `deleted` is the trash."""
        await self.place.client.call("delete_a_gorgias_ticket_by_id", {"id": mapping.number(object_id)})


# -- bodies ---------------------------------------------------------------------------------------------------------


def changes(body: Json, before: Doc | None) -> Row:
    """Subject, status and priority: the part of a ticket that needs no look-up."""
    found: Row = {}
    if "name" in body:
        found["subject"] = body["name"]
    if body.get("priority"):
        found["priority"] = product_priority(body["priority"], PRIORITIES)
    wanted = body.get("status") or {}
    word = wanted.get("name") or wanted.get("id")
    if word is None:
        return found
    if word not in STATUSES:
        raise BadRequest("there is no such status", [f"status: {word!r} is none of {', '.join(STATUSES)}"])
    return {**found, **_status(word, before or {})}


def _status(word: str, before: Doc) -> Row:
    """Spam and trash are kept beside open and closed; whatever else is said takes a ticket out of them."""
    if word == "spam":
        return {"spam": True}
    if word == "deleted":
        return {"trashed_datetime": now()}
    back: Row = {"spam": False} if before.get("spam") else {}
    back |= {"trashed_datetime": None} if before.get("trashed_datetime") else {}
    return {"status": "closed" if STATUSES[word] else "open", **back}


def tag_reference(tag: Json) -> Row:
    """A tag by its id, or by its name."""
    own = tag.get("id") or ""
    return {"id": int(own)} if mapping.is_number(own) else {"name": tag.get("name") or own}


def never_sent(body: Row) -> Row:
    """The body with every message of an agent's counting as sent already, so that nobody is written to."""
    messages = body.get("messages")
    return {**body, "messages": [quiet(one) for one in messages]} if isinstance(messages, list) else body
