"""What an AI agent's tools ask of Gorgias beyond its operations: words, finding tickets, answering customers."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from connectors.gorgias import mapping
from connectors.gorgias.account import Account
from connectors.gorgias.client import Client
from connectors.gorgias.config import GorgiasConfig
from syncd import text
from syncd.errors import BadRequest, Refused
from syncd.model import Ticket
from syncd.operations import Call, Operations, Result

SEARCH = "list_all_gorgias_view_items_search"
#: How many customers of one name are offered to choose from.
OFFERED = 10


@cache
def _wording() -> Mapping[str, Any]:
    return tomllib.loads(resources.files("connectors.gorgias").joinpath("tools.toml").read_text("utf-8"))


class Agents:
    """For a connector that has operations and a client."""

    client: Client
    _account: Account
    config: GorgiasConfig

    @classmethod
    def tool_wording(cls) -> Mapping[str, Any]:
        """From tools.toml."""
        return _wording()

    async def search_tickets(
        self: Operations, *, text: str, customer: str, tag: str, status: str, limit: int, cursor: str | None
    ) -> tuple[Sequence[Ticket], str | None]:
        """By a view given in the call, the latest changed first; text is looked for in subject and messages."""
        filters = [f"eq(ticket.customer.id, {await _customer(self, customer)})"] if customer else []
        # Inferred: the path of tags. A third party's list of allowed paths lacks it, and calls itself partial.
        filters += [f"containsAny(ticket.tags.name, [{json.dumps(tag, ensure_ascii=False)}])"] if tag else []
        filters += [f"eq(ticket.status, {json.dumps(status)})"] if status else []
        view = {"filters": " && ".join(filters), "order_by": "updated_datetime", "order_dir": "desc"}
        body = {"view": {**view, **({"search": text} if text else {})}}
        found = await self.call_operation(Call(SEARCH, {"view_id": 0, "limit": limit}, body, cursor))
        return [mapping.ticket(row, None) for row in found.rows or ()], found.next_cursor

    async def answer_customer(self, ticket_id: str, said: str) -> str:
        """On the channel of the customer's last message and back to its address, so that it is sent (inferred)."""
        number = mapping.number(ticket_id)
        answer = await self.answer_to(await self.client.call("get_single_gorgias_ticket_by_id", {"id": number}))
        message = {**answer, "body_text": said, "body_html": text.text_to_html(said)}
        made = await self.client.call("create_a_gorgias_message", {"ticket_id": number}, message)
        return str(made["id"])

    async def answer_to(self, ticket: Mapping[str, Any]) -> dict[str, Any]:
        """An answer without its words. Raises Refused where no customer wrote."""
        last = next((one for one in reversed(ticket["messages"]) if not one["from_agent"]), None)
        if last is None:
            raise Refused(f"nobody outside wrote in ticket {ticket['id']}", hint="add an internal note instead")
        message = {
            "channel": last["channel"],
            "via": "api",
            "from_agent": True,
            "public": True,
            "subject": ticket.get("subject") if last["channel"] == "email" else None,
            "source": await self._source(last),
            "receiver": {"id": last["sender"]["id"]} if last.get("sender") else None,
        }
        return {key: value for key, value in message.items() if value is not None}

    async def _source(self, last: Mapping[str, Any]) -> dict[str, Any] | None:
        """Back to whoever wrote, from the address that was written to; Gorgias takes no e-mail without both."""
        source = last.get("source") or {}
        ours, theirs = next(iter(source.get("to") or ()), None), source.get("from")
        if last["channel"] == "email" and not ours:
            box = await self._account.mailbox(self.config.reply_from)
            ours = {"name": box.name, "address": box.address}
        if last["channel"] == "email" and not theirs:
            theirs = {"address": (last.get("sender") or {}).get("email")}
        if not (ours and theirs and theirs.get("address")):
            return None
        return {"type": source.get("type") or last["channel"], "from": ours, "to": [theirs]}


async def _customer(account: Operations, said: str) -> int:
    """The id of the one customer who is meant. Raises BadRequest with those who may be."""
    if said.isdecimal():
        return int(said)
    if "@" in said:
        rows = await _rows(account, Call("list_all_gorgias_customers", {"email": said}))
    else:
        body = {"type": "customer", "query": said, "size": OFFERED}
        rows = await _rows(account, Call("list_all_gorgias_search", {}, body))
    if len(rows) == 1:
        return int(rows[0]["id"])
    if not rows:
        raise BadRequest(f"there is no customer {said!r}", ["customer: give an e-mail address, an id or another name"])
    offers = [f"customer {row['id']}: {row.get('name') or ''} {row.get('email') or ''}".strip() for row in rows]
    raise BadRequest(f"{said!r} may be several customers: give the id of one", offers)


async def _rows(account: Operations, call: Call) -> Sequence[Any]:
    result: Result = await account.call_operation(call)
    return result.rows or ()
