"""The optional third port: everything of an account that the unified API lists and changes, resource by resource.

A connector that has more than tickets satisfies `Directory`: it names a `Shelf` for each resource of the unified API.
`syncd.unified.shelves` makes shelves of any connector; what a shelf does not override, the product cannot do.
"""

from abc import ABC
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from syncd.connector import Upload
from syncd.errors import SyncdError

#: Rows that a list hands out at most, and as many as it does when nobody says how many.
MAX_LIMIT = 100
DEFAULT_LIMIT = 30

METHODS = ("list", "get", "create", "update", "delete", "download")


class Unsupported(SyncdError):
    """The product cannot do this at all; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """An object: `fields` as the unified API names them (one that is absent is null), `raw` as the product shows it."""

    fields: Mapping[str, Any]
    raw: Any = None


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on a field: `path` leads to it (`("status", "name")`), `op` is eq, ne, gt, gte, lt, lte, in, …"""

    path: tuple[str, ...]
    op: str
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """As it stands in a query string: `status[name]`."""
        return self.path[0] + "".join(f"[{part}]" for part in self.path[1:])


@dataclass(frozen=True, slots=True)
class Query:
    """What a list shall hold. `extra` goes to the product as it is."""

    filters: tuple[Filter, ...] = ()
    sort: tuple[str, bool] | None = None
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    extra: tuple[tuple[str, str], ...] = ()

    def only(self, *path: str) -> str | None:
        """The value that a field must have, where a filter says so."""
        found = (one for one in self.filters if one.path == path and one.op in {"eq", "in"} and len(one.values) == 1)
        return next((one.values[0] for one in found), None)

    def any_of(self, *path: str) -> list[str]:
        """The values of which a field must have one, where a filter says so."""
        found = (one for one in self.filters if one.path == path and one.op in {"eq", "in"})
        return [value for one in found for value in one.values]

    def bounds(self, name: str) -> Sequence[Filter]:
        """The filters that bound a time."""
        return [one for one in self.filters if one.path == (name,) and one.op in {"gt", "gte", "lt", "lte"}]


@dataclass(frozen=True, slots=True)
class Rows:
    """What one call to the product brought, and the cursors of its neighbours.

    `order` is the field by which they come and whether downwards; `applied` names the filters that the product has
    applied and that cannot be checked again on its rows.
    """

    records: Sequence[Record]
    next: str | None = None
    previous: str | None = None
    order: tuple[str, bool] | None = None
    applied: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Draft:
    """What shall be written: a body that fits its schema, the ticket it belongs to, and its files on disk.

    `send` says that the caller wants the customer to get it, and may. In `done` a shelf notes what is written already,
    so that the failure of a later step can say so.
    """

    body: Mapping[str, Any]
    ticket: str | None = None
    files: Sequence[Upload] = ()
    send: bool = False
    done: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class File:
    """A file's content as it comes."""

    file_name: str
    content_type: str
    chunks: AsyncIterator[bytes] = field(repr=False)


class Shelf(ABC):  # noqa: B024 - what is not overridden is what the product cannot do
    """One resource of one account. Coroutines raise `Unsupported` and the classes of `syncd.errors`.

    `whole` says that `rows` brings everything at once, `sorts` by what the product itself sorts, `needs_ticket` that a
    list or an object can only be reached by way of its ticket. `partial` says that lists show less than `get` does,
    `sends` that a write may reach a customer, `takes_remote_data` that a body's `remote_data` goes to the product.
    `lacks` names fields that the schema has, and the product has no place for: they are refused, not dropped.
    """

    whole: ClassVar[bool] = False
    partial: ClassVar[bool] = False
    needs_ticket: ClassVar[bool] = False
    sends: ClassVar[bool] = False
    takes_remote_data: ClassVar[bool] = False
    lacks: ClassVar[frozenset[str]] = frozenset()
    sorts: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, resource: str, product: str) -> None:
        self.resource = resource
        self.product = product
        #: Why not, by method, where there is more to say than that there is no way.
        self.because: dict[str, str] = {}

    @property
    def methods(self) -> tuple[str, ...]:
        """What can be done here."""
        own = {"list": "rows"}
        return tuple(
            name
            for name in METHODS
            if getattr(type(self), own.get(name, name)) is not getattr(Shelf, own.get(name, name))
            and name not in self.because
        )

    def cannot(self, method: str) -> Unsupported:
        """The failure of a method that is not there."""
        reason = self.because.get(method, f"{self.product} has no way to {method} {self.resource} through its API")
        return Unsupported(reason)

    async def rows(self, query: Query, cursor: str | None, size: int) -> Rows:
        """The rows at a cursor of this shelf's own; filters may be left to the caller."""
        raise self.cannot("list")

    async def get(self, object_id: str, ticket: str | None) -> Record:
        """One object, whole. Raises Gone."""
        raise self.cannot("get")

    async def create(self, draft: Draft) -> Record:
        """Make one, and show it as stored."""
        raise self.cannot("create")

    async def update(self, object_id: str, draft: Draft) -> Record:
        """Change what the body names, and show it as stored."""
        raise self.cannot("update")

    async def delete(self, object_id: str, ticket: str | None) -> None:
        """Delete it for good, or as far as the product can."""
        raise self.cannot("delete")

    async def download(self, object_id: str, ticket: str | None) -> File:
        """Its content."""
        raise self.cannot("download")


@runtime_checkable
class Directory(Protocol):
    """A connector that has shelves of its own."""

    def shelves(self) -> Mapping[str, Shelf]:
        """By resource: `tickets`, `comments`, …; one that is missing is made of the connector's own methods."""
