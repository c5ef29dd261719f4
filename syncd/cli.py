"""The commands. Each prints for people, or JSON with `--json`; errors go to stderr and say what to do."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from state.store import Notice
from syncd import config, log, progress, reports, show
from syncd.daemon import serve
from syncd.demo.run import demo as run_demo
from syncd.dry import dry_run
from syncd.errors import ConfigError, SyncdError
from syncd.passes import Outcome
from syncd.passes import once as run_once
from syncd.settings import Settings

T = TypeVar("T")
#: Commands that belong to a product (the Gorgias sandbox and its operations) come from its package.
COMMANDS = "syncd.commands"

out = Console(soft_wrap=True)


class Commands(click.Group):
    """The group with the products' own commands, loaded only when they are called for; errors become exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Ours and the products'."""
        return sorted({*super().list_commands(ctx), *(entry.name for entry in entry_points(group=COMMANDS))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Ours, else a product's."""
        own = super().get_command(ctx, cmd_name)
        entry = next(iter(entry_points(group=COMMANDS, name=cmd_name)), None)
        return own or (entry.load() if entry else None)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it cannot do is said in one sentence, without a traceback."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for problem in error.problems:
                click.echo(f"error: {log.masked(problem)}", err=True)
            ctx.exit(2)
        except SyncdError as error:
            click.echo(f"error: {log.masked(str(error))}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            ctx.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("syncd"))
@click.pass_context
def main(ctx: click.Context) -> None:
    """Keep the tickets of a Gorgias account and of another tracker the same, in both directions."""
    ctx.obj = load


def load(paths: Sequence[Path]) -> Settings:
    """The configuration, with logging set up by it and its secrets hidden."""
    settings = config.load(paths)
    log.hide_all(settings)
    log.configure(settings.log.level, settings.log.format)
    return settings


CONFIGS = click.argument("configs", nargs=-1, required=True, type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _run(work: Awaitable[T]) -> T:
    async def all_of_it() -> T:
        return await work

    return asyncio.run(all_of_it())


def _print(value: Any, as_json: bool, people: Callable[[Console, Any], None]) -> None:
    if as_json:
        click.echo(json.dumps(value, indent=2, default=reports.plain, ensure_ascii=False))
    else:
        people(out, value)


@main.command()
@CONFIGS
def run(configs: tuple[Path, ...]) -> None:
    """Run the daemon. CONFIG is a TOML file or a folder of them, one workspace a file."""
    _run(serve(configs, load(configs)))


@main.command()
@CONFIGS
@JSON
@click.option("--force", is_flag=True, help="Do what the mass-delete guard stopped.")
def once(configs: tuple[Path, ...], as_json: bool, force: bool) -> None:
    """Pass until nothing is left to do. Exits with 0 all in step, 3 something parked, 1 otherwise."""
    settings = load(configs)
    with progress.passes(settings) as shown:
        outcomes = _run(run_once(settings, force=force, progress=shown))
    _end(outcomes, as_json)


@main.command()
@CONFIGS
@JSON
def backfill(configs: tuple[Path, ...], as_json: bool) -> None:
    """Load everything for the first time, or go on where that stopped."""
    settings = load(configs)
    with progress.passes(settings) as shown:
        outcomes = _run(run_once(settings, progress=shown))
    _end(outcomes, as_json)


def _end(outcomes: list[Outcome], as_json: bool) -> None:
    listed = [show.outcome(outcome) for outcome in outcomes]
    _print(listed, as_json, show.outcomes)
    codes = {outcome.exit_code for outcome in outcomes}
    sys.exit(1 if 1 in codes else max(codes))


@main.command()
@CONFIGS
@JSON
def plan(configs: tuple[Path, ...], as_json: bool) -> None:
    """Show what `once` would write, ticket by ticket, and write nothing anywhere."""
    intended = _run(dry_run(load(configs)))
    _print([show.intended(write) for write in intended], as_json, show.plan)


@main.command()
@CONFIGS
@click.option("--live", is_flag=True, help="Also try credentials, rights and names against both accounts.")
@JSON
def check(configs: tuple[Path, ...], live: bool, as_json: bool) -> None:
    """Report all problems of the configuration at once."""
    settings = load(configs)
    found = _run(reports.check_live(settings)) if live else []
    rows = [
        {"workspace": name, "side": str(side), "what": finding.what, "ok": finding.ok, "hint": finding.hint}
        for name, side, finding in found
    ]
    names = [workspace.name for workspace in settings.workspaces]
    _print({"workspaces": names, "findings": rows}, as_json, show.check)
    sys.exit(0 if all(row["ok"] for row in rows) else 2)


@main.command()
@CONFIGS
@JSON
def status(configs: tuple[Path, ...], as_json: bool) -> None:
    """Show what is in step, what waits, and who works on it."""
    _print(_run(reports.status(load(configs))), as_json, show.status)


@main.command()
@CONFIGS
@JSON
def parked(configs: tuple[Path, ...], as_json: bool) -> None:
    """List the writes that wait for a person, and what to do about each."""
    _print(_run(reports.parked(load(configs))), as_json, show.parked)


@main.command()
@CONFIGS
@JSON
def conflicts(configs: tuple[Path, ...], as_json: bool) -> None:
    """List the fields that both sides had changed: both values, the winner, and why."""
    _print(_run(reports.conflicts(load(configs))), as_json, show.conflicts)


@main.command()
@click.argument("ticket")
@CONFIGS
@JSON
def explain(ticket: str, configs: tuple[Path, ...], as_json: bool) -> None:
    """Say why TICKET (a Gorgias id, or remote:ID) is as it is, and what would be done about it."""
    found = _run(reports.explain(load(configs), ticket))
    _print([show.explanation(said) for said in found], as_json, show.explanations)


@main.command()
@CONFIGS
@click.option("--ticket", help="Only this one: a Gorgias id, or remote:ID.")
def retry(configs: tuple[Path, ...], ticket: str | None) -> None:
    """Try what is parked or waiting again, at the next pass."""
    number = _run(_retry(load(configs), ticket))
    click.echo(f"{number} tickets will be looked at by the next pass")


async def _retry(settings: Settings, ticket: str | None) -> int:
    number = 0
    async with reports.open_store(settings) as store:
        for workspace in settings.workspaces:
            await store.wake(workspace.name)
            tickets = await reports.to_retry(store, workspace.name, ticket)
            for side, ids in tickets.items():
                await store.mark(workspace.name, side, [Notice(found, "retry", deep=True) for found in ids])
                number += len(ids)
    return number


@main.command()
@click.option("--keep", is_flag=True, help="Leave both products up until Ctrl-C, to click around in.")
def demo(keep: bool) -> None:
    """Run a Gorgias sandbox and a real tracker on this machine, sync both ways, and show both sides."""
    sys.exit(_run(run_demo(keep=keep)))


@main.group()
def db() -> None:
    """Look after the database."""


@db.command()
@CONFIGS
def upgrade(configs: tuple[Path, ...]) -> None:
    """Bring the database's schema up to date."""

    async def work(settings: Settings) -> None:
        async with reports.open_store(settings):
            pass

    _run(work(load(configs)))
    click.echo("the database is up to date")
