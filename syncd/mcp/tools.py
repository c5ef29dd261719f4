"""What a tool is, and how one is called: its arguments are checked, and nothing is sent while anything is wrong."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from typing import Any

from syncd.errors import BadRequest
from syncd.problems import near

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Blob:
    """A file that a tool hands out; its content is base64."""

    uri: str
    content: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tool answers: always an object, and files beside it."""

    value: dict[str, Any]
    blobs: tuple[Blob, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of a tool: its arguments, and whether it may mail a customer."""

    arguments: Arguments
    send: bool = False


@dataclass(frozen=True, eq=False)
class Tool:
    """One tool. `everyday` says that an agent's work needs it; `resources` and `tags` are what filters look at.

    `checked` says that the schema is checked before `run`, which else does it itself and knows more than is shown.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    run: Callable[[Asked], Awaitable[Outcome]]
    effect: str = "read"
    everyday: bool = False
    destructive: bool = False
    idempotent: bool = True
    resources: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    #: What a token's patterns may name beside the tool itself: `resource.method`.
    route: str = ""
    checked: bool = True
    #: Which tool lists what this one names by its id.
    finder: str = ""

    async def __call__(self, asked: Asked) -> Outcome:
        """Raises BadRequest before anything is sent, and the other classes of `syncd.errors` after."""
        if self.checked and (problems := list(self._problems(asked.arguments))):
            raise BadRequest(f"{self.name} cannot be called like this", problems)
        return await self.run(asked)

    def _problems(self, arguments: Arguments) -> Iterable[str]:
        for error in self._validator.iter_errors(arguments):
            where = ".".join(map(str, error.absolute_path))
            if error.validator == "additionalProperties":
                known = error.schema["properties"]
                for name in arguments if not where else error.instance:
                    if name not in known:
                        yield f"{where + '.' if where else ''}{name}: unknown argument{near(name, known)}"
            else:
                yield f"{where}: {error.message}" if where else error.message

    @cached_property
    def _validator(self) -> Any:
        return _validators()(self.schema)


@cache
def _validators() -> Any:
    # Loaded with the first call: its import takes longer than all the rest of this module.
    return import_module("jsonschema").Draft202012Validator


class Toolbox:
    """Tools by name."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self.tools = {tool.name: tool for tool in tools}

    def find(self, name: str) -> Tool:
        """The tool of this name. Raises BadRequest that names the nearest."""
        if name not in self.tools:
            raise BadRequest(f"there is no tool {name!r}{near(name, self.tools)}")
        return self.tools[name]
