"""The commands of Gorgias on the command line: `syncd sandbox` and `syncd gorgias`."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import orjson
from pydantic import ValidationError

from connectors.gorgias.connector import GorgiasConfig
from connectors.gorgias.operations import OPERATIONS
from connectors.gorgias.sandbox import Options, RateLimit, run_sandbox
from connectors.gorgias.shell import command_of, near_operations
from connectors.gorgias.shell_help import by_resource
from syncd.errors import BadRequest

#: In seconds: a bucket of N calls is empty again after this (documented).
WINDOW = 20.0
#: How wide the column of the operations' names may be.
NAMES = 60
KEY_VARIABLE = "GORGIAS_API_KEY"


@click.command()
@click.option("--port", default=9000, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--tickets", default=50, show_default=True, help="How many an empty account is filled with.")
@click.option("--state", type=click.Path(path_type=Path, dir_okay=False), help="A file in which the account survives.")
@click.option("--email", default="ops@acme.example", show_default=True, help="The user of the API key.")
@click.option("--api-key", default="sandbox-key", show_default=True)
@click.option("--user", "users", multiple=True, metavar="EMAIL=KEY", help="A further user with a key. Repeatable.")
@click.option("--limit", default=40, show_default=True, help=f"Calls that fit into {WINDOW:.0f} seconds.")
@click.option("--no-limit", is_flag=True, help="No rate limit.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line when it answers.")
@click.option("--tied", is_flag=True, hidden=True, help="End when standard input does.")
def sandbox(**given: Any) -> None:
    """Serve a Gorgias account on this machine, with a shop's tickets in it, until Ctrl-C."""
    options = Options(
        email=given["email"],
        api_key=given["api_key"],
        accounts=dict(_pair(user) for user in given["users"]),
        rate_limit=None if given["no_limit"] else RateLimit(given["limit"], given["limit"] / WINDOW),
    )
    say = _said_as_json if given["as_json"] else _said_to_people
    serving = run_sandbox(
        options,
        host=given["host"],
        port=given["port"],
        tickets=given["tickets"],
        state_path=given["state"],
        on_ready=lambda url: say(url, options),
    )
    try:
        asyncio.run(_until_told(serving, given["tied"]))
    except OSError as error:
        where = f"{given['host']}:{given['port']}"
        raise click.ClickException(f"cannot listen on {where}: {error.strerror or error}") from error


def _pair(user: str) -> tuple[str, str]:
    email, _, key = user.partition("=")
    if not (email and key):
        raise click.BadParameter(f"{user!r} is not EMAIL=KEY", param_hint="--user")
    return email, key


def _said_as_json(url: str, options: Options) -> None:
    ready = {"url": url, "email": options.email, "api_key": options.api_key, "pid": os.getpid()}
    click.echo(orjson.dumps(ready))
    sys.stdout.flush()


def _said_to_people(url: str, options: Options) -> None:
    click.echo(
        f"A Gorgias account answers at {url}/api until Ctrl-C. For a configuration file:\n\n"
        f'[gorgias]\nbase_url = "{url}"\nemail = "{options.email}"\napi_key = "{options.api_key}"\n\n'
        f"From the shell:\n\n"
        f"{KEY_VARIABLE}={options.api_key} syncd gorgias --base-url {url} --email {options.email} "
        "list_all_gorgias_tickets --limit 3"
    )


async def _until_told(serving: Any, tied: bool) -> None:
    """Serve until SIGTERM or SIGINT; when `tied`, no longer than standard input is open."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(serving)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    if tied:
        loop.add_reader(sys.stdin.fileno(), _end_with_input, task)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _end_with_input(task: "asyncio.Future[Any]") -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        task.cancel()


class Operations(click.Group):
    """The operations as commands, each made from its entry in the data when it is called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All of them."""
        return sorted(OPERATIONS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The operation as a command; dashes are as good as underscores."""
        operation = OPERATIONS.get(cmd_name.replace("-", "_"))
        return command_of(operation, account) if operation else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """An unknown operation is answered with the nearest ones."""
        if args and self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            ctx.fail(near_operations(args[0]))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Grouped by resource, each with its summary."""
        for resource, operations in by_resource():
            with formatter.section(resource):
                formatter.write_dl([(operation.name, operation.summary) for operation in operations], NAMES)


@click.group(cls=Operations, invoke_without_command=True)
@click.option("--config", type=click.Path(path_type=Path), envvar="SYNCD_CONFIG", help="The account of this file.")
@click.option("--workspace", help="Which one, where the file or folder holds several.")
@click.option("--subdomain", help="The account without a file: acme is https://acme.gorgias.com.")
@click.option("--base-url", help="The same, by its whole address.")
@click.option("--email", help="The user of the API key.")
@click.pass_context
def gorgias(ctx: click.Context, /, **_: Any) -> None:
    """Call any operation of the Gorgias API; JSON out.

    The account comes from --config (or SYNCD_CONFIG), or from --subdomain and --email with the API key in the
    environment variable GORGIAS_API_KEY. These options stand before the operation; --config may also stand behind.

    `syncd gorgias OPERATION --help` describes an operation. Nothing is sent unless the call fits its schema.

    \b
    Exit codes: 0 done · 2 the call was wrong, nothing was sent · 4 not allowed · 5 no such object ·
    6 refused, or in conflict · 7 try again later · 1 anything else

    \b
    Shell completion, for bash (zsh and fish likewise):
      eval "$(_SYNCD_COMPLETE=bash_source syncd)"
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def account(ctx: click.Context) -> GorgiasConfig:
    """The account that the options name. Raises ConfigError, BadRequest."""
    given = dict(ctx.parent.params if ctx.parent else {})
    given["config"] = ctx.params.get("config") or given.get("config")
    if given.get("base_url") or given.get("subdomain"):
        return _account_without_file(given)
    if not given["config"]:
        ways = ["give --config FILE (or set SYNCD_CONFIG)", f"or --subdomain, --email and {KEY_VARIABLE}"]
        raise BadRequest("which account?", ways)
    load: Callable[[Sequence[Path]], Any] = ctx.find_root().obj
    found = load([given["config"]]).workspaces
    names = [workspace.name for workspace in found]
    wanted = given.get("workspace") or names[0]
    if wanted not in names or (len(names) > 1 and not given.get("workspace")):
        raise BadRequest("which workspace?", [f"--workspace {name}" for name in names])
    config: GorgiasConfig = found[names.index(wanted)].gorgias
    return config


def _account_without_file(given: dict[str, Any]) -> GorgiasConfig:
    values = {name: given[name] for name in ("subdomain", "base_url", "email") if given.get(name)}
    try:
        return GorgiasConfig.model_validate({**values, "api_key": {"env": KEY_VARIABLE}})
    except ValidationError as error:
        problems = [] if given.get("email") else ["--email: is required"]
        problems += [_option_problem(problem["loc"], problem["msg"]) for problem in error.errors()]
        raise BadRequest("which account?", problems) from error


def _option_problem(where: tuple[int | str, ...], text: str) -> str:
    option = f"--{where[0]}: ".replace("_", "-") if where and where[0] != "api_key" else ""
    return option + text.removeprefix("Value error, ")
