"""What the calls of the unified API mean, and how their answers look."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from aiohttp import web

from syncd.access import Access
from syncd.directory import Record, Unsupported
from syncd.errors import AccountError, BadRequest
from syncd.unified import schema
from syncd.unified.schema import Resource
from syncd.web import faults
from syncd.web.faults import Fault
from syncd.web.proxy import DEADLINE
from syncd.web.unified_query import Options

T = TypeVar("T")
#: The methods of an HTTP verb, without and with an id in the path.
VERBS = {"GET": ("list", "get"), "POST": ("create", ""), "PATCH": ("", "update"), "DELETE": ("", "delete")}
WRITES = frozenset({"create", "update", "delete"})
DOWNLOAD = "download"


@dataclass(frozen=True, slots=True)
class Target:
    """What a path and an HTTP method mean."""

    resource: Resource
    method: str
    id: str | None = None

    @property
    def access(self) -> Access:
        """What it takes."""
        return Access.WRITE if self.method in WRITES else Access.READ

    @property
    def route(self) -> str:
        """As scopes name it."""
        return f"{self.resource.name}.{self.method}"

    @property
    def operation(self) -> str:
        """As the record of writes names it."""
        return f"unified.{self.resource.model}.{self.route}"


def found(request: web.Request) -> Target:
    """What is meant. Raises Fault: 404, or 405 with what there is."""
    place = request.match_info
    model, name, tail = place["model"], place["resource"].replace("_", "-"), place.get("tail")
    resource = schema.every().get((model, name))
    if resource is None:
        known = ", ".join(one.path for one in schema.every().values())
        raise Fault(404, f"there is no {model}/{name}: there are {known}")
    if tail == DOWNLOAD and resource.name == "attachments":
        methods = {"GET": DOWNLOAD, "POST": DOWNLOAD}
    else:
        methods = {verb: names[tail is not None] for verb, names in VERBS.items() if names[tail is not None]}
    if request.method not in methods:
        allowed = ", ".join(sorted(methods))
        raise Fault(405, f"{resource.path}{'/ID' if tail else ''} takes {allowed}", headers={"Allow": allowed})
    return Target(resource, methods[request.method], tail)


def shown(resource: Resource, record: Record, options: Options) -> Any:
    """An object as the caller wants it: every field, or the product's own record."""
    if options.format == "raw":
        return record.raw
    row = schema.filled(resource.fields, {**record.fields, "remote_data": record.raw})
    dropped = options.exclude | ({"remote_data"} if options.without_raw else set())
    return {name: value for name, value in row.items() if name not in dropped}


async def asked(
    work: Callable[[], Awaitable[T]], *, writes: bool = False, patient: bool = False, done: Sequence[str] = ()
) -> T:
    """What the product answers, its failures as faults; those of a later step say what was `done` before."""
    try:
        async with asyncio.timeout(None if patient else DEADLINE):
            return await work()
    except AccountError as error:
        raise after(done, faults.remote(error)) from error
    except BadRequest as error:
        raise after(done, faults.wrong(error)) from error
    except Unsupported as error:
        raise Fault(501, str(error)) from error
    except TimeoutError as error:
        unknown = " It may have landed: look before you repeat it." if writes else ""
        raise after(done, Fault(504, f"no answer within {DEADLINE:.0f} seconds.{unknown}", happened=writes)) from error


def after(done: Sequence[str], fault: Fault) -> Fault:
    """The fault of a call of which a part was done."""
    if not done:
        return fault
    message = f"{fault}; before that, {' and '.join(done)}"
    return Fault(
        fault.status,
        message,
        failures=fault.failures,
        headers=fault.headers,
        happened=True,
        done=list(done),
        **fault.more,
    )


def answer(value: Any, status: int = 200) -> web.Response:
    """As JSON."""
    body = orjson.dumps(value, default=_other)
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json"})


def _other(value: Any) -> Any:
    """What a product's record may hold beside JSON."""
    return sorted(value) if isinstance(value, frozenset | set) else dict(value)
