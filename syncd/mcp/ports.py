"""What tools ask of a connector beyond its operations. A connector has these attributes, and knows nothing of us."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from syncd.model import Ticket

#: Where the name of a tool leads in `Wording.words`: `operation.argument`, or the argument alone.
Words = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wording:
    """What a model is told about a product's operations; each part may be empty.

    `tools` describe operations, `words` their arguments. `tags` are groups of resources by which tools are chosen.
    `everyday` are the resources that an agent's work writes to. `destroys` loses data though it is no delete;
    `repeatable` may be called twice though it creates or does something of its own.
    """

    tools: Words = field(default_factory=dict)
    words: Words = field(default_factory=dict)
    tags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    everyday: Sequence[str] = ()
    destroys: Sequence[str] = ()
    repeatable: Sequence[str] = ()


@runtime_checkable
class Worded(Protocol):
    """A connector that says what its operations are for."""

    @classmethod
    def tool_wording(cls) -> Mapping[str, Any]:
        """The parts of a `Wording` by name."""


@runtime_checkable
class Searcher(Protocol):
    """A connector that finds tickets."""

    async def search_tickets(
        self, *, text: str, customer: str, tag: str, status: str, limit: int, cursor: str | None
    ) -> tuple[Sequence[Ticket], str | None]:
        """The tickets that fit everything given, and the cursor of the next page."""


@runtime_checkable
class Answerer(Protocol):
    """A connector that can answer customers where they wrote."""

    async def answer_customer(self, ticket_id: str, text: str) -> str:
        """Send a public reply; the new message's id."""


def wording(connector: Any) -> Wording:
    """What the connector says about its operations; nothing where it says nothing."""
    return Wording(**connector.tool_wording()) if isinstance(connector, Worded) else Wording()
