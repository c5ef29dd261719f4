"""Each of the 104 operations from the shell: right calls answered, wrong ones refused before Gorgias is asked."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from connectors.gorgias.operations import OPERATIONS, Operation, Param
from connectors.gorgias.sandbox import Options, Sandbox
from connectors.gorgias.sandbox.seed import seed
from syncd.cli import main
from tests.unit.gorgias_calls import NEEDED, of
from tests.unit.sandbox_client import KEY


@dataclass(frozen=True)
class Shell:
    """A shell with the account of a seeded sandbox, and a folder for files."""

    sandbox: Sandbox
    url: str
    folder: Path

    async def run(self, operation: Operation, params: dict[str, Any], body: Any, *more: str) -> Result:
        """`syncd gorgias OPERATION` with these. In a thread: the sandbox lives in this loop."""
        account = ["gorgias", "--base-url", self.url, "--email", "ops@acme.example", operation.name]
        words = [*account, *_options(params), *self._body(operation, body), *more]
        environment = {"GORGIAS_API_KEY": KEY, "SYNCD_CONFIG": None}
        return await asyncio.to_thread(CliRunner().invoke, main, words, env=environment)

    async def called(self, name: str) -> Result:
        """The operation, called rightly."""
        more = ["--output", str(self.folder / name)] if OPERATIONS[name].kind in {"binary", "text"} else []
        return await self.run(OPERATIONS[name], *of(self.sandbox, name), *more)

    def _body(self, operation: Operation, body: Any) -> list[str]:
        if not operation.multipart:
            return [] if body is None else ["--body", json.dumps(body)]
        for name, content in body.items():
            (self.folder / name).write_bytes(content)
        return [word for name in body for word in ("--file", f"{name}=@{self.folder / name}")]


def _options(params: dict[str, Any]) -> list[str]:
    pairs = [(name, one) for name, value in params.items() for one in (value if isinstance(value, list) else [value])]
    return [word for name, one in pairs for word in (f"--{name}", str(one))]


@pytest.fixture(scope="module")
async def shell(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shell]:
    """A shell for the whole module."""
    sandbox = Sandbox(Options(rate_limit=None))
    seed(sandbox, tickets=25)
    async with sandbox.serve() as url:
        yield Shell(sandbox, url, tmp_path_factory.mktemp("shell"))
    sandbox.close()


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_operation_answers(shell: Shell, name: str) -> None:
    """A right call is one call at Gorgias: exit code 0, its answer on standard output or in a file, no word else."""
    for noun, maker in NEEDED.items():
        if f"_{noun}_by_id" in name:
            await shell.called(maker)
    before = shell.sandbox.requests
    result = await shell.called(name)
    assert (result.exit_code, result.stderr, shell.sandbox.requests - before) == (0, "", 1)
    _fits(OPERATIONS[name], result.stdout, shell.folder / name)


def _fits(operation: Operation, printed: str, file: Path) -> None:
    if operation.kind in {"binary", "text"}:
        assert printed == ""
        assert file.read_bytes() == b"hello" or file.read_bytes().startswith(b"name,value\r\n")
    elif operation.kind == "empty":
        assert printed == ""
    else:
        assert isinstance(json.loads(printed), dict | list | int)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_operation_refuses_what_is_wrong(shell: Shell, name: str) -> None:
    """An unknown option, a wrong value and, where it takes one, a wrong body: exit code 2, all named, nothing sent."""
    operation = OPERATIONS[name]
    params, body = of(shell.sandbox, name)
    wrong = {param.name: "~none~" for param in operation.params if _choosy(param)}
    sent = body if operation.multipart or operation.body is None else [[1]]
    before = shell.sandbox.requests
    result = await shell.run(operation, {**params, **wrong}, sent, "--no-such-option", "1")
    assert (result.exit_code, result.stdout, shell.sandbox.requests) == (2, "", before)
    said = [line.strip(" -") for line in result.stderr.splitlines()]
    assert any(line.startswith("no-such-option: unknown") for line in said)
    assert all(any(line.startswith(f"{key}:") for line in said) for key in wrong), result.stderr
    assert sent != [[1]] or any(line.startswith("body") for line in said)


def _choosy(param: Param) -> bool:
    """Whether it does not take every text."""
    return param.item_type in {"integer", "boolean"} or bool(param.enum)


@pytest.mark.parametrize(
    "name", sorted(name for name, one in OPERATIONS.items() if any(p.required for p in one.params))
)
async def test_operation_refuses_what_is_missing(shell: Shell, name: str) -> None:
    """Without what it cannot do without: exit code 2, each named, nothing sent, no file."""
    operation, before, target = OPERATIONS[name], shell.sandbox.requests, shell.folder / "never"
    _, body = of(shell.sandbox, name)
    more = ["--output", str(target)] if operation.kind == "binary" else []
    result = await shell.run(operation, {}, body, *more)
    assert (result.exit_code, result.stdout, shell.sandbox.requests) == (2, "", before)
    assert all(f"--{param.name}: required" in result.stderr for param in operation.params if param.required)
    assert target.name not in await asyncio.to_thread(os.listdir, shell.folder)


async def test_all_pages_of_what_takes_a_body(shell: Shell) -> None:
    """--all sends the body with every page; what writes has no such option."""
    search = {"view": {"search": "order"}}
    operation = OPERATIONS["list_all_gorgias_view_items_search"]
    one = json.loads((await shell.run(operation, {"view_id": 0, "limit": 100}, search)).stdout)
    before = shell.sandbox.requests
    result = await shell.run(operation, {"view_id": 0, "limit": 5}, search, "--all")
    rows = [json.loads(line)["id"] for line in result.stdout.splitlines()]
    assert rows == [row["id"] for row in one["data"]]
    assert shell.sandbox.requests - before == -(-len(rows) // 5)
    refused = await shell.run(OPERATIONS["gorgias_rules_update_priorities"], {}, {"priorities": []}, "--all")
    assert (refused.exit_code, "all: unknown" in refused.stderr) == (2, True)
