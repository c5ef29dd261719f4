"""`/openapi.json`: every door of the daemon as OpenAPI 3.1, made of the same data that answers the calls.

It is about the account that a call would be about: what that cannot do would be answered 501, and is not described. Who
may call several accounts and names none sees what any of them may do.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import orjson
from aiohttp import web

from syncd import registry
from syncd.operations import FILES, Operation, Operations, Parameter
from syncd.unified.shelves import shelves_of
from syncd.web import docs, own_openapi
from syncd.web.accounts import AccountSource, chosen
from syncd.web.faults import Fault
from syncd.web.routes import ID, Route, id_name, routes
from syncd.web.unified_openapi import (
    NOBODY,
    VERBS,
    account_parameter,
    idempotency_parameter,
    openapi_paths,
    openapi_responses,
    openapi_schemas,
    refusals,
)

Json = dict[str, Any]
#: Methods by resource.
Missing = frozenset[tuple[str, str]]
#: Whose operations `/proxy` has.
PRODUCT = "gorgias"
TAG = "proxy"
TEXT: Json = {"type": "string"}
BOOLEAN: Json = {"type": "boolean"}
CURSOR: Json = {"type": ["string", "null"]}


def add_routes(app: web.Application, accounts: AccountSource) -> None:
    """Serve the description, for programs and for people."""

    async def described(request: web.Request) -> web.Response:
        return web.Response(body=_bytes(*_scope(request, accounts)), content_type="application/json")

    async def page(request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": docs.POLICY}
        html = docs.render(document(*_scope(request, accounts)))
        return web.Response(text=html, content_type="text/html", headers=headers)

    app.router.add_get("/openapi.json", described)
    app.router.add_get("/docs", page)


def _scope(request: web.Request, accounts: AccountSource) -> tuple[Missing, bool]:
    """What the account cannot do, and whether it is the product whose operations `/proxy` has."""
    try:
        connector = chosen(request, accounts).connector
    except Fault:  # no account is meant, or none that is open: the calls themselves will say so
        return NOBODY, True
    shelves = shelves_of(connector).items()
    missing = {(key, method) for key, shelf in shelves for method in VERBS if method not in shelf.methods}
    return NOBODY | missing, connector.name == PRODUCT


@lru_cache(maxsize=8)
def _bytes(missing: Missing, proxied: bool) -> bytes:
    return orjson.dumps(document(missing, proxied))


@lru_cache(maxsize=8)
def document(missing: Missing = NOBODY, proxied: bool = True) -> Json:
    """The whole description, without the methods `missing` from the unified API, and with the proxy or without."""
    product: Any = registry.connector_class(PRODUCT)
    secured: list[Json] = [{"bearer": []}, {"header": []}]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "syncd",
            "version": version("syncd"),
            "description": "Everything that a Gorgias account can do (`/proxy`), and tickets in the same shapes for "
            "every product (`/unified`). Tokens are made by `syncd token create`.",
        },
        "security": secured,
        "paths": {**own_openapi.paths(), **openapi_paths(missing), **(proxy_paths(product) if proxied else {})},
        "components": {
            "schemas": {**openapi_schemas(), "Page": _page()},
            "responses": openapi_responses(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-Syncd-Token"},
            },
        },
    }


def proxy_paths(doors: type[Operations]) -> dict[str, Json]:
    """A product's operations by path and verb."""
    found: dict[str, Json] = {}
    for route in routes(doors).values():
        found.setdefault(route.path, {})[route.verb.lower()] = _operation(route)
    return dict(sorted(found.items()))


def _operation(route: Route) -> Json:
    operation = route.operation
    described: Json = {
        "operationId": f"{route.verb.lower()}_{operation.name}" + ("_named" if route.tail == ID else ""),
        "tags": [f"{TAG}: {route.resource}"],
        "summary": operation.summary,
        "parameters": list(_parameters(route)),
        "responses": _responses(route),
    }
    if operation.notes:
        described["description"] = operation.notes
    if body := _body(operation):
        described["requestBody"] = body
    return described


def _parameters(route: Route) -> Iterator[Json]:
    yield account_parameter()
    own = id_name(route.operation) if route.tail == ID else None
    if route.tail == ID:
        named = next((param for param in route.operation.params if param.name == own), None)
        # One that is the only one of its kind has no name: whatever stands there is taken.
        yield {"name": "id", "in": "path", "required": True, "schema": named.schema() if named else TEXT}
    yield from (_query(param) for param in route.operation.params if param.name not in {own, "cursor"})
    yield from _options(route)


def _query(param: Parameter) -> Json:
    schema = {key: value for key, value in param.schema().items() if key != "description"}
    found: Json = {"name": param.name, "in": "query", "required": param.required, "schema": schema}
    return {**found, **({"description": param.description} if param.description else {})}


def _options(route: Route) -> Iterator[Json]:
    """The proxy's own; each is also known by a name that begins with `truto_`."""
    if route.operation.kind not in FILES:
        enum = ["normalized", "raw", "stream"]
        yield _option("response_format", {"enum": enum}, "`raw` and `stream` are the product's own answer.")
    if route.method == "list":
        yield _option("next_cursor", TEXT, "A page that the answer before named.")
        yield _option("key_by", TEXT, "Make `result` an object with this field as its keys.")
        yield _option("ignore_limit", BOOLEAN, "Forget `limit`.")
    if route.verb in {"POST", "PATCH"}:
        yield idempotency_parameter()
    yield _option("exclude_fields", TEXT, "Fields to leave out, separated by commas.")


def _option(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _body(operation: Operation) -> Json | None:
    if operation.multipart:
        files = {"type": "object", "additionalProperties": {"type": "string", "format": "binary"}, "minProperties": 1}
        return {"required": True, "content": {"multipart/form-data": {"schema": files}}}
    if operation.body is None:
        return None
    return {"required": True, "content": {"application/json": {"schema": plain(operation.body)}}}


def plain(schema: Any) -> Any:
    """A schema with nothing that JSON Schema does not know, and unknown keys refused where keys are listed."""
    if isinstance(schema, list):
        return [plain(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {key: plain(value) for key, value in schema.items() if key not in {"contentType", "discriminator"}}
    if isinstance(found.get("properties"), dict) and "type" in found:
        found.setdefault("additionalProperties", False)
    return found


def _responses(route: Route) -> Json:
    created = route.method == "create"
    good = {"description": "Done.", "content": _content(route)}
    nothing = {} if created else {"204": {"description": "Done; there is nothing to say."}}
    return {**dict.fromkeys(("200", "201", "202"), good), **nothing, **refusals()}


def _content(route: Route) -> Json:
    if route.operation.kind in FILES:
        return {"*/*": {"schema": {"type": "string", "format": "binary"}}}
    if route.method == "list":
        # The envelope, or with `response_format` the product's own answer.
        return {"application/json": {"schema": {"anyOf": [{"$ref": "#/components/schemas/Page"}, {}]}}}
    return {"application/json": {"schema": {}}}


def _page() -> Json:
    cursors: Json = dict.fromkeys(("next_cursor", "prev_cursor"), CURSOR)
    result: Json = {"oneOf": [{"type": "array"}, {"type": "object"}]}
    properties: Json = {"result": result, **cursors, "result_count": {"type": "integer"}}
    return {"type": "object", "properties": properties, "required": [*properties]}
