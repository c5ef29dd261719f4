"""Webhooks: HTTP integrations whose templates are rendered for each event and delivered beside the requests."""

import asyncio
import contextlib
import re
from collections.abc import Iterable
from typing import Any

import aiohttp

from connectors.gorgias.sandbox import render
from connectors.gorgias.sandbox.table import Row
from connectors.gorgias.sandbox.world import Act, Doc, World

RETRIES = 3  # third-party
MAX_FAILURES = 100  # the help centre's number; a newer text says 500
VARIABLE = re.compile(r"\{\{\s*([\w.\[\]-]+)\s*\}\}")
#: Which trigger an event pulls. Inferred from the names; the triggers themselves are documented.
TRIGGERS = {
    "ticket-created": "ticket-created",
    "ticket-updated": "ticket-updated",
    "ticket-message-created": "ticket-message-created",
    "ticket-message-failed": "ticket-message-failed",
    "ticket-self-unsnoozed": "ticket-self-unsnoozed",
    "ticket-assigned": "ticket-assignment-updated",
    "ticket-unassigned": "ticket-assignment-updated",
    "ticket-team-assigned": "ticket-assignment-updated",
    "ticket-team-unassigned": "ticket-assignment-updated",
    "ticket-closed": "ticket-status-updated",
    "ticket-reopened": "ticket-status-updated",
}


class Hooks:
    """Delivers the webhooks of a world while its server runs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.session: aiohttp.ClientSession | None = None
        self.failures: dict[int, int] = {}
        world.listeners.append(self.heard)

    async def open(self) -> None:
        """Start delivering."""
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))

    async def close(self) -> None:
        """Stop delivering; what is on its way is dropped."""
        if self.session is not None:
            session, self.session = self.session, None
            await session.close()

    def heard(self, event: Row) -> None:
        """Start the deliveries that an event asks for. Rendered now: the state of this moment is what is sent."""
        trigger = TRIGGERS.get(event["type"])
        if trigger is None or self.session is None:
            return
        waiting = list(self._listening(trigger))
        context = self._context(event) if waiting else None
        if context is not None:
            for row in waiting:
                self.world.spawn(self._deliver(row["id"], rendered(row["http"], context)))

    def _listening(self, trigger: str) -> Iterable[Row]:
        for row in self.world["integrations"]:
            http = row.get("http")
            if http and "deactivated_datetime" not in row and http.get("triggers", {}).get(trigger):
                yield row

    def _context(self, event: Row) -> Doc | None:
        message = self.world.messages.get(event["object_id"]) if event["object_type"] == "TicketMessage" else None
        ticket = self.world.tickets.get(message["ticket_id"] if message else event["object_id"])
        if ticket is None:
            return None
        shown = render.message(self.world, message) if message else {}
        return {"ticket": render.hook_ticket(self.world, ticket), "message": shown}

    async def _deliver(self, integration_id: int, http: Doc) -> None:
        for attempt in range(1 + RETRIES):
            if attempt:
                await asyncio.sleep(self.world.options.hook_backoff * 2 ** (attempt - 1))
            if await self._sent(http):
                self.failures.pop(integration_id, None)
                return
        self._failed(integration_id)

    async def _sent(self, http: Doc) -> bool:
        if self.session is None:
            return True
        form = http.get("form") or {}
        key = "params" if http["method"] in ("GET", "HEAD") else "json"
        if key == "json" and http["request_content_type"] != "application/json":
            key = "data"
        if key != "json":
            form = {name: str(value) for name, value in form.items()}
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            options: Any = {"headers": http.get("headers") or {}, key: form}
            async with self.session.request(http["method"], http["url"], **options) as answer:
                return answer.status < 400
        return False

    def _failed(self, integration_id: int) -> None:
        self.failures[integration_id] = self.failures.get(integration_id, 0) + 1
        row = self.world["integrations"].get(integration_id)
        if row is not None and self.failures[integration_id] >= MAX_FAILURES and "deactivated_datetime" not in row:
            self.world["integrations"].change(row, {"deactivated_datetime": self.world.stamp()})
            self.world.log(Act(None), "integration-deactivated", "Integration", integration_id)


def rendered(value: Any, context: Doc) -> Any:
    """A template, or a tree of them, with its variables filled in; unknown ones become empty."""
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: _text(_look(context, found[1])), value)
    if isinstance(value, dict):
        return {key: rendered(one, context) for key, one in value.items()}
    return [rendered(one, context) for one in value] if isinstance(value, list) else value


def _look(context: Any, path: str) -> Any:
    for part in re.split(r"[.\[\]]+", path.strip("[]")):
        if isinstance(context, list) and part.isdigit() and int(part) < len(context):
            context = context[int(part)]
        else:
            context = context.get(part) if isinstance(context, dict) else None
    return context


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
