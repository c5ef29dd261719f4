"""Writes through the unified API: checked whole, put on record, and sent once."""

import asyncio
import hashlib
import mimetypes
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from syncd.connector import Upload
from syncd.directory import Draft, Shelf
from syncd.errors import BadRequest
from syncd.unified.bodies import problems_of
from syncd.unified.drafts import decoded
from syncd.web import bodies, faults
from syncd.web.accounts import Account
from syncd.web.calls import record_of
from syncd.web.records import Records
from syncd.web.unified_answers import Target, answer, asked, shown
from syncd.web.unified_query import TICKET, Options

Json = dict[str, Any]


class Writer:
    """Makes the writes."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def write(
        self, request: web.Request, account: Account, target: Target, shelf: Shelf, options: Options
    ) -> web.Response:
        """Once, and on record. Raises Fault."""
        body = await _body(request, target, shelf, options)
        what = _for_the_record(target, options, body)
        record = record_of(request, account, target.operation, what, lambda: _digest(request, body))
        return await self._records.once(record, lambda: _written(target, shelf, options, body))


async def _body(request: web.Request, target: Target, shelf: Shelf, options: Options) -> Json:
    """The body, with nothing wrong in it. Raises Fault."""
    options.refuse_the_rest()
    given = await bodies.read_json(request)
    if target.method == "delete":
        return {}
    problems = problems_of(target.resource.model, target.resource.name, target.method, given)
    ticket = _ticket(given, options)
    if target.method == "create" and target.resource.name == "comments" and not ticket:
        problems.append(f"{TICKET}: say in the query which ticket the comment belongs to")
    if isinstance(given, dict) and given.get("remote_data") is not None and not shelf.takes_remote_data:
        problems.append(f"remote_data: {shelf.product} takes none; use /proxy where it has operations")
    if isinstance(given, dict):
        problems += [f"{name}: {shelf.product} has no place for it" for name in sorted(shelf.lacks & given.keys())]
    if options.send and not shelf.sends:
        problems.append(f"send: {shelf.product} sends nothing for {shelf.resource}")
    if problems:
        raise faults.wrong(BadRequest(f"{target.route} cannot be done like this", problems))
    return dict(given)


def _ticket(body: Any, options: Options) -> str | None:
    """The ticket that a comment belongs to: in the query, or in the body."""
    if options.ticket:
        return options.ticket
    inside = body.get("ticket") if isinstance(body, dict) else None
    named = inside.get("id") if isinstance(inside, dict) else None
    return named if isinstance(named, str) else None


async def _written(target: Target, shelf: Shelf, options: Options, body: Json) -> web.Response:
    if target.method == "delete":
        await asked(lambda: shelf.delete(target.id or "", options.ticket), writes=True)
        return answer({"id": target.id})
    with tempfile.TemporaryDirectory(prefix="syncd-unified-") as folder:
        draft = Draft(body, _ticket(body, options), await _stored(body, Path(folder)), options.send)
        if target.method == "create":
            made = await asked(lambda: shelf.create(draft), writes=True, patient=bool(draft.files), done=draft.done)
            return answer(shown(target.resource, made, options), 201)
        changed = await asked(lambda: shelf.update(target.id or "", draft), writes=True, done=draft.done)
        return answer(shown(target.resource, changed, options))


def _for_the_record(target: Target, options: Options, body: Mapping[str, Any]) -> Json:
    """The object, and of what may hold a secret only the names."""
    named = {"id": target.id, "ticket": options.ticket, "send": options.send or None, "body": sorted(body)}
    return {name: value for name, value in named.items() if value}


def _digest(request: web.Request, body: Json) -> str:
    """What makes two calls the same one."""
    same = (request.method, sorted(request.query.items()), body)
    return hashlib.sha256(orjson.dumps(same, option=orjson.OPT_SORT_KEYS)).hexdigest()


# -- files ---------------------------------------------------------------------------------------------------------


async def _stored(body: Mapping[str, Any], folder: Path) -> Sequence[Upload]:
    """The files of a body on disk, decoded."""
    given = [body] if "data" in body else body.get("attachments") or ()
    return [await asyncio.to_thread(_kept, folder / str(number), one) for number, one in enumerate(given)]


def _kept(path: Path, file: Mapping[str, Any]) -> Upload:
    content = decoded(file["data"]) or b""
    path.write_bytes(content)
    name = file["file_name"]
    kind = file.get("content_type") or mimetypes.guess_type(name)[0] or bodies.UNKNOWN
    return Upload(path, name, kind, len(content), hashlib.sha256(content).hexdigest())
