"""The executor: any of the 104 operations, checked before it is sent, with its pages followed."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import orjson

from connectors.gorgias.operations import OPERATIONS, Operation, check, find
from syncd.connector import Upload
from syncd.errors import OutcomeUnknown, TryLater
from syncd.http import Gate, Transport, file_body

#: Operations that read in spite of their method, so that repeating them is safe.
READS = frozenset(name for name, operation in OPERATIONS.items() if operation.effect == "read")
PAGE_LIMIT = 100
STRANGE = "is the URL that of a Gorgias account?"


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

    async def call(
        self, name: str, params: Mapping[str, Any] | None = None, body: Any = None, *, safe: bool = False
    ) -> Any:
        """The JSON of an operation's answer. Raises BadRequest before anything is sent, and AccountError after.

        `safe` says that a write may be repeated, because doing it twice leaves what doing it once leaves.
        """
        operation = find(name)
        request = check(operation, params, body)
        safe = safe or name in READS
        answer = await self.transport.json(
            request.method, request.path, query=request.query, json=request.body, safe=safe
        )
        must_fit(operation, answer, safe, self.transport.label)
        return answer

    async def pages(
        self, name: str, params: Mapping[str, Any] | None = None, body: Any = None
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """The rows of a list operation, page after page, whatever the shape of its envelope."""
        operation = find(name)
        params = {**_largest_page(operation), **(params or {})}
        while True:
            rows, more = rows_of(operation, await self.call(name, params, body))
            yield rows
            if not more:
                return
            params = {**params, **more}

    async def upload(self, file: Upload) -> dict[str, Any]:
        """Store a file, streamed from disk; the answer's url, name, size and content_type go into a message.

        An upload shows nowhere until a message names it, so that repeating one is safe.
        """
        content = file_body(file.path)

        def form() -> aiohttp.MultipartWriter:
            writer = aiohttp.MultipartWriter("form-data")
            writer.append_payload(FilePart(content(), file))
            return writer

        path = OPERATIONS["create_a_gorgias_file"].path
        answer = await self.transport.json("POST", path, query={"type": "attachment"}, data=form, safe=True)
        if not (isinstance(answer, list) and answer and isinstance(answer[0], dict) and answer[0].get("url")):
            raise TryLater(f"{self.transport.label} answered an upload with JSON that is something else", hint=STRANGE)
        stored: dict[str, Any] = answer[0]
        return stored


def must_fit(operation: Operation, answer: Any, safe: bool, label: str) -> None:
    """Refuse an answer that is not what the operation answers, such as a login page's `{}`. Raises TryLater."""
    if (answer is not None or safe) and not _SHAPES.get(operation.kind, _anything)(answer):
        kind = TryLater if safe else OutcomeUnknown
        raise kind(f"{label} answered {operation.name} with JSON that is something else", hint=STRANGE)


class FilePart(aiohttp.payload.AsyncIterablePayload):
    """One file of a form: of known length, so that the request has a Content-Length, and named as browsers name it.

    The standard of forms (RFC 7578) wants `name` and `filename` as they are, in UTF-8, and knows no `name*`.
    """

    def __init__(self, content: AsyncIterator[bytes], file: Upload, name: str | None = None) -> None:
        super().__init__(content, content_type=file.content_type)
        label, file_name = _escaped(name or file.file_name), _escaped(file.file_name)
        self.headers["Content-Disposition"] = f'form-data; name="{label}"; filename="{file_name}"'
        self._length = file.size

    @property
    def size(self) -> int:
        """The file's length in bytes."""
        return self._length


def _escaped(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _anything(_answer: Any) -> bool:
    return True


def _is_list(answer: Any) -> bool:
    rows = answer.get("data") if isinstance(answer, Mapping) else None
    return isinstance(rows, list) and all(isinstance(row, Mapping) for row in rows)


def _is_object(answer: Any) -> bool:
    return isinstance(answer, Mapping) and bool(answer)


#: What an answer must look like, by the kind of the operation; otherwise `{}` would read as an empty list.
_SHAPES: Mapping[str, Callable[[Any], bool]] = {
    "list": _is_list, "view-items": _is_list, "data": lambda answer: isinstance(answer, Mapping) and "data" in answer,
    "object": _is_object, "array": lambda answer: isinstance(answer, list),
}  # fmt: skip


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
