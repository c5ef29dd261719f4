"""The commands. Each prints for people, or JSON with `--json`; errors go to stderr and say what to do."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from syncd import audit as trail
from syncd import config, log, passes, progress, reports, show, stores
from syncd import live as live_check
from syncd.daemon import serve
from syncd.demo.run import demo as run_demo
from syncd.dry import dry_run
from syncd.errors import ConfigError, SyncdError
from syncd.explain import explain as explain_ticket
from syncd.mcp.command import mcp
from syncd.passes import once as run_once
from syncd.reconcile import reconcile
from syncd.settings import Settings
from syncd.tokens import token

T = TypeVar("T")
#: Commands that belong to a product (the Gorgias sandbox and its operations) come from its package.
COMMANDS = "syncd.commands"
SIGTERM = "SIGTERM"

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
        except BrokenPipeError:  # whoever read our output has enough: click knows what to do
            raise
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            click.echo(f"error: {error.strerror or error}{where}: free space or mend the rights, then repeat", err=True)
            ctx.exit(1)
        except (KeyboardInterrupt, _TerminatedError) as error:
            ctx.exit(128 + (signal.SIGTERM if isinstance(error, _TerminatedError) else signal.SIGINT))


class _TerminatedError(Exception):
    """SIGTERM came; what was open is closed."""


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
PATIENCE = click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=passes.PATIENCE,
    show_default=True,
    help="Seconds to wait in all for what wants another try.",
)


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or until SIGTERM, which leaves time to close what is open."""

    async def all_of_it() -> T:
        task = asyncio.create_task(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel, SIGTERM)
        try:
            return await task
        except asyncio.CancelledError as error:
            if SIGTERM not in error.args:
                raise
            raise _TerminatedError from error

    return asyncio.run(all_of_it())


def _print(value: Any, as_json: bool, people: Callable[[Console, Any], None]) -> None:
    if as_json:
        click.echo(json.dumps(value, indent=2, default=reports.plain, ensure_ascii=False))
    else:
        people(out, value)


@main.command()
@CONFIGS
@click.option("--standby", is_flag=True, help="Wait for workspaces that other processes hold, instead of giving up.")
def run(configs: tuple[Path, ...], standby: bool) -> None:
    """Run the daemon. CONFIG is a TOML file or a folder of them, one workspace a file."""
    _run(serve(configs, load(configs), standby=standby))


@main.command()
@CONFIGS
@JSON
@PATIENCE
@click.option("--force", is_flag=True, help="Do what the mass-delete guard stopped.")
def once(configs: tuple[Path, ...], as_json: bool, patience: float, force: bool) -> None:
    """Pass until nothing is left to do. Exits with 0 all in step, 3 something parked, 1 otherwise."""
    _pass(load(configs), as_json, force=force, patience=patience)


@main.command()
@CONFIGS
@JSON
@PATIENCE
@click.option(
    "--since", type=click.DateTime(), help="Leave alone what has not changed since (UTC), such as 2026-01-31."
)
def backfill(configs: tuple[Path, ...], as_json: bool, patience: float, since: datetime | None) -> None:
    """Load everything for the first time, or go on where that stopped.

    What --since leaves out gets a copy when it next changes, or by `syncd reconcile --apply`.
    """
    moment = since.replace(tzinfo=UTC) if since else None
    _pass(load(configs), as_json, force=False, patience=patience, since=moment)


def _pass(settings: Settings, as_json: bool, *, force: bool, patience: float, since: datetime | None = None) -> None:
    with progress.passes() as shown:
        work = run_once(settings, force=force, patience=patience, since=since, progress=shown)
        outcomes = _run(work)
    _print([show.outcome(outcome) for outcome in outcomes], as_json, show.outcomes)
    codes = {outcome.exit_code for outcome in outcomes}
    sys.exit(1 if 1 in codes else max(codes))


@main.command()
@CONFIGS
@JSON
def plan(configs: tuple[Path, ...], as_json: bool) -> None:
    """Show what `once` would write, ticket by ticket, and write nothing anywhere."""
    intentions = _run(dry_run(load(configs)))
    _print([show.intentions(found) for found in intentions], as_json, show.plan)
    sys.exit(1 if any(found.problems for found in intentions) else 0)


@main.command()
@CONFIGS
@click.option("--live", is_flag=True, help="Also try credentials, rights and names against both accounts.")
@JSON
def check(configs: tuple[Path, ...], live: bool, as_json: bool) -> None:
    """Report all problems of the configuration at once."""
    try:
        settings = load(configs)
    except ConfigError as error:
        if not as_json:
            raise
        problems = [log.masked(problem) for problem in error.problems]
        _print({"problems": problems, "workspaces": [], "findings": []}, True, show.check)
        sys.exit(2)
    rows = [
        {"workspace": name, "side": str(side), "what": finding.what, "ok": finding.ok, "hint": finding.hint}
        for name, side, finding in (_run(live_check.check(settings)) if live else [])
    ]
    names = [workspace.name for workspace in settings.workspaces]
    _print({"problems": [], "workspaces": names, "findings": rows}, as_json, show.check)
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
@click.option("--take", type=int, metavar="ID", help="Let the next pass set the value that lost, on both sides.")
def conflicts(configs: tuple[Path, ...], as_json: bool, take: int | None) -> None:
    """List the fields that both sides had changed: both values, the winner, and why."""
    if take is not None:
        _print(_run(reports.take(load(configs), take)), as_json, show.taking)
        return
    _print(_run(reports.conflicts(load(configs))), as_json, show.conflicts)


@main.command()
@CONFIGS
@JSON
@click.option("--ticket", help="Only this one: a Gorgias id, or remote:ID.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the last ones of each workspace.")
def audit(configs: tuple[Path, ...], as_json: bool, ticket: str | None, limit: int | None) -> None:
    """List every write that landed: when, where, what, and what was there before."""
    _print(_run(trail.audit(load(configs), ticket, limit)), as_json, trail.show)


@main.command(name="reconcile")
@CONFIGS
@JSON
@click.option("--apply", is_flag=True, help="Let the next pass look at every ticket that is named.")
def reconcile_all(configs: tuple[Path, ...], as_json: bool, apply: bool) -> None:
    """Compare both sides whole, beside what is known: copies, links, markers, values, texts. Writes to neither."""
    found = _run(reconcile(load(configs), apply=apply))
    _print([show.finding(one) for one in found], as_json, show.findings)
    sys.exit(1 if found and not apply else 0)


@main.command()
@click.argument("ticket")
@CONFIGS
@JSON
def explain(ticket: str, configs: tuple[Path, ...], as_json: bool) -> None:
    """Say why TICKET (a Gorgias id, or remote:ID) is as it is, and what would be done about it."""
    found = _run(explain_ticket(load(configs), ticket))
    _print([show.explanation(said) for said in found], as_json, show.explanations)


@main.command()
@CONFIGS
@JSON
@click.option("--ticket", help="Only this one: a Gorgias id, or remote:ID.")
def retry(configs: tuple[Path, ...], as_json: bool, ticket: str | None) -> None:
    """Try what is parked or waiting again, at the next pass."""
    _print(_run(reports.retry(load(configs), ticket)), as_json, show.retry)


main.add_command(mcp)
main.add_command(token)


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
    settings = load(configs)
    _run(_upgrade(settings))
    click.echo(f"{stores.place(settings)} is up to date")


async def _upgrade(settings: Settings) -> None:
    async with stores.opened(settings):
        pass
