"""`syncd gorgias` and `syncd sandbox`: any operation from the shell, against a sandbox that is served."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from connectors.gorgias.operations import OPERATIONS, Operation, check
from connectors.gorgias.sandbox import Options, Sandbox
from connectors.gorgias.shell_help import by_resource, example
from syncd.cli import main
from tests.unit.sandbox_client import KEY, basic

LIST = "list_all_gorgias_tickets"


class Shell:
    """A shell with an account: each line is run as `syncd gorgias LINE`."""

    def __init__(self, sandbox: Sandbox, url: str) -> None:
        self.sandbox = sandbox
        self.url = url

    async def run(self, *words: str, key: str = KEY, stdin: str | None = None) -> Result:
        """What the command prints, and its exit code. In a thread: the sandbox lives in this loop."""
        account = ["gorgias", "--base-url", self.url, "--email", "ops@acme.example"]
        environment = {"GORGIAS_API_KEY": key, "SYNCD_CONFIG": None}
        runner = CliRunner()
        return await asyncio.to_thread(runner.invoke, main, [*account, *words], input=stdin, env=environment)


@pytest_asyncio.fixture
async def shell() -> AsyncIterator[Shell]:
    """A shell, and a sandbox with five tickets."""
    sandbox = Sandbox(Options(accounts={"low@acme.example": "low"}))
    for number in range(5):
        sandbox.create_ticket(f"Order {number}", "Where is it?")
    async with sandbox.serve() as url:
        yield Shell(sandbox, url)


def test_all_operations_are_listed() -> None:
    """Without an operation, all 104 are shown by resource, each with its summary."""
    shown = CliRunner().invoke(main, ["gorgias"], terminal_width=200)
    assert shown.exit_code == 0
    assert all(f"  {name} " in shown.output for name in OPERATIONS)
    assert "Ticket tags:" in shown.output
    assert sum(len(operations) for _, operations in by_resource()) == 104


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.name)
def test_every_operation_is_described(operation: Operation) -> None:
    """The help names every parameter and its values, and its example is a call that fits the schema."""
    shown = CliRunner().invoke(main, ["gorgias", operation.name, "--help"], terminal_width=500)
    assert shown.exit_code == 0
    for param in operation.params:
        assert f"--{param.name}" in shown.output
        assert all(str(value) in shown.output for value in param.enum)
    words = example(operation).split(" --body ")
    assert words[0] in shown.output
    body = json.loads(words[1].partition("' --limit")[0].strip("'")) if len(words) > 1 else None
    required = [param for param in operation.params if param.required]
    values = {param.name: param.enum[0] if param.enum else "x" for param in required}
    values |= {param.name: 1 for param in required if param.item_type == "integer"}
    check(operation, values, {"photo.png": b""} if operation.multipart else body)


async def test_an_answer_is_json(shell: Shell) -> None:
    """The answer goes to standard output, as it came."""
    result = await shell.run(LIST, "--limit", "2", "--order_by", "created_datetime:asc")
    assert result.exit_code == 0
    assert [row["subject"] for row in json.loads(result.stdout)["data"]] == ["Order 0", "Order 1"]
    assert result.stderr == ""


async def test_all_pages_are_json_lines(shell: Shell) -> None:
    """--all follows the pages and prints a row a line."""
    result = await shell.run(LIST, "--all", "--limit", "2")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert sorted(row["subject"] for row in rows) == [f"Order {number}" for number in range(5)]
    assert shell.sandbox.requests == 3


async def test_brackets_and_dashes(shell: Shell) -> None:
    """A parameter with brackets has a spelling that no shell minds; dashes are as good as underscores."""
    for name in ("--created_datetime[gte]", "--created-datetime-gte"):
        result = await shell.run("list-all-gorgias-events", name, "2099-01-01T00:00:00Z")
        assert json.loads(result.stdout)["data"] == []
    ids = [str(row["id"]) for row in shell.sandbox.tickets][:2]
    result = await shell.run(LIST, "--ticket-ids", ids[0], "--ticket_ids", ids[1])
    assert len(json.loads(result.stdout)["data"]) == 2


async def test_every_mistake_is_said_and_nothing_is_sent(shell: Shell) -> None:
    """All problems of a call at once, each with the nearest name."""
    result = await shell.run("update_a_gorgias_ticket_by_id", "--idd", "1", "--body", '{"statu": "open"}', "stray")
    assert result.exit_code == 2
    for words in ("--id: required", "--idd: unknown parameter; did you mean id?", "did you mean status?", "stray"):
        assert words in result.stderr
    assert shell.sandbox.requests == 0


@pytest.mark.parametrize(
    ("body", "words"), [("{", "is no JSON"), ("@/no/such", "cannot read /no/such"), ("[1]", "is not of type")]
)
async def test_a_body_that_is_none(shell: Shell, body: str, words: str) -> None:
    """What is wrong with a body is said before anything is sent."""
    result = await shell.run("create_a_gorgias_tag", "--body", body)
    assert (result.exit_code, shell.sandbox.requests) == (2, 0)
    assert words in result.stderr


async def test_a_body_from_a_file_or_from_standard_input(shell: Shell, tmp_path: Path) -> None:
    """@FILE and - are bodies, too."""
    (tmp_path / "tag.json").write_text('{"name": "Größe"}', "utf-8")
    first = await shell.run("create_a_gorgias_tag", "--body", f"@{tmp_path / 'tag.json'}")
    second = await shell.run("create_a_gorgias_tag", "--body", "-", stdin='{"name": "b"}')
    assert [json.loads(result.stdout)["name"] for result in (first, second)] == ["Größe", "b"]


async def test_an_empty_answer_prints_nothing(shell: Shell) -> None:
    """A call that answers without a body is silent."""
    ticket = next(iter(shell.sandbox.tickets))["id"]
    result = await shell.run("create_a_gorgias_ticket_tag", "--ticket_id", str(ticket), "--body", '{"names": ["VIP"]}')
    assert (result.exit_code, result.output) == (0, "")


async def test_unknown_operations_have_neighbours() -> None:
    """A misspelt operation is answered with the nearest ones."""
    result = CliRunner().invoke(main, ["gorgias", "list_all_gorgias_tickts"])
    assert result.exit_code == 2
    assert f"did you mean {LIST}?" in result.stderr


async def test_exit_codes_say_what_to_do_next(shell: Shell) -> None:
    """One code for each class of failure; the key is never shown."""
    outcomes = {
        "unauthorized": await shell.run(LIST, key="a-wrong-key"),
        "gone": await shell.run("get_single_gorgias_ticket_by_id", "--id", "1"),
        "conflict": await shell.run("create_a_gorgias_user", "--body", _user("ops@acme.example")),
    }
    shell.url = "http://127.0.0.1:1"
    outcomes["later"] = await shell.run("create_a_gorgias_tag", "--body", '{"name": "x"}')
    codes = {name: result.exit_code for name, result in outcomes.items()}
    assert codes == {"unauthorized": 4, "gone": 5, "conflict": 6, "later": 7}
    assert all(result.stderr.startswith("error: ") and "Traceback" not in result.stderr for result in outcomes.values())
    assert all(KEY not in result.output and "a-wrong-key" not in result.output for result in outcomes.values())


def _user(email: str) -> str:
    return json.dumps({"email": email, "name": "Twin", "role": {"name": "agent"}})


async def test_files_go_up_and_come_down(shell: Shell, tmp_path: Path) -> None:
    """An upload of two files, and the same bytes again by a download."""
    content = os.urandom(300_000)
    (tmp_path / "photo.bin").write_bytes(content)
    (tmp_path / "note.txt").write_text("hello")
    files = ["--file", f"photo.bin=@{tmp_path / 'photo.bin'}", "--file", f"note.txt=@{tmp_path / 'note.txt'}"]
    stored = json.loads((await shell.run("create_a_gorgias_file", "--type", "attachment", *files)).stdout)
    assert [one["name"] for one in stored] == ["photo.bin", "note.txt"]
    kind, _, where, name = stored[0]["url"].split("/api/")[1].split("/")
    place = ["--file_type", kind, "--domain_hash", where, "--resource_name", name]
    refused = await shell.run("gorgias_files_download", *place)
    assert (refused.exit_code, "--output: required" in refused.stderr) == (2, True)
    target = tmp_path / "back.bin"
    assert (await shell.run("gorgias_files_download", *place, "--output", str(target))).exit_code == 0
    assert target.read_bytes() == content
    assert (await shell.run("gorgias_files_download", *place, "--output", "-")).stdout_bytes == content


async def test_a_download_that_fails_leaves_no_file(shell: Shell, tmp_path: Path) -> None:
    """The file has its name only once it is whole."""
    place = ["--file_type", "attachments", "--domain_hash", "no", "--resource_name", "such"]
    result = await shell.run("gorgias_files_download", *place, "--output", str(tmp_path / "x"))
    assert result.exit_code != 0
    assert await asyncio.to_thread(os.listdir, tmp_path) == []


def test_no_account_is_said_with_the_ways_to_name_one() -> None:
    """Without a configuration or an address, nothing is guessed."""
    runner = CliRunner(env={"SYNCD_CONFIG": None, "GORGIAS_API_KEY": None})
    nothing = runner.invoke(main, ["gorgias", LIST])
    assert (nothing.exit_code, "--config FILE" in nothing.stderr) == (2, True)
    half = runner.invoke(main, ["gorgias", "--subdomain", "acme", LIST])
    assert half.exit_code == 2
    assert "--email: is required" in half.stderr
    assert "GORGIAS_API_KEY is not set" in half.stderr


async def test_the_account_of_a_configuration_file(shell: Shell, tmp_path: Path) -> None:
    """--config stands before the operation or behind it."""
    (tmp_path / "acme.toml").write_text(
        '[workspace]\nname = "acme"\n[remote]\nconnector = "memory"\n'
        f'[gorgias]\nbase_url = "{shell.url}"\nemail = "ops@acme.example"\napi_key = "{KEY}"\n'
    )
    command = [sys.executable, "-m", "syncd", "gorgias", LIST, "--config", str(tmp_path / "acme.toml"), "--limit", "1"]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert len(json.loads(out)["data"]) == 1


def test_the_shell_completes_operations_parameters_and_values() -> None:
    """By click's own mechanism."""
    complete = ShellComplete(main, {}, "syncd", "_SYNCD_COMPLETE")

    def found(words: list[str], start: str) -> set[str]:
        return {item.value for item in complete.get_completions(words, start)}

    assert LIST in found(["gorgias"], "list_all_gorgias_tick")
    assert "--order_by" in found(["gorgias", LIST], "--order")
    assert found(["gorgias", LIST, "--order_by"], "updated") == {"updated_datetime:asc", "updated_datetime:desc"}


async def test_the_sandbox_is_served_until_it_is_told() -> None:
    """One JSON line when it answers; its users and its limit are as asked for; SIGTERM ends it with 0."""
    options = ["--port", "0", "--tickets", "3", "--limit", "7", "--user", "mia@acme.example=k", "--json"]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "syncd", "sandbox", *options, stdout=PIPE)
    assert process.stdout is not None
    ready = json.loads(await process.stdout.readline())
    assert (ready["email"], ready["pid"]) == ("ops@acme.example", process.pid)
    headers = basic("mia@acme.example", "k")
    async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{ready['url']}/api/tickets") as answer:
        assert answer.headers["X-Gorgias-Account-Api-Call-Limit"] == "1/7"
        assert len((await answer.json())["data"]) == 3
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def test_a_tied_sandbox_ends_with_whoever_started_it() -> None:
    """When its standard input ends, it does."""
    command = [sys.executable, "-m", "syncd", "sandbox", "--port", "0", "--tickets", "0", "--tied"]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    out = await process.stdout.readuntil(b"api_key")
    process.stdin.close()
    await process.communicate()
    assert process.returncode == 0
    assert b"[gorgias]\nbase_url = " in out
