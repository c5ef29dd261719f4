"""The description of the HTTP API: valid, complete, made of what answers, and shown to people."""

from collections.abc import AsyncIterator
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from openapi_spec_validator import validate

from connectors.gorgias.connector import GorgiasConnector
from connectors.gorgias.operations import OPERATIONS
from syncd.access import Keys
from syncd.metrics import Metrics
from syncd.unified import schema
from syncd.unified.shelves import shelves_of
from syncd.web import openapi
from syncd.web.app import make_app, serving
from syncd.web.routes import ID, routes
from syncd.web.unified_openapi import NOBODY
from tests.unit.api_client import ADMIN, Api, served
from tests.unit.test_web import Daemon


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The API over a seeded sandbox."""
    async with served(tmp_path_factory.mktemp("openapi")) as made:
        yield made


def test_it_is_valid() -> None:
    """By the validator of the standard; no operation has another one's name."""
    described = openapi.document()
    validate(described)
    names = [operation["operationId"] for verbs in described["paths"].values() for operation in verbs.values()]
    assert len(names) == len(set(names))


def test_every_way_to_every_operation_is_described() -> None:
    """Each of the 104, by each path that leads to it, with all of its parameters."""
    paths, seen = openapi.document()["paths"], set()
    for route in routes(GorgiasConnector).values():
        described = paths[route.path][route.verb.lower()]
        names = {param["name"] for param in described["parameters"]}
        wanted = {param.name for param in route.operation.params} - {"cursor"}
        assert len(wanted - names) <= (1 if route.tail == ID else 0)  # the one that is the path's {id}
        assert ("requestBody" in described) == (route.operation.body is not None)
        seen.add(route.operation.name)
    assert seen == set(OPERATIONS)


def test_every_resource_of_the_unified_api_is_described() -> None:
    """Its list and its objects."""
    paths = openapi.document()["paths"]
    for resource in schema.every().values():
        assert {"get", "post"} <= paths[resource.path].keys()
        assert "get" in paths[f"{resource.path}/{{id}}"]


def test_what_is_left_out_nobody_can(api: Api) -> None:
    """A method that is not described is one that the accounts cannot do."""
    for account in api.source.runners["acme"].accounts.values():
        shelves = shelves_of(account)
        assert not [(key, method) for key, method in NOBODY if method in shelves[key].methods]


async def test_it_is_served_to_those_who_may_call(api: Api) -> None:
    """With any good token; without one only `/healthz` answers."""
    token = await api.token("read")
    reply = await api.send("GET", "/openapi.json", token=token)
    assert reply.status == 200
    paths = openapi.document()["paths"]
    doors = [path.replace("{id}", "1").replace("{workspace}/{side}", "acme/gorgias") for path in paths]
    for path in doors:
        assert (await api.send("GET", path, token="")).status == (200 if path == "/healthz" else 401), path


async def test_it_wants_a_token_where_the_daemon_has_none(api: Api) -> None:
    """Also on this machine; a browser asks for it as a password."""
    app = make_app(Daemon(), Metrics(), None, keys=Keys(api.store))
    openapi.add_routes(app, api.source)
    async with serving(app, "127.0.0.1", 0, None) as url:
        bare = replace(api, url=url)
        for path, scheme in (("/openapi.json", "Bearer"), ("/docs", "Basic")):
            refused = await bare.send("GET", path, token="")
            assert (refused.status, refused.headers["WWW-Authenticate"].partition(" ")[0]) == (401, scheme)
        assert (await bare.send("GET", "/openapi.json", token=await api.token("read"))).status == 200


async def test_it_is_about_the_account_that_is_meant(api: Api) -> None:
    """What that account cannot do is not described; who names none of several sees everything."""
    whole = (await api.send("GET", "/openapi.json")).doc
    assert whole == openapi.document()
    token = await api.token("read")
    for side, account in api.source.runners["acme"].accounts.items():
        place = {"integrated_account_id": f"acme:{side}"}
        described = (await api.send("GET", "/openapi.json", params=place, token=token)).doc
        validate(described)
        assert ("/proxy/tickets" in described["paths"]) == (side == "gorgias")
        for key, shelf in shelves_of(account).items():
            model, name = key.split("/") if "/" in key else ("ticketing", key)
            one = described["paths"].get(f"/unified/{model}/{name}/{{id}}", {})
            assert ("delete" in one) == ("delete" in shelf.methods)


async def test_it_is_shown_to_people(api: Api) -> None:
    """A page without scripts and without anything from elsewhere, with every path."""
    reply = await api.send("GET", "/docs", token=ADMIN)
    page = reply.raw.decode()
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "script" not in reply.headers["Content-Security-Policy"]
    assert all(f"GET {path}" in page for path in ("/proxy/tickets", "/unified/ticketing/tickets"))
    assert "<script" not in page
    assert "http-equiv" not in page
    assert ET.fromstring(page.partition("<body>")[2].join(("<body>", "")).partition("</html>")[0]).tag == "body"
