"""`syncd token`: keys to the HTTP API, made, listed and revoked."""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from state.store import Store
from state.tables import ApiToken
from syncd import access, stores
from syncd.access import Access
from syncd.errors import BadRequest
from syncd.runner import utc_now
from syncd.settings import Settings, seconds

T = TypeVar("T")
CONFIGS = click.argument("configs", nargs=-1, required=True, type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
ACCESS = click.Choice([level.word for level in Access])
PATTERN = re.compile(r"[A-Za-z0-9_.*?-]+")
#: A token that lives longer than anyone remembers it is a mistake in the units.
LONGEST = timedelta(days=3660)


class Lifetime(click.ParamType[timedelta]):
    """A duration such as `30d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The duration; fails for anything else, and for one that is over at once."""
        if isinstance(value, timedelta):
            return value
        try:
            span = timedelta(seconds=seconds(value))
        except (ValueError, OverflowError):
            self.fail(f'{value!r} is no duration such as "12h" or "30d"', param, ctx)
        if not timedelta(0) < span <= LONGEST:
            self.fail("must be more than nothing and at most 3660d", param, ctx)
        return span


@click.group()
def token() -> None:
    """Keys to the HTTP API: what each may do, and until when."""


@token.command()
@CONFIGS
@click.option("--workspace", help="The only workspace that it sees; needed where there are several.")
@click.option("--access", "level", type=ACCESS, default="read", show_default=True, help="send may mail customers.")
@click.option("--operations", default="*", show_default=True, help="Patterns of resource.method, such as 'tickets.*'.")
@click.option("--expires", type=Lifetime(), help="How long it is good, such as 30d; for ever, if not given.")
@click.option("--note", default="", help="What it is for; for people.")
@JSON
@click.pass_context
def create(ctx: click.Context, /, configs: tuple[Path, ...], as_json: bool, **given: Any) -> None:
    """Make a token and show it, this once: only its digest is kept."""
    settings = _settings(ctx, configs)
    minted = access.mint()
    now = utc_now()
    row = ApiToken(
        id=minted.id,
        digest=minted.digest,
        workspace=_workspace(settings, given["workspace"]),
        access=given["level"],
        operations=_patterns(given["operations"]),
        note=given["note"],
        created_at=now,
        expires_at=now + given["expires"] if given["expires"] else None,
    )
    asyncio.run(_add(settings, row))
    if as_json:
        click.echo(json.dumps({**_said(row), "token": minted.shown}, indent=2))
        return
    click.echo(minted.shown)
    click.echo(f"{_summary(row)}. It is not shown again.", err=True)


@token.command("list")
@CONFIGS
@JSON
@click.pass_context
def list_(ctx: click.Context, configs: tuple[Path, ...], as_json: bool) -> None:
    """List the tokens, also those that open nothing any more."""
    rows = asyncio.run(_all(_settings(ctx, configs)))
    if as_json:
        click.echo(json.dumps([_said(row) for row in rows], indent=2))
        return
    for row in rows:
        click.echo(_summary(row))
    if not rows:
        click.echo("there are no tokens: `syncd token create` makes one")


@token.command()
@click.argument("token_id")
@CONFIGS
@click.pass_context
def revoke(ctx: click.Context, token_id: str, configs: tuple[Path, ...]) -> None:
    """Let a token open nothing from now on. TOKEN_ID is the part of it behind `syncd_`, as listed."""
    # Whoever has the whole token at hand may give that.
    name = token_id.removeprefix(access.PREFIX).partition("_")[0]
    if not asyncio.run(_revoke(_settings(ctx, configs), name)):
        raise BadRequest(f"there is no token {name} that could be revoked: see `syncd token list`")
    click.echo(f"{name} opens nothing any more")


def _settings(ctx: click.Context, configs: Sequence[Path]) -> Settings:
    load: Callable[[Sequence[Path]], Settings] = ctx.find_root().obj
    return load(configs)


def _workspace(settings: Settings, wanted: str | None) -> str:
    names = [workspace.name for workspace in settings.workspaces]
    if wanted in names or (wanted is None and len(names) == 1):
        return wanted or names[0]
    what = f"there is no workspace {wanted}" if wanted else "which workspace?"
    raise BadRequest(what, [f"--workspace {name}" for name in names])


def _patterns(text: str) -> list[str]:
    patterns = [pattern.strip() for pattern in text.split(",") if pattern.strip()]
    if not patterns or not all(map(PATTERN.fullmatch, patterns)):
        raise BadRequest("--operations takes patterns such as 'tickets.*,tags.list'")
    return patterns


async def _with_store(settings: Settings, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
    async with stores.opened(settings) as store:
        return await work(store)


async def _add(settings: Settings, row: ApiToken) -> None:
    await _with_store(settings, lambda store: store.add_token(row))


async def _all(settings: Settings) -> list[ApiToken]:
    return await _with_store(settings, lambda store: store.tokens())


async def _revoke(settings: Settings, token_id: str) -> bool:
    return await _with_store(settings, lambda store: store.revoke_token(token_id))


def _said(row: ApiToken) -> dict[str, Any]:
    """A token without its digest."""
    moments = ("created_at", "expires_at", "revoked_at")
    return {
        **{name: getattr(row, name) for name in ("id", "workspace", "access", "operations", "note")},
        **{name: getattr(row, name).isoformat() if getattr(row, name) else None for name in moments},
        "good": access.is_good(row, utc_now()),
    }


def _summary(row: ApiToken) -> str:
    until = f"until {row.expires_at:%Y-%m-%d %H:%M} UTC" if row.expires_at else "for ever"
    if row.revoked_at:
        until = f"revoked {row.revoked_at:%Y-%m-%d %H:%M} UTC"
    elif not access.is_good(row, utc_now()):
        until = "expired"
    note = f"  {row.note}" if row.note else ""
    return f"{row.id}  {row.workspace}  {row.access}  {','.join(row.operations)}  {until}{note}"
