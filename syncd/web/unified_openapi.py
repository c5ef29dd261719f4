"""The unified API for an OpenAPI document: its paths and schemas, made of the same tables as its answers."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from syncd.directory import DEFAULT_LIMIT, MAX_LIMIT
from syncd.unified import schema
from syncd.unified.schema import FILTERS, SORTS, Resource
from syncd.web.accounts import ACCOUNT
from syncd.web.records import KEY

Json = dict[str, Any]
TAG = "unified"
#: What may go wrong, whatever is asked; the errors all look alike.
ERRORS: Mapping[str, str] = {
    "400": "The call is wrong; `details.failures` says everything that is. Nothing was sent.",
    "401": "The token is missing or wrong, or the product does not accept the account's credentials.",
    "403": "This token, or this account, may not do that.",
    "404": "There is no such object, resource or workspace.",
    "405": "The path does not take this method.",
    "409": "The product refuses because of what is there already, or an `Idempotency-Key` is in use.",
    "410": "The object is gone.",
    "412": "The object changed meanwhile.",
    "413": "The body is too large.",
    "415": "The body is no JSON.",
    "422": "The product does not take a value.",
    "429": "The product's call allowance is used up.",
    "501": "This product cannot do that; the message says why.",
    "502": "The product answered with an error of its own.",
    "503": "The workspace is not worked on here, or the store is away.",
    "504": "The product did not answer in time.",
}
VERBS = {"list": "get", "get": "get", "create": "post", "update": "patch", "delete": "delete"}
PLACES = {"": ("list", "create"), "/{id}": ("get", "update", "delete")}
SUMMARIES = {
    "list": "List {}",
    "get": "Get one of the {}",
    "create": "Make one of the {}",
    "update": "Change one of the {}",
    "delete": "Delete one of the {}",
}
#: What none of the built-in connectors can do is answered 501, and not described.
NOBODY = frozenset({("attachments", "update"), ("attachments", "delete"), ("fields", "delete")})
BOOLEAN = {"type": "boolean"}
TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}


def openapi_schemas() -> dict[str, Json]:
    """The schemas by their names; all begin with `Unified`."""
    found: dict[str, Json] = {"UnifiedError": _error(), "UnifiedDeleted": _deleted(), "UnifiedCapabilities": _able()}
    found |= {"UnifiedOther": _other(), "UnifiedOtherList": _other_list()}
    for resource in schema.every().values():
        name = resource.schema_name
        found[name] = schema.answer_schema(resource)
        found[f"{name}List"] = schema.list_schema(resource)
        found |= {f"{name}{method.title()}": schema.body_schema(resource, method) for method in ("create", "update")}
    return found


def openapi_responses() -> dict[str, Json]:
    """The errors by their names, which begin with `Error`."""
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/UnifiedError"}}}
    return {f"Error{code}": {"description": text, "content": error} for code, text in ERRORS.items()}


def refusals() -> dict[str, Json]:
    """Every error that a call of the API may be answered with, by status."""
    return {code: {"$ref": f"#/components/responses/Error{code}"} for code in ERRORS}


def openapi_paths(missing: Collection[tuple[str, str]] = NOBODY) -> dict[str, Json]:
    """The paths with their operations, without those `missing`, by resource and method."""
    found: dict[str, Json] = {
        f"/unified/{model}/capabilities": {"get": _capabilities(model, title)} for model, title in schema.MODELS.items()
    }
    for resource in schema.every().values():
        for path, methods in PLACES.items():
            able = [method for method in methods if (resource.key, method) not in missing]
            if able:
                found[resource.path + path] = {VERBS[method]: operation(resource, method) for method in able}
        if resource.name == "attachments":
            found[f"{resource.path}/download"] = {"post": _download(resource)}
    return found


def operation(resource: Resource, method: str) -> Json:
    """One method of a resource."""
    described = resource.name.replace("-", " ")
    found: Json = {
        "operationId": f"unified_{resource.key}_{method}".replace("/", "_").replace("-", "_"),
        "tags": [f"{TAG}: {schema.MODELS[resource.model].lower()}"],
        "summary": SUMMARIES[method].format(described),
        "parameters": [*_parameters(resource, method)],
        "responses": _responses(_answer(resource, method), "201" if method == "create" else "200"),
    }
    if method in {"create", "update"}:
        body = {"$ref": f"#/components/schemas/{resource.schema_name}{method.title()}"}
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return found


def _answer(resource: Resource, method: str) -> Json:
    """The schemas of an answer; options make it another one."""
    own = resource.schema_name
    listed = {"list": (f"{own}List", "UnifiedOtherList"), "delete": ("UnifiedDeleted",)}
    refs = [{"$ref": f"#/components/schemas/{name}"} for name in listed.get(method, (own, "UnifiedOther"))]
    return {"application/json": {"schema": {"anyOf": refs} if len(refs) > 1 else refs[0]}}


def _responses(content: Json, status: str) -> Json:
    return {status: {"description": "Done.", "content": content}, **refusals()}


def _parameters(resource: Resource, method: str) -> Iterator[Json]:
    yield account_parameter()
    if method in {"get", "update", "delete"}:
        yield {"name": "id", "in": "path", "required": True, "schema": TEXT}
    if method == "list":
        yield from _list_parameters(resource)
    elif resource.name in {"comments", "attachments"}:
        yield _query("ticket[id]", TEXT, "The ticket that it belongs to, where the id alone does not say so.")
    if method in {"create", "update"}:
        yield idempotency_parameter()
    if method == "create" and resource.name == "comments":
        yield _query("send", BOOLEAN, "Let the product send it to the customer; needs a token with `send` access.")
    if method != "delete":
        yield _query("response_format", {"enum": ["unified", "raw"]}, "`raw` is the product's own record alone.")
        yield _query("ignore_remote_data", BOOLEAN, "Leave out `remote_data`.")
        yield _query("exclude_fields", TEXT, "Fields to leave out, separated by commas.")


def _list_parameters(resource: Resource) -> Iterator[Json]:
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
    yield _query("limit", limit, "Rows of a page.")
    yield _query("next_cursor", TEXT, "Where the page before ended; send the same filters and sorting with it.")
    yield _query("key_by", {"enum": [*resource.fields]}, "Make `result` an object with this field as its keys.")
    for by in SORTS[resource.key]:
        yield _query(f"sort_by[{by}]", {"enum": ["asc", "desc"]}, f"Sort by {by}.")
    for name in FILTERS[resource.key]:
        if name.endswith("_at"):
            for op in ("gt", "gte", "lt", "lte"):
                yield _query(f"{name}[{op}]", schema.DATE_TIME, "A bound, as a time of ISO 8601.")
        else:
            yield _query(name, BOOLEAN if name.startswith("is_") else TEXT, "Only rows with this value.")


def account_parameter() -> Json:
    """Which account is meant."""
    described = "WORKSPACE or WORKSPACE:SIDE; a token of one workspace need not say."
    return _query(ACCOUNT, TEXT, described)


def idempotency_parameter() -> Json:
    """The caller's own name for a write."""
    described = "A name of your own for this call: a repetition is answered as the first one was."
    return {"name": KEY, "in": "header", "schema": {**TEXT, "maxLength": 255}, "description": described}


def _query(name: str, of: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": of, "description": description}


def _capabilities(model: str, title: str) -> Json:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/UnifiedCapabilities"}}}
    return {
        "operationId": f"unified_{model.replace('-', '_')}_capabilities",
        "tags": [f"{TAG}: {title.lower()}"],
        "summary": "What the account can do, and why it cannot do the rest",
        "parameters": [account_parameter()],
        "responses": _responses(content, "200"),
    }


def _download(resource: Resource) -> Json:
    body = {"type": "object", "properties": {"id": TEXT}, "required": ["id"], "additionalProperties": False}
    content = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
    return {
        "operationId": "unified_attachments_download",
        "tags": [f"{TAG}: {schema.MODELS[resource.model].lower()}"],
        "summary": "Download a file",
        "parameters": [account_parameter(), _query("ticket[id]", TEXT, "The ticket of the file.")],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": _responses(content, "200"),
    }


# -- schemas of its own --------------------------------------------------------------------------------------------


def _error() -> Json:
    properties = {
        "statusCode": {"type": "integer"},
        "error": TEXT,
        "message": TEXT,
        "details": {"type": "object", "properties": {"failures": TEXTS}},
        "is_remote_error": BOOLEAN,
        "remote_status": {"type": "integer"},
        "raw_response": {},
    }
    return {"type": "object", "properties": properties, "required": ["statusCode", "error", "message"]}


def _deleted() -> Json:
    return {"type": "object", "properties": {"id": TEXT}, "required": ["id"], "additionalProperties": False}


def _other() -> Json:
    described = "With `response_format=raw` the product's own record; with `exclude_fields` an object without these."
    return {"type": "object", "description": described}


def _other_list() -> Json:
    """A list of those: also by key."""
    cursor: Json = {"type": ["string", "null"]}
    properties: Json = {
        "result": {"type": ["array", "object"], "items": {"$ref": "#/components/schemas/UnifiedOther"}},
        "next_cursor": cursor,
        "prev_cursor": cursor,
        "result_count": {"type": "integer"},
        "is_partial_response": BOOLEAN,
    }
    return {"type": "object", "properties": properties, "required": [*properties]}


def _able() -> Json:
    named = dict.fromkeys(("id", "workspace", "side", "product"), TEXT)
    shelf = {
        "methods": TEXTS,
        "unsupported": {"type": "object", "additionalProperties": TEXT},
        "filters": TEXTS,
        "sort_by": TEXTS,
        "needs_ticket": BOOLEAN,
        "is_partial": BOOLEAN,
        "send": BOOLEAN,
    }
    able = {"type": "object", "properties": shelf, "required": [*shelf], "additionalProperties": False}
    properties = {
        "model": TEXT,
        "account": {"type": "object", "properties": named, "required": [*named]},
        "resources": {"type": "object", "additionalProperties": able},
    }
    return {"type": "object", "properties": properties, "required": [*properties]}
