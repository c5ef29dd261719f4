"""The executor: any of the 104 operations, checked before it is sent, with its pages followed."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import orjson

from connectors.gorgias.operations import OPERATIONS, Operation, check, find
from syncd.connector import Upload
from syncd.http import Gate, Transport, file_body

#: Operations that read in spite of their method, so that repeating them is safe.
READS = frozenset(name for name, operation in OPERATIONS.items() if operation.effect == "read")
#: PUTs that set what is sent and DELETEs do the same when they are repeated (facts: no idempotency keys exist).
PAGE_LIMIT = 100


def explain(status: int, body: bytes) -> str:
    """The words of an error answer: `{"error": {"msg": …, "data": {field: [reasons]}}}`, else its beginning."""
    try:
        error = orjson.loads(body)["error"]
        reasons = "; ".join(f"{name}: {', '.join(map(str, said))}" for name, said in (error.get("data") or {}).items())
        return f"{error['msg']} {reasons}".strip()
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return body[:200].decode("utf-8", "replace") if status < 500 else ""


class Client:
    """The operations of one account, by name."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    async def call(self, name: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """The JSON of an operation's answer. Raises BadRequest before anything is sent, and AccountError after."""
        operation = find(name)
        request = check(operation, params, body)
        return await self.transport.json(
            request.method, request.path, query=request.query, json=request.body, safe=name in READS
        )

    async def pages(self, name: str, params: Mapping[str, Any] | None = None) -> AsyncIterator[list[dict[str, Any]]]:
        """The rows of a list operation, page after page, whatever the shape of its envelope."""
        operation = find(name)
        params = {**_largest_page(operation), **(params or {})}
        while True:
            rows, more = rows_of(operation, await self.call(name, params))
            yield rows
            if not more:
                return
            params = {**params, **more}

    async def upload(self, file: Upload) -> dict[str, Any]:
        """Store a file, streamed from disk; the answer's url, name, size and content_type go into a message."""
        form = file_body(file.path)

        def body() -> aiohttp.MultipartWriter:
            writer = aiohttp.MultipartWriter("form-data")
            part = aiohttp.payload.AsyncIterablePayload(form(), content_type=file.content_type)
            part.set_content_disposition("form-data", name=file.file_name, filename=file.file_name)
            writer.append_payload(part)
            return writer

        answer = await self.transport.json(
            "POST", OPERATIONS["create_a_gorgias_file"].path, query={"type": "attachment"}, data=body
        )
        stored: dict[str, Any] = answer[0]
        return stored


def rows_of(operation: Operation, answer: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of an answer, and the parameters that lead to the next page (none on the last).

    Shapes: a list with `meta.next_cursor`, view items with `meta.next_items`, the deprecated messages list with
    `meta.page` and `meta.nb_pages`, `{"data": […]}` alone, and a bare array.
    """
    if isinstance(answer, list):
        return answer, {}
    rows = answer.get("data") or []
    meta = answer.get("meta") or {}
    if operation.kind == "view-items":
        following = dict(parse_qsl(urlsplit(meta.get("next_items") or "").query))
        if "ignored_item" in following:
            following["ignored_item"] = int(following["ignored_item"])  # type: ignore[assignment]
        known = {param.name for param in operation.query}
        return rows, {name: value for name, value in following.items() if name in known and name != "limit"}
    cursor = meta.get("next_cursor")
    return rows, {"cursor": cursor} if cursor else {}


def _largest_page(operation: Operation) -> dict[str, int]:
    return {"limit": PAGE_LIMIT} if any(param.name == "limit" for param in operation.query) else {}


def gate(window: float) -> Gate:
    """The account's leaky bucket as documented: 40 calls (80 with OAuth2, as the first answer tells) per window."""
    return Gate(capacity=40, window=window)
