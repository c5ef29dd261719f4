"""The options of a call of the unified API: those of the proxy, and a few of its own."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from syncd.errors import BadRequest
from syncd.unified.filters import ALIASES
from syncd.web import faults, query
from syncd.web.query import FALSE, PREFIX, TRUE, Pairs

FORMATS = ("unified", "raw")
#: The unified API has no operation whose parameters were known beforehand.
ANYTHING: Any = SimpleNamespace(params=(), body=None)
TICKET = "ticket[id]"
SEND = "send"


@dataclass(slots=True)
class Options:
    """How an answer shall look; `texts` is all that is no option: the filters of a list."""

    format: str = "unified"
    key_by: str | None = None
    exclude: frozenset[str] = frozenset()
    without_raw: bool = False
    send: bool = False
    cursor: str | None = None
    extra: Pairs = field(default_factory=list)
    texts: dict[str, str | list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def ticket(self) -> str | None:
        """The ticket that the query names."""
        given = self.texts.get(TICKET)
        return given if isinstance(given, str) else None

    def refuse_the_rest(self, *allowed: str) -> None:
        """A single object is named by its id, and perhaps by its ticket. Raises Fault for anything else."""
        unknown = sorted(set(self.texts) - {TICKET, *allowed})
        problems = [*self.problems, *(f"{name}: means nothing here" for name in unknown)]
        if self.cursor is not None:
            problems.append("next_cursor: only a list has pages")
        if problems:
            raise faults.wrong(BadRequest("the call cannot be made like this", problems))


def options_of(pairs: Iterable[tuple[str, str]]) -> Options:
    """The options of a query string; what is wrong with them is in `problems`."""
    options, rest = Options(), []
    for name, value in pairs:
        plain = name.removeprefix(PREFIX)
        if plain == "response_format":
            options.format = value
        elif plain in {SEND, "ignore_remote_data"} and value.lower() in TRUE | FALSE:
            setattr(options, {SEND: SEND}.get(plain, "without_raw"), value.lower() in TRUE)
        else:
            rest.append((name, value))
    asked = query.read(rest, ANYTHING, body_fields=False)
    options.key_by, options.exclude, options.cursor = asked.key_by, asked.exclude, asked.cursor
    options.extra, options.problems = asked.extra, asked.problems
    options.texts = {_spelled(name): value for name, value in asked.texts.items()}
    if options.format not in FORMATS:
        options.problems.append(f"response_format: must be one of {', '.join(FORMATS)}, not {options.format!r}")
    if asked.passthrough:
        options.problems.append("body_passthrough: use /proxy for bodies that are the product's own")
    if asked.ignore_limit:
        options.texts["limit"] = "100"
    return options


def _spelled(name: str) -> str:
    return TICKET if ALIASES.get(name) == TICKET else name
