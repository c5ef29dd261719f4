"""Each of the 104 operations through the proxy: right calls answered, wrong ones refused before Gorgias is asked."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from connectors.gorgias.connector import GorgiasConnector
from connectors.gorgias.operations import OPERATIONS, Operation
from syncd.web.routes import ID, Route, id_name, routes
from tests.unit.api_client import Api, served
from tests.unit.gorgias_calls import NEEDED, form, of
from tests.unit.sandbox_client import Reply


def _plainest(way: Route) -> int:
    """An object is named in the path, where it has a name."""
    named = id_name(way.operation) is not None
    return 0 if (way.tail == ID) is named else 1


ROUTES: dict[str, Route] = {}
for one in sorted(routes(GorgiasConnector).values(), key=_plainest):
    ROUTES.setdefault(one.operation.name, one)


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The API over a seeded sandbox, for the whole module."""
    folder: Path = tmp_path_factory.mktemp("proxy")
    async with served(folder) as made:
        yield made


@dataclass(frozen=True)
class Wanted:
    """A call of an operation by way of the proxy."""

    verb: str
    path: str
    params: list[tuple[str, str]]
    sent: dict[str, Any]


def _wanted(operation: Operation, params: dict[str, Any], body: Any) -> Wanted:
    way, path = ROUTES[operation.name], ROUTES[operation.name].path.removeprefix("/proxy/")
    left = dict(params)
    if way.tail == ID:
        path = path.replace(ID, str(left.pop(id_name(operation) or "")))
    pairs = [
        (name, str(item).lower() if isinstance(item, bool) else str(item))
        for name, value in left.items()
        for item in (value if isinstance(value, list) else [value])
    ]
    sent = {"data": form()} if operation.multipart else {} if operation.body is None else {"json": body}
    return Wanted(way.verb, path, pairs, sent)


async def _call(api: Api, name: str) -> tuple[Reply, dict[str, Any]]:
    params, body = of(api.sandbox, name)
    wanted = _wanted(OPERATIONS[name], params, body)
    return await api.call(wanted.verb, wanted.path, wanted.params, **wanted.sent), params


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_operation_answers(api: Api, name: str) -> None:
    """A right call is one call at Gorgias, and its answer is what the conventions of the API promise."""
    for noun, maker in NEEDED.items():
        if f"_{noun}_by_id" in name:
            await _call(api, maker)
    before, operation = api.sandbox.requests, OPERATIONS[name]
    reply, params = await _call(api, name)
    assert reply.status == (operation.status if ROUTES[name].method == "create" else 200), reply
    assert api.sandbox.requests - before == 1
    _fits(ROUTES[name], reply, params)


def _fits(way: Route, reply: Reply, params: dict[str, Any]) -> None:
    if way.operation.kind in {"binary", "text"}:
        assert reply.raw == b"hello" or reply.raw.startswith(b"name,value\r\n")
        assert reply.headers["Content-Disposition"].startswith("attachment")
    elif way.method == "list":
        assert reply.doc.keys() == {"result", "next_cursor", "prev_cursor", "result_count"}
        assert len(reply.doc["result"]) == reply.doc["result_count"]
    elif way.method == "delete":
        assert reply.doc == {"id": params.get(id_name(way.operation) or "")}
    else:
        assert isinstance(orjson.loads(reply.raw), dict | list | int | str)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_operation_refuses_what_is_wrong(api: Api, name: str) -> None:
    """An unknown parameter and, where it takes one, a body of the wrong kind: a 400 that names both, and no call."""
    before, operation = api.sandbox.requests, OPERATIONS[name]
    params, body = of(api.sandbox, name)
    wanted = _wanted(operation, params, body)
    sent = wanted.sent if operation.multipart or operation.body is None else {"json": [[1]]}
    reply = await api.call(wanted.verb, wanted.path, [*wanted.params, ("no_such_parameter", "1")], **sent)
    assert (reply.status, reply.doc["statusCode"], reply.doc["error"]) == (400, 400, "Bad Request")
    assert any(said.startswith("no_such_parameter: unknown") for said in reply.doc["details"]["failures"])
    assert "json" not in sent or any(said.startswith("body") for said in reply.doc["details"]["failures"])
    assert api.sandbox.requests == before


def _mistyped(operation: Operation) -> list[str]:
    """The parameters of the query that do not take every text."""
    return [param.name for param in operation.query if param.type in {"integer", "boolean"} or param.enum]


@pytest.mark.parametrize("name", sorted(name for name in OPERATIONS if _mistyped(OPERATIONS[name])))
async def test_operation_refuses_wrong_values(api: Api, name: str) -> None:
    """Each parameter with a value of another type, or of none that it knows: all are named, and no call."""
    before, operation = api.sandbox.requests, OPERATIONS[name]
    params, body = of(api.sandbox, name)
    wrong = _mistyped(operation)
    wanted = _wanted(operation, {**params, **dict.fromkeys(wrong, "~none~")}, body)
    reply = await api.call(wanted.verb, wanted.path, wanted.params, **wanted.sent)
    named = {said.partition(":")[0] for said in reply.doc["details"]["failures"]}
    assert (reply.status, named >= set(wrong), api.sandbox.requests) == (400, True, before)


@pytest.mark.parametrize("name", sorted(name for name in OPERATIONS if (OPERATIONS[name].body or {}).get("required")))
async def test_operation_refuses_what_is_missing(api: Api, name: str) -> None:
    """A body without a key that must be there: a 400 that names it, and no call."""
    before, operation = api.sandbox.requests, OPERATIONS[name]
    params, body = of(api.sandbox, name)
    if not isinstance(body, dict) or operation.multipart:
        pytest.skip("the body is no object")
    for key in (operation.body or {})["required"]:
        wanted = _wanted(operation, params, {one: value for one, value in body.items() if one != key})
        reply = await api.call(wanted.verb, wanted.path, wanted.params, **wanted.sent)
        assert (reply.status, key in str(reply.doc["details"]["failures"])) == (400, True)
    assert api.sandbox.requests == before


@pytest.mark.parametrize(
    "name", sorted(name for name in OPERATIONS if ROUTES[name].tail == ID and id_name(OPERATIONS[name]))
)
async def test_operation_refuses_a_wrong_id(api: Api, name: str) -> None:
    """An id that is none: a 400 or, where ids are names, nothing worse than the product's own answer."""
    operation, before = OPERATIONS[name], api.sandbox.requests
    params, body = of(api.sandbox, name)
    key = id_name(operation) or ""
    if next(param.type for param in operation.path_params if param.name == key) != "integer":
        pytest.skip(f"{key} is a name")
    wanted = _wanted(operation, {**params, key: "no-number"}, body)
    reply = await api.call(wanted.verb, wanted.path, wanted.params, **wanted.sent)
    assert (reply.status, api.sandbox.requests) == (400, before)
