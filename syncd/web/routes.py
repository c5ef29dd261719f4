"""Which operation a path and an HTTP method mean, and which there are.

`GET /proxy/R` lists, `GET /proxy/R/ID` gets, `POST /proxy/R` creates, `PATCH` and `DELETE /proxy/R/ID` change, and
`POST /proxy/R/METHOD` is anything else. A list that takes a body may be POSTed.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from syncd.operations import Operation, Operations
from syncd.web.faults import Fault

STANDARD = ("list", "get", "create", "update", "delete")
ITEM_VERBS = {"get": "GET", "update": "PATCH", "delete": "DELETE"}


@dataclass(frozen=True, slots=True)
class Target:
    """An operation that was found for a path; `id` is the path's last part, where that names an object."""

    resource: str
    method: str
    operation: Operation
    id: str | None = None

    @property
    def route(self) -> str:
        """As scopes name it."""
        return f"{self.resource}.{self.method}"

    @property
    def id_name(self) -> str | None:
        """The parameter that the path's last part stands for."""
        return id_name(self.operation)


@dataclass(frozen=True, slots=True)
class Route:
    """One way to call an operation: `tail` is empty, `{id}`, or the name of a method."""

    verb: str
    resource: str
    tail: str
    method: str
    operation: Operation

    @property
    def path(self) -> str:
        """The path, with `{id}` where that names an object."""
        return f"/proxy/{self.resource}" + (f"/{self.tail}" if self.tail else "")


ID = "{id}"
Routes = Mapping[tuple[str, str, str], Route]


def id_name(operation: Operation) -> str | None:
    """The parameter that says which object is meant: `id`, or the last one of the path."""
    names = [param.name for param in operation.path_params]
    return "id" if "id" in names else names[-1] if names else None


def routes(doors: type[Operations] | Operations) -> Routes:
    """All ways to call operations, by verb, resource and tail."""
    operations = doors.operations()
    every = (
        route
        for (resource, method), name in sorted(doors.routes().items())
        for route in _of(resource, method, operations[name], doors.routes())
    )
    return {(route.verb, route.resource, route.tail): route for route in every}


def _of(resource: str, method: str, operation: Operation, named: Mapping[tuple[str, str], str]) -> Iterator[Route]:
    if method == "list":
        yield Route("GET", resource, "", method, operation)
        if operation.body is not None and (resource, "create") not in named:
            yield Route("POST", resource, "", method, operation)
    elif method == "create":
        yield Route("POST", resource, "", method, operation)
    elif method not in ITEM_VERBS:
        yield Route("POST", resource, method, method, operation)
    else:
        verb = ITEM_VERBS[method]
        yield Route(verb, resource, ID, method, operation)
        # What is named by its owner (a ticket's tags), or is the only one, need not be named in the path.
        if id_name(operation) != "id":
            yield Route(verb, resource, "", method, operation)


def find(doors: Operations, known: Routes, verb: str, resource: str, tail: str) -> Target:
    """The operation of a path and an HTTP method. Raises Fault: 404, or 405 with what there is."""
    resource = doors.resource(resource)
    own = tail.replace("-", "_")
    place = own if any(route.tail == own for route in known.values() if route.resource == resource) else tail and ID
    if route := known.get((verb, resource, place)):
        return Target(resource, route.method, route.operation, tail if place == ID else None)
    of_resource = [route for route in known.values() if route.resource == resource]
    if not of_resource:
        raise Fault(404, _unknown(resource, known))
    allowed = sorted({route.verb for route in of_resource if route.tail == place})
    if not allowed:
        raise Fault(404, f"there is nothing behind /proxy/{resource}/: it has {_listed(of_resource)}")
    message = f"{verb} is not for this path: {resource} has {_listed(of_resource)}"
    raise Fault(405, message, headers={"Allow": ", ".join(allowed)})


def _listed(routes: list[Route]) -> str:
    return ", ".join(f"{route.verb} {route.path}" for route in routes)


def _unknown(resource: str, known: Routes) -> str:
    near = difflib.get_close_matches(resource, {route.resource for route in known.values()}, n=3, cutoff=0.5)
    return f"there is no resource {resource!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
