"""Who may use which tool: levels, and filters by resource and tag."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from syncd.access import Access as Reach
from syncd.access import Caller
from syncd.errors import BadRequest
from syncd.mcp.tools import Tool
from syncd.problems import near


class Access(StrEnum):
    """How far a session may go; each level includes the one before it."""

    READONLY = "readonly"
    AGENT = "agent"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Policy:
    """What one session may do. Empty filters leave everything in; `operations` are a token's patterns."""

    access: Access = Access.AGENT
    send: bool = False
    resources: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    operations: tuple[str, ...] = ("*",)

    def shows(self, tool: Tool) -> bool:
        """Whether a tool is listed, and may be called."""
        return self.reaches(tool) and self._chooses(tool)

    def reaches(self, tool: Tool) -> bool:
        """Whether the level is high enough."""
        if self.access is Access.ADMIN or tool.effect == "read":
            return True
        return self.access is Access.AGENT and tool.effect == "write" and tool.everyday

    def _chooses(self, tool: Tool) -> bool:
        named = any(fnmatchcase(name, pattern) for pattern in self.operations for name in (tool.name, tool.route))
        return (
            named
            and (not self.resources or bool(self.resources & tool.resources))
            and (not self.tags or bool(self.tags & tool.tags))
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """What a session asks for, in words."""

    access: str = Access.AGENT
    resources: Iterable[str] = ()
    tags: Iterable[str] = ()


def policy(wish: Wish, tools: Iterable[Tool], *, may_send: bool, caller: Caller | None = None) -> Policy:
    """What a session may do. `may_send` is the configuration's word on mail; a caller's token bounds everything.

    Raises BadRequest with every unknown word.
    """
    known = list(tools)
    resources, tags = _words(wish.resources), _words(wish.tags)
    problems = [
        *_unknown("access", {wish.access}, Access),
        *_unknown("resource", resources, {one for tool in known for one in tool.resources}),
        *_unknown("tag", tags, {one for tool in known for one in tool.tags}),
    ]
    if problems:
        raise BadRequest("these tools cannot be chosen", problems)
    level = Access(wish.access)
    send = may_send or level is Access.ADMIN
    if caller is None:
        return Policy(level, send, resources, tags)
    level = Access.READONLY if caller.access < Reach.WRITE else level
    return Policy(level, send and caller.access >= Reach.SEND, resources, tags, caller.operations)


def _words(given: Iterable[str]) -> frozenset[str]:
    """The words of `a,b` and of repeated options; dashes are as good as underscores."""
    return frozenset(word.strip().replace("-", "_") for text in given for word in text.split(",") if word.strip())


def _unknown(what: str, given: Iterable[str], known: Iterable[Any]) -> Iterable[str]:
    names = sorted(map(str, known))
    for word in sorted(set(given) - set(names)):
        yield f"there is no {what} {word!r}{near(word, names)}; there are: {', '.join(names)}"
