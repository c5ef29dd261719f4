"""The optional second port: a product's own operations, for those who pass them on (the proxy, MCP).

A connector that has them satisfies `Operations`; nobody who only syncs tickets needs to.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from syncd.connector import Upload
from syncd.http import Streamed

__all__ = ["FILES", "Call", "Operation", "Operations", "Parameter", "Result", "Streamed"]

Effect = Literal["read", "write", "delete"]
#: `binary` and `text` are files; `empty` answers hold nothing; the rest is JSON.
FILES = frozenset({"binary", "text"})


class Parameter(Protocol):
    """A parameter of the path or of the query."""

    @property
    def name(self) -> str:
        """As it stands in a query string."""

    @property
    def required(self) -> bool:
        """Whether a call without it is wrong."""

    @property
    def description(self) -> str:
        """For people."""

    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""


class Operation(Protocol):
    """One operation, as data."""

    @property
    def name(self) -> str:
        """Unique within the product."""

    @property
    def summary(self) -> str:
        """One sentence."""

    @property
    def notes(self) -> str:
        """What is worth knowing beyond the summary."""

    @property
    def effect(self) -> Effect:
        """What it does to the account."""

    @property
    def path_params(self) -> Sequence[Parameter]:
        """The parameters that say which object is meant; the last one is the object's own."""

    @property
    def params(self) -> Sequence[Parameter]:
        """All parameters."""

    @property
    def body(self) -> Mapping[str, Any] | None:
        """The JSON schema of the body; None where there is none."""

    @property
    def multipart(self) -> bool:
        """Whether the body is a form of files."""

    @property
    def kind(self) -> str:
        """The shape of the answer."""

    @property
    def object(self) -> str:
        """What the answer holds, by its name in the product's documentation."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of an operation by name.

    `cursor` is a page that an earlier `Result` named. `files` are the parts of a form, by their names. `raw` is a body
    that is sent as it is, and `extra` are query parameters that are: neither is checked.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    cursor: str | None = None
    files: Sequence[tuple[str, Upload]] = ()
    raw: Upload | None = None
    extra: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """An answer: as it came (`body`), as a value, and of a list the rows and the cursors of its neighbours."""

    status: int
    body: bytes
    value: Any = None
    rows: Sequence[Any] | None = None
    next_cursor: str | None = None
    prev_cursor: str | None = None


@runtime_checkable
class Operations(Protocol):
    """A connector with operations. Its coroutines raise the classes of `syncd.errors` and nothing else."""

    @classmethod
    def operations(cls) -> Mapping[str, Operation]:
        """All operations by name."""

    @classmethod
    def routes(cls) -> Mapping[tuple[str, str], str]:
        """The operations by resource and method: `list`, `get`, `create`, `update`, `delete`, or one of its own."""

    @classmethod
    def resource(cls, name: str) -> str:
        """A resource's own name, however it was spelled."""

    def typed(self, name: str, texts: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
        """Parameters from a query string; what does not convert stays text, and is refused by `check_call`."""

    def check_call(self, call: Call) -> None:
        """Refuse a call that is wrong before anything is sent. Raises BadRequest with every problem."""

    def would_send(self, call: Call) -> bool:
        """Whether the call may make the product write to a customer."""

    async def call_operation(self, call: Call) -> Result:
        """Carry it out. Only reads are repeated."""

    def stream_operation(self, call: Call) -> AbstractAsyncContextManager[Streamed]:
        """Carry it out, and read the answer as it comes."""
