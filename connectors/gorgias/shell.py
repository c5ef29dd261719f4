"""An operation of the API as a command: its parameters as options, its answer on standard output."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
import click
import orjson
from click.shell_completion import CompletionItem

from connectors.gorgias import credentials
from connectors.gorgias.client import Client, explain, gate
from connectors.gorgias.connector import GorgiasConfig
from connectors.gorgias.operations import Operation, Param, Problem, check, coerce, find, problems
from connectors.gorgias.shell_help import describe, described, placeholder
from syncd.errors import (
    AccountError,
    BadRequest,
    Forbidden,
    Gone,
    Refused,
    SyncdError,
    TryLater,
    Unauthorized,
    VersionConflict,
)
from syncd.http import Transport, file_body

#: What a failure is to a script: the first class that fits gives the exit code.
EXIT_CODES: tuple[tuple[type[SyncdError], int], ...] = (
    (BadRequest, 2),
    (Unauthorized, 4),
    (Forbidden, 4),
    (Gone, 5),
    (Refused, 6),
    (VersionConflict, 6),
    (TryLater, 7),
    (AccountError, 1),
)
LISTS = frozenset({"list", "view-items", "data", "array"})
#: Rows between two words about the progress of `--all`.
EVERY = 1000

Account = Callable[[click.Context], GorgiasConfig]


class Text(click.ParamType[str]):
    """A parameter's text: completed from its values, and checked with the whole call, so that every problem is said."""

    def __init__(self, param: Param) -> None:
        self.name = placeholder(param)
        self.param = param

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The values that it may have."""
        values = ("true", "false") if self.param.item_type == "boolean" else map(str, self.param.enum)
        return [CompletionItem(value) for value in values if value.startswith(incomplete)]


def near_operations(name: str) -> str:
    """What to say about an operation that does not exist."""
    try:
        find(name.replace("-", "_"))
    except BadRequest as error:
        return str(error)
    return ""


def command_of(operation: Operation, account: Account) -> click.Command:
    """The operation as a command on the account that `account` finds."""

    def run(**given: Any) -> None:
        ctx = click.get_current_context()
        code = _guarded(lambda: _run(operation, account(ctx), given, ctx.args))
        ctx.exit(code)

    return click.Command(
        operation.name,
        callback=run,
        params=list(_options(operation)),
        help=describe(operation),
        short_help=operation.summary,
        # What is unknown is reported together with everything else that is wrong.
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


def _options(operation: Operation) -> Iterable[click.Option]:
    for param in operation.params:
        names = [f"--{param.name}", "--" + param.name.replace("[", "-").rstrip("]").replace("_", "-")]
        yield click.Option(
            [_name(param), *dict.fromkeys(names)], type=Text(param), multiple=param.is_array, help=described(param)
        )
    yield click.Option(["--config"], type=click.Path(path_type=Path), help="The account of this configuration file.")
    if operation.multipart:
        yield click.Option(["--file", "files"], multiple=True, metavar="NAME=@PATH", help="A file to send. Repeatable.")
    elif operation.body is not None:
        yield click.Option(["--body"], metavar="JSON|@FILE|-", help="The body: JSON, a file of it, or standard input.")
    if operation.kind in LISTS and operation.effect == "read":
        yield click.Option(["--all", "everything"], is_flag=True, help="Follow all pages; one JSON object a line.")
    if operation.kind in {"binary", "text"}:
        yield click.Option(["--output"], metavar="FILE", help="The file to write; - is standard output.")


def _name(param: Param) -> str:
    """What click calls a parameter: an identifier that no option of ours has."""
    return "param_" + param.name.replace("[", "_").rstrip("]")


def _guarded(run: Callable[[], None]) -> int:
    """The exit code of a call; a failure is said on stderr. ConfigError is the caller's."""
    try:
        run()
    except (BadRequest, AccountError) as error:
        click.echo(f"error: {error}", err=True)
        return next(code for kind, code in EXIT_CODES if isinstance(error, kind))
    return 0


def _run(operation: Operation, config: GorgiasConfig, given: Mapping[str, Any], extra: Sequence[str]) -> None:
    params, wrong = _params(operation, given, extra)
    body, unread = None, False
    try:
        body = _body(operation, given)
    except ValueError as error:
        unread = True
        wrong.append(f"{'--file' if operation.multipart else '--body'}: {error}")
    found = [problem for problem in problems(operation, params, body) if not (unread and problem.part == "body")]
    if operation.kind == "binary" and not given.get("output"):
        wrong.append("--output: required, for what is downloaded")
    if wrong or found:
        raise BadRequest(f"{operation.name} cannot be called like this", [*map(_said, found), *wrong])
    asyncio.run(_call(operation, config, params, body, given))


def _said(problem: Problem) -> str:
    return str(problem) if problem.part == "body" else f"--{problem}"


def _params(operation: Operation, given: Mapping[str, Any], extra: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The parameters by their own names, with the unknown ones, and the words that belong to no option."""
    texts: dict[str, Any] = {
        param.name: list(value) if param.is_array else value
        for param in operation.params
        if (value := given[_name(param)]) not in (None, ())
    }
    strays = []
    rest = list(extra)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            strays.append(f"{word}: what is this? Parameters are --NAME VALUE")
            continue
        name, is_pair, value = word.removeprefix("--").partition("=")
        texts[name] = value if is_pair or not rest or rest[0].startswith("--") else rest.pop(0)
    return coerce(operation, texts), strays


def _body(operation: Operation, given: Mapping[str, Any]) -> Any:
    """The body that was given. Raises ValueError with what is wrong with it."""
    if operation.multipart:
        return dict(map(_named_file, given["files"])) or None
    text = given.get("body")
    if text is None:
        return None
    try:
        raw = sys.stdin.read() if text == "-" else Path(text[1:]).read_text("utf-8") if text[:1] == "@" else text
        return json.loads(raw)
    except OSError as error:
        raise ValueError(f"cannot read {text[1:]}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{text[1:]} is not UTF-8 text") from error


def _named_file(word: str) -> tuple[str, Path]:
    name, _, path = word.partition("=@")
    if not (name and path):
        raise ValueError(f"{word!r} is not NAME=@PATH")
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}")
    return name, Path(path)


@asynccontextmanager
async def _client(config: GorgiasConfig) -> AsyncIterator[Client]:
    async with Transport(
        config.url,
        "Gorgias",
        headers=credentials.headers(config),
        renew=credentials.renewal(config),
        gate=gate(config.rate_window),
        explain=explain,
    ) as transport:
        yield Client(transport)


async def _call(
    operation: Operation, config: GorgiasConfig, params: Mapping[str, Any], body: Any, given: Mapping[str, Any]
) -> None:
    async with _client(config) as client:
        if given.get("everything"):
            await _every_page(client, operation, params, body)
        elif operation.kind == "binary":
            path = check(operation, params).path
            stream = client.transport.download(config.url + path)
            await _save(stream, given["output"])
        elif operation.kind == "text":
            await _save(_once(await _text(client, operation, params, body)), given.get("output") or "-")
        else:
            answer = await (_upload if operation.multipart else _plain)(client, operation, params, body)
            if answer is not None:
                _print(answer, orjson.OPT_INDENT_2)


async def _plain(client: Client, operation: Operation, params: Mapping[str, Any], body: Any) -> Any:
    return await client.call(operation.name, params, body)


async def _text(client: Client, operation: Operation, params: Mapping[str, Any], body: Any) -> bytes:
    request = check(operation, params, body)
    answer = await client.transport.request(
        request.method, request.path, query=request.query, json=request.body, headers={"Accept": "*/*"}
    )
    return answer.body


async def _upload(client: Client, operation: Operation, params: Mapping[str, Any], files: Mapping[str, Path]) -> Any:
    request = check(operation, params, files)

    def form() -> aiohttp.MultipartWriter:
        writer = aiohttp.MultipartWriter("form-data")
        for name, path in files.items():
            part = aiohttp.payload.AsyncIterablePayload(file_body(path)(), content_type="application/octet-stream")
            part.set_content_disposition("form-data", name=name, filename=name)
            writer.append_payload(part)
        return writer

    return await client.transport.json(request.method, request.path, query=request.query, data=form)


async def _every_page(client: Client, operation: Operation, params: Mapping[str, Any], body: Any) -> None:
    """Row by row, as the pages come; how far it is stands on stderr."""
    number = 0
    async for rows in client.pages(operation.name, params, body):
        for row in rows:
            _print(row, orjson.OPT_APPEND_NEWLINE)
        before, number = number, number + len(rows)
        if sys.stderr.isatty() or number // EVERY > before // EVERY:
            click.echo(f"{number} rows", err=True)


def _print(value: Any, option: int) -> None:
    out = _stdout()
    out.write(orjson.dumps(value, option=option | orjson.OPT_APPEND_NEWLINE))
    out.flush()


def _stdout() -> BinaryIO:
    return sys.stdout.buffer


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _save(stream: AsyncIterator[bytes], output: str) -> None:
    """Stream to a file, which has its name only once it is whole, or to standard output."""
    if output == "-":
        await _copy(stream, _stdout())
        return
    target = Path(output)
    part = target.with_name(target.name + ".part")
    try:
        with await asyncio.to_thread(part.open, "wb") as file:
            await _copy(stream, file)
        await asyncio.to_thread(part.replace, target)
    except OSError as error:
        raise BadRequest(f"cannot write {output}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


async def _copy(stream: AsyncIterator[bytes], file: BinaryIO) -> None:
    async for chunk in stream:
        await asyncio.to_thread(file.write, chunk)
