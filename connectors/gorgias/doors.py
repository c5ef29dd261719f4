"""The account's operations for whoever passes them on: the second port of a connector, over the client."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import aiohttp
import stamina
from yarl import URL

from connectors.gorgias import proxy
from connectors.gorgias.client import READS, FilePart, must_fit, rows_of
from connectors.gorgias.operations import OPERATIONS, Operation, Request, check, coerce, find
from connectors.gorgias.sending import may_send
from syncd.answers import Answer
from syncd.connector import Upload
from syncd.errors import TryLater
from syncd.http import Streamed, Transport, file_body
from syncd.operations import Call, Result

#: How often a download is asked for until it begins.
ATTEMPTS = 3
LISTS = frozenset({"list", "view-items", "data", "array"})


class Doors:
    """Implements `syncd.operations.Operations` for a connector with a transport."""

    transport: Transport | None
    config: Any

    @classmethod
    def operations(cls) -> Mapping[str, Operation]:
        """All 104."""
        return OPERATIONS

    @classmethod
    def routes(cls) -> Mapping[tuple[str, str], str]:
        """The operations by resource and method."""
        return proxy.ROUTES

    @classmethod
    def resource(cls, name: str) -> str:
        """A resource's own name, however it was spelled."""
        return proxy.resource_of(name)

    def typed(self, name: str, texts: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
        """Parameters from a query string; what does not convert stays text."""
        return coerce(find(name), texts)

    def check_call(self, call: Call) -> None:
        """Refuse a wrong call before anything is sent. Raises BadRequest with every problem."""
        _request(call)

    def would_send(self, call: Call) -> bool:
        """Whether Gorgias may write to a customer because of this call; in doubt it may."""
        return may_send(call)

    async def call_operation(self, call: Call) -> Result:
        """Carry it out. Only reads are repeated."""
        operation, request = find(call.name), _request(call)
        answer = await self._open_transport().request(
            request.method,
            request.path,
            query=[*request.query, *call.extra],
            safe=call.name in READS,
            **_body(call, request),
        )
        must_fit(operation, answer.json(), call.name in READS, self._open_transport().label)
        return _result(operation, answer)

    @asynccontextmanager
    async def stream_operation(self, call: Call) -> AsyncIterator[Streamed]:
        """Carry out a read, and hand its answer on as it comes; it is repeated until it begins."""
        request, transport = _request(call), self._open_transport()
        url = str(URL(transport.api + request.path, encoded=True).extend_query([*request.query, *call.extra]))
        hosts, private = self.config.attachment_hosts, self.config.attachments_from_private_hosts
        async with AsyncExitStack() as stack:
            async for attempt in stamina.retry_context(on=TryLater, attempts=ATTEMPTS, wait_initial=0.2, wait_max=5.0):
                with attempt:
                    opened = transport.fetched(request.method, url, json=request.body, hosts=hosts, private=private)
                    answer = await stack.enter_async_context(opened)
            yield answer

    def _open_transport(self) -> Transport:
        if self.transport is None:
            raise RuntimeError("the account is not open")
        return self.transport


def _request(call: Call) -> Request:
    """What goes on the wire. Raises BadRequest."""
    operation = find(call.name)
    params = {**call.params, **_page(operation, call.cursor)}
    if call.raw is not None:
        return check(replace(operation, body=None), params)
    return check(operation, params, dict(call.files) or None if operation.multipart else call.body)


def _body(call: Call, request: Request) -> dict[str, Any]:
    if call.raw is not None:
        headers = {"Content-Type": call.raw.content_type, "Content-Length": str(call.raw.size)}
        return {"data": file_body(call.raw.path), "headers": headers}
    if call.files:
        return {"data": form(call.files)}
    if request.body is None and find(call.name).body is not None:  # a value of null, which is none to the transport
        return {"data": lambda: b"null", "headers": {"Content-Type": "application/json"}}
    return {"json": request.body}


def form(files: Sequence[tuple[str, Upload]]) -> Callable[[], aiohttp.MultipartWriter]:
    """A multipart body, streamed from disk, fresh for each attempt."""

    def body() -> aiohttp.MultipartWriter:
        writer = aiohttp.MultipartWriter("form-data")
        for name, file in files:
            writer.append_payload(FilePart(file_body(file.path)(), file, name))
        return writer

    return body


def _result(operation: Operation, answer: Answer) -> Result:
    value = answer.json()
    if operation.kind not in LISTS or operation.effect != "read":
        return Result(answer.status, answer.body, value)
    rows, more = rows_of(operation, value)
    following = urlencode(more) if operation.kind == "view-items" else more.get("cursor")
    return Result(answer.status, answer.body, value, rows, following or None, _previous(operation, value))


def _previous(operation: Operation, value: Any) -> str | None:
    meta = (value.get("meta") if isinstance(value, Mapping) else None) or {}
    if operation.kind == "view-items":
        known = [pair for pair in parse_qsl(urlsplit(meta.get("prev_items") or "").query) if pair[0] in VIEW_PAGE]
        return urlencode(known) or None
    return meta.get("prev_cursor") or None


#: What the address of a view's next page holds; together they are one cursor to our callers.
VIEW_PAGE = frozenset({"cursor", "direction", "ignored_item"})


def _page(operation: Operation, cursor: str | None) -> dict[str, Any]:
    """The parameters that lead to a page."""
    if cursor is None:
        return {}
    pairs = dict(parse_qsl(cursor)) if operation.kind == "view-items" else {}
    if pairs and set(pairs) <= VIEW_PAGE:
        return coerce(operation, pairs)
    return {"cursor": cursor}
