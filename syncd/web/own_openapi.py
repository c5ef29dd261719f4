"""The daemon's own endpoints for an OpenAPI document: health, metrics, hooks, pages and MCP."""

from typing import Any

from syncd.web.unified_openapi import account_parameter

Json = dict[str, Any]
TAG = "daemon"
JSON: Json = {"application/json": {"schema": {"type": "object"}}}
REFUSED = {
    "400": "The call is wrong.",
    "401": "The token is missing or wrong.",
    "403": "This wants the daemon's own token, or comes from a stranger's web page.",
    "404": "There is no such workspace.",
    "405": "The path does not take this method.",
    "406": "The answer has another type than is asked for.",
    "413": "The body is too large.",
    "415": "The body is of another type.",
    "503": "It cannot be answered for now.",
}


def paths() -> dict[str, Json]:
    """The paths with their operations."""
    return {
        "/healthz": {"get": {**_of("healthz", "Whether the process is alive", {"200": _good(JSON)}), "security": []}},
        "/readyz": {"get": _of("readyz", "Whether every workspace can do its work", {"200": _good(JSON)})},
        "/metrics": {"get": _of("metrics", "Numbers for Prometheus", {"200": _good(_text("text/plain"))})},
        "/": {"get": _of("status_page", "The status page", {"200": _good(_text("text/html"))})},
        "/docs": {"get": _description("docs", "This description for people", _text("text/html"))},
        "/openapi.json": {"get": _description("openapi", "This description", JSON)},
        "/hooks/{workspace}/{side}": {"post": _hook()},
        "/mcp": {"post": _mcp()},
    }


def _of(name: str, summary: str, answers: Json) -> Json:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/UnifiedError"}}}
    refused = {code: {"description": text, "content": error} for code, text in REFUSED.items()}
    if name == "readyz":
        refused["503"] = {"description": "Some cannot; it is said which, and why.", "content": JSON}
    return {"operationId": name, "tags": [TAG], "summary": summary, "responses": {**answers, **refused}}


def _description(name: str, summary: str, content: Json) -> Json:
    return {**_of(name, summary, {"200": _good(content)}), "parameters": [account_parameter()]}


def _good(content: Json) -> Json:
    return {"description": "Done.", "content": content}


def _text(kind: str) -> Json:
    return {kind: {"schema": {"type": "string"}}}


def _hook() -> Json:
    place = [
        {"name": "workspace", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "side", "in": "path", "required": True, "schema": {"enum": ["gorgias", "remote"]}},
    ]
    taken = {"202": {"description": "A look was asked for.", "content": JSON}}
    body = {"required": False, "content": {"application/json": {"schema": {}}}}
    return {**_of("hook", "Something changed: look now", taken), "parameters": place, "requestBody": body}


def _mcp() -> Json:
    body = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    answers = {"200": _good(JSON), "202": {"description": "Taken; there is nothing to answer."}}
    return {**_of("mcp", "A message of the Model Context Protocol", answers), "requestBody": body}
