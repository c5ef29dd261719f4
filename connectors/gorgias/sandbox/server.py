"""The HTTP face of the sandbox: credentials, rate limit, routing, validation and the envelopes of answers."""

import base64
import binascii
import math
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from email.utils import format_datetime
from importlib import resources
from inspect import isawaitable
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from connectors.gorgias.operations import OPERATIONS, Operation, Problem, coerce, parse, problems
from connectors.gorgias.sandbox import account, events, fields, files, kinds, messages, persons, tags, tickets, views
from connectors.gorgias.sandbox.oauth import Apps
from connectors.gorgias.sandbox.pages import Call
from connectors.gorgias.sandbox.table import Row
from connectors.gorgias.sandbox.world import Act, Fault, RateLimit, World

MAX_BODY = 32 * 1024 * 1024
MODULES = (account, events, fields, files, kinds, messages, persons, tags, tickets, views)
HANDLERS: Mapping[str, Callable[[World, Call], Any]] = {
    key: handler for module in MODULES for key, handler in module.HANDLERS.items()
}
#: Documented calls beside the 104 operations: bulk forms, the deprecated list of messages, the merge of customers.
EXTRA = parse(orjson.loads(resources.files("connectors.gorgias.sandbox").joinpath("extra.json").read_bytes()))
#: Less than this is no overflow: the clock counts microseconds of its own.
STEP = 0.001
#: Inferred: the one role whose name says that it only looks.
READ_ONLY_ROLE = "observer-agent"
FORBIDDEN = "You do not have enough permissions to perform this action."
#: Not of the API: what would have been mailed to customers, for programs that run the sandbox beside them.
OUTBOX = "/sandbox/outbox"
#: Uploads that everyone may fetch (inferred from their names).
PUBLIC = ("/api/public_attachment/", "/api/profile_picture/", "/api/widget_picture/")


@dataclass(slots=True)
class Node:
    """One segment of the routes: what may come behind it, and the operations that end here."""

    fixed: dict[str, "Node"] = field(default_factory=dict)
    any: "Node | None" = None
    operations: dict[str, Operation] = field(default_factory=dict)


def routes() -> Node:
    """All operations as a tree of path segments; several tools for one call are one route."""
    root = Node()
    for operation in (*OPERATIONS.values(), *EXTRA.values()):
        if any(param.slashes for param in operation.path_params):
            continue  # an attachment's own path is that of the file it names
        node = root
        for segment in operation.path.strip("/").split("/"):
            if segment.startswith("{"):
                node.any = node.any or Node()
                node = node.any
            else:
                node = node.fixed.setdefault(segment, Node())
        node.operations.setdefault(operation.method, operation)
    return root


def matched(node: Node | None, segments: list[str], taken: tuple[str, ...] = ()) -> tuple[Node, tuple[str, ...]] | None:
    """The node of a path and the segments its parameters took; fixed segments go first."""
    if node is None:
        return None
    if not segments:
        return (node, taken) if node.operations else None
    head, rest = segments[0], segments[1:]
    return matched(node.fixed.get(head), rest, taken) or matched(node.any, rest, (*taken, head))


class Bucket:
    """The leaky bucket of one caller, on the sandbox's own clock."""

    def __init__(self) -> None:
        self.level = 0.0
        self.at = 0.0

    def take(self, limit: RateLimit, now: float) -> tuple[int, int]:
        """Count one request: what to show as used, and the seconds to wait, 0 when it fits."""
        self.level = max(0.0, self.level - max(0.0, now - self.at) * limit.leak)
        self.at = now
        if self.level + 1 > limit.cap + STEP:
            return limit.cap, max(1, math.ceil((self.level + 1 - limit.cap) / limit.leak))
        self.level += 1
        return math.ceil(self.level), 0


class Server:
    """Answers requests on a world; counts them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.requests = 0
        self.calls: Counter[tuple[str, str]] = Counter()
        self.buckets: dict[str, Bucket] = {}
        self._callers: dict[str, Row] = {}
        self._routes = routes()
        self.apps = Apps(world)

    def app(self) -> web.Application:
        """The application: one door, and the routes behind it."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self.handle)
        return app

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request, whatever becomes of it."""
        self.requests += 1
        headers: dict[str, str] = {"X-Request-Id": uuid.uuid4().hex, "X-Gorgias-Release": "sandbox"}
        try:
            response = await self.apps.answer(request) or await self._answer(request, headers)
        except Fault as fault:
            response = _json(fault.status, {"error": fault.error})
            if fault.location:
                headers["Location"] = fault.location
        except web.HTTPRequestEntityTooLarge:
            response = _json(413, {"error": {"msg": "The request is too large."}})
        # The sandbox's clock, which may be set ahead on purpose, and not the machine's.
        headers["Date"] = format_datetime(self.world.now(), usegmt=True)
        response.headers.update(headers)
        return response

    async def _answer(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        path = request.rel_url.path
        public = request.method == "GET" and path.startswith(PUBLIC)
        caller = next(iter(self.world.users)) if public else self._caller(request)
        if not public:
            self._limit(request.headers["Authorization"], headers)
        if path == OUTBOX:
            return _json(200, {"mails": [asdict(mail) for mail in self.world.outbox]})
        found = matched(self._routes, request.rel_url.raw_path.strip("/").split("/"))
        if found is None:
            raise Fault(404, "Resource not found.")
        node, taken = found
        operation = node.operations.get(request.method)
        if operation is None:
            raise Fault(405, "The specified HTTP method is not allowed.")
        self.calls[request.method, operation.path] += 1
        if operation.effect != "read" and caller["role"]["name"] == READ_ONLY_ROLE:
            raise Fault(403, FORBIDDEN)
        call = await self._call(request, operation, taken, caller)
        result = HANDLERS[f"{operation.method} {operation.path}"](self.world, call)
        if isawaitable(result):
            result = await result
        if operation.resource == "search":
            headers["X-Gorgias-Search-Engine"] = "ES"
        return self._response(operation, result)

    def _response(self, operation: Operation, result: Any) -> web.StreamResponse:
        if isinstance(result, web.StreamResponse):
            return result
        if result is None:
            return web.Response(status=operation.status)
        return _json(operation.status, result)

    async def _call(self, request: web.Request, operation: Operation, taken: tuple[str, ...], caller: Row) -> Call:
        path = coerce(operation, dict(zip((p.name for p in operation.path_params), map(unquote, taken), strict=True)))
        query = coerce(operation, _query(operation, request))
        body = None
        if operation.body is not None and not operation.multipart:
            body = _parsed(await request.read())
        # The form of an upload is read where it is stored.
        checked = {"file": b""} if operation.multipart else body
        found = problems(operation, {**path, **query}, checked)
        if found:
            raise _refusal(operation, found)
        act = Act(caller["id"], api=True)
        return Call(operation, act, caller, path, query, body, request)

    def _caller(self, request: web.Request) -> Row:
        header = request.headers.get("Authorization", "")
        known = None if header.startswith("Bearer") else self._callers.get(header)
        if known is None or known["id"] not in self.world.users:
            known = self._callers[header] = self._identified(header)
        return known

    def _identified(self, header: str) -> Row:
        scheme, _, secret = header.partition(" ")
        options = self.world.options
        email = None
        if scheme.lower() == "bearer":
            email = options.email if self.apps.let_in(secret) else options.bearers.get(secret)
        elif scheme.lower() == "basic":
            email, key = _basic(secret)
            if key != {**options.accounts, options.email: options.api_key}.get(email):
                email = None
        found = self.world.users.where("email", email.lower()) if email else []
        if not found:
            raise Fault(401, "Invalid credentials.")  # the real text is unknown
        return found[0]

    def _limit(self, key: str, headers: dict[str, str]) -> None:
        limit = self.world.options.rate_limit
        if limit is None:
            return
        used, wait = self.buckets.setdefault(key, Bucket()).take(limit, self.world.now().timestamp())
        headers["X-Gorgias-Account-Api-Call-Limit"] = f"{used}/{limit.cap}"
        if wait:
            headers["Retry-After"] = str(wait)
            raise Fault(429, "Too many requests.")  # the body is inferred


def _json(status: int, body: Any) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


def _basic(secret: str) -> tuple[str, str]:
    try:
        email, _, key = base64.b64decode(secret, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return email, key


def _query(operation: Operation, request: web.Request) -> dict[str, Any]:
    arrays = {param.name for param in operation.query if param.is_array}
    query = request.rel_url.query
    return {name: query.getall(name) if name in arrays else query[name] for name in query}


def _parsed(raw: bytes) -> Any:
    if not raw.strip():
        return None
    try:
        return orjson.loads(raw)
    except ValueError as broken:
        raise Fault(400, "Malformed JSON.") from broken


def _refusal(operation: Operation, found: list[Problem]) -> Fault:
    """A 400 with the documented map of fields; only the text for a missing field is documented."""
    data: dict[str, list[str]] = {}
    texts = {"missing": "Missing data for required field.", "unknown": "Unknown field."}
    for problem in found:
        data.setdefault(problem.where or "body", []).append(texts.get(problem.kind, problem.text.capitalize()))
    if any(problem.part == "path" for problem in found):
        return Fault(404, "Resource not found.")
    if any(problem.part == "query" and problem.kind == "unknown" for problem in found):
        return Fault(400, "Unknown parameters were specified.", data)
    verb = {"POST": "create", "PUT": "update", "DELETE": "delete"}.get(operation.method, "list")
    return Fault(400, f"Failed to {verb} {operation.resource}", data)
