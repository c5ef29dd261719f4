"""Customers, agents, teams, tags, views and custom fields for the unified API."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from connectors.gorgias import mapping, unified, unified_people
from connectors.gorgias.shelves import Doc, Kept, Place, now, remote
from syncd.directory import Draft, Query, Record, Rows
from syncd.errors import BadRequest
from syncd.unified import drafts
from syncd.unified.drafts import Json
from syncd.unified.shapes import Row

#: Inferred: the general roles, and what they are here; Gorgias's own names are taken as they are.
ROLES = {"owner": "admin", "member": "agent", "viewer": "observer-agent"}
OBJECTS = {"ticket": "Ticket", "contact": "Customer"}
STAMPS = {"created_at": "created_datetime", "updated_at": "updated_datetime"}


class Things(Kept):
    """A resource with an operation for each method; `noun` is its name in those of single objects."""

    noun: ClassVar[str]

    async def get(self, object_id: str, ticket: str | None) -> Record:
        """Raises Gone."""
        params = {"id": mapping.number(object_id)}
        return self.record(await self.place.client.call(f"get_single_gorgias_{self.noun}_by_id", params))

    async def create(self, draft: Draft) -> Record:
        """Made, and shown as the answer has it."""
        body = {**self.written(draft.body, new=True), **remote(draft.body)}
        return self.record(await self.place.client.call(f"create_a_gorgias_{self.noun}", {}, body))

    async def update(self, object_id: str, draft: Draft) -> Record:
        """A partial PUT."""
        body = {**self.written(draft.body, new=False), **remote(draft.body)}
        params = {"id": mapping.number(object_id)}
        return self.record(await self.place.client.call(f"update_a_gorgias_{self.noun}_by_id", params, body))

    async def delete(self, object_id: str, ticket: str | None) -> None:
        """For good. Raises Gone."""
        params = {"id": mapping.number(object_id)}
        await self.place.client.call(f"delete_a_gorgias_{self.noun}_by_id", params)

    def written(self, body: Json, *, new: bool) -> Row:
        """What Gorgias gets."""
        return {name: body[name] for name in ("name", "description") if name in body}


class Tags(Things):
    """Tags."""

    listed, noun = "list_all_gorgias_tags", "tag"
    orders: ClassVar[Mapping[str, str]] = {"created_at": "created_datetime", "name": "name"}
    sorts = frozenset(orders)

    def shown(self, doc: Doc) -> Row:
        """As the API shows it."""
        return unified_people.tag(doc)

    def narrowed(self, query: Query) -> tuple[dict[str, Any], frozenset[str]]:
        """By a free search for the name, of which only what fits is kept."""
        name = query.only("name")
        return ({"search": name} if name else {}), frozenset()

    def written(self, body: Json, *, new: bool) -> Row:
        """With a colour."""
        color = {"decoration": {"color": body["color"]} if body["color"] else {}} if "color" in body else {}
        return {**super().written(body, new=new), **color}


class Teams(Things):
    """Teams; Gorgias has no way to delete one through its API."""

    listed, noun = "list_all_gorgias_teams", "team"
    orders = Tags.orders
    sorts = Tags.sorts

    def __init__(self, place: Place) -> None:
        super().__init__("teams", place)
        self.because["delete"] = "Gorgias has no way to delete a team through its API"

    async def create(self, draft: Draft) -> Record:
        """Its members may come in `remote_data`."""
        self.place.forget_teams()
        return await super().create(draft)

    async def update(self, object_id: str, draft: Draft) -> Record:
        """As above."""
        self.place.forget_teams()
        return await super().update(object_id, draft)

    def shown(self, doc: Doc) -> Row:
        """As the API shows it."""
        return unified_people.team(doc)


class Collections(Things):
    """Views, which are what of Gorgias's comes closest to a collection (inferred)."""

    listed, noun = "list_all_gorgias_views", "view"
    lacks = frozenset({"description"})

    def shown(self, doc: Doc) -> Row:
        """As the API shows it."""
        return unified_people.collection(doc, self.place.base)

    def written(self, body: Json, *, new: bool) -> Row:
        """A new one wants a slug, and without filters shows every ticket."""
        slug = {"slug": re.sub(r"[^a-z0-9]+", "-", (body.get("name") or "").casefold()).strip("-") or "view"}
        return {**({"name": body["name"]} if "name" in body else {}), **(slug if new else {})}


class Contacts(Things):
    """Customers. A list's rows have no channels: phones and further addresses need a get."""

    listed, noun = "list_all_gorgias_customers", "customer"
    partial = True
    orders = STAMPS
    sorts = frozenset(STAMPS)

    def shown(self, doc: Doc) -> Row:
        """As the API shows it."""
        return unified_people.contact(doc)

    def narrowed(self, query: Query) -> tuple[dict[str, Any], frozenset[str]]:
        """By address, phone or name; a phone is not seen in a list's rows."""
        params: dict[str, Any] = {}
        applied = set()
        if (address := query.only("emails")) is not None:
            params["email"] = address
        elif (phone := query.only("phones")) is not None:
            params |= {"channel_type": "phone", "channel_address": phone}
            applied.add("phones")
        if (name := query.only("name")) is not None and not params:
            params["name"] = name
        return params, frozenset(applied)

    async def update(self, object_id: str, draft: Draft) -> Record:
        """Channels are replaced as a whole, so that those of other kinds are sent along."""
        body = self.written(draft.body, new=False)
        params = {"id": mapping.number(object_id)}
        if "emails" in draft.body or "phones" in draft.body:
            before = await self.place.client.call("get_single_gorgias_customer_by_id", params)
            body["channels"] = channels(draft.body, unified.items(before, "channels"))
        if draft.body.get("custom_fields"):
            body["custom_fields"] = _values(draft.body["custom_fields"])
        return self.record(
            await self.place.client.call("update_a_gorgias_customer_by_id", params, {**body, **remote(draft.body)})
        )

    def written(self, body: Json, *, new: bool) -> Row:
        """The primary address is the customer's; all are channels."""
        names = {"first_name": "firstname", "last_name": "lastname", "details": "note", "name": "name"}
        found: Row = {theirs: body[ours] for ours, theirs in names.items() if ours in body}
        if new and "name" not in found and (whole := drafts.whole_name(body)):
            found["name"] = whole
        if body.get("emails"):
            found["email"] = primary(body)
        if new:
            found |= {"channels": channels(body, [])} if body.get("emails") or body.get("phones") else {}
            found |= {"custom_fields": _values(body["custom_fields"])} if body.get("custom_fields") else {}
        return found


class Users(Things):
    """Agents."""

    listed, noun = "list_all_gorgias_users", "user"
    orders: ClassVar[Mapping[str, str]] = {"created_at": "created_datetime", "name": "name", "emails": "email"}
    sorts = frozenset(orders)

    def __init__(self, resource: str, place: Place) -> None:
        super().__init__(resource, place)
        self._teams: Mapping[str, Sequence[str]] = {}

    def shown(self, doc: Doc) -> Row:
        """As the API shows it."""
        return unified_people.user(doc, self._teams.get(str(doc.get("id")), ()))

    async def rows(self, query: Query, cursor: str | None, size: int) -> Rows:
        """With the teams that they are members of."""
        self._teams = await self.place.teams_of()
        return await super().rows(query, cursor, size)

    async def get(self, object_id: str, ticket: str | None) -> Record:
        """With the teams. Raises Gone."""
        self._teams = await self.place.teams_of()
        return await super().get(object_id, ticket)

    def order(self, query: Query) -> tuple[str, bool] | None:
        """By name where nobody says otherwise: Gorgias's own default."""
        return query.sort

    def narrowed(self, query: Query) -> tuple[dict[str, Any], frozenset[str]]:
        """By address, role, or a free search."""
        if (address := query.only("emails")) is not None:
            return {"email": address}, frozenset()
        if (role := query.only("roles")) is not None and role in KNOWN_ROLES:
            return {"roles": [role]}, frozenset()
        name = query.only("name")
        return ({"search": name} if name else {}), frozenset()

    def written(self, body: Json, *, new: bool) -> Row:
        """A new one wants an address, a name and a role."""
        names = {"first_name": "firstname", "last_name": "lastname", "name": "name", "is_active": "active"}
        names |= {"external_id": "external_id", "language": "language", "timezone": "timezone"}
        found: Row = {theirs: body[ours] for ours, theirs in names.items() if ours in body}
        if body.get("emails"):
            found["email"] = primary(body)
        if body.get("status"):
            found["active"] = body["status"] == "active"
        if body.get("roles"):
            role = body["roles"][0].get("name") or body["roles"][0].get("id") or ""
            found["role"] = {"name": ROLES.get(role, role)}
        if new:
            found.setdefault("name", drafts.whole_name(body) or found["email"].partition("@")[0])
            found.setdefault("role", {"name": ROLES["member"]})
        return found


class DirectoryUsers(Users):
    """The same agents as the user directory shows them; it knows no teams."""

    def shown(self, doc: Doc) -> Row:
        """As the API shows it."""
        return unified_people.directory_user(doc)


class Fields(Things):
    """Custom fields of tickets and of customers; none is ever deleted, only hidden."""

    listed, noun = "list_all_gorgias_custom_fields", "custom_field"
    sorts = frozenset()

    def __init__(self, place: Place) -> None:
        super().__init__("fields", place)
        self.because["delete"] = "Gorgias deletes no custom field: hide it by is_hidden"

    def shown(self, doc: Doc) -> Row:
        """As the API shows it."""
        return unified_people.field(doc)

    def narrowed(self, query: Query) -> tuple[dict[str, Any], frozenset[str]]:
        """Gorgias lists those of one kind of object; of tickets, unless the caller says otherwise."""
        kind = query.only("entity_type") or "ticket"
        if kind not in OBJECTS:
            raise BadRequest("no such fields", [f"entity_type: {kind!r} is none of {', '.join(OBJECTS)}"])
        return {"object_type": OBJECTS[kind]}, frozenset()

    def order(self, query: Query) -> tuple[str, bool] | None:
        """Gorgias's own: by priority."""
        return None

    async def update(self, object_id: str, draft: Draft) -> Record:
        """Reference: what kind of field it is and its label are sent again, changed or not."""
        params = {"id": mapping.number(object_id)}
        before = await self.place.client.call("get_single_gorgias_custom_field_by_id", params)
        same = {name: before[name] for name in ("object_type", "label", "definition")}
        body = {**same, **self.written(draft.body, new=False), **remote(draft.body)}
        return self.record(await self.place.client.call("update_a_gorgias_custom_field_by_id", params, body))

    def written(self, body: Json, *, new: bool) -> Row:
        """The type becomes a data type and an input."""
        found: Row = {"label": body["label"]} if "label" in body else {}
        found |= {"description": body["description"]} if "description" in body else {}
        found |= {"required": body["is_required"]} if "is_required" in body else {}
        if "is_hidden" in body:
            found["deactivated_datetime"] = now() if body["is_hidden"] else None
        if body.get("type") or body.get("options"):
            found["definition"] = definition(body)
        if new:
            kind = OBJECTS.get(body["entity_type"])
            if kind is None:
                raise BadRequest("no such field", [f"entity_type: must be one of {', '.join(OBJECTS)}"])
            found["object_type"] = kind
        return found


KNOWN_ROLES = frozenset(
    {"admin", "agent", "basic-agent", "lite-agent", "observer-agent", "bot", "internal-agent"}
)  # reference: User.role


def definition(body: Json) -> Row:
    """The definition of a field of this type. Raises BadRequest for one that Gorgias has not."""
    kind = body.get("type") or "enum"
    choices = [option.get("value") or option.get("label") for option in body.get("options") or ()]
    known: dict[str, tuple[str, Row]] = {
        "string": ("text", {"input_type": "input"}),
        "text": ("text", {"input_type": "input"}),
        "enum": ("text", {"input_type": "dropdown", "choices": choices}),
        "number": ("number", {"input_type": "input_number"}),
        "boolean": ("boolean", {"input_type": "dropdown", "choices": [True, False]}),
    }
    if kind not in known:
        raise BadRequest("no such type", [f"type: {kind!r} is none of {', '.join(known)}"])
    data_type, settings = known[kind]
    return {"data_type": data_type, "input_settings": settings}


def primary(body: Json) -> str:
    """The address that is called the primary one, or the first."""
    addresses = body["emails"]
    return str(next((one["email"] for one in addresses if one.get("type") == "primary"), addresses[0]["email"]))


def channels(body: Json, held: list[Doc]) -> list[Row]:
    """All ways to reach a customer: the kinds that the body names anew, and those that it does not as they were."""
    named: set[str] = set()
    found: list[Row] = []
    if "emails" in body:
        named.add("email")
        found += [{"type": "email", "address": one["email"]} for one in body["emails"] or ()]
    if "phones" in body:
        named |= unified.PHONES
        given = [one for one in body["phones"] or () if one.get("number")]
        kinds = [one.get("type") if one.get("type") in unified.PHONES else "phone" for one in given]
        found += [{"type": kind, "address": one["number"]} for kind, one in zip(kinds, given, strict=True)]
    kept = [one for one in held if one.get("type") not in named and not one.get("deleted_datetime")]
    return [*({"type": one["type"], "address": one["address"]} for one in kept), *found]


def _values(given: Json) -> list[Row]:
    unknown = [name for name in given if not name.isdecimal()]
    if unknown:
        problems = [f"custom_fields.{name}: name a customer's field by its id" for name in unknown]
        raise BadRequest("no such field", problems)
    return [{"id": int(name), "value": value} for name, value in given.items()]
