"""The words of an account: agents, teams, custom fields, tags and the address that answers are mailed from."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.gorgias import mapping
from connectors.gorgias.client import Client
from syncd.connector import Vocabulary
from syncd.errors import Refused, VersionConflict
from syncd.model import Field, Person, Status, User, Value

STATUSES = (Status("open"), Status("closed", closed=True))
PRIORITIES = ("low", "normal", "high", "critical")
#: Seconds after which the words are listed again; the engine asks once an hour.
RELEARN = 3000.0


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An e-mail integration."""

    id: int
    name: str
    address: str


class Account:
    """What is known of one account, learnt when it is first needed."""

    def __init__(self, client: Client, email: str | None) -> None:
        self._client = client
        self._email = email.casefold() if email else None
        self._words: Vocabulary | None = None
        self._learnt_at = 0.0
        self._fields: dict[int, Field] = {}
        self._tags: set[str] | None = None
        self._customers: set[str] = set()
        self._lock = asyncio.Lock()

    @property
    def fields(self) -> Mapping[int, Field] | None:
        """The active custom fields of tickets by their numbers; None before they are known."""
        return self._fields if self._words else None

    async def vocabulary(self) -> Vocabulary:
        """Statuses and priorities are fixed; agents, teams and custom fields are listed, in a call each."""
        async with self._lock:
            if self._words is None or time.monotonic() - self._learnt_at > RELEARN:
                users = tuple([mapping.user(doc) async for doc in self._all("list_all_gorgias_users")])
                teams = tuple([mapping.team(doc) async for doc in self._all("list_all_gorgias_teams")])
                docs = [doc async for doc in self._all("list_all_gorgias_custom_fields", object_type="Ticket")]
                fields = [mapping.field(doc) for doc in docs if not doc.get("deactivated_datetime")]
                self._fields = {int(field.id): field for field in fields}
                self._words = Vocabulary(STATUSES, PRIORITIES, users, teams, tuple(fields), await self._own(users))
                self._learnt_at = time.monotonic()
            return self._words

    async def _own(self, users: Iterable[User]) -> str | None:
        """Who we are: the user of the key or, of an app, the one that Gorgias calls 0."""
        if self._email is None:
            return str((await self._client.call("get_single_gorgias_user_by_id", {"id": 0}))["id"])
        return next((user.id for user in users if (user.email or "").casefold() == self._email), None)

    async def _all(self, operation: str, **params: Any) -> AsyncIterator[dict[str, Any]]:
        async for rows in self._client.pages(operation, params):
            for row in rows:
                yield row

    async def agent(self, person: Person | None) -> User | None:
        """The active agent with this person's address, who can be named as a sender."""
        email = (person.email or "").casefold() if person else ""
        users = (await self.vocabulary()).users if email else ()
        return next((user for user in users if user.active and (user.email or "").casefold() == email), None)

    async def team(self, name: str | None) -> dict[str, Any]:
        """The reference to a team; None is nobody's. Raises Refused for an unknown one, which must not read as none."""
        if name is None:
            return {"id": None}
        teams = (await self.vocabulary()).teams
        found = next((team for team in teams if team.name == name), None)
        if found is None:
            known = ", ".join(team.name for team in teams) or "none"
            raise Refused(f"Gorgias has no team {name!r}", hint=f"it has: {known}")
        return {"id": int(found.id)}

    async def field_values(self, fields: Mapping[str, Value]) -> list[dict[str, Any]]:
        """Values as they are written. Raises Refused for a field that is not there."""
        await self.vocabulary()
        numbers = {field.name: number for number, field in self._fields.items()}
        unknown = sorted(set(fields) - set(numbers))
        if unknown:
            raise Refused(f"Gorgias has no ticket field {unknown[0]!r}", hint=f"it has: {', '.join(sorted(numbers))}")
        return [{"id": numbers[name], "value": value} for name, value in fields.items()]

    async def customer(self, contact: Person | None) -> dict[str, Any] | None:
        """The reference to a customer. An agent's own address never becomes one.

        Documented: whatever is sent beside the reference is written to the person, so a known one gets no name.
        """
        if contact is None or not contact.email or "@" not in contact.email or len(contact.email) > 320:
            return None
        if any((user.email or "").casefold() == contact.email.casefold() for user in (await self.vocabulary()).users):
            return None
        email = contact.email.casefold()
        async with self._lock:
            if email in self._customers:
                return {"email": contact.email}
            found = (await self._client.call("list_all_gorgias_customers", {"email": contact.email, "limit": 1}))[
                "data"
            ]
            # Known from now on, found or made: whoever writes often is looked up once.
            self._customers.add(email)
        if found:
            return {"id": found[0]["id"]}
        return {"email": contact.email, **({"name": contact.name} if contact.name else {})}

    async def make_tags(self, names: Iterable[str], *, afresh: bool = False) -> bool:
        """Make the tags that do not exist, and say whether there were any: whether Gorgias makes them is disputed."""
        wanted = set(names)
        async with self._lock:
            if wanted and (self._tags is None or afresh):
                self._tags = {doc["name"] async for doc in self._all("list_all_gorgias_tags")}
            missing = sorted(wanted - (self._tags or set()))
            for name in missing:
                with contextlib.suppress(VersionConflict):  # somebody made it meanwhile
                    await self._client.call("create_a_gorgias_tag", body={"name": name}, safe=True)
                self._tags = {*(self._tags or ()), name}
        return bool(missing)

    async def mailbox(self, address: str | None) -> Mailbox:
        """The e-mail integration with this address, by default the preferred one. Raises Refused where there is none.

        Third-party: a message from any other address is taken with 201 and never leaves.
        """
        docs = [doc async for doc in self._all("list_all_gorgias_integrations") if not doc.get("deactivated_datetime")]
        found = [doc for doc in docs if "@" in ((doc.get("meta") or {}).get("address") or "")]
        found.sort(key=lambda doc: (not doc["meta"].get("preferred"), doc["id"]))
        boxes = [Mailbox(doc["id"], doc.get("name") or "", doc["meta"]["address"]) for doc in found]
        for box in boxes:
            if address is None or box.address.casefold() == address.casefold():
                return box
        known = ", ".join(box.address for box in boxes) or "none"
        raise Refused(
            f"Gorgias has no e-mail integration {address or ''}".rstrip(), hint=f"set reply_from; it has: {known}"
        )
