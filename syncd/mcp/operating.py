"""The operations of a connector as tools."""

import base64
import mimetypes
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from syncd.errors import BadRequest
from syncd.mcp import answers
from syncd.mcp.files import Files, received
from syncd.mcp.ports import Wording, wording
from syncd.mcp.refusals import MailRefused
from syncd.mcp.shapes import BODY, FULL, Shape, schema_of, shape
from syncd.mcp.tools import Asked, Blob, Outcome, Tool
from syncd.operations import FILES, Call, Operation, Operations

UPLOADS = "files"
CURSOR = "cursor"
ACTIONS = frozenset({"list", "get", "create", "update", "delete"})
Account = Callable[[], Awaitable[Any]]


def tools_of(connector: type[Operations], account: Account, files: Files) -> Iterable[Tool]:
    """A tool for each operation of a connector's class; `account` gives the open one that is called."""
    said = wording(connector)
    routes = {name: route for route, name in connector.routes().items()}
    for name, operation in connector.operations().items():
        resource, method = routes[name]
        runner = _Runner(account, operation, shape(operation, said.words), files)
        finder = connector.routes().get((resource, "list"), "")
        yield _tool(runner, said, resource, method, finder if finder != name else "")


def _tool(runner: "_Runner", said: Wording, resource: str, method: str, finder: str) -> Tool:
    operation, schema = runner.operation, runner.schema()
    name, effect = operation.name, operation.effect
    description = said.tools.get(name) or operation.summary
    again = effect == "read" or method in ACTIONS - {"create"} or name in said.repeatable
    return Tool(
        name,
        f"{description} Paged." if CURSOR in schema["properties"] else description,
        schema,
        runner,
        effect=effect,
        everyday=resource in said.everyday,
        destructive=effect == "delete" or name in said.destroys,
        idempotent=again,
        resources=frozenset({resource}),
        tags=frozenset(tag for tag, resources in said.tags.items() if resource in resources),
        route=f"{resource}.{method}",
        checked=False,
        finder=finder,
    )


class _Runner:
    """One operation, called with the arguments of a tool."""

    def __init__(self, account: Account, operation: Operation, form: Shape, files: Files) -> None:
        self.account, self.operation, self.form, self.files = account, operation, form, files
        self.reads = operation.effect == "read" and operation.kind != "binary"

    def schema(self) -> dict[str, Any]:
        """The tool's input: the operation's own, and what the tool adds."""
        shown = self.form.shown
        properties, required = dict(shown["properties"]), list(shown.get("required", ()))
        if self.operation.multipart:
            properties.pop(BODY, None)
            properties[UPLOADS] = self.files.schema
            required = [UPLOADS if name == BODY else name for name in required]
        if self.reads:
            properties[FULL] = {"type": "boolean"}
        return schema_of(properties, required)

    async def __call__(self, asked: Asked) -> Outcome:
        """Raises BadRequest and MailRefused before anything is sent."""
        arguments = dict(asked.arguments)
        full = arguments.pop(FULL, False) if self.reads else False
        if not isinstance(full, bool):
            raise BadRequest(f"{self.operation.name} cannot be called like this", [f"{FULL}: must be true or false"])
        if self.operation.multipart:
            return await self._upload(arguments)
        account, call = await self.account(), self._call(arguments)
        self._check(account, call)
        if not asked.send and account.would_send(call):
            raise MailRefused(f"{self.operation.name} may mail a customer, which this access does not allow")
        if self.operation.kind in FILES:
            return await self._download(account, call, full)
        return Outcome(self._answer(await account.call_operation(call), full))

    def _call(self, arguments: dict[str, Any]) -> Call:
        """A page's cursor may stand for several parameters: the connector knows which."""
        cursor = arguments.pop(CURSOR, None) if isinstance(arguments.get(CURSOR), str) else None
        params, body = self.form.part(arguments)
        return Call(self.operation.name, params, body, cursor)

    def _check(self, account: Any, call: Call) -> None:
        try:
            account.check_call(call)
        except BadRequest as error:
            problems = [self._renamed(problem) for problem in error.problems]
            raise BadRequest(f"{call.name} cannot be called like this", problems) from error

    def _renamed(self, problem: str) -> str:
        """A problem in the words of the tool: its arguments have no parts, and names that fit everywhere."""
        where, _, what = problem.partition(": ")
        names = {original: name for name, original in (self.form.params | self.form.body).items()}
        name = where if self.form.whole else where.removeprefix(f"{BODY}.")
        return f"{names.get(name, name)}: {what}"

    def _answer(self, result: Any, full: bool) -> dict[str, Any]:
        if result.rows is not None:
            value = answers.of_rows(self.operation.name, result.rows, result.next_cursor)
        else:
            value = answers.of_object(result.value)
        return value if full else answers.trimmed(value)

    async def _upload(self, arguments: dict[str, Any]) -> Outcome:
        given = arguments.pop(UPLOADS, None)
        account = await self.account()
        with received(given, self.files) as uploads:
            call = Call(self.operation.name, self.form.part(arguments)[0], files=uploads)
            self._check(account, call)
            return Outcome(self._answer(await account.call_operation(call), full=False))

    async def _download(self, account: Any, call: Call, full: bool) -> Outcome:
        async with account.stream_operation(call) as streamed:
            content = await self.files.whole(streamed.chunks)
            said = streamed.headers.get("Content-Type", "").partition(";")[0].strip()
        if self.operation.kind == "text":
            value = {"text": content.decode("utf-8", "replace")}
            return Outcome(value if full else answers.trimmed(value))
        path = "/".join(map(str, call.params.values()))
        content_type = said or mimetypes.guess_type(path)[0] or "application/octet-stream"
        told = {"file_name": path.rpartition("/")[2], "content_type": content_type, "size": len(content)}
        blob = Blob(f"file:///{path}", base64.b64encode(content).decode(), content_type)
        return Outcome({**told, "content": "in the resource beside this, as base64"}, (blob,))
