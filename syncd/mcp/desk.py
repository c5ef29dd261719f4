"""The common jobs as tools, over the unified model: one call each, on either side of the workspace."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from syncd import log, wording
from syncd.connector import Connector
from syncd.errors import Refused
from syncd.mcp import answers
from syncd.mcp.backend import Backend
from syncd.mcp.ports import Answerer, Searcher
from syncd.mcp.refusals import MailRefused
from syncd.mcp.shapes import FULL, schema_of
from syncd.mcp.tools import Asked, Outcome, Tool
from syncd.model import Attachment, Body, Comment, Person, Side, Ticket
from syncd.reports import named

TEXT: Mapping[str, Any] = {"type": "string"}
TICKET: Mapping[str, Any] = {"type": "string", "description": "Gorgias id, or remote:ID"}
WHOLE: Mapping[str, Any] = {"type": "boolean"}
PAGE = 20
LISTED = 20

Work = Callable[[Backend, Asked], Awaitable[dict[str, Any]]]


def tools_of(backend: Backend) -> Iterable[Tool]:
    """The five jobs."""
    yield from _on_tickets(backend)
    yield from _on_sync(backend)


def _on_tickets(backend: Backend) -> Iterable[Tool]:
    yield Tool(
        "find_tickets",
        "Find Gorgias tickets by text (subject, messages), customer (id, e-mail or name), tag or status, latest change "
        "first. Paged.",
        schema_of(
            {
                "text": TEXT,
                "customer": TEXT,
                "tag": TEXT,
                "status": {"type": "string", "enum": ["open", "closed"]},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100},
                "cursor": TEXT,
            }
        ),
        _bound(_find, backend),
        route="desk.find",
        resources=frozenset({"tickets"}),
        tags=frozenset({"support"}),
    )
    yield Tool(
        "get_conversation",
        "Read a ticket with its whole conversation as plain text, oldest first; last=N only the latest N messages.",
        schema_of({"ticket": TICKET, "last": {"type": "integer", "minimum": 1}, FULL: WHOLE}, ["ticket"]),
        _bound(_read, backend),
        route="desk.read",
        resources=frozenset({"tickets", "messages"}),
        tags=frozenset({"support"}),
        finder="find_tickets",
    )
    yield Tool(
        "reply_or_note",
        "Add an internal note to a ticket; with public=true a reply that IS SENT to the customer.",
        schema_of(
            {"ticket": TICKET, "text": {"type": "string", "minLength": 1}, "public": {"type": "boolean"}},
            ["ticket", "text"],
        ),
        _bound(_write, backend),
        route="desk.write",
        effect="write",
        everyday=True,
        idempotent=False,
        resources=frozenset({"messages"}),
        tags=frozenset({"support"}),
        finder="find_tickets",
    )


def _on_sync(backend: Backend) -> Iterable[Tool]:
    yield Tool(
        "sync_status",
        "How far Gorgias and the other tracker are in step: numbers, what waits, what needs a person.",
        schema_of({}),
        _bound(_status, backend),
        route="desk.status",
        resources=frozenset({"sync"}),
        tags=frozenset({"sync"}),
    )
    yield Tool(
        "explain_ticket",
        "Why a ticket is as it is: its copy on the other side, differences, what would be done, what waits.",
        schema_of({"ticket": TICKET}, ["ticket"]),
        _bound(_explain, backend),
        route="desk.explain",
        resources=frozenset({"sync"}),
        tags=frozenset({"sync"}),
        finder="find_tickets",
    )


def _bound(work: Work, backend: Backend) -> Callable[[Asked], Awaitable[Outcome]]:
    async def run(asked: Asked) -> Outcome:
        value = await work(backend, asked)
        return Outcome(value if asked.arguments.get(FULL) else answers.trimmed(value))

    return run


async def _find(backend: Backend, asked: Asked) -> dict[str, Any]:
    account: Any = await backend.account(Side.GORGIAS)
    if not isinstance(account, Searcher):
        raise Refused(f"{account.name} cannot be searched", hint="use its own list tools")
    defaults: dict[str, Any] = {"text": "", "customer": "", "tag": "", "status": "", "limit": PAGE, "cursor": None}
    given = defaults | dict(asked.arguments)
    tickets, cursor = await account.search_tickets(**given)
    return answers.of_rows("find_tickets", [_short(ticket) for ticket in tickets], cursor)


async def _read(backend: Backend, asked: Asked) -> dict[str, Any]:
    side, ticket_id = named(asked.arguments["ticket"])
    account = await backend.account(side)
    ticket = await account.get(ticket_id)
    words = await account.vocabulary()
    people = {user.id: user.name for user in words.users}
    said = ticket.comments or ()
    shown = said[-asked.arguments["last"] :] if "last" in asked.arguments else said
    return {
        "ticket": wording.ticket(wording.products(backend.workspace), side, ticket.id),
        **_short(ticket),
        "assignee": people.get(ticket.assignee or "", ticket.assignee),
        "fields": dict(ticket.fields or {}),
        "created_at": _time(ticket.created_at),
        "message_count": len(said),
        "messages": [_message(comment) for comment in shown],
    }


async def _write(backend: Backend, asked: Asked) -> dict[str, Any]:
    side, ticket_id = named(asked.arguments["ticket"])
    text, public = asked.arguments["text"], asked.arguments.get("public", False)
    if public and not asked.send:
        raise MailRefused("a public reply is sent to the customer, which this access does not allow")
    account = await backend.account(side)
    if public and isinstance(account, Answerer):
        made = await account.answer_customer(ticket_id, text)
        return {
            "done": True,
            "message": made,
            "public": True,
            "note": "on its way; read it later to see if it was sent",
        }
    made = await _noted(account, ticket_id, text, private=not public)
    return {"done": True, "message": made, "public": public}


async def _noted(account: Connector, ticket_id: str, text: str, *, private: bool) -> str:
    if private and not account.capabilities.private:
        raise Refused(f"{account.name} has no internal notes", hint="nothing was written")
    written = await account.comment(ticket_id, Comment("", Body(text), private=private), ())
    return written.comment.id


async def _status(backend: Backend, _asked: Asked) -> dict[str, Any]:
    status, parked = await backend.status()
    named_parked = [
        {key: row[key] for key in ("tickets", "says", "reason", "hint", "since")} for row in parked[:LISTED]
    ]
    return {**_plain(status), "parked_items": _plain(named_parked)}


async def _explain(backend: Backend, asked: Asked) -> dict[str, Any]:
    said: dict[str, Any] = _masked(_plain(await backend.explain(asked.arguments["ticket"])))
    return said


# -- values -----------------------------------------------------------------------------------------------------


def _short(ticket: Ticket) -> dict[str, Any]:
    return {
        "id": ticket.id,
        "subject": ticket.subject,
        "status": ticket.status,
        "priority": ticket.priority,
        "assignee": ticket.assignee,
        "team": ticket.team,
        "tags": sorted(ticket.tags),
        "customer": _person(ticket.contact),
        "messages": ticket.comment_count,
        "updated_at": _time(ticket.updated_at),
        **({"trashed": True} if ticket.trashed else {}),
        **({"spam": True} if ticket.hidden else {}),
    }


def _message(comment: Comment) -> dict[str, Any]:
    by = _person(comment.author)
    return {
        "id": comment.id,
        "at": _time(comment.created_at),
        "by": f"{by} ({comment.author.kind})" if comment.author else "",
        "internal": comment.private or None,
        "channel": comment.channel,
        "text": comment.body.text,
        "attachments": [_file(file) for file in comment.attachments],
    }


def _file(file: Attachment) -> dict[str, Any]:
    return {"file_name": file.file_name, "content_type": file.content_type, "size": file.size, "url": file.url}


def _person(person: Person | None) -> str:
    if person is None:
        return ""
    email = f" <{person.email}>" if person.email and person.name else person.email or ""
    return f"{person.name}{email} [{person.id}]"


def _time(moment: Any) -> str:
    return moment.isoformat(timespec="seconds") if moment else ""


def _plain(value: Any) -> Any:
    """A value of ours as JSON takes it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | None) else _time(value)


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _masked(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    return log.masked(value) if isinstance(value, str) else value
